//! Work of the settler beside the meter.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::pipeline::{PipelineError, Settled, Settler};

/// Who waits for a settle.
pub(super) type Waiting = Vec<oneshot::Sender<Result<(), String>>>;

/// What the settler did in its task.
pub(super) enum Work {
    /// It settled.
    Settled(Box<Result<Settled, PipelineError>>),
    /// It trimmed the journal and merged files; false if something of it failed.
    Tidied(bool),
}

/// What comes back from a task.
pub(super) type Returned = (Settler, Work);

/// A settle under way, or the tidying up behind one. The settler travels with it.
pub(super) struct Running {
    pub(super) settling: JoinHandle<Returned>,
    pub(super) waiting: Waiting,
}

/// A settle that has ended.
pub(super) struct Ended {
    /// Nothing if its task died.
    pub(super) outcome: Option<Returned>,
    pub(super) waiting: Waiting,
}

/// Tells all who wait.
pub(super) fn answer(waiting: Waiting, answer: &Result<(), String>) {
    for done in waiting {
        // The one who asked may have gone.
        let _ = done.send(answer.clone());
    }
}

/// Resolves when the settle under way ends; never if there is none.
pub(super) async fn settled(running: &mut Option<Running>) -> Ended {
    let Some(settle) = running else { return std::future::pending().await };
    let outcome = (&mut settle.settling).await.ok();
    let waiting = running.take().map_or_else(Vec::new, |settle| settle.waiting);
    Ended { outcome, waiting }
}
