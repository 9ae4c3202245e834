//! Who may send: bearer tokens. Only their digests are kept, and all of them are compared whatever matches.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::access::{Directory, Reloading, Right, SecretError, same, token_digest};

/// Where tokens come from, one a line; several are all good, which is how one is replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file; read again when it changes.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

/// Decides who may send to a receiver.
#[derive(Debug)]
pub struct Access {
    tokens: Option<Reloading<Tokens>>,
    /// Those who are known to the whole server.
    directory: Option<Arc<Directory>>,
}

struct Tokens(Vec<[u8; 32]>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Access {
    /// Everybody may send.
    #[must_use]
    pub const fn open() -> Self {
        Self { tokens: None, directory: None }
    }

    /// Only who has a token.
    ///
    /// # Errors
    /// There is no token to be read.
    pub fn tokens(source: &TokenSource) -> Result<Self, SecretError> {
        let files = match source {
            TokenSource::File(path) => vec![path.clone()],
            TokenSource::Env(_) => Vec::new(),
        };
        let source = source.clone();
        let tokens = Some(Reloading::new("token file", files, Box::new(move || read(&source)))?);
        Ok(Self { tokens, directory: None })
    }

    /// Also those who are known to the whole server and may send.
    #[must_use]
    pub fn or(self, directory: Arc<Directory>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        if self.tokens.is_none() && self.directory.is_none() {
            return true;
        }
        let Some(given) = bearer(headers) else { return false };
        let own = self.tokens.as_ref().is_some_and(|tokens| {
            let given = token_digest(given);
            // Digests tell nothing of the tokens, and there is no early end, so time tells nothing either.
            tokens.get().0.iter().fold(false, |found, token| found | same(token, &given))
        });
        own || self
            .directory
            .as_ref()
            .is_some_and(|directory| directory.holder(given).is_some_and(|caller| caller.role.may(Right::Ingest)))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| token.trim())
}

fn read(source: &TokenSource) -> Result<Tokens, SecretError> {
    let (text, place) = match source {
        TokenSource::File(path) => {
            let place = format!("the token file '{}'", path.display());
            (
                std::fs::read_to_string(path)
                    .map_err(|error| SecretError::new(format!("{place} can't be read: {error}")))?,
                place,
            )
        }
        TokenSource::Env(name) => {
            let place = format!("the environment variable '{name}'");
            (std::env::var(name).map_err(|_| SecretError::new(format!("{place} is not set, or is not text")))?, place)
        }
    };
    let tokens: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err(SecretError::new(format!("{place} holds no token")));
    }
    if tokens.iter().any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(SecretError::new(format!("{place} holds a token with characters that no header can carry")));
    }
    Ok(Tokens(tokens.into_iter().map(token_digest).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(access: &Access, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        access.allows(&headers)
    }

    #[test]
    fn any_of_the_tokens_is_good_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "first-token\n\n  second-token  \r\n").unwrap();
        let access = Access::tokens(&TokenSource::File(path.clone())).unwrap();
        for good in ["Bearer first-token", "bearer second-token", "BEARER  second-token"] {
            assert!(asks(&access, good), "{good}");
        }
        for bad in ["Bearer", "Bearer ", "Bearer first-toke", "Bearer first-token2", "Basic first-token", "first-token"]
        {
            assert!(!asks(&access, bad), "{bad}");
        }
        assert!(!access.allows(&HeaderMap::new()));
        assert!(Access::open().allows(&HeaderMap::new()));
        assert!(!format!("{access:?}").contains("first"), "a token is never shown");
        for (text, part) in [("\n \n", "holds no token"), ("a b", "no header")] {
            std::fs::write(&path, text).unwrap();
            let error = Access::tokens(&TokenSource::File(path.clone())).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("a b"), "{error}");
        }
        assert!(Access::tokens(&TokenSource::Env("POLYMETER_NO_SUCH_VARIABLE".to_owned())).is_err());
    }
}
