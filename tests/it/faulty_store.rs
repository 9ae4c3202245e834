//! A store that fails on purpose: what goes wrong, and where, is set while it is used.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every request fails before anything is done.
    Broken,
    /// Nothing can be written, reading works.
    Full,
    /// Writes are done, and then an error is answered.
    LostAnswer,
    /// Every request takes 50 to 200 ms longer.
    Slow,
    /// No request is answered until the fault is over; then it is done.
    Hang,
    /// The next creation of a log entry is told that it is there already, although it is not; then all is well.
    Conflict,
    /// Nothing can be read or listed, writing works.
    Unreadable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The switch of a [`FaultyStore`].
#[derive(Debug)]
pub struct Faults {
    now: Mutex<Option<(Fault, &'static str)>>,
    hits: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Faults {
    pub fn none() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(None), hits: AtomicU64::new(0), changed: watch::Sender::new(0) })
    }

    /// From now on requests for paths that hold `place` go wrong.
    pub fn begin(&self, fault: Fault, place: &'static str) {
        self.hits.store(0, Ordering::SeqCst);
        *self.now.lock().unwrap() = Some((fault, place));
    }

    /// From now on nothing goes wrong; what hangs goes on.
    pub fn end(&self) {
        *self.now.lock().unwrap() = None;
        self.changed.send_modify(|times| *times += 1);
    }

    /// Requests that went wrong since the fault began.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    fn at(&self, path: &Path) -> Option<Fault> {
        // A folder is listed by its name without the slash.
        let path = format!("{path}/");
        self.now.lock().unwrap().filter(|(_, place)| path.contains(place)).map(|(fault, _)| fault)
    }

    fn hit(&self) -> u64 {
        self.hits.fetch_add(1, Ordering::SeqCst)
    }

    async fn before(&self, access: Access, path: &Path) -> Result<()> {
        match (self.at(path), access) {
            (Some(Fault::Broken), _) | (Some(Fault::Unreadable), Access::Read) => {
                self.hit();
                Err(failed(io::Error::from_raw_os_error(5)))
            }
            (Some(Fault::Full), Access::Write) => {
                self.hit();
                Err(failed(io::Error::from_raw_os_error(28)))
            }
            (Some(Fault::Slow), _) => {
                let more = self.hit() * 37 % 150;
                tokio::time::sleep(Duration::from_millis(50 + more)).await;
                Ok(())
            }
            (Some(Fault::Hang), _) => {
                let mut changed = self.changed.subscribe();
                // It may have ended between the look and the subscription.
                if self.at(path) == Some(Fault::Hang) {
                    self.hit();
                    let _ = changed.changed().await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The answer to a write that was done.
    fn after<T>(&self, path: &Path, answer: Result<T>) -> Result<T> {
        if self.at(path) == Some(Fault::LostAnswer) {
            self.hit();
            return Err(failed(io::Error::from(io::ErrorKind::TimedOut)));
        }
        answer
    }

    fn conflict(&self, path: &Path, mode: &PutMode) -> Result<()> {
        if *mode != PutMode::Create || !path.as_ref().ends_with(".json") || self.at(path) != Some(Fault::Conflict) {
            return Ok(());
        }
        *self.now.lock().unwrap() = None;
        self.hit();
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(Error::AlreadyExists { path: path.to_string(), source: Box::new(source) })
    }
}

fn failed(source: io::Error) -> Error {
    Error::Generic { store: "FaultyStore", source: Box::new(source) }
}

/// Another store behind faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.faults.before(Access::Write, location).await?;
        self.faults.conflict(location, &opts.mode)?;
        let done = self.inner.put_opts(location, payload, opts).await;
        self.faults.after(location, done)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.faults.before(Access::Write, location).await?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.before(Access::Read, location).await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (before, after) = (Arc::clone(&self.faults), Arc::clone(&self.faults));
        let allowed = locations.and_then(move |path| {
            let faults = Arc::clone(&before);
            async move { faults.before(Access::Write, &path).await.map(|()| path) }
        });
        let deleted = self.inner.delete_stream(allowed.boxed());
        deleted.map(move |done| done.and_then(|path| after.after(&path.clone(), Ok(path)))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let prefix = prefix.cloned();
        let listed = async move {
            faults.before(Access::Read, prefix.as_ref().unwrap_or(&Path::default())).await?;
            Ok::<_, Error>(inner.list(prefix.as_ref()))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.faults.before(Access::Read, prefix.unwrap_or(&Path::default())).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.faults.before(Access::Write, to).await?;
        let done = self.inner.copy_opts(from, to, options).await;
        self.faults.after(to, done)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.faults.before(Access::Write, to).await?;
        let done = self.inner.rename_opts(from, to, options).await;
        self.faults.after(to, done)
    }
}
