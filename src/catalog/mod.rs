//! The model catalogue: from every spelling of a model (Bedrock ids, ARNs and profiles, Azure names and versions, dated
//! snapshots, resource paths, gateway routes) to one publisher, one public name and the scope that the id proves.
//!
//! Data-driven: publishers, families, names and aliases are in `data/models.toml`; code only takes prefixes, dates and
//! versions off. What is not known and has no known family's shape stays unknown. Pure: no clock, no I/O.

mod data;
mod name;
mod resolve;
mod spelling;

#[cfg(test)]
mod tests;

pub use data::CatalogError;
pub use resolve::{Catalog, ModelIdentity, ModelQuery};
