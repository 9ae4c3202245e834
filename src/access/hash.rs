//! What is kept of passwords and tokens instead of them.

use std::fmt;

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{SecretError, Verifier, random};

/// Longest password; what is longer only costs time.
pub(super) const PASSWORD_BYTES: usize = 256;
/// Marks digests of tokens in files.
const DIGEST: &str = "sha256:";

/// What is kept of a password.
#[derive(Clone)]
pub enum Password {
    /// Good for HTTP and for the PostgreSQL wire.
    Scram(Verifier),
    /// Good for HTTP only: the PostgreSQL wire needs a verifier of its own.
    Argon2(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scram(_) => "a SCRAM verifier",
            Self::Argon2(_) => "an argon2 hash",
        })
    }
}

impl Password {
    /// Reads what `polymeter access hash` prints, or an argon2 hash.
    ///
    /// # Errors
    /// It is neither; the text itself is not told.
    pub fn read(text: &str) -> Result<Self, SecretError> {
        if text.starts_with("$argon2") {
            let wrong = |_| SecretError::new("is no argon2 hash; `polymeter access hash` makes what is expected");
            let hash = PasswordHash::new(text).map_err(wrong)?;
            if hash.hash.is_none() || hash.salt.is_none() {
                return Err(SecretError::new(
                    "is no whole argon2 hash; `polymeter access hash` makes what is expected",
                ));
            }
            return Ok(Self::Argon2(text.to_owned()));
        }
        if !text.starts_with("SCRAM-") {
            return Err(SecretError::new(
                "must not be the password itself but what `polymeter access hash` makes of it",
            ));
        }
        text.parse().map(Self::Scram)
    }

    /// Whether a password is the one. Takes as long as it is meant to.
    #[must_use]
    pub fn accepts(&self, password: &str) -> bool {
        if password.len() > PASSWORD_BYTES {
            return false;
        }
        match self {
            Self::Scram(verifier) => verifier.accepts(password),
            Self::Argon2(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        }
    }
}

/// The verifier of a password, for a file.
///
/// # Errors
/// The password can't be used.
pub fn hash_password(password: &str) -> Result<String, SecretError> {
    if password.len() < 8 || password.len() > PASSWORD_BYTES {
        return Err(SecretError::new("a password must have between 8 and 256 characters"));
    }
    // Clients prepare other characters (SASLprep) in ways of their own.
    if !password.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(SecretError::new("a password must be of printable ASCII characters, which all clients send alike"));
    }
    Ok(Verifier::new(password)?.to_string())
}

/// A token and what is kept of it.
#[derive(Clone)]
pub struct NewToken {
    /// For the client.
    pub token: String,
    /// For the file.
    pub hash: String,
}

/// A new token of 256 random bits.
///
/// # Errors
/// The system gives no random bytes.
pub fn new_token() -> Result<NewToken, SecretError> {
    let token = format!("pm_{}", URL_SAFE_NO_PAD.encode(random::<32>()?));
    let hash = format!("{DIGEST}{}", hex::encode(token_digest(&token)));
    Ok(NewToken { token, hash })
}

/// What is compared instead of a token. A plain digest is enough for what nobody can guess.
#[must_use]
pub fn token_digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Reads `sha256:` and 64 hexadecimal digits.
pub(super) fn read_digest(text: &str) -> Result<[u8; 32], SecretError> {
    let wrong = || {
        SecretError::new("must not be the token itself but its digest, 'sha256:…'; `polymeter access token` makes both")
    };
    let mut digest = [0_u8; 32];
    let digits = text.strip_prefix(DIGEST).ok_or_else(wrong)?;
    hex::decode_to_slice(digits, &mut digest).map_err(|_| wrong())?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_accepts_the_secret_and_shows_nothing() {
        let kept = hash_password("correct horse").unwrap();
        let password = Password::read(&kept).unwrap();
        assert!(password.accepts("correct horse") && !password.accepts("correct horsf"));
        assert!(!kept.contains("horse") && format!("{password:?}") == "a SCRAM verifier");
        assert_ne!(kept, hash_password("correct horse").unwrap(), "each has a salt of its own");
        for bad in ["short", "pässwörter", &"x".repeat(257)] {
            assert!(hash_password(bad).is_err(), "{bad}");
        }
        let error = Password::read("hunter2hunter2").unwrap_err().to_string();
        assert!(error.contains("polymeter access hash") && !error.contains("hunter2"));
    }

    #[test]
    fn argon2_hashes_are_taken() {
        use argon2::PasswordHasher;
        use argon2::password_hash::SaltString;
        let salt = SaltString::from_b64("c29tZXNhbHRzb21lc2FsdA").unwrap();
        let hash = Argon2::default().hash_password(b"correct horse", &salt).unwrap().to_string();
        let password = Password::read(&hash).unwrap();
        assert!(password.accepts("correct horse") && !password.accepts("wrong horse"));
        assert!(Password::read("$argon2id$nonsense").is_err());
    }

    #[test]
    fn tokens_are_random_and_known_by_their_digest() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert!(one.token != other.token && one.token.starts_with("pm_") && one.token.len() == 46);
        assert_eq!(read_digest(&one.hash).unwrap(), token_digest(&one.token));
        assert!(read_digest(&one.token).unwrap_err().to_string().contains("polymeter access token"));
        assert!(read_digest("sha256:zz").is_err());
    }
}
