//! Completion of words, and when a statement is whole.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

/// Words of the language that are long enough to be worth it.
const LANGUAGE: [&str; 32] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "DISTINCT",
    "JOIN",
    "LEFT JOIN",
    "UNION ALL",
    "WITH",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "BETWEEN",
    "INTERVAL",
    "TIMESTAMP",
    "COUNT(",
    "SUM(",
    "FILTER (WHERE",
    "IS NULL",
    "IS NOT NULL",
    "DESC",
    "EXPLAIN",
    "SHOW TABLES",
    "SHOW COLUMNS FROM",
    "NULLS LAST",
    "AND",
];

/// What can be completed.
pub struct Words(Vec<String>);

impl Words {
    /// Names of the store, beside the words of the language.
    pub fn new(mut names: Vec<String>) -> Self {
        names.sort();
        names.dedup();
        Self(names)
    }

    fn complete(&self, line: &str) -> (usize, Vec<String>) {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let start = line.char_indices().rev().take_while(|(_, c)| part(*c)).last().map_or(line.len(), |(at, _)| at);
        let word = line.get(start..).unwrap_or_default();
        if word.is_empty() {
            return (start, Vec::new());
        }
        let begins = |name: &str| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let names = self.0.iter().filter(|name| begins(name)).cloned();
        let small = word.chars().all(|c| !c.is_uppercase());
        let language = LANGUAGE.into_iter().filter(|name| begins(name));
        let language = language.map(|name| if small { name.to_lowercase() } else { name.to_owned() });
        (start, names.chain(language).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(self.complete(line.get(..at).unwrap_or_default()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(if is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// A command of one line, or a statement with its end.
fn is_whole(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('\\') || text.ends_with(';') || matches!(text, "quit" | "exit" | "help")
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_the_cursor_is_completed() {
        let words =
            Words::new(["calls", "cache_read_tokens", "cost", "cost_status", "calls"].map(str::to_owned).to_vec());
        assert_eq!(words.complete("SELECT cos"), (7, vec!["cost".to_owned(), "cost_status".to_owned()]));
        assert_eq!(words.complete("select sum(cost_s"), (11, vec!["cost_status".to_owned()]));
        assert_eq!(words.complete("sel"), (0, vec!["select".to_owned()]));
        assert_eq!(words.complete("SEL").1, ["SELECT"]);
        assert_eq!(words.complete("SELECT "), (7, Vec::new()));
        assert_eq!(words.complete("größe_c").1, Vec::<String>::new());
    }

    #[test]
    fn a_statement_goes_on_to_its_semicolon() {
        assert!(!is_whole("SELECT 1"));
        assert!(is_whole("SELECT 1;") && is_whole("SELECT\n 1 ;\n") && is_whole("\\d calls") && is_whole(" "));
    }
}
