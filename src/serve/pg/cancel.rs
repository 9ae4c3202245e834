//! Cancel requests: they come on a connection of their own and name the one that is meant by its number and secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pgwire::api::cancel::CancelHandler;
use pgwire::messages::cancel::CancelRequest;
use tokio_util::sync::CancellationToken;

/// The statement under way on each connection.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<HashMap<Name, CancellationToken>>>);

type Name = (i32, Vec<u8>);

impl Running {
    /// Notes that a statement begins; cancelling before has no effect on it.
    pub fn begin(&self, name: &Name) -> CancellationToken {
        let token = CancellationToken::new();
        self.lock().insert(name.clone(), token.clone());
        token
    }

    /// Forgets a connection.
    pub fn end(&self, name: &Name) {
        self.lock().remove(name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CancelHandler for Running {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let token = self.lock().get(&(request.pid, request.secret_key.to_bytes().to_vec())).cloned();
        if let Some(token) = token {
            token.cancel();
        }
    }
}
