//! SQL over one view: read-only and bounded by construction. A session knows only the tables of its view; plans that
//! would write, define or set anything are refused; memory, time, rows and text are limited.

mod answer;
mod context;
mod error;
mod functions;
mod guard;
mod ids;
mod limits;
mod named;
mod postgres;
mod registry;
mod reports;
mod scope;
mod session;
mod threads;
mod views;

pub use answer::Answer;
/// A value of a parameter.
pub use datafusion::scalar::ScalarValue as Scalar;
pub use error::QueryError;
use functions::functions;
pub use limits::{Limits, RoleLimit, RoleLimits};
pub use named::{NamedQueries, NamedQuery, Parameter};
pub use postgres::{Kind, Statement, setting};
pub use reports::{Ledger, ReportFailure, chargeback, variance};
pub use session::{Asker, Described, Engine, Params};

/// Name of the only catalogue, PostgreSQL's database.
const CATALOG: &str = "polymeter";
/// Name of the schema that the tables are in.
const SCHEMA: &str = "public";
