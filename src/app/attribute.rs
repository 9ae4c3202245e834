//! `polymeter attribute test`: which rule decided what about a call, and why the others did not hold.

use std::fmt::Write as _;
use std::io::Write;

use super::explain::explained_call;
use super::{StoreOptions, existing_store, rules};
use crate::attribution::{Attribution, DecidedBy, Miss, Rule, UNATTRIBUTED, Value};
use crate::finance::grid::plain;
use crate::model::Call;

/// Which call the rules are tested on.
#[derive(Clone, Debug)]
pub enum TestSubject {
    /// One of the store, by its id.
    Call(String),
    /// One that is described.
    Described(Box<Call>),
}

/// Tests the rules in force, or those of a configuration, on standard output.
///
/// # Errors
/// There is no such call, or the rules are wrong.
pub async fn attribute_test(options: StoreOptions, subject: TestSubject) -> anyhow::Result<()> {
    let text = match subject {
        TestSubject::Call(id) => {
            let store = existing_store(&options.data).await?;
            let rules = rules::rules(&store, &options.said).await?;
            let (explained, _) = explained_call(&store, &rules, &id).await?;
            told(&rules.attribution, &explained.said)
        }
        TestSubject::Described(call) => told(&rules::anywhere(&options).await?.rules.attribution, &call),
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn told(attribution: &Attribution, call: &Call) -> String {
    let tested = attribution.test(call);
    let mut text = String::new();
    let number = |at: usize| at + 1;
    for decision in &tested.decisions {
        let value = decision.value.as_deref().map_or_else(|| UNATTRIBUTED.to_owned(), plain);
        let by = match &decision.by {
            DecidedBy::Rule(at) => match attribution.rules().get(*at) {
                Some(rule) => {
                    format!("rule {} '{}' ({})", number(*at), plain(&rule.rule_id), plain(&rule.place.to_string()))
                }
                None => format!("rule {}", number(*at)),
            },
            DecidedBy::Witness => "what a witness said".to_owned(),
            DecidedBy::Principal => "the table of principals".to_owned(),
            DecidedBy::Tag(name) => format!("the tag {name}"),
            DecidedBy::Nobody => "nobody: no rule, witness, principal or tag says it".to_owned(),
        };
        let instead = decision.instead_of.as_deref().map(|said| format!("; a witness said '{}'", plain(said)));
        let _ = writeln!(text, "{:<12} {value}  by {by}{}", decision.field.as_str(), instead.unwrap_or_default());
    }
    if tested.misses.is_empty() {
        text.push_str("there are no rules; write some into a file that `files` of [attribution] names\n");
        return text;
    }
    text.push_str("rules in their order:\n");
    for (at, (rule, miss)) in attribution.rules().iter().zip(&tested.misses).enumerate() {
        let outcome =
            miss.as_ref().map_or_else(|| format!("holds: {}", sets(rule, call)), |miss| missed(rule, miss, call));
        let _ = writeln!(
            text,
            "  {} '{}' ({}) {outcome}",
            number(at),
            plain(&rule.rule_id),
            plain(&rule.place.to_string())
        );
    }
    text
}

/// What a rule that holds would put where, if it is the first that does.
fn sets(rule: &Rule, call: &Call) -> String {
    let each = rule.set.iter().map(|(field, value)| match (value, rule.value(*field, call)) {
        (_, Some(text)) => format!("{field} = '{}'", plain(&text)),
        (Value::Copy(subject), None) => format!("{field} is left to the next, the call says no {subject}"),
        (Value::Text(_), None) => format!("{field} is left to the next"),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn missed(rule: &Rule, miss: &Miss, call: &Call) -> String {
    match miss {
        Miss::Time => {
            let edge = |at: Option<crate::model::Timestamp>, open: &str| {
                at.map_or_else(|| open.to_owned(), |at| at.to_string())
            };
            format!(
                "does not hold: the call is of {}, the rule of {} until {}",
                call.ts,
                edge(rule.valid_from, "ever"),
                edge(rule.valid_to, "now on")
            )
        }
        Miss::When { subject, said } => {
            let wanted = rule.when.iter().find(|when| when.subject == *subject);
            let wanted: Vec<String> =
                wanted.iter().flat_map(|when| &when.patterns).map(|p| plain(p.as_str())).collect();
            let said = said.as_deref().map_or_else(|| "is not said".to_owned(), |said| format!("is '{}'", plain(said)));
            format!("does not hold: {subject} {said}, wanted is {}", wanted.join(" or "))
        }
    }
}
