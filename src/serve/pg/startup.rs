//! The log-in: nobody where nobody is known; else SCRAM-SHA-256 for users, and for tokens their text as a password, which
//! goes over an encrypted connection or the loopback only.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{
    ClientInfo, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::failure::fatal;
use super::session::Session;
use crate::access::{Caller, Directory, Exchange, Refusal, Right, random};

const SCRAM: &str = "SCRAM-SHA-256";

/// Numbers connections.
static NAMES: std::sync::LazyLock<RandomPidSecretKeyGenerator> =
    std::sync::LazyLock::new(RandomPidSecretKeyGenerator::default);

/// What clients are told of the server once they are in.
struct Parameters<'a>(&'a str);

impl ServerParameterProvider for Parameters<'_> {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let application = client.metadata().get("application_name").map_or("", String::as_str);
        let told = [
            ("server_version", "16.6"),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("integer_datetimes", "on"),
            ("in_hot_standby", "off"),
            ("is_superuser", "off"),
            ("default_transaction_read_only", "on"),
            ("search_path", "\"$user\", public"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"),
            ("standard_conforming_strings", "on"),
            ("scram_iterations", "32768"),
            ("application_name", application),
            ("session_authorization", self.0),
        ];
        Some(told.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

fn refused(user: &str) -> PgWireError {
    fatal("28P01", format!("password authentication failed for user \"{user}\""), "")
}

fn not_let_in(refusal: Refusal, user: &str) -> PgWireError {
    match refusal {
        Refusal::Unknown => refused(user),
        Refusal::Wait(_) => fatal("53300", refusal.to_string(), "the password is not even looked at until then"),
    }
}

impl Session {
    fn directory(&self) -> Option<Arc<Directory>> {
        self.server.state.access.directory.clone()
    }

    /// Notes who it is; true if they may ask.
    fn let_in<C: ClientInfo>(&self, client: &mut C, caller: Caller) -> PgWireResult<()> {
        if !caller.role.may(Right::Ask) {
            let why = format!("the role '{}' may not ask", caller.role);
            return Err(fatal("28000", why, "it needs the role 'read', 'finance' or 'admin'"));
        }
        let (pid, secret) = NAMES.generate(client);
        client.set_pid_and_secret_key(pid, secret.clone());
        self.with(|state| {
            state.name = (pid, secret.to_bytes().to_vec());
            state.caller = Some(caller);
        });
        Ok(())
    }

    fn audit_refusal(&self, error: &PgWireError) {
        let mut asked = self.asked("log-in");
        asked.outcome = super::failure::code_of(error);
        self.server.state.access.audit.write(asked);
    }

    async fn begin_log_in<C>(&self, client: &mut C, user: &str) -> PgWireResult<bool>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Some(directory) = self.directory() else {
            self.let_in(client, Caller::anyone())?;
            return Ok(true);
        };
        client.set_state(PgWireConnectionState::AuthenticationInProgress);
        let ask = if directory.is_token(user) {
            if !client.is_secure() && !self.peer.ip().to_canonical().is_loopback() {
                let hint = "connect with sslmode=require, or use a user with a password";
                return Err(fatal("28000", "a token is not taken over a connection without TLS", hint));
            }
            Authentication::CleartextPassword
        } else {
            Authentication::SASL(vec![SCRAM.to_owned()])
        };
        client.send(PgWireBackendMessage::Authentication(ask)).await?;
        Ok(false)
    }

    async fn go_on<C>(&self, client: &mut C, message: PasswordMessageFamily) -> PgWireResult<bool>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let directory = self.directory().ok_or_else(|| fatal("08P01", "no password was asked for", ""))?;
        let (user, waiting) = self.with(|state| (state.user.clone(), state.exchange.take()));
        let address = self.peer.ip();
        if let Some((exchange, caller)) = waiting {
            let proof = message.into_sasl_response()?.data;
            let proved = exchange.finish(&proof);
            directory.proved(&user, address, proved.is_ok() && caller.is_some());
            let (Ok(last), Some(caller)) = (proved, caller) else { return Err(refused(&user)) };
            self.let_in(client, caller)?;
            let last = Authentication::SASLFinal(last.into_bytes().into());
            client.send(PgWireBackendMessage::Authentication(last)).await?;
            return Ok(true);
        }
        if directory.is_token(&user) {
            let password = message.into_password()?.password;
            let caller = directory.password(&user, &password, address).map_err(|refusal| not_let_in(refusal, &user))?;
            self.let_in(client, caller)?;
            return Ok(true);
        }
        let first = message.into_sasl_initial_response()?;
        if first.auth_method != SCRAM {
            return Err(fatal("08P01", "this way to log in was not offered", "SCRAM-SHA-256 is"));
        }
        let (verifier, caller) = directory.verifier(&user, address).map_err(|refusal| not_let_in(refusal, &user))?;
        let nonce = random::<18>().map_err(|error| fatal("XX000", error.to_string(), ""))?;
        let first = first.data.unwrap_or_default();
        let (exchange, answer) = Exchange::begin(verifier, &first, &STANDARD.encode(nonce))
            .map_err(|error| fatal("08P01", error.to_string(), ""))?;
        self.with(|state| state.exchange = Some((exchange, caller)));
        let answer = Authentication::SASLContinue(answer.into_bytes().into());
        client.send(PgWireBackendMessage::Authentication(answer)).await?;
        Ok(false)
    }
}

#[async_trait]
impl StartupHandler for Session {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let outcome = match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                self.with(|state| state.user.clone_from(&user));
                self.begin_log_in(client, &user).await
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => self.go_on(client, message).await,
            _ => Err(fatal("08P01", "log in first", "")),
        };
        match outcome {
            Ok(true) => {
                let user = self.with(|state| state.user.clone());
                finish_authentication(client, &Parameters(&user)).await
            }
            Ok(false) => Ok(()),
            Err(error) => {
                self.audit_refusal(&error);
                Err(error)
            }
        }
    }
}
