//! Named steps at which a debug build can be told to die, so that tests can look at what each step leaves behind.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Environment variable: `NAME` or `NAME:N` (the N-th time that the step is reached, from 1).
const VARIABLE: &str = "POLYMETER_CRASH_AT";

struct Order {
    name: String,
    /// Times that the step must still be reached.
    left: AtomicU32,
}

/// Ends the process at once, as a kill would, if the environment orders it for this step. Does nothing in a release
/// build.
pub fn crash_point(name: &str) {
    static ORDER: OnceLock<Option<Order>> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(order) = ORDER.get_or_init(read) else { return };
    if order.name == name && order.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

fn read() -> Option<Order> {
    let text = std::env::var(VARIABLE).ok()?;
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Order { name: name.to_owned(), left: AtomicU32::new(count.parse().unwrap_or(1)) })
}
