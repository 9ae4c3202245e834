//! Who may do what: credentials and what they are read from, roles and row scopes, failed log-ins, and the log of who
//! asked what. Knows no protocol: HTTP, the PostgreSQL wire and the OTLP receivers ask it alike.
//!
//! Only digests of tokens and verifiers of passwords are kept, in memory as in files.

mod attempts;
mod audit;
mod caller;
mod directory;
mod hash;
mod read;
mod reload;
mod scram;
mod tls;

pub use attempts::Attempts;
pub use audit::{Asked, Audit, Line};
pub use caller::{Caller, Right, Role, SCOPE_COLUMNS, Scope};
pub use directory::{Directory, Entries, Refusal, Token, User};
pub use hash::{NewToken, Password, hash_password, new_token, token_digest};
pub use read::entries;
pub use reload::{Reloading, SecretError};
pub use scram::{Exchange, ScramError, Verifier};
pub use tls::{Protocol, Tls, TlsFiles};

/// Random bytes for salts, tokens and nonces.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0_u8; N];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| SecretError::new("the system gives no random bytes"))?;
    Ok(bytes)
}

/// Compares without an early end, so that time tells nothing.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
