//! SQL over one view: read-only and bounded by construction. A session knows only the tables of its view; plans that
//! would write, define or set anything are refused; memory, time, rows and text are limited.

mod budgets;
mod commitments;
mod functions;
mod guard;
mod ids;
mod named;
mod registry;
mod reports;
mod session;
mod threads;
mod views;
mod what_if;

pub use budgets::budget_status;
pub use named::{NamedQueries, NamedQuery, Parameter};
pub use reports::{ReportFailure, chargeback, variance, what_if};
pub use session::{Answer, Engine, Limits, Params, QueryError};
