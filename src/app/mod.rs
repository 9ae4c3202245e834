//! Composition: from configuration to concrete parts, tasks and an orderly end. The only module that knows them all.

mod demo;
mod import;
mod rules;
mod serve;
mod sql;

pub use import::{ImportKind, ImportOptions, ImportSummary, import};
pub use serve::{ServeOptions, serve};
pub use sql::{SqlFormat, SqlOptions, sql};
