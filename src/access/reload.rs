//! What is read from files, and read again when they change: certificates and tokens are rotated without a restart.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tracing::{info, warn};

/// How often files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A problem with what a file should hold, told without its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(String);

impl SecretError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

type Load<T> = Box<dyn Fn() -> Result<T, SecretError> + Send + Sync>;

/// A value made of files.
pub struct Reloading<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    load: Load<T>,
    value: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    state: Vec<State>,
    at: Instant,
}

/// A file is another one when its time or size is; `None` if it can't be looked at.
type State = Option<(SystemTime, u64)>;

impl<T> Reloading<T> {
    /// Reads the value of `files` for the first time; `what` names it in the log.
    ///
    /// # Errors
    /// It can't be read.
    pub fn new(what: &'static str, files: Vec<PathBuf>, load: Load<T>) -> Result<Self, SecretError> {
        // Looked at before they are read: what changes in between is seen at the next look.
        let state = states(&files);
        let value = ArcSwap::from_pointee(load()?);
        Ok(Self { what, files, load, value, seen: Mutex::new(Seen { state, at: Instant::now() }) })
    }

    /// The value as of the last look. What can't be read does not replace what could.
    pub fn get(&self) -> Arc<T> {
        self.look(LOOK_EVERY);
        self.value.load_full()
    }

    fn look(&self, every: Duration) {
        // One looks, the others go on with what there is.
        let Ok(mut seen) = self.seen.try_lock() else { return };
        if self.files.is_empty() || seen.at.elapsed() < every {
            return;
        }
        seen.at = Instant::now();
        let state = states(&self.files);
        if state == seen.state {
            return;
        }
        // Tried once for each state, so that one bad file is one warning: a later change is another state.
        seen.state = state;
        match (self.load)() {
            Ok(value) => {
                self.value.store(Arc::new(value));
                info!("the {} changed and is used from now on", self.what);
            }
            Err(error) => warn!(%error, "the {} changed but can't be used; the one before stays in use", self.what),
        }
    }
}

impl<T> std::fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.seen.lock().unwrap_or_else(PoisonError::into_inner).at;
        f.debug_struct("Reloading").field("what", &self.what).field("files", &self.files).field("at", &at).finish()
    }
}

fn states(files: &[PathBuf]) -> Vec<State> {
    let state = |file: &PathBuf| fs::metadata(file).ok().and_then(|found| Some((found.modified().ok()?, found.len())));
    files.iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        let path = file.clone();
        let load = move || {
            let text = fs::read_to_string(&path).map_err(|error| SecretError::new(error.to_string()))?;
            text.parse::<u32>().map_err(|_| SecretError::new("no number"))
        };
        fs::write(&file, "1").unwrap();
        let number = Reloading::new("number", vec![file.clone()], Box::new(load)).unwrap();
        let after = |text: &str| {
            fs::write(&file, text).unwrap();
            number.look(Duration::ZERO);
            *number.get()
        };
        assert_eq!(*number.get(), 1);
        assert_eq!(after("22"), 22);
        assert_eq!(after("words"), 22);
        assert_eq!(after("4444"), 4444);
        fs::remove_file(&file).unwrap();
        number.look(Duration::ZERO);
        assert_eq!(*number.get(), 4444);
        fs::write(&file, "55555").unwrap();
        assert_eq!(*number.get(), 4444, "not looked at again so soon");
    }
}
