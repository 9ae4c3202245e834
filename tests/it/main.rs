//! Tests of the whole: the real binary as a child process, on free ports of the loopback and in a folder of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a test that meets the unexpected must fail at once, and says what it compared"
)]

mod harness;
mod pg_client;
mod records;

mod access;
mod api;
mod architecture;
mod backfill;
mod bad_input;
mod bad_prices;
mod bills;
mod board;
mod budgets;
mod canary;
mod capacity;
mod catalogues;
mod cli;
mod close;
mod conformance;
mod coverage;
mod crash;
mod damage;
mod dashboards;
mod demo;
mod evidence;
mod explain;
mod faults;
mod faulty_store;
mod focus;
mod formats;
mod hostile;
mod inside;
#[cfg(feature = "kafka")]
mod kafka;
mod live;
mod moments;
mod money;
mod openapi;
mod ops;
mod postgres;
mod questions;
mod receiver;
mod receiver_limits;
mod receiver_tls;
mod recompute;
mod replicas;
mod samples;
mod set_aside;
mod streams;
mod terminal;
mod twice;
mod upkeep;
mod what_if;
mod witnesses;
