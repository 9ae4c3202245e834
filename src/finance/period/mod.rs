//! Closed months: what a close pins, which month may be closed or opened again, and what calls have changed since.
//!
//! - **Closed is closed.** The rows of a closed month are copied, with the texts of prices and rules, what is known of the
//!   sources and the calendar. Its reports are made of that copy and of nothing else.
//! - **One calendar.** The first close decides the time zone of the months. They are closed in their order, and only the
//!   latest can be opened again, so that every correction has one month that it is posted in.
//! - **Corrections.** What becomes known of a closed month later is posted in the month that is open: what was posted, taken
//!   back, and what holds now, with the reason. [`changes`] compares call by call.

mod books;
mod compare;
mod record;

pub use books::{Books, CloseError, State};
pub use compare::{Change, Reason, changes};
pub use record::{Closed, ClosedFile, ClosedSource, ClosedTotal, Entry, Reopened};
