//! SQL over one view: read-only and bounded by construction. A session knows only the tables of its view; plans that
//! would write, define or set anything are refused; memory, time, rows and text are limited.

mod bills;
mod budgets;
mod call_match;
mod commitments;
mod focus;
mod focus_columns;
mod functions;
mod guard;
mod ids;
mod named;
mod priced;
mod prices;
mod reconcile;
mod registry;
mod reports;
mod session;
mod threads;
mod views;
mod what_if;

pub use bills::{bill_batch, bill_lines, bill_month};
pub use budgets::budget_status;
pub use call_match::{CallsAsk, Speakers, reconcile_calls};
pub use focus::{FocusSources, focus, focus_parquet};
pub use priced::{OtherPrices, other_prices};
pub use reconcile::reconcile_bills;
pub use reports::{Delivered, Known, ReportFailure, chargeback, report_rows, summed_lines, variance, what_if};
pub use session::{Answer, Engine, Limits, Params, QueryError};

pub use crate::queries::{NamedQueries, NamedQuery, Parameter};
