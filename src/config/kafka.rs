//! What a source at `kafka://brokers/topic` is told beside what all are told.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::Transport;
use super::read::typed;
use crate::store::{AzureAuth, KafkaAuth, KafkaTopic};

/// How a topic is given.
pub(super) const SCHEME: &str = "kafka://";
/// Keys that only a topic has, or that mean something else there.
pub(super) const OWN: [&str; 5] = ["auth", "user", "group", "tls", "ca_file"];
/// Keys that it shares with Azure's other services.
pub(super) const SHARED: [&str; 6] = ["cloud", "tenant_id", "client_id", "secret_env", "secret_file", "authority"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    #[default]
    None,
    Plain,
    ConnectionString,
    ClientSecret,
    WorkloadIdentity,
    ManagedIdentity,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Keys {
    auth: Auth,
    user: Option<String>,
    group: String,
    tls: bool,
    ca_file: Option<PathBuf>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { auth: Auth::None, user: None, group: "polymeter".to_owned(), tls: true, ca_file: None }
    }
}

/// The topic, and the way to log in to Entra.
pub(super) struct Found {
    pub topic: KafkaTopic,
    pub auth: AzureAuth,
}

/// Reads what `own` keys say; `has_secret` where one is named.
pub(super) fn read(
    place: &str,
    location: &str,
    own: Table,
    has_secret: bool,
    folder: &Path,
    problems: &mut Vec<String>,
) -> Option<Found> {
    let keys: Keys = typed(place, own, problems)?;
    let before = problems.len();
    let mut problem = |key: &str, what: &str| problems.push(format!("{place}.{key}: {what}"));
    let (brokers, topic) = location.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).unwrap_or_default();
    let good = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !brokers.split(',').all(good) || topic.is_empty() || topic.contains('/') {
        problem("location", "write kafka://HOST:PORT/TOPIC, several brokers with commas");
    }
    if matches!(keys.auth, Auth::Plain | Auth::ConnectionString | Auth::ClientSecret) && !has_secret {
        problem("auth", "needs secret_env (name of a variable) or secret_file (path)");
    }
    if (keys.auth == Auth::Plain) != keys.user.is_some() {
        problem("user", "goes with auth = \"plain\"");
    }
    if keys.group.is_empty() {
        problem("group", "must not be empty");
    }
    if problems.len() > before {
        return None;
    }
    let (kafka, entra) = match keys.auth {
        Auth::None => (KafkaAuth::None, AzureAuth::Environment),
        Auth::Plain => (KafkaAuth::Plain { user: keys.user.unwrap_or_default() }, AzureAuth::Environment),
        Auth::ConnectionString => (KafkaAuth::ConnectionString, AzureAuth::Environment),
        Auth::ClientSecret => (KafkaAuth::Entra, AzureAuth::ClientSecret),
        Auth::WorkloadIdentity => (KafkaAuth::Entra, AzureAuth::WorkloadIdentity),
        Auth::ManagedIdentity => (KafkaAuth::Entra, AzureAuth::ManagedIdentity),
    };
    let topic = KafkaTopic {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        group: keys.group,
        auth: kafka,
        tls: keys.tls,
        ca_file: keys.ca_file.map(|file| folder.join(file)),
    };
    Some(Found { topic, auth: entra })
}

/// The transport, in a build that has it.
#[cfg(feature = "kafka")]
pub(super) const fn transport(topic: KafkaTopic) -> Result<Transport, &'static str> {
    Ok(Transport::Kafka(topic))
}

/// The transport, in a build that has it.
#[cfg(not(feature = "kafka"))]
pub(super) fn transport(_: KafkaTopic) -> Result<Transport, &'static str> {
    Err("this build does not read Kafka; build it with: cargo build --release --features kafka")
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const HUB: &str = "[[source]]\nname = 'hub'\nkind = 'azure'\nlocation = 'kafka://acme.servicebus.windows.net:9093/logs'\n\
                       auth = 'workload_identity'\nclient_id = 'c'\ngroup = 'meter'\nca_file = 'ca.pem'\n";

    #[cfg(feature = "kafka")]
    #[test]
    fn a_topic_has_brokers_a_group_and_a_way_to_log_in() {
        use super::{AzureAuth, KafkaAuth, Transport};
        let source = Config::parse(HUB).unwrap().sources.remove(0);
        let Transport::Kafka(topic) = &source.transport else { panic!("{:?}", source.transport) };
        assert_eq!(
            (topic.brokers.as_str(), topic.topic.as_str(), topic.group.as_str()),
            ("acme.servicebus.windows.net:9093", "logs", "meter")
        );
        assert_eq!(
            (&topic.auth, topic.tls, source.access.azure.auth),
            (&KafkaAuth::Entra, true, AzureAuth::WorkloadIdentity)
        );
        assert_eq!(topic.ca_file.as_deref(), Some(std::path::Path::new("ca.pem")));
    }

    #[cfg(not(feature = "kafka"))]
    #[test]
    fn a_build_without_kafka_says_which_one_has_it() {
        let problems = Config::parse(HUB).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("--features kafka"), "{problems:?}");
    }
}
