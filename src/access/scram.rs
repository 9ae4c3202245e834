//! SCRAM-SHA-256 (RFC 5802, RFC 7677) from the server's side. What is stored is PostgreSQL's verifier,
//! `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`: it proves a password without being one, over the PostgreSQL wire
//! and for HTTP's basic authentication alike.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{SecretError, random, same};

/// PostgreSQL's own is 4,096. Each doubling makes guessing twice as dear, and each log-in.
const ITERATIONS: u32 = 32_768;
/// What is accepted from files: less is too weak, more would stop a server.
const ITERATIONS_ALLOWED: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;
const PREFIX: &str = "SCRAM-SHA-256";

type Key = [u8; 32];

/// What is known of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// Why an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Not what the protocol says.
    #[error("malformed SCRAM message")]
    Malformed,
    /// The client wants to bind to the TLS channel, which was not offered.
    #[error("channel binding is not supported")]
    ChannelBinding,
    /// Another password.
    #[error("password authentication failed")]
    Refused,
}

impl Verifier {
    /// The verifier of a password, with a new salt.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(password: &str) -> Result<Self, SecretError> {
        Ok(Self::derive(password, random::<16>()?.to_vec(), ITERATIONS))
    }

    fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = salted_password(password, &salt, iterations);
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Self { iterations, salt, stored_key, server_key: hmac(&salted, b"Server Key") }
    }

    /// A verifier that no password has, the same each time for a name: who is not there looks like who is.
    #[must_use]
    pub fn of_nobody(name: &str, secret: &[u8; 32]) -> Self {
        let salt = hmac(secret, name.as_bytes()).into_iter().take(16).collect();
        Self { iterations: ITERATIONS, salt, stored_key: hmac(secret, b"stored"), server_key: hmac(secret, b"server") }
    }

    /// Whether a password is the one. Takes as long as it is meant to.
    #[must_use]
    pub fn accepts(&self, password: &str) -> bool {
        same(&Self::derive(password, self.salt.clone(), self.iterations).stored_key, &self.stored_key)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored_key, server_key] = [salt.as_slice(), stored_key, server_key].map(|key| STANDARD.encode(key));
        write!(f, "{PREFIX}${iterations}:{salt}${stored_key}:{server_key}")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} verifier")
    }
}

impl FromStr for Verifier {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let wrong = || SecretError::new("is no SCRAM-SHA-256 verifier; `polymeter access hash` makes one");
        let mut parts = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('$')).ok_or_else(wrong)?.split('$');
        let (Some(cost), Some(keys), None) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong()) };
        let (iterations, salt) = cost.split_once(':').ok_or_else(wrong)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or_else(wrong)?;
        let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
        let iterations: u32 = iterations.parse().map_err(|_| wrong())?;
        if !ITERATIONS_ALLOWED.contains(&iterations) {
            return Err(SecretError::new("has a number of iterations outside of 4,096 to 1,000,000"));
        }
        Ok(Self {
            iterations,
            salt: STANDARD.decode(salt).map_err(|_| wrong())?,
            stored_key: key(stored_key).ok_or_else(wrong)?,
            server_key: key(server_key).ok_or_else(wrong)?,
        })
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    /// `client-first-message-bare "," server-first-message ","`
    said: String,
    nonce: String,
    /// What the client must repeat of the header of its first message.
    binding: String,
}

impl Exchange {
    /// Answers the client's first message; `nonce` is ours.
    ///
    /// # Errors
    /// The message is malformed, or wants what is not offered.
    pub fn begin(verifier: Verifier, client_first: &[u8], nonce: &str) -> Result<(Self, String), ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(_authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::Malformed);
        };
        if flag.starts_with("p=") {
            return Err(ScramError::ChannelBinding);
        }
        if !matches!(flag, "n" | "y") {
            return Err(ScramError::Malformed);
        }
        let header = text.strip_suffix(bare).ok_or(ScramError::Malformed)?;
        // The name is the one of the start-up message; what stands here is ignored, as PostgreSQL does.
        let theirs = bare.split(',').find_map(|field| field.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let nonce = format!("{}{nonce}", theirs.ok_or(ScramError::Malformed)?);
        let first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let said = format!("{bare},{first},");
        Ok((Self { verifier, said, nonce, binding: STANDARD.encode(header) }, first))
    }

    /// Checks the client's proof and proves in turn that the verifier is known here.
    ///
    /// # Errors
    /// The message is malformed, or the password another one.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let field = |name: &str| unproven.split(',').find_map(|field| field.strip_prefix(name));
        if field("c=") != Some(self.binding.as_str()) {
            return Err(ScramError::ChannelBinding);
        }
        if field("r=") != Some(self.nonce.as_str()) {
            return Err(ScramError::Malformed);
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let message = format!("{}{unproven}", self.said);
        let signature = hmac(&self.verifier.stored_key, message.as_bytes());
        let mut client_key = proof.ok_or(ScramError::Malformed)?;
        client_key.iter_mut().zip(signature).for_each(|(byte, sign)| *byte ^= sign);
        if !same(&Sha256::digest(client_key), &self.verifier.stored_key) {
            return Err(ScramError::Refused);
        }
        Ok(format!("v={}", STANDARD.encode(hmac(&self.verifier.server_key, message.as_bytes()))))
    }
}

const BLOCK: usize = 64;

/// HMAC-SHA-256 with its key worked in: PBKDF2 uses it thousands of times.
#[derive(Clone)]
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    fn new(key: &[u8]) -> Self {
        let mut block = [0_u8; BLOCK];
        let hashed;
        let key = if key.len() > BLOCK {
            hashed = Sha256::digest(key);
            hashed.as_slice()
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
        let with = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
        Self { inner: with(0x36), outer: with(0x5c) }
    }

    fn of(&self, message: &[u8]) -> Key {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    Hmac::new(key).of(message)
}

/// PBKDF2 with one block.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Key {
    let hmac = Hmac::new(password.as_bytes());
    let mut round = hmac.of(&[salt, &1_u32.to_be_bytes()].concat());
    let mut salted = round;
    for _ in 1..iterations {
        round = hmac.of(&round);
        salted.iter_mut().zip(round).for_each(|(byte, more)| *byte ^= more);
    }
    salted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn example() -> Verifier {
        Verifier::derive("pencil", STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096)
    }

    #[test]
    fn the_example_of_the_specification_works() {
        let (exchange, first) = Exchange::begin(example(), CLIENT_FIRST, NONCE).unwrap();
        assert_eq!(first, SERVER_FIRST);
        assert_eq!(exchange.finish(CLIENT_FINAL).unwrap(), SERVER_FINAL);
    }

    #[test]
    fn another_password_nonce_or_binding_is_refused() {
        let finish = |verifier: Verifier, message: &[u8]| {
            Exchange::begin(verifier, CLIENT_FIRST, NONCE).unwrap().0.finish(message).unwrap_err()
        };
        let other = Verifier::derive("pencil2", example().salt, 4096);
        assert_eq!(finish(other, CLIENT_FINAL), ScramError::Refused);
        assert_eq!(finish(Verifier::of_nobody("user", &[7; 32]), CLIENT_FINAL), ScramError::Refused);
        let text = String::from_utf8(CLIENT_FINAL.to_vec()).unwrap();
        assert_eq!(finish(example(), text.replace("c=biws", "c=eSws").as_bytes()), ScramError::ChannelBinding);
        assert_eq!(finish(example(), text.replace("hNlF$k0", "hNlF$k1").as_bytes()), ScramError::Malformed);
        for bad in ["", "n", "n,,", "n,,n=user", "x,,n=user,r=abc", "n,,n=user,r="] {
            assert!(Exchange::begin(example(), bad.as_bytes(), NONCE).is_err(), "{bad}");
        }
        let bound = Exchange::begin(example(), b"p=tls-server-end-point,,n=user,r=abc", NONCE);
        assert_eq!(bound.unwrap_err(), ScramError::ChannelBinding);
    }

    #[test]
    fn a_verifier_is_written_and_read_and_checks_passwords() {
        let verifier = example();
        let read: Verifier = verifier.to_string().parse().unwrap();
        assert!(read == verifier && read.accepts("pencil") && !read.accepts("pencil2") && !read.accepts(""));
        for bad in
            ["", "pencil", "SCRAM-SHA-256$4096:W22Z", "SCRAM-SHA-256$x:W22Z$a:b", "SCRAM-SHA-256$4096:W22Z$YQ==:YQ=="]
        {
            assert!(bad.parse::<Verifier>().is_err(), "{bad}");
        }
        let weak = verifier.to_string().replace("$4096:", "$1:");
        assert!(weak.parse::<Verifier>().unwrap_err().to_string().contains("iterations"));
        assert_eq!(Verifier::of_nobody("a", &[1; 32]), Verifier::of_nobody("a", &[1; 32]));
        assert_ne!(Verifier::of_nobody("a", &[1; 32]).salt, Verifier::of_nobody("b", &[1; 32]).salt);
        assert!(!format!("{verifier:?}").contains("W22Z"));
    }
}
