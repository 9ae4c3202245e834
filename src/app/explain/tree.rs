//! An explanation for people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use super::{Answer, differing};
use crate::model::{Call, Observation, RecordId};
use crate::settle::{CallExplained, LeftOut, Rule, Seen};

/// Deeper spans are shown at this depth.
const DEEPEST: usize = 40;
/// Characters that break a line or turn its direction.
const TURNS: [std::ops::RangeInclusive<char>; 4] =
    ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{feff}'..='\u{feff}'];

/// The records as a tree, then each call that is wanted.
pub fn write(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let explanation = &answer.explanation;
    let mut home: HashMap<RecordId, usize> = HashMap::new();
    for (number, explained) in explanation.calls.iter().enumerate() {
        home.extend(explained.witnesses.iter().map(|witness| (*witness, number + 1)));
    }
    let (records, calls) = (explanation.seen.len(), explanation.calls.len());
    say(out, &format!("{records} record(s), {calls} call(s)"))?;
    if let Some(incomplete) = &answer.incomplete {
        say(out, incomplete)?;
    }
    Tree::new(answer, &home).write(out)?;
    let names = explanation.seen.iter().map(|seen| (seen.observation.observation_id, name(&seen.observation)));
    let names: HashMap<RecordId, String> = names.collect();
    for (number, explained) in explanation.calls.iter().enumerate() {
        if answer.is_wanted(&explained.call) {
            writeln!(out)?;
            let row = answer.settled.get(&explained.call.call_id);
            call(out, number + 1, explained, row, &names)?;
        }
    }
    Ok(())
}

/// A line. Names, models and ids come from strangers: what a terminal would act on is shown by its number.
fn say(out: &mut impl Write, line: &str) -> io::Result<()> {
    let mut shown = String::with_capacity(line.len() + 1);
    for c in line.chars() {
        if c.is_control() || TURNS.iter().any(|turns| turns.contains(&c)) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown.push('\n');
    out.write_all(shown.as_bytes())
}

/// The spans below each other, what has no span beside them.
struct Tree<'a> {
    answer: &'a Answer,
    seen: &'a [Seen],
    home: &'a HashMap<RecordId, usize>,
    children: BTreeMap<usize, Vec<usize>>,
    roots: Vec<usize>,
}

impl<'a> Tree<'a> {
    fn new(answer: &'a Answer, home: &'a HashMap<RecordId, usize>) -> Self {
        let seen = answer.explanation.seen.as_slice();
        let ids = seen.iter().enumerate().filter_map(|(place, seen)| {
            let o = &seen.observation;
            Some(((o.trace_id.as_deref()?, o.span_id.as_deref()?), place))
        });
        let by_id: HashMap<(&str, &str), usize> = ids.collect();
        let (mut children, mut roots): (BTreeMap<usize, Vec<usize>>, Vec<usize>) = Default::default();
        for (place, seen) in seen.iter().enumerate() {
            let o = &seen.observation;
            let above = o.trace_id.as_deref().zip(o.parent_span_id.as_deref());
            match above.and_then(|above| by_id.get(&above)).filter(|above| **above != place) {
                Some(above) => children.entry(*above).or_default().push(place),
                None => roots.push(place),
            }
        }
        Self { answer, seen, home, children, roots }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut met = BTreeSet::new();
        let mut trace = None;
        // Spans whose parents form a circle hang below no root.
        for root in self.roots.iter().copied().chain(0..self.seen.len()) {
            let Some(seen) = self.seen.get(root).filter(|_| !met.contains(&root)) else { continue };
            let own = seen.observation.trace_id.as_deref();
            if own.is_some() && own != trace {
                writeln!(out)?;
                say(out, &format!("trace {}", own.unwrap_or_default()))?;
            } else if own.is_none() && trace.is_some() {
                writeln!(out, "\nrecords of no trace")?;
            }
            trace = own;
            let mut left = vec![(root, 0)];
            while let Some((place, depth)) = left.pop() {
                let Some(seen) = self.seen.get(place).filter(|_| met.insert(place)) else { continue };
                say(out, &format!("{}{}", "   ".repeat(depth.min(DEEPEST)), self.line(seen)))?;
                let below = self.children.get(&place).into_iter().flatten().rev();
                left.extend(below.map(|child| (*child, depth + 1)));
            }
        }
        Ok(())
    }

    fn line(&self, seen: &Seen) -> String {
        let o = &seen.observation;
        let mut parts = vec![name(o), o.dialect.clone()];
        parts.extend(o.request_model.clone().or_else(|| o.response_model.clone()));
        let tokens = [("in", o.usage.input), ("out", o.usage.output)];
        parts.extend(tokens.into_iter().filter_map(|(what, n)| Some(format!("{what} {}", n?))));
        parts.extend(o.duration_ms.map(|ms| format!("{ms:.0} ms")));
        parts.extend(o.outcome.map(|outcome| outcome.to_string()));
        parts.push(format!("from {}", seen.sources.join(" and ")));
        let deliveries = self.answer.deliveries(seen);
        parts.extend((deliveries > seen.sources.len()).then(|| format!("delivered {deliveries} times")));
        let verdict = match (seen.left_out, self.home.get(&o.observation_id)) {
            (Some(reason), _) => format!("left out: {}", left_out(reason, o)),
            (None, Some(number)) => format!("call {number}"),
            (None, None) => "no call".to_owned(),
        };
        format!("- {}  => {verdict}", parts.join(", "))
    }
}

/// How a record is called: its span or request, and who speaks.
fn name(o: &Observation) -> String {
    let what = match (&o.span_id, &o.provider_request_id) {
        (Some(span), _) => format!("span {span}"),
        (None, Some(request)) => format!("request {request}"),
        (None, None) => format!("record {}", o.observation_id),
    };
    format!("{what} ({})", o.witness.as_str().replace('_', " "))
}

fn call(
    out: &mut impl Write,
    number: usize,
    explained: &CallExplained,
    row: Option<&Call>,
    names: &HashMap<RecordId, String>,
) -> io::Result<()> {
    let call = &explained.call;
    let who = |id: RecordId| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    say(out, &format!("call {number}: {}", call.call_id))?;
    match row.map(|row| differing(row, call)) {
        None => say(out, "  not in `calls` yet: it is late and shows up with the next settle")?,
        Some(differing) if differing.is_empty() => {}
        Some(differing) => say(
            out,
            &format!(
                "  `calls` holds another {}: it was settled with other rules, or a witness is not settled yet (`polymeter resettle`)",
                differing.join(", ")
            ),
        )?,
    }
    for joined in &explained.joined {
        say(out, &format!("  {} and {}: {}", who(joined.a), who(joined.b), rule(joined.rule)))?;
    }
    let first = explained.witnesses.first().copied().map(who).unwrap_or_default();
    say(
        out,
        &format!(
            "  {first} speaks first for tokens and status{}",
            if call.conflict { "; others disagree (conflict)" } else { "" }
        ),
    )?;
    for figure in &explained.figures {
        let from = figure.from.map_or_else(|| "derived by a rule from what is known".to_owned(), who);
        say(out, &format!("  {:<22} {:<40} {from}", figure.column, figure.value))?;
    }
    let derived = [
        ("model", call.model.clone(), "the catalogue, from the models that were named"),
        ("publisher", call.publisher.clone(), "the catalogue"),
        ("scope", call.scope.clone(), "the model's or deployment's name"),
        ("attempt", call.attempt.map(|n| n.to_string()), "failed attempts of the same request before it"),
        ("usage_status", Some(call.usage_status.to_string()), "the witness that speaks first for tokens"),
    ];
    for (column, value, from) in derived {
        say(out, &format!("  {column:<22} {:<40} {from}", value.unwrap_or_else(|| "NULL".to_owned())))?;
    }
    for line in &explained.priced.lines {
        let (price, cost) =
            (line.unit_price.map(|p| p.normalize().to_string()), line.cost.map(|c| c.0.normalize().to_string()));
        match (price, cost, &line.rate_id) {
            (Some(price), Some(cost), Some(rate)) => {
                say(
                    out,
                    &format!("  {:<22} {} x {price} = {cost}  by rate {rate}", line.bucket.as_str(), line.quantity),
                )?;
            }
            _ => say(out, &format!("  {:<22} {} without a rate", line.bucket.as_str(), line.quantity))?,
        }
    }
    let cost = call.cost.map_or_else(|| "NULL".to_owned(), |cost| cost.0.normalize().to_string());
    say(out, &format!("  {:<22} {cost} {} ({})", "cost", call.currency.as_deref().unwrap_or(""), call.cost_status))
}

/// Why two records are one call, in words.
pub const fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::RequestId => "same provider request id",
        Rule::ResponseId => "same response id within 15 minutes",
        Rule::GatewayId => "same request id of the gateway",
        Rule::Ancestor => "one is above the other in the trace",
        Rule::Twin => "same failure at the same moment, told by two instrumentations without an id",
    }
}

/// Why a record is no witness, in words.
pub fn left_out(reason: LeftOut, o: &Observation) -> String {
    match reason {
        LeftOut::Surrounds => "it surrounds calls, and speaks for attribution only".to_owned(),
        LeftOut::NeverSent => {
            let what = o.tags.get("gateway_event").map_or("", String::as_str).replace('_', " ");
            let what = if what.is_empty() { "answered or refused by the gateway".to_owned() } else { what };
            format!("it never reached a provider ({what}); see gateway_events")
        }
        LeftOut::AboveNeverSent => {
            "the gateway below it answered or refused it by itself; see gateway_events".to_owned()
        }
        LeftOut::BelowNeverSent => "what is above it never reached a provider".to_owned(),
        LeftOut::Repeats => "the call above it has the same tokens".to_owned(),
        LeftOut::NoUsage => "it has no tokens to tell".to_owned(),
    }
}
