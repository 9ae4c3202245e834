//! Rules that people edit: TOML or CSV, checked line by line. Pure: text in; rules out, or every mistake.
//!
//! ```toml
//! [[rule]]
//! rule_id = "search-prod"
//! when = { principal = "search-*", tag.env = ["prod", "production"] }   # all must hold; of a list any
//! set = { team = "search", cost_center = "4711", environment = "prod" }
//! valid_from = 2026-01-01
//!
//! [[rule]]
//! rule_id = "header-says"
//! when = { gateway = "litellm", header.x-team = "*" }
//! set = { team = "{header.x-team}" }              # what the call says
//!
//! [[split]]
//! split_id = "platform"
//! field = "team"
//! of = "platform-*"
//! shares = { search = 60, chat = 40 }             # or: by = "cost", "tokens", "calls", "even"; among = ["search", "chat"]
//! ```
//!
//! A CSV file holds rules only, with columns `rule_id`, `when.principal`, `when.tag.env`, `set.team`, `valid_from`, ….

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::rules::{Rule, Value, When};
use super::shares::{Basis, Shares, SplitRule};
use super::subject::{Field, Subject};
use crate::model::Pattern;
use crate::sheet::{Fields, Place, Problem, Row, nearest, read_csv, read_toml};

const RULE: [&str; 6] = ["rule_id", "when.", "set.", "valid_from", "valid_to", "note"];
const SPLIT: [&str; 9] = ["split_id", "field", "of", "shares.", "by", "among", "valid_from", "valid_to", "note"];
const BASES: [&str; 4] = ["cost", "tokens", "calls", "even"];

/// What a file holds, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesFile {
    /// Attribution rules.
    pub rules: Vec<Rule>,
    /// Rules for shared cost.
    pub splits: Vec<SplitRule>,
}

/// Reads a file, TOML or CSV by the end of its name.
///
/// # Errors
/// Every mistake that the file shows by itself; [`assemble_rules`] finds those between rules and between files.
pub fn read_rules(file: &str, text: &str) -> Result<RulesFile, Vec<Problem>> {
    let name = file.to_ascii_lowercase();
    let (mut read, mut problems) = (RulesFile::default(), Vec::new());
    if name.ends_with(".toml") {
        let sheet = read_toml(file, text)?;
        Fields::new(file, &sheet.top, None, &mut problems).known(&["rule", "split"]);
        for (name, rows) in &sheet.tables {
            for row in rows {
                let fields = &mut Fields::new(file, row, None, &mut problems);
                match name.as_str() {
                    "rule" => {
                        fields.known(&RULE);
                        read.rules.extend(rule(fields));
                    }
                    "split" => {
                        fields.known(&SPLIT);
                        read.splits.extend(split_rule(fields));
                    }
                    other => {
                        let hint = format!("did you mean '{}'?", nearest(other, &["rule", "split"]));
                        problems.push(place(file, row).problem(format!("there is no list '{other}'"), hint));
                        break;
                    }
                }
            }
        }
    } else if name.ends_with(".csv") {
        let sheet = read_csv(file, text)?;
        let columns = Row {
            line: sheet.top.line,
            cells: sheet.columns.iter().map(|column| (column.clone(), Default::default())).collect(),
        };
        let mut header = Vec::new();
        Fields::new(file, &columns, None, &mut header).known(&RULE);
        // Cells of the header have no lines of their own.
        problems.extend(header.into_iter().map(|problem| Problem { line: sheet.top.line, ..problem }));
        for row in sheet.tables.values().flatten() {
            read.rules.extend(rule(&mut Fields::new(file, row, None, &mut problems)));
        }
    } else {
        let at = Place { file: file.to_owned(), line: 1 };
        problems.push(at.problem("the name ends neither in .toml nor in .csv", "name it so"));
    }
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

fn place(file: &str, row: &Row) -> Place {
    Place { file: file.to_owned(), line: row.line }
}

fn rule(fields: &mut Fields<'_>) -> Option<Rule> {
    let before = fields.problems();
    let rule_id = fields.required("rule_id").map(str::to_owned);
    let mut when = Vec::new();
    let conditions: Vec<(String, Vec<String>)> =
        fields.below("when.").into_iter().map(|(name, cell)| (name.to_owned(), cell.texts.clone())).collect();
    for (name, texts) in conditions {
        match name.parse::<Subject>() {
            Ok(subject) => when.push(When { subject, patterns: texts.iter().map(|text| Pattern::new(text)).collect() }),
            Err(()) => {
                let hint = format!(
                    "did you mean '{}'? There are {}",
                    nearest(&name, &Subject::NAMES),
                    Subject::NAMES.join(", ")
                );
                fields.problem(&format!("when.{name}"), format!("a call has no '{name}'"), hint);
            }
        }
    }
    let mut set = Vec::new();
    let names: Vec<String> = fields.below("set.").into_iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let cell = format!("set.{name}");
        let Ok(field) = name.parse::<Field>() else {
            let known = Field::ALL.map(Field::as_str);
            let hint = format!("did you mean '{}'? There are {}", nearest(&name, &known), known.join(", "));
            fields.problem(&cell, format!("a rule can't set '{name}'"), hint);
            continue;
        };
        let Some(text) = fields.text(&cell) else { continue };
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            None => set.push((field, Value::Text(text.to_owned()))),
            Some(subject) => match subject.parse() {
                Ok(subject) => set.push((field, Value::Copy(subject))),
                Err(()) => {
                    let hint = format!("did you mean '{{{}}}'?", nearest(subject, &Subject::NAMES));
                    fields.problem(&cell, format!("a call has no '{subject}'"), hint);
                }
            },
        }
    }
    if set.is_empty() && fields.problems() == before {
        fields.problem("set", "the rule sets nothing", "write for example set = { team = \"search\" }");
    }
    let (valid_from, valid_to) = fields.validity();
    let rule = Rule { rule_id: rule_id?, place: fields.place(), when, set, valid_from, valid_to };
    (fields.problems() == before).then_some(rule)
}

fn split_rule(fields: &mut Fields<'_>) -> Option<SplitRule> {
    let before = fields.problems();
    let split_id = fields.required("split_id").map(str::to_owned);
    let known = Field::ALL.map(Field::as_str);
    let _ = fields.required("field");
    let field = fields.one_of("field", &known, |text| text.parse::<Field>().ok());
    let of = fields.required("of").map(Pattern::new);
    let basis = fields.one_of("by", &BASES, |text| match text {
        "cost" => Some(Basis::Cost),
        "tokens" => Some(Basis::Tokens),
        "calls" => Some(Basis::Calls),
        "even" => Some(Basis::Even),
        _ => None,
    });
    let among: Vec<String> = fields.texts("among").into_iter().map(str::to_owned).collect();
    let names: Vec<String> = fields.below("shares.").into_iter().map(|(name, _)| name.to_owned()).collect();
    let percent: BTreeMap<String, Decimal> =
        names.iter().filter_map(|name| Some((name.clone(), fields.decimal(&format!("shares.{name}"))?))).collect();
    let clean = fields.problems() == before;
    let shares = match (names.is_empty(), basis) {
        (false, Some(_)) => {
            fields.problem("by", "there are both shares and a basis", "write one of them");
            None
        }
        (false, None) => {
            let sum: Decimal = percent.values().sum();
            if clean && sum != Decimal::ONE_HUNDRED {
                let first = names.first().map(|name| format!("shares.{name}")).unwrap_or_default();
                fields.problem(&first, format!("the shares are {sum} per cent together"), "they have to be 100");
            }
            Some(Shares::Percent(percent))
        }
        (true, Some(basis)) => Some(Shares::Usage { basis, among }),
        (true, None) => {
            if clean {
                fields.problem("by", "there are neither shares nor a basis", "write shares = { … }, or by = \"cost\"");
            }
            None
        }
    };
    let (valid_from, valid_to) = fields.validity();
    let place = fields.place();
    let (split_id, field, of, shares) = (split_id?, field?, of?, shares?);
    (fields.problems() == before).then_some(SplitRule { split_id, place, field, of, shares, valid_from, valid_to })
}

/// All rules of all files, in the order of the files.
///
/// # Errors
/// Names that are taken, and rules that can never decide what they set, because an earlier one has the same conditions.
pub fn assemble_rules(files: Vec<RulesFile>) -> Result<RulesFile, Vec<Problem>> {
    let mut all = RulesFile::default();
    for file in files {
        all.rules.extend(file.rules);
        all.splits.extend(file.splits);
    }
    let mut problems = Vec::new();
    for (number, b) in all.rules.iter().enumerate() {
        for a in all.rules.iter().take(number) {
            if a.rule_id == b.rule_id {
                let what = format!("the name '{}' is taken by the rule at {}", b.rule_id, a.place);
                problems.push(b.place.problem(what, "give each rule a name of its own"));
            } else if shadows(a, b) {
                let what =
                    format!("rule '{}' can decide nothing: '{}' at {} comes first", b.rule_id, a.rule_id, a.place);
                problems
                    .push(b.place.problem(what, "order the special rule before the general one, or end the earlier"));
            }
        }
    }
    for (number, b) in all.splits.iter().enumerate() {
        if let Some(a) = all.splits.iter().take(number).find(|a| a.split_id == b.split_id) {
            let what = format!("the name '{}' is taken by the split at {}", b.split_id, a.place);
            problems.push(b.place.problem(what, "give each split a name of its own"));
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// True if `a`, which comes first, decides everything that `b` could, whenever `b` holds.
fn shadows(a: &Rule, b: &Rule) -> bool {
    let covers_time = a.valid_from.is_none_or(|from| b.valid_from.is_some_and(|start| from <= start))
        && a.valid_to.is_none_or(|to| b.valid_to.is_some_and(|end| to >= end));
    let weaker = a.when.iter().all(|condition| b.when.contains(condition));
    let decides = |field: Field| a.set.iter().any(|(own, value)| *own == field && matches!(value, Value::Text(_)));
    covers_time && weaker && b.set.iter().all(|(field, _)| decides(*field))
}
