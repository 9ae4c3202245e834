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
        let range = GetRange::Bounded(self.next..self.end.min(self.next + RANGE_BYTES));
        let options = GetOptions { range: Some(range), if_match: self.version.clone(), ..GetOptions::default() };
        self.store.get_opts(&self.path, options).await?.bytes().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    const LEN: u64 = 2 * RANGE_BYTES + 17;

    fn content(salt: u64) -> Vec<u8> {
        (0..LEN).map(|n| u8::try_from((n * n + salt) % 251).unwrap()).collect()
    }

    async fn begun(pinned: bool) -> (Arc<InMemory>, Rest) {
        let (store, path) = (Arc::new(InMemory::new()), Path::from("log.json"));
        let put = store.put(&path, PutPayload::from(content(1))).await.unwrap();
        let version = put.e_tag.filter(|_| pinned);
        (Arc::clone(&store), Rest { store, path, version, next: 5, end: LEN })
    }

    #[tokio::test]
    async fn all_bytes_come_once_and_in_order() {
        let (_store, rest) = begun(true).await;
        let ranges: Vec<Bytes> = rest.ranges().try_collect().await.unwrap();
        assert_eq!(ranges.iter().map(Bytes::len).max(), usize::try_from(RANGE_BYTES).ok());
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges.concat(), content(1)[5..]);
    }

    /// Two versions are never mixed.
    #[tokio::test]
    async fn an_object_that_is_replaced_meanwhile_is_an_error() {
        let (store, rest) = begun(true).await;
        let path = rest.path.clone();
        let mut ranges = Box::pin(rest.ranges());
        assert!(ranges.try_next().await.unwrap().is_some());
        store.put(&path, PutPayload::from(content(2))).await.unwrap();
        let error = ranges.try_next().await.unwrap_err();
        let source = error.get_ref().and_then(|source| source.downcast_ref::<object_store::Error>());
        assert!(matches!(source, Some(object_store::Error::Precondition { .. })), "{error}");
    }

    /// As append blobs do.
    #[tokio::test]
    async fn an_object_that_grows_meanwhile_is_read_as_far_as_it_was_known() {
        let (store, rest) = begun(false).await;
        let path = rest.path.clone();
        let mut ranges = Box::pin(rest.ranges());
        let mut read = ranges.try_next().await.unwrap().unwrap().to_vec();
        let longer = [content(1), vec![b'x'; 100]].concat();
        store.put(&path, PutPayload::from(longer)).await.unwrap();
        while let Some(range) = ranges.try_next().await.unwrap() {
            read.extend_from_slice(&range);
        }
        assert_eq!(read, content(1)[5..]);
    }

    #[tokio::test]
    async fn an_object_that_is_cut_meanwhile_is_an_error() {
        let (store, rest) = begun(false).await;
        let path = rest.path.clone();
        let mut ranges = Box::pin(rest.ranges());
        assert!(ranges.try_next().await.unwrap().is_some());
        store.put(&path, PutPayload::from_static(b"short")).await.unwrap();
        assert!(ranges.try_next().await.is_err());
    }
}
