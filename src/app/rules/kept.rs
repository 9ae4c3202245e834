//! The texts that calls were settled with, in the store: what the configuration of a command that settles says holds for
//! commands without one too, or each would settle its neighbours' calls by other rules.
//!
//! `rules/<version>.json` holds texts and is never changed; `rules/current.json` names the version in force and those
//! before it. The same texts are the same version.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::listed;
use crate::config::{Compiled, Recorded, RuleText, Said, compile};
use crate::finance::Terms;
use crate::model::Timestamp;
use crate::sheet::{Problem, canonical_line, content_hash};
use crate::store::Store;

const FOLDER: &str = "rules";
const CURRENT: &str = "rules/current.json";
/// Principals of a store that is older than versions.
const PRINCIPALS_KEPT: &str = "principals.json";

/// Texts that hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// A hash of the texts.
    pub version: String,
    /// When they were first kept, UTC: when rows that do not say it became known.
    pub recorded_at: String,
    /// Price files.
    #[serde(default)]
    pub prices: Vec<RuleText>,
    /// Files with attribution rules, in their order.
    #[serde(default)]
    pub attribution: Vec<RuleText>,
    /// Principal to team.
    #[serde(default)]
    pub principals: BTreeMap<String, String>,
    /// Currency of the reports.
    #[serde(default)]
    pub currency: Option<String>,
    /// Fingerprints of the price rows that the version before had too, by when they became known.
    #[serde(default)]
    pub known: BTreeMap<String, Vec<String>>,
}

/// When a version came into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The version.
    pub version: String,
    /// UTC.
    pub since: String,
}

/// The versions of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The one in force.
    #[serde(flatten)]
    pub current: Since,
    /// Those before, the latest first.
    #[serde(default)]
    pub earlier: Vec<Since>,
}

impl Version {
    /// What the texts say.
    pub fn compile(&self) -> Result<Compiled, Vec<Problem>> {
        let now = self.now();
        let before = self.known.iter().filter_map(|(at, rows)| Some((Timestamp::parse(at)?, rows)));
        let before: HashMap<String, Timestamp> =
            before.flat_map(|(at, rows)| rows.iter().map(move |row| (row.clone(), at))).collect();
        compile(&self.prices, &self.attribution, self.currency.as_deref(), &Recorded { now, before, unplaced: false })
    }

    /// What reports need of it.
    pub fn terms(&self, compiled: &Compiled) -> Terms {
        Terms {
            version: self.version.clone(),
            prices_version: compiled.prices.book.version(),
            exchange: compiled.prices.exchange.clone(),
            commitments: compiled.prices.commitments.clone(),
            splits: compiled.rules.splits.clone(),
            currency: self.currency.clone(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::parse(&self.recorded_at).unwrap_or_default()
    }

    /// The hash of what it says, whenever it was kept.
    fn hash(&self) -> String {
        let file = |kind: &str, file: &RuleText| canonical_line(&[kind, &file.name, &file.text]);
        let mut lines: Vec<String> = self.prices.iter().map(|text| file("prices", text)).collect();
        lines.extend(self.attribution.iter().map(|text| file("attribution", text)));
        lines.extend(self.principals.iter().map(|(name, team)| canonical_line(&["principal", name, team])));
        lines.extend(self.currency.iter().map(|currency| canonical_line(&["currency", currency])));
        content_hash(&lines)
    }

    /// With what is said in the place of what it had.
    fn with(mut self, said: &Said) -> Self {
        let Said { principals, attribution, prices, currency } = said.clone();
        self.principals = principals.unwrap_or(self.principals);
        self.attribution = attribution.unwrap_or(self.attribution);
        self.prices = prices.unwrap_or(self.prices);
        self.currency = currency.or(self.currency);
        self.version = self.hash();
        self
    }
}

/// The versions of a store; `None` where none was kept.
pub async fn history(store: &Store) -> anyhow::Result<Option<History>> {
    let bytes = store.read(CURRENT).await?;
    bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().context("rules/current.json of the store is damaged")
}

/// A kept version by its name or the start of it; `current` is the one in force.
pub async fn version(store: &Store, name: &str) -> anyhow::Result<Version> {
    let Some(history) = history(store).await? else {
        bail!("the store keeps no version of prices and rules yet; they are kept when a command settles with --config");
    };
    let all = || std::iter::once(&history.current).chain(&history.earlier).map(|since| since.version.as_str());
    if name == "current" {
        return read(store, &history.current.version).await?.context("the version in force is missing in the store");
    }
    let mut found: Vec<&str> = all().filter(|version| version.starts_with(name)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => read(store, one).await?.with_context(|| format!("version {one} is missing in the store")),
        [] => {
            let known: Vec<&str> = all().map(|version| version.get(..12).unwrap_or(version)).collect();
            bail!("there is no version '{name}'; there are {}", known.join(", "))
        }
        _ => bail!("'{name}' is the start of several versions; write more of it"),
    }
}

async fn read(store: &Store, version: &str) -> anyhow::Result<Option<Version>> {
    let name = format!("{FOLDER}/{version}.json");
    let bytes = store.read(&name).await?;
    bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().with_context(|| format!("{name} is damaged"))
}

/// What is in force; nothing in a store that keeps nothing.
async fn in_force(store: &Store) -> anyhow::Result<Version> {
    if let Some(history) = history(store).await? {
        let version = &history.current.version;
        return read(store, version).await?.with_context(|| format!("{FOLDER}/{version}.json is missing in the store"));
    }
    let bytes = store.read(PRINCIPALS_KEPT).await?;
    let principals = bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    let principals = principals.context("principals.json of the store is damaged")?.unwrap_or_default();
    let version = Version { principals, ..Version::default() };
    Ok(Version { version: version.hash(), ..version })
}

/// What is said, without a store.
pub fn alone(said: &Said, now: Timestamp) -> Version {
    Version { recorded_at: now.to_string(), ..Version::default() }.with(said)
}

/// What holds with what is said: a version that is kept, or one that would be.
pub async fn candidate(store: &Store, said: &Said, now: Timestamp) -> anyhow::Result<Version> {
    let base = in_force(store).await?;
    let new = base.clone().with(said);
    if new.version == base.version {
        return Ok(base);
    }
    if let Some(kept) = read(store, &new.version).await? {
        return Ok(kept);
    }
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // An earlier version that this program can't read any more has no rows to be recognised.
    for (row, at) in base.compile().map(|compiled| compiled.known).unwrap_or_default() {
        known.entry(at.to_string()).or_default().push(row);
    }
    Ok(Version { recorded_at: now.to_string(), known, ..new })
}

/// Keeps what is said. Nothing is changed in the store if something is wrong with it, or nothing is new.
pub async fn keep(store: &Store, said: &Said, now: Timestamp) -> anyhow::Result<()> {
    keep_version(store, &candidate(store, said, now).await?, now).await
}

/// Keeps a version that was made of what is said.
pub async fn keep_version(store: &Store, version: &Version, now: Timestamp) -> anyhow::Result<()> {
    let history = history(store).await?;
    let in_force = in_force(store).await?.version;
    if version.version == in_force {
        return Ok(());
    }
    version.compile().map_err(|problems| anyhow!("{}", listed(&problems)))?;
    let name = format!("{FOLDER}/{}.json", version.version);
    store.keep(&name, serde_json::to_vec_pretty(version)?, false).await?;
    let earlier = history.map(|history| {
        let mut earlier = history.earlier;
        earlier.insert(0, history.current);
        earlier
    });
    let current = Since { version: version.version.clone(), since: now.to_string() };
    let history = History { current, earlier: earlier.unwrap_or_default() };
    store.keep(CURRENT, serde_json::to_vec_pretty(&history)?, true).await?;
    Ok(())
}
