//! Page one: what the figures leave out, and how far they can be trusted.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{Figures, Gap, SourceSeen, Summed};
use crate::finance::ask::Ask;
use crate::finance::calendar::Month;
use crate::finance::capacity::Capacity;
use crate::finance::grid::plain;
use crate::model::{HOUR_US, Timestamp};

/// How long a source may be silent before the end of a month.
const SILENT_US: i64 = 24 * HOUR_US;
/// So many are named, the others are counted.
const NAMED: usize = 10;

/// Something to know before the figures are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable name.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

impl Warning {
    pub(super) const fn new(code: &'static str, text: String) -> Self {
        Self { code, text }
    }
}

fn calls(count: u64) -> String {
    if count == 1 { "1 call".to_owned() } else { format!("{count} calls") }
}

/// What the figures themselves say.
pub(super) fn warnings(ask: &Ask, ledger: &[Summed], lines: &[Summed], gaps: &[Gap]) -> Vec<Warning> {
    let mut all = Vec::new();
    let mut add = |code, text| all.push(Warning::new(code, text));
    let sum = |of: fn(&Figures) -> u64| ledger.iter().map(|line| of(&line.figures)).sum::<u64>();
    let unpriced = sum(|figures| figures.unpriced_calls);
    if unpriced > 0 {
        let named = named(gaps, "unpriced");
        add("unpriced", format!("{} without a price are in no sum: {named}", calls(unpriced)));
    }
    let partial = sum(|figures| figures.partial_calls);
    if partial > 0 {
        let named = named(gaps, "partial");
        add("partial", format!("the cost of {} is that of a part of their tokens: {named}", calls(partial)));
    }
    for (number, column) in ask.by.iter().enumerate() {
        let nobody = lines.iter().filter(|line| line.keys.get(number).is_none_or(Option::is_none));
        let (mut count, mut money) = (0, BTreeMap::<&str, Decimal>::new());
        for line in nobody {
            count += line.figures.calls;
            if let (Some(currency), Some(cost)) = (&line.currency, line.figures.cost) {
                *money.entry(currency).or_default() += cost;
            }
        }
        if count > 0 {
            let money: Vec<String> = money.iter().map(|(currency, cost)| format!("{cost} {currency}")).collect();
            let money = if money.is_empty() { "no cost".to_owned() } else { money.join(" and ") };
            let code = if column.is_attribution() { "unattributed" } else { "unknown" };
            add(code, format!("{} with {money} have no {}: they are {}", calls(count), column.name(), column.nobody()));
        }
    }
    let estimated = sum(|figures| figures.estimated_calls);
    if estimated > 0 {
        let costs = ledger
            .iter()
            .filter_map(|line| Some(format!("{} {}", line.figures.estimated_cost?, line.currency.as_deref()?)));
        let costs: Vec<String> = costs.collect();
        add(
            "estimated",
            format!("the tokens of {} are estimated; their cost is {}", calls(estimated), costs.join(" and ")),
        );
    }
    let uncounted = sum(|figures| figures.uncounted_calls);
    if uncounted > 0 {
        add("uncounted", format!("{} were answered, and no witness tells their tokens", calls(uncounted)));
    }
    let conflicts = sum(|figures| figures.conflicts);
    if conflicts > 0 {
        add(
            "conflicts",
            format!(
                "the witnesses of {} disagree; see `polymeter sql \"SELECT * FROM calls WHERE conflict\"`",
                calls(conflicts)
            ),
        );
    }
    all
}

/// Capacity that is paid by the hour.
pub(super) fn capacity(capacity: &[Capacity], uncovered: u64, all: &mut Vec<Warning>) {
    for one in capacity {
        let id = plain(&one.commitment_id);
        if let Some(currency) = &one.currency {
            let text = format!(
                "{} {currency} for {} hours of {id} are allocated by weighted tokens, on lines of their own; {} {currency} of \
                 it nobody used: {}",
                one.cost,
                one.hours,
                one.idle,
                plain(&one.rule)
            );
            all.push(Warning::new("commitment", text));
        }
        if one.unpriced_hours > 0 {
            let text = format!(
                "{} hours of {id} without a price are in no sum; add a price for the unit 'hour', or `amount` to the \
                 commitment",
                one.unpriced_hours
            );
            all.push(Warning::new("unpriced_commitment", text));
        }
    }
    if uncovered > 0 {
        let text = format!(
            "{} ran on capacity that is paid by the hour, and no [[commitment]] says what it costs: that is in no sum",
            calls(uncovered)
        );
        all.push(Warning::new("allocated", text));
    }
}

fn named(gaps: &[Gap], status: &str) -> String {
    let own: Vec<&Gap> = gaps.iter().filter(|gap| gap.status == status).collect();
    let mut named: Vec<String> = own
        .iter()
        .take(NAMED)
        .map(|gap| {
            let text = |text: &Option<String>| text.as_deref().map_or_else(|| "unknown".to_owned(), plain);
            let (platform, model) = (text(&gap.platform), text(&gap.model));
            format!(
                "{platform} {model} ({}, {} tokens)",
                calls(gap.calls),
                gap.input_tokens.saturating_add(gap.output_tokens)
            )
        })
        .collect();
    if own.len() > NAMED {
        named.push(format!("and {} more", own.len() - NAMED));
    }
    named.join(", ")
}

/// Whether everything of the month is there.
pub(super) fn completeness(
    ask: &Ask,
    sources: &[SourceSeen],
    set_aside: &[(String, u64)],
    complete_to: &BTreeMap<String, Option<String>>,
    now: Timestamp,
    all: &mut Vec<Warning>,
) {
    let (month, interval): (Month, _) = (ask.month, ask.interval());
    if now < interval.from {
        all.push(Warning::new("month_not_begun", format!("{month} has not begun in {}", ask.zone)));
    } else if now < interval.to {
        let text = format!("{month} has not ended in {}: these are the figures up to {now}", ask.zone);
        all.push(Warning::new("month_not_ended", text));
    }
    let until = now.min(interval.to);
    for seen in sources.iter().filter(|seen| seen.last_event.0.saturating_add(SILENT_US) < until.0) {
        let text = format!(
            "nothing of {} is there after {}, which is more than a day before {until}: either nothing happened or it was \
             not read",
            plain(&seen.source),
            seen.last_event
        );
        all.push(Warning::new("incomplete_source", text));
    }
    for (source, complete) in complete_to {
        let behind = complete.as_deref().and_then(Timestamp::parse).is_none_or(|at| at < until);
        // A followed source is always a little behind a month that goes on.
        if behind && now >= interval.to {
            let to = complete.as_deref().unwrap_or("no instant yet");
            all.push(Warning::new("incomplete_source", format!("{} is complete up to {to} only", plain(source))));
        }
    }
    for (source, count) in set_aside {
        let records = if *count == 1 { "1 record".to_owned() } else { format!("{count} records") };
        let text = format!("{records} of {} could not be read; see `polymeter quarantine list`", plain(source));
        all.push(Warning::new("set_aside", text));
    }
}
