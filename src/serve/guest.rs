//! Who asks over HTTP: bearer token or name and password, the right that a path needs, and a line in the audit log.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

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
use crate::access::{Asked, Caller, Directory, Line, Refusal, Right, random};
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
    /// The line of the audit log, until the answer takes it with it.
    line: Arc<Mutex<Option<Line>>>,
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
        self.note(|line| line.asks(what));
    }

    /// Notes the rows of the answer.
    pub fn got(&self, rows: usize) {
        self.note(|line| line.more(rows));
    }

    /// Hands the line on to an answer that goes out as it comes: it ends with it.
    #[must_use]
    pub fn takes_line(&self) -> Option<Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, what: impl FnOnce(&mut Line)) {
        if let Some(line) = self.line.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            what(line);
        }
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
    let id = request_id(request.headers());
    let from = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(address))| *address);
    let address = from.map_or(IpAddr::from([0, 0, 0, 0]), |from| from.ip());
    let path = request.uri().path().to_owned();
    let mut asked = Asked::new(state.clock.now(), "http", &without_values(&path, request.uri().query()));
    asked.from = from.map_or_else(String::new, |from| from.to_string());
    asked.request.clone_from(&id);
    let mut line = path.starts_with("/api/").then(|| Line::begin(asked, state.access.audit.clone()));
    let admitted = match (needs(&path), &state.access.directory) {
        (None, _) | (_, None) => Ok(Caller::anyone()),
        (Some(right), Some(directory)) => admit(directory, request.headers(), address, right).await,
    };
    if let (Ok(caller), Some(line)) = (&admitted, &mut line) {
        line.by(caller);
    }
    let line = Arc::new(Mutex::new(line));
    let mut response = match admitted {
        Ok(caller) => {
            request.extensions_mut().insert(Guest { caller, line: Arc::clone(&line) });
            next.run(request).await
        }
        Err(refused) => refused,
    };
    // Gone with an answer that goes out as it comes.
    if let Some(mut line) = line.lock().unwrap_or_else(PoisonError::into_inner).take() {
        line.ended(response.extensions().get::<Code>().map_or("ok", |Code(code)| code));
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
