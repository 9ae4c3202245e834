//! Heavy work for the processor, on as many threads as there are cores. The allocator gives back what a thread has used
//! only when that thread works again, so each of many threads would keep what the heaviest work took. What somebody
//! waits for, a request or an acknowledgement, has no place here: it would wait behind a settle.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;

/// Only its threads for blocking work are used; nothing is scheduled on it.
static CORES: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    Builder::new_current_thread().max_blocking_threads(threads).thread_name("heavy").build().ok()
});

/// Does the work and gives its result.
///
/// # Errors
/// It panicked.
pub async fn heavy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match &*CORES {
        Some(cores) => cores.spawn_blocking(work).await,
        None => tokio::task::spawn_blocking(work).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_few_threads_and_a_panic_is_told() {
        let work = || heavy(|| (std::thread::current().id(), std::thread::sleep(std::time::Duration::from_millis(5))));
        let done = futures::future::join_all((0..50).map(|_| work())).await;
        let threads: std::collections::HashSet<_> = done.into_iter().map(|done| done.unwrap().0).collect();
        assert!(threads.len() <= std::thread::available_parallelism().map_or(2, usize::from), "{threads:?}");
        // Without the message of a panic, which whoever reads the output would take for a fault.
        assert!(heavy(|| std::panic::resume_unwind(Box::new("as it must"))).await.is_err());
    }
}
