//! polymeter meters LLM calls across clouds: every call counted once, priced exactly, never lost.
//!
//! Layers, imports go down only (`tests/it/architecture.rs` checks it):
//! `model, clock, telemetry` < `store, collect, catalog, attribution, pricing, delta` <
//! `sources, settle, journal, ledger` < `query, pipeline` < `serve` < `config` < `app` < `cli`.

pub mod model;

pub mod catalog;
pub mod pricing;

pub mod demo;
pub mod settle;
pub mod sources;
