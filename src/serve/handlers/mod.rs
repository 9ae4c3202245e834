//! One file for each resource.

pub mod health;
pub mod queries;
pub mod reports;
pub mod sources;
pub mod sql;
