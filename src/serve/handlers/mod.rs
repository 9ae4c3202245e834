//! One file for each resource.

pub mod health;
pub mod openapi;
pub mod queries;
pub mod reports;
pub mod sources;
pub mod sql;
