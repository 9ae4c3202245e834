//! Following a folder, bucket or container: list what may be new, read what is, remember it.
//!
//! A few thousand objects are listed whole at every look. Where there are more, in folders by the hour, a look lists the
//! last hours only, and the folders of what grew lately. What comes later than that is found by a wider look now and then,
//! and whatever else was missed by a listing of everything once a day.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::info;

use super::position::{Done, Next, Position, is_compressed};
use super::{Follow, Station};
use crate::collect::{Layout, ObjectEntry, ObjectPath, Objects, ObjectsError, discover};
use crate::journal::Positions;
use crate::model::{HOUR_US, Rows};
use crate::pipeline::ingest::{IngestError, ObjectTotals};
use crate::pipeline::{PipelineError, Totals};
use crate::store::Access;

/// An object that was changed this recently may be changed again: its last line may be cut.
const GROWING_US: i64 = 2 * HOUR_US;
/// Objects that are read at once; a large one counts for several.
const AT_ONCE: usize = 16;
/// Bytes that count as one object.
const SHARE_BYTES: u64 = 1 << 20;
/// Looks at an object that changes while it is read.
const LOOKS: u32 = 3;
/// So many failures without a success are a failure of the source.
const GIVE_UP: usize = 20;
/// Folders of growing objects that a near look lists at most.
const GROWING_FOLDERS: usize = 200;
/// Failed objects that one look tries again.
const AGAIN: usize = 500;

/// How often what is listed, and how long messages about it are kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweeps {
    /// Pause between two looks.
    pub poll_every: Duration,
    /// How far back every look goes.
    pub near: Duration,
    /// How far back a wider look goes: as late as objects may come or grow.
    pub window: Duration,
    /// Pause between two wider looks, which also find new folders.
    pub window_every: Duration,
    /// Pause between two listings of everything.
    pub full_every: Duration,
    /// A location with so few objects is listed whole at every look.
    pub small: usize,
    /// How long others don't see a message that is worked on, in whole seconds; said again while it is.
    pub hidden: Duration,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            poll_every: Duration::from_secs(60),
            near: Duration::from_secs(2 * 3600),
            window: Duration::from_secs(48 * 3600),
            window_every: Duration::from_secs(15 * 60),
            full_every: Duration::from_secs(24 * 3600),
            small: 3000,
            hidden: Duration::from_secs(120),
        }
    }
}

/// How far a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Near,
    Window,
    Full,
}

/// An object to read.
pub(super) struct Job {
    entry: ObjectEntry,
    done: Done,
    from: u64,
}

/// What became of it.
enum Outcome {
    Read(Done, Totals),
    /// It is not there any more.
    Gone,
    /// It changes faster than it is read; the next look finds it again.
    Later,
}

/// Follows the objects at a location.
pub struct ObjectsTail {
    pub(super) station: Station,
    location: String,
    access: Access,
    sweeps: Sweeps,
    objects: Option<Arc<Objects>>,
    layout: Option<Layout>,
    /// How many objects the last listing of everything found.
    listed: Option<usize>,
    /// Folders, outside of the last hours, of objects that may go on growing.
    growing: BTreeSet<ObjectPath>,
    position: Position,
    /// Could not be read yet.
    failed: BTreeMap<String, ObjectEntry>,
    window_due: Option<Instant>,
    full_due: Option<Instant>,
}

impl ObjectsTail {
    /// Goes on where the journal says that the source stood.
    #[must_use]
    pub fn new(station: Station, location: String, access: Access, sweeps: Sweeps) -> Self {
        let stored = station.ingest.journal.positions_at_start().of(&station.ingest.source);
        let position =
            stored.filter_map(|(key, done)| Some((key.to_owned(), serde_json::from_str(done).ok()?))).collect();
        station.starting(&location);
        Self {
            station,
            location,
            access,
            sweeps,
            objects: None,
            layout: None,
            listed: None,
            growing: BTreeSet::new(),
            position,
            failed: BTreeMap::new(),
            window_due: None,
            full_due: None,
        }
    }

    /// How long others don't see a message that is worked on.
    pub(super) const fn hidden(&self) -> Duration {
        self.sweeps.hidden
    }

    /// The client; made anew after a failure, because what it was made of (credentials, names) may have changed.
    pub(super) async fn objects(&mut self) -> Result<Arc<Objects>, ObjectsError> {
        if let Some(objects) = &self.objects {
            return Ok(Arc::clone(objects));
        }
        let objects = Arc::new(Objects::open_as(&self.location, &self.access).await?);
        self.objects = Some(Arc::clone(&objects));
        Ok(objects)
    }

    /// Lists what may be new and reads what is.
    pub(super) async fn sweep(&mut self) -> Result<(), IngestError> {
        let swept = self.sweep_once().await;
        if swept.is_err() {
            self.objects = None;
        }
        swept
    }

    async fn sweep_once(&mut self) -> Result<(), IngestError> {
        let (started, now) = (self.station.now(), Instant::now());
        let objects = self.objects().await?;
        let due = |at: Option<Instant>| at.is_none_or(|at| now >= at);
        let small = self.listed.is_none_or(|listed| listed <= self.sweeps.small);
        let look_around = due(self.window_due);
        let reach = match (small || due(self.full_due) || self.layout.is_none(), look_around) {
            (true, _) => Reach::Full,
            (_, true) => Reach::Window,
            _ => Reach::Near,
        };
        if reach == Reach::Window {
            self.layout = discover(&objects).await?.filter(|layout| !layout.dated.is_empty());
        }
        let (entries, explicit) = self.list(&objects, reach).await?;
        if reach == Reach::Full {
            self.listed = Some(entries.len());
            if entries.len() > self.sweeps.small && look_around {
                self.layout = discover(&objects).await?.filter(|layout| !layout.dated.is_empty());
            }
        }
        let wanted: Vec<&ObjectEntry> = entries.iter().filter(|entry| explicit || self.wants(entry)).collect();
        let mut jobs = self.jobs(wanted.into_iter());
        let again: Vec<ObjectEntry> = self.failed.values().take(AGAIN).cloned().collect();
        let listed: HashSet<&str> = entries.iter().map(|entry| entry.path.as_ref()).collect();
        let again: Vec<&ObjectEntry> = again.iter().filter(|entry| !listed.contains(entry.path.as_ref())).collect();
        jobs.extend(self.jobs(again.into_iter()));
        self.read(&objects, jobs).await?;
        if reach == Reach::Full {
            self.forget_gone(&listed).await?;
            self.full_due = Some(now + self.sweeps.full_every);
        }
        if look_around {
            self.window_due = Some(now + self.sweeps.window_every);
        }
        self.note_growing(&entries);
        if self.failed.is_empty() {
            self.station.board.complete(self.station.name(), started);
        }
        Ok(())
    }

    fn wants(&self, entry: &ObjectEntry) -> bool {
        self.station.ingest.format.wants(entry.path.as_ref())
    }

    /// The objects that may be new. The second value is true if the location is one object by itself.
    async fn list(&self, objects: &Objects, reach: Reach) -> Result<(Vec<ObjectEntry>, bool), ObjectsError> {
        let now = self.station.now();
        let (since, loose) = match (&self.layout, reach) {
            // It is known to be no single object.
            (Some(_), Reach::Full) => return Ok((objects.after(objects.prefix(), None).await?, false)),
            (None, _) => return objects.list().await,
            (Some(_), Reach::Near) => (now.before(self.sweeps.near), Vec::new()),
            (Some(layout), Reach::Window) => (now.before(self.sweeps.window), layout.loose.clone()),
        };
        let mut entries = loose;
        for folder in &self.growing {
            entries.extend(objects.after(folder, None).await?);
        }
        for folder in self.layout.iter().flat_map(|layout| &layout.dated) {
            entries.extend(folder.since(objects, since, now).await?);
        }
        // Folders of growing objects and of the last hours may be the same.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        Ok((entries, false))
    }

    /// Remembers the folders of what was changed lately: a blob may go on growing after its hour, and under the name of
    /// another time.
    fn note_growing(&mut self, entries: &[ObjectEntry]) {
        let growing = entries.iter().filter(|entry| self.wants(entry) && may_grow(&self.station, entry));
        let folders = growing.filter_map(|entry| {
            let (folder, _) = entry.path.as_ref().rsplit_once('/')?;
            ObjectPath::parse(folder).ok()
        });
        let near = self.station.now().before(self.sweeps.near);
        let dated = self.layout.iter().flat_map(|layout| &layout.dated);
        let listed: Vec<ObjectPath> = dated.map(|dated| dated.hour(near)).collect();
        let old = |folder: &ObjectPath| listed.iter().any(|from| folder < from && same_root(folder, from));
        self.growing = folders.filter(old).take(GROWING_FOLDERS).collect();
    }

    /// What is to be read of these.
    pub(super) fn jobs<'a>(&mut self, entries: impl Iterator<Item = &'a ObjectEntry>) -> Vec<Job> {
        let mut jobs = Vec::new();
        for entry in entries {
            let done = self.position.get(entry.path.as_ref()).cloned().unwrap_or_default();
            match done.next(entry, may_grow(&self.station, entry)) {
                Next::Nothing => {}
                Next::Remember => {
                    let done = Done { size: entry.size, etag: entry.etag.clone(), offset: done.offset };
                    self.position.insert(entry.path.to_string(), done);
                }
                Next::Read(from) => jobs.push(Job { entry: entry.clone(), done, from }),
            }
        }
        jobs
    }

    /// Reads objects, several at once; what fails is kept for the next look.
    pub(super) async fn read(&mut self, objects: &Objects, jobs: Vec<Job>) -> Result<(), IngestError> {
        let Self { station, position, failed, .. } = self;
        let shares = Semaphore::new(AT_ONCE);
        let (station, shares) = (&*station, &shares);
        let reads = stream::iter(jobs).map(|job| async move {
            let share = u32::try_from((job.entry.size / SHARE_BYTES).clamp(1, AT_ONCE as u64)).unwrap_or(1);
            let _share = shares.acquire_many(share).await;
            let entry = job.entry.clone();
            (entry, read(station, objects, job).await)
        });
        let mut reads = std::pin::pin!(reads.buffer_unordered(AT_ONCE));
        let (mut bad, mut good) = (0, 0);
        while let Some((entry, outcome)) = reads.next().await {
            let key = entry.path.to_string();
            match outcome {
                Ok(outcome) => {
                    good += 1;
                    failed.remove(&key);
                    if let Outcome::Read(done, totals) = outcome {
                        station.counted(totals);
                        position.insert(key, done);
                    }
                }
                Err(error @ IngestError::Pipeline(_)) => return Err(error),
                Err(error) => {
                    bad += 1;
                    station.trouble(&key, &error);
                    failed.insert(key, entry);
                    station.failed_objects(failed.len());
                    if good == 0 && bad >= GIVE_UP {
                        return Err(error);
                    }
                }
            }
        }
        station.failed_objects(failed.len());
        Ok(())
    }

    /// Whether the object could not be read yet.
    pub(super) fn has_failed(&self, key: &str) -> bool {
        self.failed.contains_key(key)
    }

    /// Objects that are no longer there (a lifecycle rule removed them) need not be remembered.
    async fn forget_gone(&mut self, there: &HashSet<&str>) -> Result<(), IngestError> {
        let gone: Vec<String> = self.position.keys().filter(|key| !there.contains(key.as_str())).cloned().collect();
        self.failed.retain(|key, _| there.contains(key.as_str()));
        self.station.failed_objects(self.failed.len());
        if gone.is_empty() {
            return Ok(());
        }
        let mut changes = Positions::default();
        for key in &gone {
            changes.forget(&self.station.ingest.source, key);
            self.position.remove(key);
        }
        let committed = self.station.ingest.journal.append_patiently(Rows::default(), changes).await;
        committed.map_err(PipelineError::from)?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Follow for ObjectsTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        self.sweep().await?;
        Ok(self.sweeps.poll_every)
    }
}

/// Whether both lie in the same tree of dated folders: five levels and the file's minute below it at most.
fn same_root(folder: &ObjectPath, hour: &ObjectPath) -> bool {
    let root = hour.as_ref().rsplitn(5, '/').last().unwrap_or_default();
    folder.as_ref().starts_with(root)
}

fn may_grow(station: &Station, entry: &ObjectEntry) -> bool {
    !is_compressed(entry) && station.now().0.saturating_sub(entry.modified.0) < GROWING_US
}

/// Reads one object; one that changes meanwhile is looked at anew.
async fn read(station: &Station, objects: &Objects, job: Job) -> Result<Outcome, IngestError> {
    let Job { mut entry, done, mut from } = job;
    for _ in 0..LOOKS {
        match read_once(station, objects, &entry, from).await {
            Err(IngestError::Objects(error)) if error.is_gone() => return Ok(Outcome::Gone),
            Err(IngestError::Objects(error)) if error.is_changed() => {}
            outcome => return outcome,
        }
        let Some(now) = objects.look_at(&entry.path).await? else { return Ok(Outcome::Gone) };
        from = match done.next(&now, may_grow(station, &now)) {
            Next::Read(from) => from,
            Next::Nothing | Next::Remember => return Ok(Outcome::Later),
        };
        entry = now;
    }
    Ok(Outcome::Later)
}

async fn read_once(
    station: &Station,
    objects: &Objects,
    entry: &ObjectEntry,
    from: u64,
) -> Result<Outcome, IngestError> {
    let (key, name) = (entry.path.to_string(), station.ingest.source.to_string());
    let growing = may_grow(station, entry);
    let mut done = Done { size: entry.size, etag: entry.etag.clone(), offset: entry.size };
    let note = |totals: ObjectTotals| {
        // Of an object at rest everything was read, line end or not.
        if growing {
            done.offset = totals.complete_to;
        }
        let mut changes = Positions::default();
        changes.set(&name, &key, serde_json::to_string(&done).unwrap_or_default());
        changes
    };
    let totals = station.ingest.object(objects, entry, from, growing, note, async |_| {}).await?;
    info!(source.id = %station.ingest.source, object.key = %key, records = totals.totals.records, "object read");
    Ok(Outcome::Read(done, totals.totals))
}
