//! polymeter meters LLM calls across clouds: every call counted once, priced exactly, never lost.
//!
//! Layers, imports go down only (`tests/it/architecture.rs` checks it):
//! `model` < `access, clock, telemetry, store, sheet, queries` < `columns, dashboards` < `collect, catalog, attribution, pricing, delta` <
//! `sources, demo, settle, journal, ledger` < `finance` < `query, pipeline` < `periods` < `serve` < `config` < `app` < `cli`.
//!
//! Without the feature `engine` only the pure part is built: model, sheet, queries, dashboards, catalog, attribution, pricing,
//! sources, settle, finance.

pub mod dashboards;
pub mod model;
pub mod queries;
pub mod sheet;

/// Columns of rows are made and dropped by the million, on many threads: the system's allocator took a sixth of the time
/// of ingest and kept what months of settling had scattered.
#[cfg(feature = "engine")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "engine")]
pub mod access;
#[cfg(feature = "engine")]
pub mod clock;
#[cfg(feature = "engine")]
pub mod cores;
#[cfg(feature = "engine")]
pub mod store;
#[cfg(feature = "engine")]
pub mod telemetry;

#[cfg(feature = "engine")]
pub mod columns;

pub mod attribution;
pub mod catalog;
#[cfg(feature = "engine")]
pub mod collect;
#[cfg(feature = "engine")]
pub mod delta;
pub mod pricing;

pub mod demo;
#[cfg(feature = "engine")]
pub mod journal;
#[cfg(feature = "engine")]
pub mod ledger;
pub mod settle;
pub mod sources;

pub mod finance;

#[cfg(feature = "engine")]
pub mod pipeline;
#[cfg(feature = "engine")]
pub mod query;

#[cfg(feature = "engine")]
pub mod periods;

#[cfg(feature = "engine")]
pub mod serve;

#[cfg(feature = "engine")]
pub mod config;

#[cfg(feature = "engine")]
pub mod app;

#[cfg(feature = "engine")]
pub mod cli;
