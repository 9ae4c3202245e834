//! Reads the sources as text and holds them against the rules of the house. A rule is changed in a table here, in the
//! same commit as the code that needs it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::files_below;

/// A module may import those of lower ranks, never its neighbours.
const RANKS: [&[&str]; 12] = [
    &["model"],
    &["access", "clock", "cores", "telemetry", "store", "sheet", "queries"],
    &["columns", "dashboards"],
    &["collect", "catalog", "attribution", "pricing", "delta"],
    &["sources", "demo", "settle", "journal", "ledger"],
    &["finance"],
    &["query", "pipeline"],
    &["periods"],
    &["serve"],
    &["config"],
    &["app"],
    &["cli"],
];

/// Modules that may import even less than their rank allows.
const ONLY: [(&str, &[&str]); 15] = [
    ("access", &["model"]),
    ("sheet", &["model"]),
    ("queries", &[]),
    ("dashboards", &["queries"]),
    ("catalog", &["model"]),
    ("attribution", &["model", "sheet"]),
    ("pricing", &["model", "sheet"]),
    ("sources", &["model"]),
    ("demo", &["model"]),
    ("settle", &["model", "catalog", "attribution", "pricing"]),
    ("finance", &["model", "sheet", "catalog", "attribution", "pricing"]),
    // Functions and views are told in the words of the catalogue, the price book and the tables.
    // A line of a bill keeps its place in a file.
    (
        "query",
        &[
            "model",
            "access",
            "sheet",
            "queries",
            "telemetry",
            "ledger",
            "columns",
            "settle",
            "catalog",
            "pricing",
            "finance",
        ],
    ),
    // The journal's type of marks, and files that are not yet part of a table.
    (
        "periods",
        &["model", "sheet", "store", "columns", "delta", "journal", "ledger", "pricing", "settle", "finance", "query"],
    ),
    ("serve", &["model", "access", "clock", "telemetry", "ledger", "query", "finance", "periods"]),
    ("delta", &["model", "clock", "cores", "telemetry", "store"]),
];

/// Crates (or all whose name starts so, with `*`) and the only places that may name them.
const CRATES: [(&str, &[&str]); 17] = [
    ("deltalake", &["delta/"]),
    ("datafusion", &["delta/", "ledger/", "query/"]),
    ("aws_*", &["collect/", "store/"]),
    ("azure_*", &["collect/", "store/"]),
    ("rdkafka", &["collect/kafka.rs"]),
    // app: alerts of budgets go to a webhook, price lists come from where the operator says.
    ("reqwest", &["collect/", "app/budgets/deliver.rs", "app/prices/update.rs", "app/top/"]),
    ("axum", &["serve/", "collect/otlp_server/"]),
    ("tonic", &["collect/otlp_server/"]),
    ("hyper_util", &["collect/otlp_server/"]),
    ("tokio_rustls", &["access/tls.rs"]),
    ("pgwire", &["serve/pg/"]),
    // query: the catalogue that PostgreSQL's clients ask; serve: rows in the wire's forms.
    ("datafusion_postgres", &["query/postgres/", "serve/pg/"]),
    ("argon2", &["access/"]),
    // query: the registry that knows no file; app: the mark of demo data; ledger: bills are objects created once.
    ("object_store", &["store/", "collect/", "journal/", "delta/", "ledger/bills.rs", "query/registry.rs", "app/"]),
    ("clap", &["cli/", "main.rs"]),
    ("rustyline", &["app/shell/"]),
    ("anyhow", &["cli/", "main.rs", "app/"]),
];

/// Same input, same output.
const PURE: [&str; 11] = [
    "model",
    "sheet",
    "queries",
    "dashboards",
    "catalog",
    "attribution",
    "pricing",
    "settle",
    "sources",
    "demo",
    "finance",
];
const IMPURE: [&str; 9] =
    ["tokio", "reqwest", "std::fs", "std::env", "std::net", "SystemTime", "Utc::now", "async fn", "tracing::"];

const MAX_LINES: usize = 500;

/// A file below `src`, by its path there.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// `sources/otlp/mod.rs` is the module `sources::otlp`.
    fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        parts
    }
}

/// The text with comments, strings and characters blanked; lines stay where they are.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let from = index;
        if at(index) == '/' && at(index + 1) == '/' {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if at(index) == '/' && at(index + 1) == '*' {
            index += 2;
            while index < chars.len() && !(at(index - 1) == '*' && at(index) == '/' && index > from + 2) {
                index += 1;
            }
            index += 1;
        } else if let Some(hashes) = raw_string(&chars, index) {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            index += hashes + 2;
            while index < chars.len() && !chars[index..].starts_with(&end) {
                index += 1;
            }
            index += end.len();
        } else if at(index) == '"' {
            index += 1;
            while index < chars.len() && at(index) != '"' {
                index += if at(index) == '\\' { 2 } else { 1 };
            }
            index += 1;
        } else if at(index) == '\'' && (at(index + 1) == '\\' || at(index + 2) == '\'') {
            index += if at(index + 1) == '\\' { 3 } else { 2 };
            while index < chars.len() && at(index) != '\'' {
                index += 1;
            }
            index += 1;
        } else {
            code.push(at(index));
            index += 1;
            continue;
        }
        code.push(' ');
        code.extend(chars[from..index.min(chars.len())].iter().filter(|c| **c == '\n'));
    }
    code
}

/// The number of hashes if a raw string starts here.
fn raw_string(chars: &[char], index: usize) -> Option<usize> {
    let before = index.checked_sub(1).and_then(|index| chars.get(index));
    if chars[index] != 'r' || before.is_some_and(|c| c.is_alphanumeric() && *c != 'b' || *c == '_') {
        return None;
    }
    let hashes = chars[index + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(index + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Modules that a file declares for tests only.
fn test_modules(code: &str) -> Vec<&str> {
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| rest.trim_start().strip_prefix("mod "));
    declared
        .filter_map(|rest| rest.split_once(';'))
        .map(|(name, _)| name.trim())
        .filter(|name| !name.contains('{'))
        .collect()
}

/// Without the items that only tests have.
fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some(start) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let mut depth = 0_usize;
        let end = item.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        rest = end.map_or("", |(end, _)| &item[end + 1..]);
    }
    kept + rest
}

/// The elements of a path that starts here; of a group the first element of each of its members.
fn tails(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name.is_empty() {
            return vec![Vec::new()];
        }
        let deeper = rest.strip_prefix("::").map_or_else(|| vec![Vec::new()], tails);
        return deeper.into_iter().map(|tail| [vec![name.to_owned()], tail].concat()).collect();
    };
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..index]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    members.into_iter().filter(|member| !member.trim().is_empty()).flat_map(tails).collect()
}

/// Where a word stands by itself, with what follows it.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let joined = |c: char| c.is_alphanumeric() || c == '_';
        (!before.ends_with(joined) && !after.starts_with(joined)).then_some((before, after))
    })
}

/// All paths into the crate, from its root.
fn imports(module: &[&str], code: &str) -> Vec<Vec<String>> {
    let mut paths: Vec<Vec<String>> =
        words(code, "crate").filter_map(|(_, after)| after.strip_prefix("::")).flat_map(tails).collect();
    for (before, after) in words(code, "super") {
        if before.ends_with("super::") {
            continue;
        }
        let (mut up, mut after) = (1, after);
        while let Some(rest) = after.strip_prefix("::super") {
            up += 1;
            after = rest;
        }
        let Some(after) = after.strip_prefix("::") else { continue };
        let base: Vec<String> =
            module.iter().take(module.len().saturating_sub(up)).map(|part| (*part).to_owned()).collect();
        paths.extend(tails(after).into_iter().map(|tail| [base.clone(), tail].concat()));
    }
    paths
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&module))
}

/// Names of foreign crates: the first element of a path.
fn crates(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |start| start + 1);
        if !before[..start].ends_with("::") || before[..start].trim_end_matches("::").ends_with([' ', '\n', '(']) {
            names.insert(before[start..].to_owned());
        }
    }
    names
}

/// Everything that breaks a rule, as `path: what`.
fn violations(sources: &[Source<'_>]) -> Vec<String> {
    let folders: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("sources/")?.split_once('/'))
        .map(|(name, _)| name)
        .collect();
    let mut tests = Vec::new();
    for source in sources {
        let folder = source.module().join("/");
        tests.extend(test_modules(&code_of(source.text)).into_iter().map(|name| format!("{folder}/{name}")));
    }
    let is_test =
        |path: &str| tests.iter().any(|test| path.strip_prefix(test).is_some_and(|rest| rest.starts_with(['/', '.'])));
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !is_test(source.path)) {
        let mut broken = |what: String| found.push(format!("{}: {what}", source.path));
        if !source.text.starts_with("//!") {
            broken("does not open with //!".to_owned());
        }
        let code = without_tests(&code_of(source.text));
        let lines = code.lines().count();
        if lines > MAX_LINES {
            broken(format!("{lines} lines, more than {MAX_LINES}"));
        }
        let module = source.module();
        for name in crates(&code) {
            for (krate, places) in CRATES {
                let named = krate.strip_suffix('*').map_or(name == krate, |start| name.starts_with(start));
                if named && !places.iter().any(|place| source.path.starts_with(place)) {
                    broken(format!("names the crate {name}"));
                }
            }
        }
        if source.path == "main.rs" {
            for (_, after) in words(&code, "polymeter").filter(|(_, after)| after.starts_with("::")) {
                if !after.starts_with("::cli") {
                    broken("main knows more than cli".to_owned());
                }
            }
            continue;
        }
        if source.path == "lib.rs" {
            continue;
        }
        let Some(own) = rank(module[0]) else {
            broken(format!("the module {} has no rank", module[0]));
            continue;
        };
        for path in imports(&module, &code) {
            let Some(target) = path.first().filter(|target| *target != module[0]) else {
                let neighbour = path.get(1).filter(|name| folders.contains(name.as_str()));
                if module[0] == "sources" && module.len() > 1 && neighbour.is_some_and(|name| name != module[1]) {
                    broken(format!("a source imports the source {}", path[1]));
                }
                continue;
            };
            let Some(other) = rank(target) else { continue };
            let narrower = ONLY.iter().find(|(name, _)| *name == module[0]);
            if other >= own || narrower.is_some_and(|(_, allowed)| !allowed.contains(&target.as_str())) {
                broken(format!("imports {target}"));
            }
        }
        if PURE.contains(&module[0]) {
            for word in IMPURE {
                let last = word.trim_end_matches("::");
                if words(&code, last).any(|(_, after)| last == word || after.starts_with("::")) {
                    broken(format!("is not pure: {word}"));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_below(&root);
    let texts: Vec<(String, String)> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| {
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (below, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(texts.len() > 50);
    let sources: Vec<_> = texts.iter().map(|(path, text)| Source { path, text }).collect();
    let found = violations(&sources);
    assert!(found.is_empty(), "{} violation(s)\n{}", found.len(), found.join("\n"));
    let named: BTreeSet<&str> = sources.iter().map(|source| source.path.split(['/', '.']).next().unwrap()).collect();
    let missing: Vec<_> = RANKS.iter().copied().flatten().filter(|module| !named.contains(**module)).collect();
    assert!(missing.is_empty(), "ranked, but not there: {missing:?}");
}

/// Where, what is written there, and what must be said about it.
const PLANTED: [(&str, &str, &str); 26] = [
    ("model/x.rs", "use crate::app::serve;", "imports app"),
    ("collect/x.rs", "use crate::catalog::Catalog;", "imports catalog"),
    ("ledger/x.rs", "use crate::{model::Call, query::{Engine, Limits}};", "imports query"),
    ("ledger/x.rs", "fn f() { let x = crate::pipeline::Meter::new(); }", "imports pipeline"),
    ("model/x.rs", "use super::super::serve::Format;", "imports serve"),
    ("clock.rs", "use super::telemetry::metrics;", "imports telemetry"),
    ("columns/mod.rs", "use super::{model::Call, journal::Journal};", "imports journal"),
    ("sources/otlp/x.rs", "use crate::settle::settle;", "imports settle"),
    ("pricing/x.rs", "use crate::store::Store;", "imports store"),
    ("serve/handlers/x.rs", "use crate::pipeline::Meter;", "imports pipeline"),
    ("sources/bedrock/x.rs", "use crate::sources::azure::AzureConfig;", "imports the source azure"),
    ("sources/bedrock/x.rs", "use super::super::azure::AzureConfig;", "imports the source azure"),
    ("ledger/x.rs", "use deltalake::DeltaTable;", "names the crate deltalake"),
    ("pipeline/x.rs", "fn f(x: &datafusion::prelude::SessionContext) {}", "names the crate datafusion"),
    ("pipeline/x.rs", "use aws_sdk_s3::Client;", "names the crate aws_sdk_s3"),
    ("journal/x.rs", "use azure_storage::Client;", "names the crate azure_storage"),
    ("query/x.rs", "use axum::Router;", "names the crate axum"),
    ("collect/objects.rs", "use tonic::Status;", "names the crate tonic"),
    ("serve/x.rs", "use object_store::path::Path;", "names the crate object_store"),
    ("sources/azure/x.rs", "use tokio::sync::mpsc;", "not pure: tokio"),
    ("settle/x.rs", "pub async fn settle() {}", "not pure: async fn"),
    ("catalog/x.rs", "fn f() { std::fs::read(p); }", "not pure: std::fs"),
    ("demo/x.rs", "fn f() { let now = chrono::Utc::now(); }", "not pure: Utc::now"),
    ("attribution/x.rs", "fn f() { tracing::info!(x); }", "not pure: tracing::"),
    ("newcomer/mod.rs", "pub fn f() {}", "has no rank"),
    ("main.rs", "use polymeter::app;", "more than cli"),
];

/// Looks like violations and is none.
const CLEAN: &str = r##"//! Not like crate::app, tokio or deltalake.
use crate::model::{Call, Usage};
use opentelemetry_proto::tonic::trace::v1::Span;
use super::super::azure_like::of_another_word;
// use crate::serve::Format;
/* use crate::cli; */
fn f<'a>(quote: char, text: &'a str) -> bool {
    let _ = ("crate::app::serve", r#"tokio::spawn "quoted" std::fs"#, b"async fn", '"', '\'', "\" crate::cli");
    quote == '"' && text == "tracing::info" && SystemTimes::new()
}
#[cfg(test)]
use crate::pipeline::Meter;
#[cfg(test)]
mod tests {
    use crate::app::serve;
    fn g() { tokio::spawn(async { std::fs::read("}") }) }
}
"##;

#[test]
fn each_rule_catches_what_breaks_it() {
    for (path, line, expected) in PLANTED {
        let text = format!("//! Planted.\n{line}\n");
        let azure = Source { path: "sources/azure/mod.rs", text: "//! Azure.\n" };
        let found = violations(&[azure, Source { path, text: &text }]);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{path} {line}: expected '{expected}', found {found:?}"
        );
    }
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert!(violations(&[Source { path: "model/x.rs", text: &long }])[0].contains("lines"));
    let silent = Source { path: "model/x.rs", text: "use std::fmt;\n" };
    assert!(violations(&[silent])[0].contains("//!"));
}

#[test]
fn what_only_looks_like_a_violation_passes() {
    let found = violations(&[Source { path: "sources/otlp/x.rs", text: CLEAN }]);
    assert!(found.is_empty(), "{found:?}");
    let long_tests = format!("//! Short.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MAX_LINES));
    assert!(violations(&[Source { path: "model/x.rs", text: &long_tests }]).is_empty());
}
