//! What a report is asked: a month in a time zone, by columns of the ledger. Also the SQL that it is made from: names come
//! from a list, instants from a calendar, nothing from whoever asks.

use crate::attribution::UNATTRIBUTED;
use crate::model::{Interval, Timestamp};

use super::calendar::{CalendarError, Month, Zone};

/// What the line is called of calls that say nothing in a column that is not attribution.
pub const UNKNOWN: &str = "(unknown)";

/// Most columns that a report is grouped by.
const MOST: usize = 6;

/// A column of the ledger that reports can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column(&'static str);

impl Column {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self("team"),
        Self("feature"),
        Self("cost_center"),
        Self("environment"),
        Self("service"),
        Self("platform"),
        Self("publisher"),
        Self("model"),
        Self("account"),
        Self("region"),
        Self("deployment"),
        Self("principal"),
        Self("user_id"),
        Self("gateway"),
        Self("operation"),
        Self("tier"),
        Self("resource"),
    ];

    /// Its name, in the ledger and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Whether rules decide it.
    #[must_use]
    pub fn is_attribution(self) -> bool {
        self.field().is_some()
    }

    /// The field that rules decide.
    #[must_use]
    pub fn field(self) -> Option<crate::attribution::Field> {
        self.0.parse().ok()
    }

    /// What a line without a value is called.
    #[must_use]
    pub fn nobody(self) -> &'static str {
        if self.is_attribution() { UNATTRIBUTED } else { UNKNOWN }
    }
}

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The month or zone.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// A column that there is not.
    #[error("a report can't be grouped by '{name}'; did you mean '{nearest}'? There are {}", names())]
    Column {
        /// As it was written.
        name: String,
        /// The nearest.
        nearest: &'static str,
    },
    /// A column that is there twice.
    #[error("'{0}' is there twice")]
    Twice(&'static str),
    /// None or too many columns.
    #[error("name one to {MOST} columns to group by, for example team,model")]
    Columns,
    /// Not a currency.
    #[error("'{0}' is no currency; write its ISO 4217 code, for example EUR")]
    Currency(String),
    /// The month is compared with itself.
    #[error("a month can't be compared with itself; name another one")]
    SameMonth,
}

fn names() -> String {
    Column::ALL.map(Column::name).join(", ")
}

/// What a report is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The month.
    pub month: Month,
    /// Whose month it is.
    pub zone: Zone,
    /// Columns, at least one.
    pub by: Vec<Column>,
    /// What sums are told in; that of the ledger by default.
    pub currency: Option<String>,
}

impl Ask {
    /// Reads what somebody asks.
    ///
    /// # Errors
    /// What is wrong with it, with what to write instead.
    pub fn new(month: &str, by: &str, zone: Option<&str>, currency: Option<&str>) -> Result<Self, AskError> {
        let (month, zone) = (month.parse()?, zone.map_or(Ok(Zone::UTC), str::parse)?);
        let currency = currency.map(|text| text.trim().to_ascii_uppercase());
        if let Some(wrong) = &currency
            && (wrong.len() != 3 || !wrong.bytes().all(|byte| byte.is_ascii_uppercase()))
        {
            return Err(AskError::Currency(wrong.clone()));
        }
        let mut columns: Vec<Column> = Vec::new();
        for name in by.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = Column::ALL.into_iter().find(|column| column.0 == name);
            let column = known.ok_or_else(|| {
                let nearest = crate::sheet::nearest(name, &Column::ALL.map(Column::name));
                let nearest = Column::ALL.into_iter().find(|column| column.0 == nearest).map_or("team", Column::name);
                AskError::Column { name: name.to_owned(), nearest }
            })?;
            if columns.contains(&column) {
                return Err(AskError::Twice(column.0));
            }
            columns.push(column);
        }
        if columns.is_empty() || columns.len() > MOST {
            return Err(AskError::Columns);
        }
        Ok(Self { month, zone, by: columns, currency })
    }

    /// From the first instant of the month to the first of the next.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.month.interval(self.zone)
    }

    /// The same about another month.
    #[must_use]
    pub fn about(&self, month: Month) -> Self {
        Self { month, ..self.clone() }
    }

    /// The question as one line of text, the same for the same question.
    #[must_use]
    pub fn question(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(|column| column.0).collect();
        let currency = self.currency.as_deref().unwrap_or("default");
        format!("chargeback month={} tz={} by={} currency={currency}", self.month, self.zone, by.join(","))
    }

    /// The sums of the ledger for each group and currency.
    #[must_use]
    pub fn lines_sql(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(|column| column.0).collect();
        let by = by.join(", ");
        format!("SELECT {by}, currency, {FIGURES} FROM calls WHERE {} GROUP BY {by}, currency", during(self.interval()))
    }

    /// The sums of the ledger for each currency, without any group: what the lines are held against.
    #[must_use]
    pub fn ledger_sql(&self) -> String {
        format!("SELECT currency, {FIGURES} FROM calls WHERE {} GROUP BY currency", during(self.interval()))
    }

    /// What has no price, or only a part of one.
    #[must_use]
    pub fn gaps_sql(&self) -> String {
        format!(
            "SELECT platform, coalesce(model, request_model) AS model, cost_status, count(*) AS calls, \
             sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens FROM calls \
             WHERE {} AND ({UNPRICED} OR cost_status = 'partial') GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT 100",
            during(self.interval())
        )
    }

    /// What each source delivered.
    #[must_use]
    pub fn sources_sql(&self) -> String {
        format!(
            "SELECT source, count(*) AS records, max(ts) AS last_event, max(observed_at) AS last_read \
             FROM observations WHERE {} GROUP BY source ORDER BY source",
            during(self.interval())
        )
    }

    /// Records that could not be read.
    #[must_use]
    pub fn set_aside_sql(&self) -> String {
        format!(
            "SELECT source, count(*) AS records FROM quarantine WHERE resolved_at IS NULL AND {} GROUP BY source \
             ORDER BY source",
            during(self.interval())
        )
    }

    /// What was used of provisioned capacity by group and hour, of the hours from `from` until before `to`.
    #[must_use]
    pub fn capacity_sql(&self, (from, to): (Timestamp, Timestamp)) -> String {
        let by: Vec<&str> = self.by.iter().map(|column| column.0).collect();
        let ordinals: Vec<String> = (1..=by.len() + 5).map(|number| number.to_string()).collect();
        format!(
            "SELECT {}, date_trunc('hour', ts) AS used_hour, platform AS on_platform, account AS on_account, model AS on_model, \
             deployment AS on_deployment, count(*) AS calls, sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), \
             sum(cache_write_1h_tokens), sum(output_tokens), sum(audio_input_tokens), sum(audio_output_tokens), \
             sum(image_input_tokens), sum(images) FROM calls WHERE tier = 'provisioned' AND {} GROUP BY {}",
            by.join(", "),
            during(Interval { from, to }),
            ordinals.join(", ")
        )
    }

    /// Priced calls by group, platform and model, for the variance.
    #[must_use]
    pub fn items_sql(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(|column| column.0).collect();
        let by = by.join(", ");
        format!(
            "SELECT {by}, platform AS item_platform, coalesce(model, request_model) AS item_model, currency, \
             count(*) AS calls, sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS tokens, sum(cost) AS cost \
             FROM calls WHERE {} AND cost IS NOT NULL AND currency IS NOT NULL \
             GROUP BY {by}, platform, coalesce(model, request_model), currency",
            during(self.interval())
        )
    }
}

/// The starts of an interval, as a condition.
#[must_use]
pub fn during(Interval { from, to }: Interval) -> String {
    format!("ts >= to_timestamp_micros({}) AND ts < to_timestamp_micros({})", from.0, to.0)
}

/// Failed calls without tokens were never billed.
const UNPRICED: &str = "(cost_status = 'unpriced' AND NOT (usage_status = 'missing' AND outcome IN \
    ('throttled', 'client_error', 'server_error')))";

/// In the order of [`Figures`](super::chargeback::Figures).
const FIGURES: &str = "count(*) AS calls, sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens, \
    sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens, sum(list_cost) AS list_cost, \
    sum(cost) AS cost, \
    count(*) FILTER (WHERE cost_status = 'unpriced' AND NOT (usage_status = 'missing' AND outcome IN \
    ('throttled', 'client_error', 'server_error'))) AS unpriced_calls, \
    count(*) FILTER (WHERE cost_status = 'partial') AS partial_calls, \
    count(*) FILTER (WHERE cost_status = 'allocated') AS allocated_calls, \
    count(*) FILTER (WHERE usage_status = 'estimated') AS estimated_calls, \
    sum(cost) FILTER (WHERE usage_status = 'estimated') AS estimated_cost, \
    count(*) FILTER (WHERE usage_status = 'missing' AND outcome = 'ok') AS uncounted_calls, \
    count(*) FILTER (WHERE conflict) AS conflicts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_or_told_how_to_ask() {
        let ask = Ask::new("2026-10", "team, model", Some("Europe/Berlin"), Some("eur")).unwrap();
        assert_eq!((ask.by.len(), ask.currency.as_deref()), (2, Some("EUR")));
        assert!(ask.lines_sql().contains("GROUP BY team, model, currency"));
        let wrong = |month, by, zone, currency| Ask::new(month, by, zone, currency).unwrap_err().to_string();
        assert!(wrong("2026-10", "teem", None, None).contains("did you mean 'team'"));
        assert!(wrong("2026-10", "team,team", None, None).contains("twice"));
        assert!(wrong("2026-10", " ,", None, None).contains("team,model"));
        assert!(wrong("2026-10", "team", None, Some("Euro")).contains("ISO 4217"));
        assert!(wrong("2026-10", "team; DROP", None, None).contains("can't be grouped"));
        assert!(wrong("October", "team", None, None).contains("2026-10"));
    }
}
