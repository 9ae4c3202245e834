//! What PostgreSQL's clients ask beside the tables: its catalogue, its functions, and statements that only PostgreSQL knows.
//!
//! The catalogue is that of datafusion-pg-catalog, over the shapes of our tables and made once, so that a table keeps its
//! number (`oid`) from one statement to the next.

mod catalog;
mod functions;
mod statement;

pub use catalog::PgCatalog;
/// Names of types that only PostgreSQL has.
pub use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
pub use functions::register_functions;
pub use statement::{Kind, Statement, setting, statements};
