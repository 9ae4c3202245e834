//! Memory of questions. Each has some of its own, whatever the others do; beyond it they share. With one pool for all,
//! sixty people who look at small panels leave each other parts too small for any.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

/// What every question may have.
const OWN_BYTES: usize = 32 << 20;
/// What all of them have beyond it.
const SHARED_BYTES: usize = 256 << 20;

/// What questions have beyond their own.
#[derive(Debug, Default)]
pub struct Shared {
    taken: AtomicUsize,
}

impl Shared {
    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= SHARED_BYTES);
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// The memory of one question, shared out fairly among the parts of its plan that can go on without more.
#[derive(Debug)]
pub struct OfQuestion {
    parts: FairSpillPool,
    used: Mutex<usize>,
    shared: Arc<Shared>,
}

impl OfQuestion {
    /// Of a question that begins.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { parts: FairSpillPool::new(OWN_BYTES + SHARED_BYTES), used: Mutex::default(), shared: Arc::clone(shared) }
    }

    /// Takes what is there, or all the same where it `must` be.
    fn take(&self, bytes: usize, must: bool) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let after = used.saturating_add(bytes);
        let beyond = beyond(after) - beyond(*used);
        if must {
            self.shared.taken.fetch_add(beyond, Ordering::Relaxed);
        } else if beyond > 0 && !self.shared.take(beyond) {
            return false;
        }
        *used = after;
        true
    }

    fn give_back(&self, bytes: usize) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let after = used.saturating_sub(bytes);
        self.shared.taken.fetch_sub(beyond(*used) - beyond(after), Ordering::Relaxed);
        *used = after;
    }
}

const fn beyond(used: usize) -> usize {
    used.saturating_sub(OWN_BYTES)
}

impl fmt::Display for OfQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "question({})", human_readable_size(self.reserved()))
    }
}

impl MemoryPool for OfQuestion {
    fn name(&self) -> &'static str {
        "question"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.parts.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.parts.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.take(additional, true);
        self.parts.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.parts.shrink(reservation, shrink);
        self.give_back(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        self.parts.try_grow(reservation, additional)?;
        if self.take(additional, false) {
            return Ok(());
        }
        self.parts.shrink(reservation, additional);
        let wanted = human_readable_size(additional);
        Err(DataFusionError::ResourcesExhausted(format!("{wanted} more for {}", reservation.consumer().name())))
    }

    fn reserved(&self) -> usize {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(OWN_BYTES + SHARED_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(shared: &Arc<Shared>) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::new(OfQuestion::new(shared));
        MemoryConsumer::new("part").register(&pool)
    }

    #[test]
    fn what_others_take_leaves_each_its_own() {
        let shared = Arc::<Shared>::default();
        let (hungry, modest) = (part(&shared), part(&shared));
        hungry.try_grow(OWN_BYTES + SHARED_BYTES).unwrap();
        assert!(hungry.try_grow(1).is_err());
        modest.try_grow(OWN_BYTES).unwrap();
        assert!(modest.try_grow(1).is_err(), "the shared part is taken");
        hungry.shrink(10);
        modest.try_grow(10).unwrap();
        assert!(modest.try_grow(1).is_err());
        // What must be is counted, and given back in full.
        modest.grow(100);
        drop((hungry, modest));
        assert_eq!(shared.taken.load(Ordering::Relaxed), 0);
    }
}
