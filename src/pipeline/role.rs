//! The settle role: one process at a time moves the journal into the tables.
//!
//! On a local disk it is a file lock, which the system drops when its holder dies. Another process asks for it by locking
//! a second file; the holder then hands over between two settles. On an object store the holder's token is a mark in the
//! ledger: who finds another token there has lost the role, and two that commit on top of one version exclude each other,
//! so a holder that was only slow can't do harm when it wakes up.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::{PipelineError, Tables};
use crate::delta::{Change, Marks, unique_number};
use crate::ledger::LedgerError;
use crate::store::{FileLock, Store};

const LOCK: &str = "settle.lock";
const WANTED: &str = "settle.wanted";
/// Mark of the ledger: token of the holder, 0 if it gave the role back.
const HOLDER_MARK: &str = "holder";

/// This process's claim to the role.
#[derive(Debug)]
pub struct Role {
    dir: Option<PathBuf>,
    lock: Option<FileLock>,
    wanted: Option<FileLock>,
    token: i64,
    /// How long a holder may show no sign of life while there is work.
    lease: Duration,
    /// Version of the ledger that was seen last, and since when.
    sign: Option<(u64, Instant)>,
}

impl Role {
    /// A claim that holds nothing yet.
    #[must_use]
    pub fn new(store: &Store, lease: Duration) -> Self {
        Self {
            dir: store.local().map(ToOwned::to_owned),
            lock: None,
            wanted: None,
            token: unique_number(),
            lease,
            sign: None,
        }
    }

    /// Takes the role if it is free. `tables` must be fresh.
    ///
    /// # Errors
    /// The store fails.
    pub async fn claim(&mut self, tables: &mut Tables) -> Result<bool, PipelineError> {
        let Some(dir) = &self.dir else { return self.claim_token(tables, false).await };
        if self.lock.is_none() {
            self.lock = FileLock::try_acquire(dir, LOCK).map_err(lock_failed)?;
        }
        Ok(self.lock.is_some())
    }

    /// Takes the role from whoever has it, between two of its settles.
    ///
    /// # Errors
    /// The store fails, or the holder did not hand over in time.
    pub async fn demand(&mut self, tables: &mut Tables, patience: Duration) -> Result<(), PipelineError> {
        let Some(dir) = self.dir.clone() else {
            return self.demand_token(tables, patience).await;
        };
        let until = Instant::now() + patience;
        loop {
            if self.wanted.is_none() {
                self.wanted = FileLock::try_acquire(&dir, WANTED).map_err(lock_failed)?;
            }
            if self.wanted.is_some() && self.lock.is_none() {
                self.lock = FileLock::try_acquire(&dir, LOCK).map_err(lock_failed)?;
            }
            if self.lock.is_some() {
                return Ok(tables.refresh().await?);
            }
            if Instant::now() > until {
                return Err(PipelineError::RoleTaken);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Somebody else may commit between the look and the claim.
    async fn demand_token(&mut self, tables: &mut Tables, patience: Duration) -> Result<(), PipelineError> {
        let until = Instant::now() + patience;
        while !self.claim_token(tables, true).await? {
            if Instant::now() > until {
                return Err(PipelineError::RoleTaken);
            }
            tables.refresh().await?;
        }
        Ok(())
    }

    /// Hands the role over if another process asks for it. To be called between settles.
    pub fn yield_to_others(&mut self) {
        let (Some(dir), true) = (&self.dir, self.lock.is_some()) else { return };
        // Nobody asks as long as the second file can be locked; the lock is dropped at once.
        if matches!(FileLock::try_acquire(dir, WANTED), Ok(None)) {
            info!("another process asks for the settle role, handing over");
            self.lock = None;
        }
    }

    /// Gives the role back, so that nobody has to wait for the lease to end.
    ///
    /// # Errors
    /// The store fails.
    pub async fn release(&mut self, tables: &mut Tables) -> Result<(), PipelineError> {
        self.lock = None;
        self.wanted = None;
        if self.dir.is_none() && self.holds_token(tables).await? {
            let table = tables.calls.table_mut();
            let free = Marks::from([(HOLDER_MARK.to_owned(), 0)]);
            table.commit(Change::default(), &free).await.map_err(LedgerError::from)?;
        }
        Ok(())
    }

    /// The marks by which commits of the ledger show whose they are.
    ///
    /// # Errors
    /// The role was lost.
    pub async fn check(&self, tables: &Tables) -> Result<(), PipelineError> {
        let held = if self.dir.is_some() { self.lock.is_some() } else { self.holds_token(tables).await? };
        if held { Ok(()) } else { Err(PipelineError::RoleTaken) }
    }

    async fn holds_token(&self, tables: &Tables) -> Result<bool, PipelineError> {
        let holder = tables.calls.table().mark(HOLDER_MARK).await.map_err(LedgerError::from)?;
        Ok(holder == Some(self.token))
    }

    async fn claim_token(&mut self, tables: &mut Tables, at_once: bool) -> Result<bool, PipelineError> {
        let holder = tables.calls.table().mark(HOLDER_MARK).await.map_err(LedgerError::from)?;
        if holder == Some(self.token) {
            return Ok(true);
        }
        let version = tables.calls.table().version();
        let free = holder.is_none_or(|holder| holder == 0);
        let silent = match self.sign {
            Some((seen, since)) if seen == version => since.elapsed() >= self.lease,
            _ => {
                self.sign = Some((version, Instant::now()));
                false
            }
        };
        if !(free || silent || at_once) {
            return Ok(false);
        }
        let token = Marks::from([(HOLDER_MARK.to_owned(), self.token)]);
        match tables.calls.table_mut().commit(Change::default(), &token).await {
            Ok(_) => {
                info!(silent, "the settle role is ours");
                // What the last holder appended before it lost the role must be seen.
                tables.refresh().await?;
                Ok(true)
            }
            Err(crate::delta::DeltaError::Overtaken { .. }) => Ok(false),
            Err(error) => Err(LedgerError::from(error).into()),
        }
    }
}

fn lock_failed(source: std::io::Error) -> PipelineError {
    PipelineError::Lock { source }
}
