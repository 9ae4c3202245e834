//! One file for each resource.

pub mod exports;
pub mod health;
pub mod openapi;
pub mod queries;
pub mod reconcile;
pub mod reports;
pub mod sources;
pub mod sql;
