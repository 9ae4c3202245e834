//! One `[[source]]`: what it is, where it is, how it is reached. With `accounts` or `regions` it stands for several.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::kafka;
use super::read::{Section, known, nearest, typed};
use super::{FormatConfig, SourceConfig, Transport};
use crate::collect::UsageService;
use crate::pipeline::{Sweeps, UsageReports};
use crate::sources::anthropic::{self, ReportConfig};
use crate::sources::azure::AzureConfig;
use crate::sources::bedrock::BedrockConfig;
use crate::sources::openai::{self, UsageConfig};
use crate::sources::vertex::VertexConfig;
use crate::store::{Access, AwsAccess, AzureAccess, AzureAuth, AzureCloud, Secret};

const EVERY: [&str; 4] = ["name", "kind", "location", "poll_interval_s"];
const OBJECTS: [&str; 3] = ["window_hours", "full_sweep_hours", "queue_url"];
const AWS: [&str; 10] = [
    "region",
    "credentials_file",
    "profile",
    "role_arn",
    "external_id",
    "endpoint",
    "virtual_hosted",
    "requester_pays",
    "accounts",
    "regions",
];
const AZURE: [&str; 9] = [
    "storage_account",
    "cloud",
    "auth",
    "tenant_id",
    "client_id",
    "secret_env",
    "secret_file",
    "authority",
    "endpoint",
];
const KINDS: [(&str, &[&str]); 8] = [
    ("bedrock", &["account", "region", "start_hours"]),
    ("azure", &["deployments"]),
    ("otlp", &["attributes"]),
    ("bedrock-metrics", &["account", "start_hours", "delay_s"]),
    ("azure-metrics", &["resources", "start_hours", "delay_s"]),
    ("vertex", &["account", "region"]),
    ("openai-usage", &USAGE),
    ("anthropic-usage", &USAGE),
];
const USAGE: [&str; 7] = ["account", "endpoint", "secret_env", "secret_file", "start_hours", "window_hours", "delay_s"];
/// Where a log group is given instead of objects.
const LOG_GROUP: &str = "cloudwatch://";

/// Everything beside what belongs to the format alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    poll_interval_s: Option<u64>,
    window_hours: Option<u64>,
    full_sweep_hours: Option<u64>,
    queue_url: Option<String>,
    account: Option<String>,
    region: Option<String>,
    credentials_file: Option<String>,
    profile: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    endpoint: Option<String>,
    virtual_hosted: bool,
    requester_pays: bool,
    accounts: Vec<String>,
    regions: Vec<String>,
    storage_account: Option<String>,
    cloud: AzureCloud,
    auth: AzureAuth,
    tenant_id: Option<String>,
    client_id: Option<String>,
    secret_env: Option<String>,
    secret_file: Option<String>,
    authority: Option<String>,
    resources: Vec<String>,
    start_hours: Option<u64>,
    live_tail: bool,
    delay_s: Option<u64>,
}

/// Reads one entry; files that it names lie in `folder`.
pub(super) fn read(entry: &Table, place: &str, folder: &Path, problems: &mut Vec<String>) -> Vec<SourceConfig> {
    let before = problems.len();
    let (mut name, mut kind, mut location) = (String::new(), String::new(), String::new());
    let mut section = Section { name: place, table: entry, problems };
    for (key, value) in [("name", &mut name), ("kind", &mut kind), ("location", &mut location)] {
        section.text(key, value);
    }
    for (key, value) in [("name", &name), ("kind", &kind), ("location", &location)] {
        if value.is_empty() && !(key == "location" && is_counters(&kind)) {
            section.problem(key, "is required");
        }
    }
    if kind.is_empty() {
        return Vec::new();
    }
    let Some((_, own)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        section.problem("kind", format_args!("there is no kind '{kind}'; did you mean '{}'?", nearest(&kind, &names)));
        return Vec::new();
    };
    let all: Vec<&str> = reach_keys(&kind, &location).into_iter().chain(own.iter().copied()).collect();
    known(entry, place, &all, problems);
    let mut apart = vec!["name", "kind", "location", "deployments", "attributes"];
    if location.starts_with(kafka::SCHEME) {
        apart.extend(kafka::OWN);
    }
    let Some(keys) = typed::<Keys>(place, without(entry, &apart), problems) else {
        return Vec::new();
    };
    let found = Found { entry, place, name, kind, location, keys };
    found.check(problems);
    if problems.len() > before {
        return Vec::new();
    }
    found.all(folder, problems)
}

/// Counters have no location: they are where the service is.
fn is_counters(kind: &str) -> bool {
    kind.ends_with("-metrics") || kind.ends_with("-usage")
}

/// The keys that fit where the source is.
fn reach_keys(kind: &str, location: &str) -> Vec<&'static str> {
    let scheme = location.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut keys = EVERY.to_vec();
    match (kind, scheme) {
        ("bedrock-metrics", _) => keys.extend(AWS),
        (_, "cloudwatch") => keys.extend(AWS.iter().chain(&["live_tail"])),
        ("azure-metrics", _) => keys.extend(AZURE),
        (usage, _) if usage.ends_with("-usage") => {}
        (_, "gs") => keys.extend(["window_hours", "full_sweep_hours", "credentials_file"]),
        (_, "kafka") => keys.extend(kafka::OWN.iter().chain(&kafka::SHARED)),
        (_, "s3" | "s3a") => keys.extend(OBJECTS.iter().chain(&AWS)),
        (_, "az" | "azure" | "abfs" | "abfss") => {
            keys.extend(["window_hours", "full_sweep_hours"].iter().chain(&AZURE))
        }
        _ => keys.extend(["window_hours", "full_sweep_hours"]),
    }
    keys
}

fn without(table: &Table, keys: &[&str]) -> Table {
    table.iter().filter(|(key, _)| !keys.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

struct Found<'a> {
    entry: &'a Table,
    place: &'a str,
    name: String,
    kind: String,
    location: String,
    keys: Keys,
}

impl Found<'_> {
    fn check(&self, problems: &mut Vec<String>) {
        let keys = &self.keys;
        let mut problem = |key: &str, what: String| problems.push(format!("{}.{key}: {what}", self.place));
        let counts = [
            ("poll_interval_s", keys.poll_interval_s),
            ("window_hours", keys.window_hours),
            ("full_sweep_hours", keys.full_sweep_hours),
            ("start_hours", keys.start_hours),
        ];
        for (key, _) in counts.iter().filter(|(_, value)| *value == Some(0)) {
            problem(key, "must be above 0".to_owned());
        }
        let places = [Some(&self.location), keys.queue_url.as_ref(), keys.role_arn.as_ref(), keys.endpoint.as_ref()];
        let has = |what: &str| places.iter().flatten().any(|text| text.contains(what));
        if !keys.accounts.is_empty() && !has("{account}") {
            problem(
                "accounts",
                "write {account} where the accounts differ: in location, queue_url or role_arn".to_owned(),
            );
        }
        let by_region = self.kind == "bedrock-metrics" || self.location.starts_with(LOG_GROUP);
        if !keys.regions.is_empty() && !by_region && !has("{region}") {
            problem("regions", "write {region} where the regions differ: in location or queue_url".to_owned());
        }
        for (list, word) in [(&keys.accounts, "{account}"), (&keys.regions, "{region}")] {
            if list.is_empty() && has(word) {
                let key = if word == "{account}" { "accounts" } else { "regions" };
                problem("location", format!("has {word}, but there is no {key} = [\"…\"]"));
            }
        }
        if keys.secret_env.is_some() && keys.secret_file.is_some() {
            problem("secret_env", "give it or secret_file, not both".to_owned());
        }
        if keys.auth.needs_secret() && keys.secret_env.is_none() && keys.secret_file.is_none() {
            problem("auth", "needs secret_env (name of a variable) or secret_file (path)".to_owned());
        }
        if self.kind == "azure-metrics" {
            let good = |id: &&String| id.to_ascii_lowercase().starts_with("/subscriptions/");
            if keys.resources.is_empty() || !keys.resources.iter().all(|id| good(&id)) {
                problem("resources", "list resource ids: [\"/subscriptions/…/accounts/NAME\"]".to_owned());
            }
            if matches!(keys.auth, AzureAuth::Key | AzureAuth::Sas) {
                problem("auth", "metrics need Entra: client_secret, workload_identity or managed_identity".to_owned());
            }
        }
        if self.kind.ends_with("-usage") && keys.secret_env.is_none() && keys.secret_file.is_none() {
            problem("secret_env", "give it (name of a variable) or secret_file (path): an admin key".to_owned());
        }
        if self.kind != "bedrock" && self.location.starts_with(LOG_GROUP) {
            problem("location", "a log group holds records of kind 'bedrock'".to_owned());
        }
    }

    /// One source for each account and region.
    fn all(&self, folder: &Path, problems: &mut Vec<String>) -> Vec<SourceConfig> {
        let each = |list: &[String], alone: &Option<String>| -> Vec<Option<String>> {
            if list.is_empty() { vec![alone.clone()] } else { list.iter().cloned().map(Some).collect() }
        };
        let mut sources = Vec::new();
        for account in each(&self.keys.accounts, &self.keys.account) {
            for region in each(&self.keys.regions, &self.keys.region) {
                sources.extend(self.one(account.as_deref(), region.as_deref(), folder, problems));
            }
        }
        sources
    }

    fn one(
        &self,
        account: Option<&str>,
        region: Option<&str>,
        folder: &Path,
        problems: &mut Vec<String>,
    ) -> Option<SourceConfig> {
        let keys = &self.keys;
        let fill = |text: &String| {
            let text = text.replace("{account}", account.unwrap_or_default());
            text.replace("{region}", region.unwrap_or_default())
        };
        let mut name = self.name.clone();
        for (list, value) in [(&keys.accounts, account), (&keys.regions, region)] {
            if let Some(value) = value.filter(|_| !list.is_empty()) {
                name = format!("{name}/{value}");
            }
        }
        let location = fill(&self.location);
        let aws = AwsAccess {
            region: region.map(str::to_owned),
            endpoint: keys.endpoint.as_ref().map(fill),
            credentials_file: keys.credentials_file.as_ref().map(|file| folder.join(file)),
            profile: keys.profile.clone(),
            role_arn: keys.role_arn.as_ref().map(fill),
            external_id: keys.external_id.clone(),
            virtual_hosted: keys.virtual_hosted,
            requester_pays: keys.requester_pays,
        };
        let file = keys.secret_file.as_ref().map(|path| Secret::File(folder.join(path)));
        let mut azure = AzureAccess {
            storage_account: keys.storage_account.clone(),
            endpoint: keys.endpoint.clone(),
            cloud: keys.cloud,
            auth: keys.auth,
            tenant_id: keys.tenant_id.clone(),
            client_id: keys.client_id.clone(),
            secret: keys.secret_env.clone().map(Secret::Env).or(file),
            authority: keys.authority.clone(),
        };
        let bedrock = BedrockConfig { account: account.map(str::to_owned), region: region.map(str::to_owned) };
        let own = |key: &str| -> Table {
            self.entry.get(key).map(|value: &Value| (key.to_owned(), value.clone())).into_iter().collect()
        };
        let format = match self.kind.as_str() {
            "bedrock" => FormatConfig::Bedrock(bedrock),
            "bedrock-metrics" => FormatConfig::BedrockMetrics(bedrock),
            "azure" => FormatConfig::Azure(typed(self.place, own("deployments"), problems)?),
            "azure-metrics" => FormatConfig::Azure(AzureConfig::default()),
            "vertex" => FormatConfig::Vertex(VertexConfig { account: bedrock.account, region: bedrock.region }),
            "openai-usage" => FormatConfig::OpenAiUsage(UsageConfig { account: bedrock.account }),
            "anthropic-usage" => FormatConfig::AnthropicUsage(ReportConfig { account: bedrock.account }),
            _ => FormatConfig::Otlp(typed(self.place, own("attributes"), problems)?),
        };
        let hours =
            |hours: Option<u64>, default: u64| Duration::from_secs(hours.unwrap_or(default).saturating_mul(3600));
        let delay = Duration::from_secs(keys.delay_s.unwrap_or(600));
        let queue = keys.queue_url.as_ref().map(fill);
        let (transport, poll_s) = match (self.kind.as_str(), location.strip_prefix(LOG_GROUP)) {
            ("bedrock-metrics", _) => (Transport::CloudWatchMetrics { back: hours(keys.start_hours, 24), delay }, 300),
            ("azure-metrics", _) => {
                let resources = keys.resources.clone();
                (Transport::AzureMonitor { resources, back: hours(keys.start_hours, 24), delay }, 300)
            }
            ("openai-usage" | "anthropic-usage", _) => {
                (Transport::UsageReports(self.usage_reports(azure.secret.clone()?)), 600)
            }
            (_, Some(group)) => {
                let (group, back) = (group.to_owned(), hours(keys.start_hours, 48));
                (Transport::LogGroup { group, back, live_tail: keys.live_tail }, 15)
            }
            _ if location.starts_with(kafka::SCHEME) => {
                let apart = kafka::OWN.iter().filter_map(|key| self.entry.get_key_value(*key));
                let apart = apart.map(|(key, value)| (key.clone(), value.clone())).collect();
                let found = kafka::read(self.place, &location, apart, azure.secret.is_some(), folder, problems)?;
                azure.auth = found.auth;
                let problem = |what| problems.push(format!("{}.location: {what}", self.place));
                (kafka::transport(found.topic).map_err(problem).ok()?, 15)
            }
            _ if queue.is_some() => (Transport::Objects { queue }, 900),
            _ => (Transport::Objects { queue }, 60),
        };
        let poll_every = Duration::from_secs(keys.poll_interval_s.unwrap_or(poll_s));
        let sweeps = Sweeps {
            poll_every,
            window: hours(keys.window_hours, 48),
            full_every: hours(keys.full_sweep_hours, 24),
            ..Sweeps::default()
        };
        let location = if location.is_empty() { metrics_of(&self.kind, region) } else { location };
        Some(SourceConfig { name, location, poll_every, format, transport, access: Access { aws, azure }, sweeps })
    }
}

impl Found<'_> {
    fn usage_reports(&self, key: Secret) -> UsageReports {
        let keys = &self.keys;
        let hours =
            |hours: Option<u64>, default: u64| Duration::from_secs(hours.unwrap_or(default).saturating_mul(3600));
        let (service, reports) = match self.kind.as_str() {
            "openai-usage" => (UsageService::OpenAi, openai::REPORTS.as_slice()),
            _ => (UsageService::Anthropic, anthropic::REPORTS.as_slice()),
        };
        UsageReports {
            service,
            endpoint: keys.endpoint.clone(),
            key,
            reports,
            back: hours(keys.start_hours, 7 * 24),
            window: hours(keys.window_hours, 48),
            delay: Duration::from_secs(keys.delay_s.unwrap_or(900)),
        }
    }
}

/// What stands for a location on the board.
fn metrics_of(kind: &str, region: Option<&str>) -> String {
    match (kind, region) {
        ("bedrock-metrics", Some(region)) => format!("CloudWatch metrics AWS/Bedrock, {region}"),
        ("bedrock-metrics", None) => "CloudWatch metrics AWS/Bedrock".to_owned(),
        ("openai-usage", _) => "OpenAI usage and costs".to_owned(),
        ("anthropic-usage", _) => "Anthropic usage and costs".to_owned(),
        _ => "Azure Monitor metrics".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn of(text: &str) -> Result<Vec<SourceConfig>, String> {
        let text = format!("[[source]]\nname = 'b'\n{text}\n");
        Config::parse(&text).map(|config| config.sources).map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn one_entry_stands_for_accounts_and_regions() {
        let sources = of("kind = 'bedrock'\nlocation = 's3://logs-{account}-{region}/x'\naccounts = ['111111111111', '222222222222']\nregions = ['us-east-1', 'eu-west-1']\nrole_arn = 'arn:aws:iam::{account}:role/read'\nexternal_id = 'e'").unwrap();
        assert_eq!(sources.len(), 4);
        let last = &sources[3];
        assert_eq!(last.name, "b/222222222222/eu-west-1");
        assert_eq!(last.location, "s3://logs-222222222222-eu-west-1/x");
        assert_eq!(last.access.aws.role_arn.as_deref(), Some("arn:aws:iam::222222222222:role/read"));
        assert_eq!(last.access.aws.region.as_deref(), Some("eu-west-1"));
        let sources = of("kind = 'bedrock-metrics'\nregions = ['us-east-1', 'us-west-2']\naccount = '1'").unwrap();
        assert_eq!(sources[1].name, "b/us-west-2");
    }

    #[test]
    fn transports_follow_from_the_location() {
        let one = |text: &str| of(text).unwrap().remove(0);
        let queued =
            one("kind = 'bedrock'\nlocation = 's3://b/p'\nqueue_url = 'https://sqs.eu-west-1.amazonaws.com/1/q'");
        assert_eq!(queued.poll_every, Duration::from_secs(900));
        let group = one("kind = 'bedrock'\nlocation = 'cloudwatch:///aws/bedrock/logs'\nregion = 'us-east-1'");
        assert!(
            matches!(&group.transport, Transport::LogGroup { group, live_tail: false, .. } if group == "/aws/bedrock/logs")
        );
        let live = one("kind = 'bedrock'\nlocation = 'cloudwatch:///g'\nlive_tail = true");
        assert!(matches!(&live.transport, Transport::LogGroup { live_tail: true, .. }));
        let blob = one(
            "kind = 'azure'\nlocation = 'az://c/'\nstorage_account = 'acme'\nauth = 'client_secret'\ntenant_id = 't'\nclient_id = 'c'\nsecret_env = 'S'\ncloud = 'government'",
        );
        assert_eq!(blob.access.azure.cloud, AzureCloud::Government);
        assert_eq!(blob.access.azure.secret, Some(Secret::Env("S".to_owned())));
    }

    #[test]
    fn says_what_does_not_fit_together() {
        for (text, expected) in [
            ("kind = 'bedrock'\nlocation = 's3://b'\nregions = ['a']", "{region}"),
            ("kind = 'bedrock'\nlocation = 's3://b-{account}'", "accounts"),
            ("kind = 'azure'\nlocation = 'az://b'\nqueue_url = 'https://x'", "unknown key"),
            ("kind = 'azure'\nlocation = 'az://b'\nauth = 'sas'", "secret_env"),
            ("kind = 'azure'\nlocation = 'az://b'\nauth = 'password'", "auth"),
            ("kind = 'azure-metrics'\nauth = 'managed_identity'", "resources"),
            ("kind = 'azure'\nlocation = 'cloudwatch://g'", "kind 'bedrock'"),
            ("kind = 'bedrock'\nlocation = 's3://b'\nfull_sweep_hours = 0", "above 0"),
            ("kind = 'bedrock'\nlocation = 's3://b'\npoll_interval_s = -1", "poll_interval_s"),
            ("kind = 'bedrock'\nlocation = 's3://b'\nlive_tail = true", "unknown key"),
            ("kind = 'bedrock'\nlocation = 'cloudwatch:///g'\nlive_tail = 'yes'", "live_tail"),
            ("kind = 'openai-usage'", "admin key"),
            ("kind = 'azure'\nlocation = 'kafka://host/topic'", "kafka://HOST:PORT/TOPIC"),
            ("kind = 'azure'\nlocation = 'kafka://host:9093/t'\nauth = 'connection_string'", "secret_env"),
            ("kind = 'azure'\nlocation = 'kafka://host:9093/t'\nuser = 'x'", "goes with"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(expected), "{expected} not in {error}");
        }
    }
}
