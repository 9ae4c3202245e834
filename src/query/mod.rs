//! SQL over one view: read-only and bounded by construction. A session knows only the tables of its view; plans that
//! would write, define or set anything are refused; memory, time, rows and text are limited.

mod answer;
mod bills;
mod budgets;
mod call_match;
mod commitments;
mod context;
mod error;
mod focus;
mod focus_columns;
mod functions;
mod growth;
mod guard;
mod ids;
mod limits;
mod memory;
mod named;
mod postgres;
mod priced;
mod prices;
mod reconcile;
mod registry;
mod reports;
mod scope;
mod session;
mod stop;
mod threads;
mod views;
mod what_if;

pub use answer::Answer;
pub use bills::{bill_batch, bill_lines, bill_month};
pub use budgets::budget_status;
pub use call_match::{CallsAsk, Speakers, reconcile_calls};
/// A value of a parameter.
pub use datafusion::scalar::ScalarValue as Scalar;
pub use error::QueryError;
pub use focus::{FocusSources, focus, focus_parquet};
use functions::functions;
pub use limits::{Limits, RoleLimit, RoleLimits};
pub use postgres::{Kind, Statement, setting};
pub use priced::{OtherPrices, other_prices};
pub use reconcile::reconcile_bills;
pub use reports::{Delivered, Known, ReportFailure, chargeback, report_rows, summed_lines, variance, what_if};
pub use session::{Asker, Described, Engine, Page, Params};

pub use crate::queries::{NamedQueries, NamedQuery, Parameter};

/// Name of the only catalogue, PostgreSQL's database.
const CATALOG: &str = "polymeter";
/// Name of the schema that the tables are in.
const SCHEMA: &str = "public";
