//! Everybody who is known: users with passwords, and tokens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::hash::{Password, token_digest};
use super::{Attempts, Caller, Reloading, SecretError, Verifier, random, read, same};

/// Passwords that were found to be right lately: deriving a key for each request of a dashboard would stop it.
const REMEMBERED: usize = 1_000;
/// A password that was taken away is good for so long at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Somebody with a password.
#[derive(Clone, Debug)]
pub struct User {
    /// Who it is.
    pub caller: Caller,
    /// What is kept of the password.
    pub password: Password,
}

/// A token.
#[derive(Clone)]
pub struct Token {
    /// Who has it.
    pub caller: Caller,
    /// SHA-256 of it.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token of {:?}", self.caller)
    }
}

/// Users and tokens of one place.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Those with passwords.
    pub users: Vec<User>,
    /// Tokens.
    pub tokens: Vec<Token>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody is known by these credentials.
    #[error("the name or password is wrong")]
    Unknown,
    /// Too many failures.
    #[error("too many failed log-ins; wait {} s", .0.as_secs().max(1))]
    Wait(Duration),
}

/// Everybody who is known, and the failures of those who are not.
#[derive(Debug)]
pub struct Directory {
    fixed: Entries,
    file: Option<Reloading<Entries>>,
    attempts: Attempts,
    /// Makes verifiers of nobody; random for each process.
    secret: [u8; 32],
    remembered: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Directory {
    /// Those of the configuration, and of a file, which is read again when it changes.
    ///
    /// # Errors
    /// The file can't be read, all that is wrong in it, or a name is in both.
    pub fn new(fixed: Entries, file: Option<&Path>) -> Result<Self, SecretError> {
        let load = |path: &Path| {
            let (path, fixed) = (path.to_owned(), fixed.clone());
            Reloading::new("access file", vec![path.clone()], Box::new(move || load(&path, &fixed)))
        };
        let file = file.map(load).transpose()?;
        Ok(Self { fixed, file, attempts: Attempts::default(), secret: random()?, remembered: Mutex::default() })
    }

    fn search<T>(&self, find: impl Fn(&Entries) -> Option<T>) -> Option<T> {
        find(&self.fixed).or_else(|| find(&self.file.as_ref()?.get()))
    }

    /// Who has a token. Tokens can't be guessed, so a good one is never made to wait.
    ///
    /// # Errors
    /// Nobody has it, or there were too many that nobody has.
    pub fn token(&self, token: &str, from: IpAddr) -> Result<Caller, Refusal> {
        const NAME: &str = "(token)";
        match self.holder(token) {
            Some(caller) => Ok(caller),
            None => {
                self.attempts.begin(from, NAME).map_err(Refusal::Wait)?;
                self.attempts.failed(from, NAME);
                Err(Refusal::Unknown)
            }
        }
    }

    /// Who has a token.
    #[must_use]
    pub fn holder(&self, token: &str) -> Option<Caller> {
        let digest = token_digest(token);
        // No early end within a place, so that time tells nothing.
        self.search(|entries| {
            entries.tokens.iter().fold(None, |found, known| match same(&known.digest, &digest) {
                true => Some(known.caller.clone()),
                false => found,
            })
        })
    }

    /// Who has a name and password, or a name and the token of that name. Takes long: not for a thread that serves others.
    ///
    /// # Errors
    /// Nobody has both, or there were too many failures.
    pub fn password(&self, name: &str, password: &str, from: IpAddr) -> Result<Caller, Refusal> {
        if let Some(caller) = self.holder(password).filter(|caller| &*caller.name == name) {
            return Ok(caller);
        }
        self.attempts.begin(from, name).map_err(Refusal::Wait)?;
        let user = self.search(|entries| entries.users.iter().find(|user| &*user.caller.name == name).cloned());
        let good = match &user {
            Some(user) => self.accepts(user, password),
            // As long as it takes for somebody who is there.
            None => Verifier::of_nobody(name, &self.secret).accepts(password),
        };
        match user.filter(|_| good) {
            Some(user) => {
                self.attempts.succeeded(from, name);
                Ok(user.caller)
            }
            None => {
                self.attempts.failed(from, name);
                Err(Refusal::Unknown)
            }
        }
    }

    fn accepts(&self, user: &User, password: &str) -> bool {
        let kept = match &user.password {
            Password::Scram(verifier) => verifier.to_string(),
            Password::Argon2(hash) => hash.clone(),
        };
        // Bound to this process and to what is kept now: another password, or a changed one, is another key.
        let parts = [&self.secret[..], user.caller.name.as_bytes(), &[0], kept.as_bytes(), &[0], password.as_bytes()];
        let key: [u8; 32] = Sha256::digest(parts.concat()).into();
        let lock = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().get(&key).is_some_and(|since| since.elapsed() < REMEMBERED_FOR) {
            return true;
        }
        let good = user.password.accepts(password);
        if good {
            let mut remembered = lock();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(key, Instant::now());
        }
        good
    }

    /// Whether a name is one of a token.
    #[must_use]
    pub fn is_token(&self, name: &str) -> bool {
        self.search(|entries| entries.tokens.iter().any(|token| &*token.caller.name == name).then_some(())).is_some()
    }

    /// What proves the password of a name, and who it then is; for a name that nobody has, what no password proves.
    ///
    /// # Errors
    /// There were too many failures.
    pub fn verifier(&self, name: &str, from: IpAddr) -> Result<(Verifier, Option<Caller>), Refusal> {
        self.attempts.begin(from, name).map_err(Refusal::Wait)?;
        let found = self.search(|entries| {
            let user = entries.users.iter().find(|user| &*user.caller.name == name)?;
            match &user.password {
                Password::Scram(verifier) => Some((verifier.clone(), Some(user.caller.clone()))),
                Password::Argon2(_) => None,
            }
        });
        Ok(found.unwrap_or_else(|| (Verifier::of_nobody(name, &self.secret), None)))
    }

    /// Counts how an exchange with a verifier ended.
    pub fn proved(&self, name: &str, from: IpAddr, good: bool) {
        if good {
            self.attempts.succeeded(from, name);
        } else {
            self.attempts.failed(from, name);
        }
    }
}

fn load(path: &PathBuf, fixed: &Entries) -> Result<Entries, SecretError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SecretError::new(format!("the access file '{name}' can't be read: {error}")))?;
    let entries = read::file(&text, &name)?;
    let mut both = fixed.clone();
    both.users.extend(entries.users.iter().cloned());
    both.tokens.extend(entries.tokens.iter().cloned());
    match both.twice().first() {
        Some(name) => Err(SecretError::new(format!("{}: the configuration has the name '{name}' too", path.display()))),
        None => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{hash_password, new_token};
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_is_known_gets_in_and_nobody_else() {
        let (token, other) = (new_token().unwrap(), new_token().unwrap());
        let hash = hash_password("correct horse").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.toml");
        let text = format!(
            "[[user]]\nname = 'ana'\npassword = '{hash}'\nrole = 'read'\n[[token]]\nname = 'bot'\nhash = '{}'\nrole = 'read'\n",
            token.hash
        );
        std::fs::write(&path, text).unwrap();
        let directory = Directory::new(Entries::default(), Some(&path)).unwrap();
        assert_eq!(&*directory.token(&token.token, HERE).unwrap().name, "bot");
        assert_eq!(directory.token(&other.token, HERE), Err(Refusal::Unknown));
        assert_eq!(directory.token("", HERE), Err(Refusal::Unknown));
        for _ in 0..2 {
            assert_eq!(&*directory.password("ana", "correct horse", HERE).unwrap().name, "ana");
        }
        assert_eq!(&*directory.password("bot", &token.token, HERE).unwrap().name, "bot");
        assert_eq!(directory.password("ana", &token.token, HERE), Err(Refusal::Unknown), "a token of another name");
        assert_eq!(directory.password("ana", "wrong horse", HERE), Err(Refusal::Unknown));
        assert_eq!(directory.password("nobody", "correct horse", HERE), Err(Refusal::Unknown));
        assert!(directory.is_token("bot") && !directory.is_token("ana"));
        assert!(
            directory.verifier("ana", HERE).unwrap().1.is_some() && directory.verifier("x", HERE).unwrap().1.is_none()
        );
        (0..10).for_each(|_| directory.proved("ana", HERE, false));
        assert!(matches!(directory.password("ana", "correct horse", HERE), Err(Refusal::Wait(_))));
        (0..20).for_each(|_| drop(directory.token("guess", HERE)));
        assert!(matches!(directory.token("guess", HERE), Err(Refusal::Wait(_))));
        assert!(directory.token(&token.token, HERE).is_ok(), "a good token never waits");
        let twice = Directory::new(read::file(&std::fs::read_to_string(&path).unwrap(), "f").unwrap(), Some(&path));
        assert!(twice.unwrap_err().to_string().contains("has the name"));
    }
}
