//! OTLP receivers: `[otlp]`, which is always there, and any number of `[[receiver]]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::{Table, Value};

use super::Config;
use super::read::{Section, known, section, typed};
use crate::access::TlsFiles;
use crate::collect::otlp_server::TokenSource;
use crate::sources::otlp::OtlpConfig;

/// Name of the receiver that is always there, among the sources.
pub const OTLP: &str = "otlp";
const KEYS: [&str; 8] =
    ["name", "grpc", "http", "attributes", "tls", "token_file", "token_env", "allow_unauthenticated"];

/// One OTLP receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Unique among receivers and sources; it is shown in `witnesses`.
    pub name: String,
    /// Address of gRPC; `None` switches it off.
    pub grpc: Option<SocketAddr>,
    /// Address of HTTP; `None` switches it off.
    pub http: Option<SocketAddr>,
    /// Default attributes of what it takes in.
    pub otlp: OtlpConfig,
    /// Certificate and key, for both transports.
    pub tls: Option<TlsFiles>,
    /// Who may send; everybody if `None`.
    pub tokens: Option<TokenSource>,
    /// Everybody may send, also from other machines.
    pub allow_unauthenticated: bool,
}

impl ReceiverConfig {
    /// A receiver that listens nowhere yet.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Where it listens, by key.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + use<> {
        [("grpc", self.grpc), ("http", self.http)].into_iter().filter_map(|(key, address)| Some((key, address?)))
    }
}

/// Reads all receivers of a file.
pub(super) fn read(table: &Table, config: &mut Config, problems: &mut Vec<String>) {
    section(table, "otlp", &KEYS[1..], problems, |section| receiver(section, &mut config.otlp));
    let listed = match table.get("receiver") {
        None => return,
        Some(Value::Array(listed)) => listed,
        Some(_) => return problems.push("'receiver' must be written as [[receiver]]".to_owned()),
    };
    for (index, entry) in listed.iter().enumerate() {
        let place = format!("receiver[{index}]");
        let Some(entry) = entry.as_table() else {
            problems.push(format!("{place} must be a table"));
            continue;
        };
        known(entry, &place, &KEYS, problems);
        let before = problems.len();
        let mut read = ReceiverConfig::default();
        let mut section = Section { name: &place, table: entry, problems };
        section.text("name", &mut read.name);
        if read.name.is_empty() {
            section.problem("name", "is required");
        } else if config.all_receivers().any(|other| other.name == read.name) {
            section.problem("name", format_args!("the name '{}' is taken", read.name));
        }
        receiver(&mut section, &mut read);
        if read.grpc.is_none() && read.http.is_none() && problems.len() == before {
            problems.push(format!("{place}: needs an address: grpc, http or both"));
        }
        config.receivers.push(read);
    }
}

fn receiver(section: &mut Section<'_>, into: &mut ReceiverConfig) {
    address(section, "grpc", &mut into.grpc);
    address(section, "http", &mut into.http);
    if let Some(attributes) = section.table.get("attributes") {
        let only = Table::from_iter([("attributes".to_owned(), attributes.clone())]);
        if let Some(read) = typed(&format!("{}.attributes", section.name), only, section.problems) {
            into.otlp = read;
        }
    }
    tls(section, &mut into.tls);
    into.tokens = tokens(section);
    allow_unauthenticated(section, &mut into.allow_unauthenticated);
}

/// Certificate and key of a listener.
pub(super) fn tls(section: &mut Section<'_>, into: &mut Option<TlsFiles>) {
    match section.table.get("tls") {
        None => {}
        Some(Value::Table(tls)) => *into = tls_files(section, tls),
        Some(_) => section.problem("tls", "must be written as { cert = \"FILE\", key = \"FILE\" }"),
    }
}

/// Whether everybody may use a listener that others can reach.
pub(super) fn allow_unauthenticated(section: &mut Section<'_>, into: &mut bool) {
    match section.table.get("allow_unauthenticated") {
        None => {}
        Some(Value::Boolean(allow)) => *into = *allow,
        Some(other) => {
            section.problem("allow_unauthenticated", format_args!("must be true or false, not {}", other.type_str()));
        }
    }
}

/// An address; `false` or `""` for none.
pub(super) fn address(section: &mut Section<'_>, key: &str, into: &mut Option<SocketAddr>) {
    match section.table.get(key) {
        None => {}
        Some(Value::Boolean(false)) => *into = None,
        Some(Value::String(text)) if text.is_empty() => *into = None,
        Some(Value::String(text)) => match text.parse() {
            Ok(address) => *into = Some(address),
            Err(_) => section.problem(key, format_args!("'{text}' is no address; write it as 127.0.0.1:4317")),
        },
        Some(other) => section.problem(key, format_args!("must be an address or false, not {other}")),
    }
}

fn tls_files(section: &mut Section<'_>, tls: &Table) -> Option<TlsFiles> {
    let name = format!("{}.tls", section.name);
    known(tls, &name, &["cert", "key"], section.problems);
    let mut section = Section { name: &name, table: tls, problems: section.problems };
    let mut file = |key: &str| {
        let mut path = String::new();
        section.text(key, &mut path);
        if path.is_empty() && !tls.contains_key(key) {
            section.problem(key, "is required");
        }
        PathBuf::from(path)
    };
    Some(TlsFiles { cert: file("cert"), key: file("key") })
}

fn tokens(section: &mut Section<'_>) -> Option<TokenSource> {
    let (mut file, mut variable) = (String::new(), String::new());
    section.text("token_file", &mut file);
    section.text("token_env", &mut variable);
    for (key, value) in [("token_file", &file), ("token_env", &variable)] {
        // An empty one would open the receiver to everybody without anybody meaning it.
        if value.is_empty() && matches!(section.table.get(key), Some(Value::String(_))) {
            section.problem(key, "must not be empty");
        }
    }
    match (file.is_empty(), variable.is_empty()) {
        (true, true) => None,
        (false, true) => Some(TokenSource::File(file.into())),
        (true, false) => Some(TokenSource::Env(variable)),
        (false, false) => {
            section
                .problem("token_env", "can't stand beside token_file; several tokens are several lines of one of them");
            None
        }
    }
}

/// Checks what belongs together: who can reach a receiver, and that no address is used twice.
pub(super) fn check(config: &Config, problems: &mut Vec<String>) {
    let questions = [("http.listen", config.http.listen), ("pg.listen", config.pg.listen)];
    let mut used: Vec<(String, SocketAddr)> =
        questions.into_iter().filter_map(|(key, address)| Some((key.to_owned(), address?))).collect();
    for (index, receiver) in config.all_receivers().enumerate() {
        let place = index.checked_sub(1).map_or_else(|| OTLP.to_owned(), |nth| format!("receiver[{nth}]"));
        for (key, address) in receiver.addresses() {
            let open = receiver.tokens.is_none() && !config.access.required && !receiver.allow_unauthenticated;
            if open && !address.ip().to_canonical().is_loopback() {
                problems.push(format!(
                    "{place}.{key}: other machines can reach {address}, and nothing tells who may send; set token_file or \
                     token_env, or allow_unauthenticated = true (--allow-unauthenticated)"
                ));
            }
            if let Some((other, _)) = used.iter().find(|(_, taken)| *taken == address && address.port() != 0) {
                problems.push(format!("{place}.{key}: {address} is the address of {other} already"));
            }
            used.push((format!("{place}.{key}"), address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        Config::parse(text).unwrap_err().join("\n")
    }

    #[test]
    fn reads_receivers_with_everything_and_with_nothing() {
        let text = "[otlp]\ngrpc = false\nhttp = ''\n[[receiver]]\nname = 'eu'\ngrpc = '0.0.0.0:5317'\nhttp = '[::1]:5318'\n\
                    attributes = { environment = 'prod', gateway = 'litellm' }\ntls = { cert = 'c.pem', key = 'k.pem' }\n\
                    token_file = 'tokens'\n[[receiver]]\nname = 'us'\nhttp = '127.0.0.1:6318'\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.otlp.addresses().count(), 0);
        let [eu, us] = config.receivers.as_slice() else { panic!("{config:?}") };
        assert_eq!(eu.addresses().map(|(key, _)| key).collect::<Vec<_>>(), ["grpc", "http"]);
        assert_eq!(eu.tls, Some(TlsFiles { cert: "c.pem".into(), key: "k.pem".into() }));
        assert_eq!(eu.tokens, Some(TokenSource::File("tokens".into())));
        assert_eq!(eu.otlp.attributes.len(), 2);
        assert_eq!(us, &ReceiverConfig { http: "127.0.0.1:6318".parse().ok(), ..ReceiverConfig::named("us") });
    }

    #[test]
    fn tells_every_problem_at_once() {
        let text = "[otlp]\nname = 'x'\ngrpc = true\ntoken_fil = 'x'\nallow_unauthenticated = 'yes'\n\
                    [[receiver]]\nname = 'otlp'\nhttp = 'nowhere'\ntls = { cert = 'c', kye = 'k' }\n\
                    [[receiver]]\ntoken_file = 'a'\ntoken_env = 'B'\n[[receiver]]\nname = 'c'\ntls = 'cert.pem'\ntoken_env = ''\n\
                    [[receiver]]\nname = 'd'\n[[source]]\nname = 'd'\nkind = 'otlp'\nlocation = 'x'\n";
        let problems = problems(text);
        for expected in [
            "unknown key 'otlp.name'",
            "otlp.grpc: must be an address or false",
            "'otlp.token_fil'; did you mean 'token_file'?",
            "otlp.allow_unauthenticated: must be true or false",
            "receiver[0].name: the name 'otlp' is taken",
            "receiver[0].http: 'nowhere' is no address",
            "'receiver[0].tls.kye'; did you mean 'key'?",
            "receiver[0].tls.key: is required",
            "receiver[1].name: is required",
            "receiver[1].token_env: can't stand beside token_file",
            "receiver[2].tls: must be written as",
            "receiver[2].token_env: must not be empty",
            "receiver[3]: needs an address",
            "source[0]: the name 'd' is taken",
        ] {
            assert!(problems.contains(expected), "{expected} is not in:\n{problems}");
        }
    }

    #[test]
    fn what_others_can_reach_needs_a_token_or_a_word() {
        for address in ["0.0.0.0:4317", "[::]:4317", "10.0.0.1:4317"] {
            let text = format!("[otlp]\ngrpc = '{address}'\n");
            assert!(problems(&text).starts_with("otlp.grpc: other machines"), "{address}");
            for word in ["token_env = 'X'", "token_file = 'x'", "allow_unauthenticated = true"] {
                assert!(Config::parse(&format!("{text}{word}\n")).is_ok(), "{word}");
            }
        }
        for address in ["127.0.0.2:4317", "[::1]:4317", "[::ffff:127.0.0.1]:4317"] {
            assert!(Config::parse(&format!("[otlp]\ngrpc = '{address}'\n")).is_ok(), "{address}");
        }
        let twice = "[[receiver]]\nname = 'a'\nhttp = '127.0.0.1:4318'\ngrpc = '127.0.0.1:0'\n";
        assert_eq!(problems(twice), "receiver[0].http: 127.0.0.1:4318 is the address of otlp.http already");
    }
}
