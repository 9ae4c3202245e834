//! Transports: bytes and positions, nothing of LLMs. Decompression and records are always capped; every wait and
//! retry is bounded and named.

pub mod backoff;
mod frame;
mod inflate;
mod objects;
pub mod otlp_server;

pub use frame::{Framed, Frames, MAX_RECORD_BYTES};
pub use inflate::{Bomb, Inflate, inflate_whole};
pub use objects::{ObjectEntry, Objects, ObjectsError};
