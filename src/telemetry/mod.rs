//! How polymeter observes itself: structured logs, its own metrics, and traces when an endpoint is set.

mod crash;
pub mod metrics;
mod setup;
mod sources;

pub use crash::crash_point;
pub use setup::{LogFormat, Telemetry, init};
pub use sources::{LiveTailStatus, SourceBoard, SourceStatus};

/// An error with its causes, as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut text = error.to_string();
    for cause in causes {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
