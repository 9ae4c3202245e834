//! Who asks over HTTP: bearer token or name and password, the right that a path needs, and a line in the audit log.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ApiError, ApiState};
use crate::access::{Asked, Audit, Caller, Directory, Refusal, Right, random};
use crate::query::{Asker, Engine};

/// Names a request in answers and logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const ID_BYTES: usize = 128;

/// Whoever made a request. Handlers note here what was asked and how much was answered.
#[derive(Clone)]
pub struct Guest {
    /// Who it is.
    pub caller: Caller,
    note: Arc<Mutex<Note>>,
}

#[derive(Default)]
struct Note {
    what: Option<String>,
    rows: u64,
    streamed: Option<Arc<Tally>>,
}

/// Counts an answer that goes out as it comes; at its end it is written down.
#[derive(Debug, Default)]
pub struct Tally {
    rows: AtomicU64,
    ended: OnceLock<&'static str>,
    line: OnceLock<(Asked, Audit, Instant)>,
}

impl Tally {
    /// Rows that go out.
    pub fn more(&self, rows: usize) {
        self.rows.fetch_add(u64::try_from(rows).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How it ended: `ok`, or why before its end.
    pub fn ended(&self, code: &'static str) {
        self.ended.get_or_init(|| code);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let Some((mut asked, audit, started)) = self.line.take() else { return };
        asked.rows = *self.rows.get_mut();
        asked.ms = millis(started);
        asked.outcome = self.ended.get().copied().unwrap_or("abandoned").to_owned();
        audit.write(asked);
    }
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Guest {
    /// As somebody who asks the engine.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker::plain(self.caller.clone())
    }

    /// The engine that answers from the rows that they see, within the bounds of their role.
    #[must_use]
    pub fn engine(&self, state: &ApiState) -> Engine {
        state.engine.asked_by(self.caller.clone())
    }

    /// Notes what is asked, where the path does not say it.
    pub fn asks(&self, what: &str) {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).what = Some(what.to_owned());
    }

    /// Notes the rows of the answer.
    pub fn got(&self, rows: usize) {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).rows = u64::try_from(rows).unwrap_or(u64::MAX);
    }

    /// Counts an answer that goes out as it comes.
    #[must_use]
    pub fn streams(&self) -> Arc<Tally> {
        let mut note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(note.streamed.get_or_insert_default())
    }

    /// Refuses who sees a part of the rows what can't be told for a part.
    ///
    /// # Errors
    /// There is a scope.
    pub fn sees_all(&self, what: &str) -> Result<(), ApiError> {
        match &self.caller.scope {
            None => Ok(()),
            Some(scope) => {
                let why = format!("{what} can't be limited to your rows ({scope}), so it is refused");
                Err(ApiError::new(StatusCode::FORBIDDEN, "out_of_scope", why))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Guest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let missing = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nobody was let in");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The code of an error, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub &'static str);

/// What a path needs; `None` for what everybody may ask, whoever it is.
fn needs(path: &str) -> Option<Right> {
    match path {
        // The page holds no data.
        "/" | "/healthz" | "/readyz" => None,
        path if path.starts_with("/board/") => None,
        "/api/v1/periods" => Some(Right::Bill),
        path if path.starts_with("/api/v1/reports/") || path.starts_with("/api/v1/exports/") => Some(Right::Bill),
        _ => Some(Right::Ask),
    }
}

/// Lets requests in, or not; gives each an id and writes it down.
pub async fn let_in(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let (started, at) = (Instant::now(), state.clock.now());
    let id = request_id(request.headers());
    let from = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| *address);
    let address = from.map_or(IpAddr::from([0, 0, 0, 0]), |from| from.ip());
    let path = request.uri().path().to_owned();
    let mut asked = Asked::new(at, "http", &without_values(&path, request.uri().query()));
    asked.from = from.map_or_else(String::new, |from| from.to_string());
    asked.request.clone_from(&id);
    let admitted = match (needs(&path), &state.access.directory) {
        (None, _) | (_, None) => Ok(Caller::anyone()),
        (Some(right), Some(directory)) => admit(directory, request.headers(), address, right).await,
    };
    let mut streamed = None;
    let mut response = match admitted {
        Ok(caller) => {
            asked.who = Arc::clone(&caller.name);
            asked.role = caller.role.name();
            asked.scope = caller.scope.as_ref().map(ToString::to_string);
            let guest = Guest { caller, note: Arc::default() };
            request.extensions_mut().insert(guest.clone());
            let audit = state.access.audit.clone();
            let begun = Begun { asked: path.starts_with("/api/").then(|| asked.clone()), audit, started };
            let response = next.run(request).await;
            drop(begun.end());
            let note = guest.note.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(what) = &note.what {
                asked.what = Asked::new(at, "http", what).what;
            }
            asked.rows = note.rows;
            streamed.clone_from(&note.streamed);
            response
        }
        Err(refused) => refused,
    };
    if let Some(Code(code)) = response.extensions().get::<Code>() {
        (*code).clone_into(&mut asked.outcome);
    }
    asked.ms = millis(started);
    match streamed {
        // Its last holder writes it down.
        Some(tally) => drop(tally.line.set((asked, state.access.audit.clone(), started))),
        None if path.starts_with("/api/") => state.access.audit.write(asked),
        None => {}
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A path with the names of its parameters: their values may be somebody's secrets.
fn without_values(path: &str, query: Option<&str>) -> String {
    let names = query.into_iter().flat_map(|query| query.split('&'));
    let names: Vec<String> = names.filter_map(|pair| pair.split('=').next()).map(|name| format!("{name}=…")).collect();
    if names.is_empty() { path.to_owned() } else { format!("{path}?{}", names.join("&")) }
}

/// Written as abandoned if it is dropped before its end: whoever asked has left.
struct Begun {
    asked: Option<Asked>,
    audit: Audit,
    started: Instant,
}

impl Begun {
    fn end(mut self) -> Option<Asked> {
        self.asked.take()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut asked) = self.asked.take() else { return };
        asked.ms = millis(self.started);
        "abandoned".clone_into(&mut asked.outcome);
        self.audit.write(asked);
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(usable).map_or_else(new_id, str::to_owned)
}

/// An id that was not there before.
pub fn new_id() -> String {
    random::<8>().map_or_else(|_| "-".to_owned(), |bytes| format!("{:016x}", u64::from_be_bytes(bytes)))
}

enum Given {
    Nothing,
    Token(String),
    Password(String, String),
    Unreadable,
}

fn given(headers: &HeaderMap) -> Given {
    let Some(value) = headers.get(AUTHORIZATION) else { return Given::Nothing };
    let parts = value.to_str().ok().and_then(|value| value.trim().split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Given::Token(token.trim().to_owned()),
        Some((scheme, both)) if scheme.eq_ignore_ascii_case("basic") => {
            let both = STANDARD.decode(both.trim()).ok().and_then(|both| String::from_utf8(both).ok());
            match both.as_deref().and_then(|both| both.split_once(':')) {
                Some((name, password)) => Given::Password(name.to_owned(), password.to_owned()),
                None => Given::Unreadable,
            }
        }
        _ => Given::Unreadable,
    }
}

async fn admit(
    directory: &Arc<Directory>,
    headers: &HeaderMap,
    address: IpAddr,
    right: Right,
) -> Result<Caller, Response> {
    let found = match given(headers) {
        Given::Nothing => return Err(unknown("log in first")),
        Given::Unreadable => return Err(unknown("the authorization header can't be read")),
        Given::Token(token) => directory.token(&token, address),
        Given::Password(name, password) => {
            let directory = Arc::clone(directory);
            // Deriving a key takes long on purpose.
            let checked = tokio::task::spawn_blocking(move || directory.password(&name, &password, address)).await;
            checked.unwrap_or(Err(Refusal::Unknown))
        }
    };
    match found {
        Ok(caller) if caller.role.may(right) => Ok(caller),
        Ok(caller) => {
            let needed = if right == Right::Bill { "finance" } else { "read" };
            let why = format!("the role '{}' may not ask this", caller.role);
            let error = ApiError::new(StatusCode::FORBIDDEN, "not_allowed", why);
            Err(error.hint(format!("it needs the role '{needed}' or 'admin'")).into_response())
        }
        Err(Refusal::Unknown) => Err(unknown("the token, or name and password, are not known")),
        Err(refusal @ Refusal::Wait(time)) => {
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", refusal.to_string());
            let mut response = error.into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(time.as_secs().max(1)));
            Err(response)
        }
    }
}

fn unknown(why: &str) -> Response {
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", why);
    let hint = "send `authorization: Bearer TOKEN`, or name and password by basic authentication";
    let mut response = error.hint(hint).into_response();
    for scheme in ["Bearer realm=\"polymeter\"", "Basic realm=\"polymeter\", charset=\"UTF-8\""] {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_but_the_probes_needs_a_right() {
        assert_eq!(needs("/healthz"), None);
        assert_eq!(needs("/readyz"), None);
        assert_eq!((needs("/"), needs("/board/main.js")), (None, None));
        assert_eq!(without_values("/a", Some("token=x&from=1")), "/a?token=…&from=…");
        assert_eq!(needs("/metrics"), Some(Right::Ask));
        assert_eq!(needs("/api/v1/sql"), Some(Right::Ask));
        assert_eq!(needs("/api/v1/reports/chargeback"), Some(Right::Bill));
        assert_eq!(needs("/api/v1/periods"), Some(Right::Bill));
        assert_eq!(needs("/api/v1/exports/focus"), Some(Right::Bill));
        assert_eq!(needs("/anything"), Some(Right::Ask));
    }

    #[test]
    fn ids_of_clients_are_taken_if_they_can_be_shown() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, id.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(of("abc-1"), "abc-1");
        assert_eq!(of("a b").len(), 16);
        assert_eq!(of(&"x".repeat(200)).len(), 16);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
