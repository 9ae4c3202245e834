//! polymeter meters LLM calls across clouds: every call counted once, priced exactly, never lost.

pub mod model;
pub mod attribution;
pub mod catalog;
pub mod pricing;
pub mod demo;
pub mod settle;
pub mod sources;
