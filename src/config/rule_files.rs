//! The files that finance edits, as texts: what `[prices]` and `[attribution]` name. They are read and checked whole before
//! anything of them holds.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Config;
use super::read::{Section, section};
use crate::attribution::{RulesFile, assemble_rules, read_rules};
use crate::model::Timestamp;
use crate::pricing::{PriceBook, PriceFile, Prices, Reading, assemble, read_file};
use crate::sheet::{Place, Problem};

/// A file that finance edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// Its name, as the configuration has it.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What a configuration says about prices and who pays; `None` where it says nothing, so that what the store keeps holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Principal (or IAM role name, or key alias) to team.
    pub principals: Option<BTreeMap<String, String>>,
    /// Files with attribution rules, in their order.
    pub attribution: Option<Vec<RuleText>>,
    /// Files with prices, contracts, commitments and exchange rates.
    pub prices: Option<Vec<RuleText>>,
    /// Currency of the reports.
    pub currency: Option<String>,
}

/// When rows that do not say it became known.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Rows that nobody knew before.
    pub now: Timestamp,
    /// Rows that an earlier text had too, by their fingerprint.
    pub before: HashMap<String, Timestamp>,
    /// Leave out where rows stand, to compare files.
    pub unplaced: bool,
}

/// What files say, checked.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The price book with the bundled list, commitments and exchange rates.
    pub prices: Prices,
    /// Attribution and split rules.
    pub rules: RulesFile,
    /// When each price and contract row became known, by its fingerprint.
    pub known: BTreeMap<String, Timestamp>,
}

/// Reads price files.
///
/// # Errors
/// Every mistake of every file.
pub fn read_prices(texts: &[RuleText], recorded: &Recorded) -> Result<Vec<PriceFile>, Vec<Problem>> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for RuleText { name, text } in texts {
        match read_file(name, text, &Reading::operator(recorded.now)) {
            Ok(mut file) => {
                file.recall(recorded.now, &recorded.before);
                if recorded.unplaced {
                    file.unplaced();
                }
                files.push(file);
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Puts what files say together with the bundled list.
///
/// # Errors
/// Every mistake in and between the files. Mistakes between them are told once none has one of its own.
pub fn compile(
    prices: &[RuleText],
    attribution: &[RuleText],
    currency: Option<&str>,
    recorded: &Recorded,
) -> Result<Compiled, Vec<Problem>> {
    let (mut problems, mut compiled) = (Vec::new(), Compiled::default());
    match read_prices(prices, recorded) {
        Ok(files) => {
            compiled.known = files.iter().flat_map(PriceFile::fingerprints).collect();
            match assemble(bundled()?, files, currency) {
                Ok(prices) => compiled.prices = prices,
                Err(mut found) => problems.append(&mut found),
            }
        }
        Err(mut found) => problems.append(&mut found),
    }
    let (mut files, before) = (Vec::new(), problems.len());
    for RuleText { name, text } in attribution {
        match read_rules(name, text) {
            Ok(file) => files.push(file),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.len() == before {
        match assemble_rules(files) {
            Ok(rules) => compiled.rules = rules,
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() { Ok(compiled) } else { Err(problems) }
}

fn bundled() -> Result<Vec<crate::pricing::Rate>, Vec<Problem>> {
    let book = PriceBook::bundled().map_err(|error| {
        let place = Place { file: "bundled list".to_owned(), line: 0 };
        vec![place.problem(error.to_string(), "the program is damaged")]
    })?;
    Ok(book.rates().cloned().collect())
}

/// Reads `[prices]` and `[attribution]`; files lie relative to `folder`.
pub(super) fn read(table: &Table, folder: &Path, config: &mut Config, problems: &mut Vec<String>) {
    let said = &mut config.said;
    section(table, "attribution", &["principals", "files"], problems, |section| {
        if let Some(principals) = section.table.get("principals") {
            match principals.clone().try_into() {
                Ok(read) => said.principals = Some(read),
                Err(_) => section.problem("principals", "must be a table of principal = \"team\""),
            }
        }
        said.attribution = files(section, folder);
    });
    section(table, "prices", &["files", "currency"], problems, |section| {
        said.prices = files(section, folder);
        let mut currency = String::new();
        section.text("currency", &mut currency);
        if !currency.is_empty() {
            if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
                section.problem("currency", format_args!("'{currency}' is no ISO 4217 code; write it as \"EUR\""));
            }
            said.currency = Some(currency);
        }
    });
    // Mistakes are told with the path that leads to the file, its rules keep the name that the configuration has.
    let shown = |texts: &Option<Vec<RuleText>>| -> Vec<RuleText> {
        let path = |text: &RuleText| RuleText { name: folder.join(&text.name).display().to_string(), ..text.clone() };
        texts.iter().flatten().map(path).collect()
    };
    let (prices, attribution) = (shown(&said.prices), shown(&said.attribution));
    if let Err(found) = compile(&prices, &attribution, said.currency.as_deref(), &Recorded::default()) {
        problems.extend(found.iter().map(ToString::to_string));
    }
}

/// The texts of `files`; those that can't be read are told.
fn files(section: &mut Section<'_>, folder: &Path) -> Option<Vec<RuleText>> {
    let listed = match section.table.get("files")? {
        Value::Array(listed) => listed.clone(),
        _ => {
            section.problem("files", "must be a list of paths: [\"prices.csv\"]");
            return None;
        }
    };
    let mut texts: Vec<RuleText> = Vec::new();
    for entry in listed {
        let Value::String(name) = entry else {
            section.problem("files", format_args!("must hold paths as text, not {}", entry.type_str()));
            continue;
        };
        if texts.iter().any(|text| text.name == name) {
            section.problem("files", format_args!("'{name}' is there twice"));
            continue;
        }
        let path = folder.join(&name);
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push(RuleText { name, text }),
            Ok(Err(_)) => {
                section.problem("files", format_args!("{} is not UTF-8; save it as UTF-8", path.display()));
            }
            Err(error) => section.problem("files", format_args!("{} can't be read: {error}", path.display())),
        }
    }
    Some(texts)
}
