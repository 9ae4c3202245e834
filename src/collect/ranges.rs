//! The bytes of an object in a store, fetched in ranges. A client gives up on an answer that takes 30 seconds; a reader of a
//! large object may be held back for longer than that, so it must not hold an answer open.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};

/// Bytes of one request, which are in memory at once.
pub const RANGE_BYTES: u64 = 4 << 20;

/// The first range of what lies between two offsets.
pub fn range(from: u64, end: u64) -> GetRange {
    GetRange::Bounded(from..end.min(from + RANGE_BYTES))
}

/// What is left of an object of which the beginning was fetched.
#[derive(Debug)]
pub struct Rest {
    /// Where it lies.
    pub store: Arc<dyn ObjectStore>,
    /// Its path there.
    pub path: Path,
    /// The version that was begun; `None` where the object may grow while it is read, and whatever it is then counts.
    pub version: Option<String>,
    /// Offset of the next byte.
    pub next: u64,
    /// Offset behind the last byte.
    pub end: u64,
}

impl Rest {
    /// The rest, a range at a time, each when it is asked for.
    pub fn ranges(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, async |mut rest: Self| {
            if rest.next >= rest.end {
                return Ok(None);
            }
            let bytes = rest.fetch().await.map_err(io::Error::other)?;
            rest.next += u64::try_from(bytes.len()).map_err(io::Error::other)?;
            // An answer without a byte of what there was is an object that was cut: no more will come.
            if bytes.is_empty() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(Some((bytes, rest))) }
        })
    }

    async fn fetch(&self) -> object_store::Result<Bytes> {
        let range = Some(range(self.next, self.end));
        let options = GetOptions { range, if_match: self.version.clone(), ..GetOptions::default() };
        self.store.get_opts(&self.path, options).await?.bytes().await
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::BoxStream;
    use futures::{StreamExt, TryStreamExt};
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    const LEN: u64 = 2 * RANGE_BYTES + 17;

    fn content(salt: u64) -> Vec<u8> {
        (0..LEN).map(|n| u8::try_from((n * n + salt) % 251).unwrap()).collect()
    }

    fn path() -> Path {
        Path::from("log.json")
    }

    /// A store with an object, and what is left of it but for five bytes.
    async fn stored(pinned: bool) -> (Arc<InMemory>, BoxStream<'static, io::Result<Bytes>>) {
        let store = Arc::new(InMemory::new());
        let put = store.put(&path(), PutPayload::from(content(1))).await.unwrap();
        let version = put.e_tag.filter(|_| pinned);
        let rest = Rest { store: Arc::clone(&store) as _, path: path(), version, next: 5, end: LEN };
        (store, rest.ranges().boxed())
    }

    /// What comes in the first range, after which the object is another.
    async fn changed(pinned: bool, now: impl Into<PutPayload>) -> (Bytes, BoxStream<'static, io::Result<Bytes>>) {
        let (store, mut ranges) = stored(pinned).await;
        let first = ranges.try_next().await.unwrap().unwrap();
        store.put(&path(), now.into()).await.unwrap();
        (first, ranges)
    }

    #[tokio::test]
    async fn all_bytes_come_once_and_in_order() {
        let (_store, ranges) = stored(true).await;
        let ranges: Vec<Bytes> = ranges.try_collect().await.unwrap();
        assert_eq!(ranges.iter().map(Bytes::len).max(), usize::try_from(RANGE_BYTES).ok());
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges.concat(), content(1)[5..]);
    }

    /// Two versions are never mixed.
    #[tokio::test]
    async fn an_object_that_is_replaced_meanwhile_is_an_error() {
        let (_, mut ranges) = changed(true, content(2)).await;
        let error = ranges.try_next().await.unwrap_err();
        let source = error.get_ref().and_then(|source| source.downcast_ref::<object_store::Error>());
        assert!(matches!(source, Some(object_store::Error::Precondition { .. })), "{error}");
    }

    /// As append blobs do.
    #[tokio::test]
    async fn an_object_that_grows_meanwhile_is_read_as_far_as_it_was_known() {
        let (first, ranges) = changed(false, [content(1), vec![b'x'; 100]].concat()).await;
        let others: Vec<Bytes> = ranges.try_collect().await.unwrap();
        assert_eq!([first.to_vec(), others.concat()].concat(), content(1)[5..]);
    }

    #[tokio::test]
    async fn an_object_that_is_cut_meanwhile_is_an_error() {
        let (_, mut ranges) = changed(false, "short").await;
        assert!(ranges.try_next().await.is_err());
    }
}
