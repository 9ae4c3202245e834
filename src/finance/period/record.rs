//! What is written down when a month is closed or opened again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::finance::calendar::{Month, Zone};
use crate::finance::chargeback::SourceSeen;
use crate::model::{Interval, Timestamp};

/// One entry of the log of periods. Entries are numbered, created once and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A month was closed.
    Closed(Box<Closed>),
    /// The latest closed month was opened again.
    Reopened(Reopened),
}

/// What a close pins. Instants are UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The month.
    pub month: Month,
    /// Whose month it is.
    pub time_zone: Zone,
    /// Its first instant.
    pub from: String,
    /// The first instant behind it.
    pub to: String,
    /// When it was closed.
    pub closed_at: String,
    /// Who did it.
    pub by: String,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Version of the program.
    pub polymeter: String,
    /// Version of the time zone database.
    pub calendar: String,
    /// Version of the texts of prices and rules; the texts are beside the rows.
    pub rules_version: String,
    /// Version of the price book with the bundled list.
    pub prices_version: String,
    /// Versions of the tables that the rows were copied from.
    pub tables: BTreeMap<String, u64>,
    /// Folder of the store that holds the rows, texts and reports.
    pub folder: String,
    /// Every file of rows and texts in it.
    pub files: Vec<ClosedFile>,
    /// Calls.
    pub calls: u64,
    /// Sums by currency; calls without a price have none.
    pub totals: Vec<ClosedTotal>,
    /// Calls of earlier months that changed since those were closed, by reason: posted in this month.
    #[serde(default)]
    pub corrected_calls: BTreeMap<String, u64>,
    /// What each source had delivered.
    pub sources: Vec<ClosedSource>,
    /// Records that could not be read, by source.
    #[serde(default)]
    pub set_aside: Vec<(String, u64)>,
    /// How far followed sources were complete.
    #[serde(default)]
    pub complete_to: BTreeMap<String, Option<String>>,
    /// What page one warned of: whoever closed accepted it.
    #[serde(default)]
    pub accepted: Vec<String>,
}

/// A file that a close made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedFile {
    /// Below the folder of the close.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

/// A sum of a closed month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTotal {
    /// ISO 4217; `None` for calls without a price.
    pub currency: Option<String>,
    /// Calls.
    pub calls: u64,
    /// Exact cost at the contract's price, as text.
    pub cost: Option<String>,
    /// Exact cost at list price, as text.
    pub list_cost: Option<String>,
}

/// What a source had delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedSource {
    /// Its name.
    pub source: String,
    /// Records.
    pub records: u64,
    /// The latest start of a call.
    pub last_event: String,
    /// When something was read last.
    pub last_read: String,
}

/// A month that was opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopened {
    /// The month.
    pub month: Month,
    /// When.
    pub at: String,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Closed {
    /// From the first instant to the first behind it.
    #[must_use]
    pub fn interval(&self) -> Interval {
        // As it was computed when the month was closed: a calendar may change its mind about the past.
        let pinned = Timestamp::parse(&self.from).zip(Timestamp::parse(&self.to));
        pinned.map_or_else(|| self.month.interval(self.time_zone), |(from, to)| Interval { from, to })
    }

    /// When it was closed.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp::parse(&self.closed_at).unwrap_or_default()
    }

    /// What the sources had delivered, for a report.
    #[must_use]
    pub fn seen(&self) -> Vec<SourceSeen> {
        let instant = |text: &str| Timestamp::parse(text).unwrap_or_default();
        let seen = |source: &ClosedSource| SourceSeen {
            source: source.source.clone(),
            records: source.records,
            last_event: instant(&source.last_event),
            last_read: instant(&source.last_read),
        };
        self.sources.iter().map(seen).collect()
    }
}

impl From<&SourceSeen> for ClosedSource {
    fn from(seen: &SourceSeen) -> Self {
        let (last_event, last_read) = (seen.last_event.to_string(), seen.last_read.to_string());
        Self { source: seen.source.clone(), records: seen.records, last_event, last_read }
    }
}
