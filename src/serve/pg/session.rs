//! What a connection remembers: who it is, what was set, and what runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::guest::new_id;
use super::Server;
use crate::access::{Asked, Caller, Exchange};
use crate::query::Asker;

/// One connection.
pub struct Session {
    /// What it shares with the others.
    pub server: Arc<Server>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its id in the audit log.
    pub id: String,
    state: Mutex<State>,
    itself: Weak<Self>,
}

/// What changes while it lasts.
#[derive(Default)]
pub struct State {
    /// Who it is, once that is known.
    pub caller: Option<Caller>,
    /// The name that it gave.
    pub user: String,
    /// A proof that is waited for, and whose it would be.
    pub exchange: Option<(Exchange, Option<Caller>)>,
    /// What was set.
    pub settings: BTreeMap<String, String>,
    /// Its `statement_timeout`.
    pub patience: Option<Duration>,
    /// Number and secret by which its statements are cancelled.
    pub name: (i32, Vec<u8>),
}

impl Session {
    pub fn new(server: Arc<Server>, peer: SocketAddr) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            server,
            peer,
            id: new_id(),
            state: Mutex::default(),
            itself: Weak::clone(itself),
        })
    }

    /// Another handle of it; `None` while it ends.
    pub fn itself(&self) -> Option<Arc<Self>> {
        self.itself.upgrade()
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who asks; nobody asks before the log-in.
    pub fn asker(&self) -> Option<Asker> {
        self.with(|state| {
            let caller = state.caller.clone()?;
            Some(Asker { postgres: true, patience: state.patience, ..Asker::plain(caller) })
        })
    }

    /// Begins a statement that can be cancelled.
    pub fn begin(&self) -> CancellationToken {
        let name = self.with(|state| state.name.clone());
        self.server.running.begin(&name)
    }

    /// A line for the audit log.
    pub fn asked(&self, what: &str) -> Asked {
        let mut asked = Asked::new(self.server.state.clock.now(), "postgres", what);
        asked.from = self.peer.to_string();
        asked.request.clone_from(&self.id);
        self.with(|state| match &state.caller {
            Some(caller) => asked.by(caller),
            None => asked.who = Arc::from(state.user.as_str()),
        });
        asked
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let name = self.with(|state| std::mem::take(&mut state.name));
        self.server.running.end(&name);
    }
}
