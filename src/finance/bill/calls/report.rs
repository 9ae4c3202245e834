//! Two logs, call by call, as a report: what only one of them has, what one has twice, what they tell otherwise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CallFinding, CallMatch, CallVerdict, LoggedCall, MatchedBy};
use crate::finance::grid::{Cell, Grid, Kind, plain};
use crate::model::Interval;

/// Findings that a terminal has room for; files have all of them.
const SHOWN: usize = 100;

/// Trace and response id.
pub type CallIds = (Option<String>, Option<String>);

/// One side.
#[derive(Clone, Debug, Default)]
pub struct CallsSide {
    /// What it was asked as: `gateway,client`.
    pub name: String,
    /// Its calls.
    pub calls: Vec<LoggedCall>,
    /// Trace and response id of each call, to follow it.
    pub ids: Vec<CallIds>,
    /// Requests that failed without any count: nobody bills them, and they are not compared.
    pub failed: u64,
}

/// The report.
#[derive(Clone, Debug, Default)]
pub struct CallsReport {
    /// The time.
    pub within: Option<Interval>,
    /// The gateway's or the application's side.
    pub left: CallsSide,
    /// The provider's side.
    pub right: CallsSide,
    /// What was found in the time.
    pub found: CallMatch,
    /// What to know first.
    pub notes: Vec<String>,
}

impl CallsReport {
    /// Makes the report of a match; findings that lie wholly outside of the time are left out.
    #[must_use]
    pub fn new(within: Interval, left: CallsSide, right: CallsSide, mut found: CallMatch, notes: Vec<String>) -> Self {
        let inside = |calls: &[LoggedCall], at: Option<usize>| {
            at.and_then(|at| calls.get(at)).is_some_and(|call| within.contains(call.at))
        };
        found.findings.retain(|finding| inside(&left.calls, finding.gateway) || inside(&right.calls, finding.provider));
        Self { within: Some(within), left, right, found, notes }
    }

    /// How many of each verdict.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let all = [
            CallVerdict::Match,
            CallVerdict::Mismatch,
            CallVerdict::GatewayOnly,
            CallVerdict::ProviderOnly,
            CallVerdict::GatewayDuplicate,
            CallVerdict::ProviderDuplicate,
        ];
        let mut counts: BTreeMap<&'static str, u64> = all.iter().map(|verdict| (word(*verdict), 0)).collect();
        for finding in &self.found.findings {
            *counts.entry(word(finding.verdict)).or_default() += 1;
        }
        counts
    }

    /// Everything that is no match.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let mut grid = Grid::new([
            ("verdict", Kind::Text),
            ("platform", Kind::Text),
            ("model", Kind::Text),
            ("left_at", Kind::Text),
            ("right_at", Kind::Text),
            ("left_input", Kind::Count),
            ("right_input", Kind::Count),
            ("left_output", Kind::Count),
            ("right_output", Kind::Count),
            ("matched_by", Kind::Text),
            ("confidence", Kind::Count),
            ("request_id", Kind::Text),
            ("response_id", Kind::Text),
            ("trace_id", Kind::Text),
            ("left_observation", Kind::Text),
            ("right_observation", Kind::Text),
        ]);
        grid.rows.extend(self.found.differences().map(|finding| self.cells(finding)));
        grid
    }

    fn cells(&self, finding: &CallFinding) -> Vec<Cell> {
        let left = finding.gateway.and_then(|at| self.left.calls.get(at));
        let right = finding.provider.and_then(|at| self.right.calls.get(at));
        let ids = finding.gateway.and_then(|at| self.left.ids.get(at));
        let more = finding.provider.and_then(|at| self.right.ids.get(at));
        let either =
            |get: fn(&LoggedCall) -> Option<&str>| Cell::from(left.and_then(get).or_else(|| right.and_then(get)));
        let id = |get: fn(&CallIds) -> Option<&str>| Cell::from(ids.and_then(get).or_else(|| more.and_then(get)));
        let count = |count: Option<u64>| count.map_or(Cell::None, Cell::Count);
        let at = |call: Option<&LoggedCall>| call.map_or(Cell::None, |call| Cell::Text(call.at.to_string()));
        let by = finding.by.map(|by| match by {
            MatchedBy::RequestId => "id",
            MatchedBy::Likeness => "tokens and time",
            MatchedBy::Nearness => "time",
        });
        vec![
            Cell::Text(word(finding.verdict).to_owned()),
            either(|call| Some(&call.platform)),
            either(|call| call.model.as_deref()),
            at(left),
            at(right),
            count(left.and_then(|call| call.input)),
            count(right.and_then(|call| call.input)),
            count(left.and_then(|call| call.output)),
            count(right.and_then(|call| call.output)),
            Cell::from(by),
            if finding.by.is_some() { Cell::Count(u64::from(finding.confidence)) } else { Cell::None },
            either(|call| call.request_id.as_deref()),
            id(|(_, response)| response.as_deref()),
            id(|(trace, _)| trace.as_deref()),
            Cell::from(left.map(|call| call.id.as_str())),
            Cell::from(right.map(|call| call.id.as_str())),
        ]
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("Calls of {} (left) against {} (right)", self.left.name, self.right.name);
        if let Some(Interval { from, to }) = self.within {
            text.push_str(&format!(", from {from} to {to}"));
        }
        text.push_str("\n\n");
        self.notes.iter().for_each(|note| text.push_str(&format!("  ! {}\n", plain(note))));
        let mut counts = Grid::new([("verdict", Kind::Text), ("calls", Kind::Count)]);
        counts
            .rows
            .extend(self.counts().into_iter().map(|(name, n)| vec![Cell::Text(name.to_owned()), Cell::Count(n)]));
        text.push_str(&counts.table(0));
        let mut grid = self.grid();
        let all = grid.rows.len();
        if all > 0 {
            grid.rows.truncate(SHOWN);
            text.push_str(&format!("\n{}", grid.table(0)));
        }
        if all > SHOWN {
            text.push_str(&format!("{} more; --format csv or json has all of them\n", all - SHOWN));
        }
        text
    }

    /// One document.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "from": self.within.map(|within| within.from.to_string()),
            "to": self.within.map(|within| within.to.to_string()),
            "left": {"name": self.left.name, "failed": self.left.failed},
            "right": {"name": self.right.name, "failed": self.right.failed},
            "counts": self.counts(),
            "findings": self.grid().json(),
            "notes": self.notes,
        })
    }
}

/// The sides of a report are left and right, whoever they are.
const fn word(verdict: CallVerdict) -> &'static str {
    match verdict {
        CallVerdict::Match => "match",
        CallVerdict::Mismatch => "mismatch",
        CallVerdict::GatewayOnly => "left_only",
        CallVerdict::ProviderOnly => "right_only",
        CallVerdict::GatewayDuplicate => "left_duplicate",
        CallVerdict::ProviderDuplicate => "right_duplicate",
    }
}
