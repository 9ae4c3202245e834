//! Bounds on everything that a client can make large, many or slow.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{Kind, Refusal};

/// Largest request after decompression, as the specification recommends.
pub const MAX_REQUEST_BYTES: usize = 64 << 20;
/// The byte budget is counted in pieces of this size.
const PIECE_BYTES: usize = 1 << 10;

/// What receivers bound. The defaults are for production; tests make them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest request after decompression.
    pub request_bytes: usize,
    /// Memory of all requests that are read, decompressed, decoded or worked on at once, over all receivers: their bytes,
    /// and what they become.
    pub bytes_at_once: usize,
    /// Requests whose bodies are read at once, over all receivers.
    pub bodies_at_once: usize,
    /// Requests that are decoded and kept at once, over all receivers.
    pub requests_at_once: usize,
    /// Connections to one listener; more wait to be accepted.
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// A connection on which no request is under way is closed after this: idle ones, and those whose client takes as
    /// long for the head of a request.
    pub idle: Duration,
    /// Longest pause within a body.
    pub body_pause: Duration,
    /// Time for a whole body.
    pub body: Duration,
    /// Time for requests under way when the receiver is stopped.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: MAX_REQUEST_BYTES,
            bytes_at_once: 8 * MAX_REQUEST_BYTES,
            bodies_at_once: 1024,
            requests_at_once: 128,
            connections: 2048,
            streams: 100,
            handshake: Duration::from_secs(10),
            // Longer than the minute at which SDKs export metrics.
            idle: Duration::from_secs(90),
            body_pause: Duration::from_secs(10),
            body: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// What all receivers of a process share: one memory, one set of cores.
#[derive(Debug)]
pub struct Gate {
    pub(super) limits: Limits,
    pub(super) bodies: Semaphore,
    pub(super) requests: Semaphore,
    /// Decoding large bodies in more threads than there are cores takes memory and gains nothing.
    pub(super) decoders: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Gate {
    /// A gate with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        Arc::new(Self {
            bodies: Semaphore::new(limits.bodies_at_once),
            requests: Semaphore::new(limits.requests_at_once),
            decoders: Arc::new(Semaphore::new(cores)),
            bytes: Arc::new(Semaphore::new(limits.bytes_at_once / PIECE_BYTES)),
            limits,
        })
    }

    pub(super) fn charge(&self) -> Charge {
        Charge { budget: Arc::clone(&self.bytes), most: self.limits.bytes_at_once, held: None, bytes: 0 }
    }
}

/// A request's part of the byte budget; given back when dropped. Nobody waits for more while holding some: who does not
/// get it is told to come back, so requests can't block each other.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Semaphore>,
    /// The whole budget.
    most: usize,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Charge {
    /// Takes room for more bytes. What would not fit even alone is too large: coming back would not help it.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let total = self.bytes.saturating_add(bytes);
        if total > self.most {
            let message = "the request takes too much memory once it is decoded; send smaller batches";
            return Err(Refusal::new(Kind::TooLarge, message));
        }
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = total.div_ceil(PIECE_BYTES).saturating_sub(held);
        if more > 0 {
            let more = u32::try_from(more).ok().and_then(|n| Arc::clone(&self.budget).try_acquire_many_owned(n).ok());
            let more = more.ok_or_else(|| Refusal::unavailable("too many bytes at once"))?;
            match &mut self.held {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            }
        }
        self.bytes = total;
        Ok(())
    }

    /// Gives room back.
    pub fn shrink(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(held) = &mut self.held {
            let unused = held.num_permits().saturating_sub(self.bytes.div_ceil(PIECE_BYTES));
            drop(held.split(unused));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_comes_back() {
        let gate = Gate::new(Limits { bytes_at_once: 10 * PIECE_BYTES, ..Limits::default() });
        let (mut one, mut other) = (gate.charge(), gate.charge());
        assert!(one.grow(1).is_ok() && one.grow(PIECE_BYTES - 1).is_ok());
        assert_eq!(gate.bytes.available_permits(), 9, "what fills one piece is one piece");
        assert!(one.grow(5 * PIECE_BYTES).is_ok());
        assert!(other.grow(5 * PIECE_BYTES).is_err());
        assert!(other.grow(4 * PIECE_BYTES).is_ok(), "a refusal takes nothing");
        one.shrink(5 * PIECE_BYTES);
        assert!(other.grow(5 * PIECE_BYTES).is_ok());
        assert_eq!(gate.bytes.available_permits(), 0);
        assert_eq!(one.grow(9 * PIECE_BYTES).map_err(|refusal| refusal.kind), Err(Kind::Unavailable));
        assert_eq!(one.grow(10 * PIECE_BYTES).map_err(|refusal| refusal.kind), Err(Kind::TooLarge));
        drop((one, other));
        assert_eq!(gate.bytes.available_permits(), 10);
    }
}
