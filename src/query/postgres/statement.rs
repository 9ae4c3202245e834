//! Statements as PostgreSQL's clients send them: several in one text, chatter about the session among them.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::datafusion_pg_catalog::sql::rules::{
    CurrentUserVariableToSessionUserFunctionCall, FixVersionColumnName, RewriteArrayAnyAllOperation,
    SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};

use super::super::guard;
use crate::query::QueryError;
use crate::query::error::first_line;
use crate::query::what_if::quoted;

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows.
    Ask,
    /// A setting of the session.
    Set {
        /// Lower case.
        name: String,
        /// Without quotes.
        value: String,
    },
    /// A setting's value.
    Show(String),
    /// The beginning of a transaction.
    Begin,
    /// Its end.
    Commit,
    /// Its end, or that of a failed one.
    Rollback,
    /// Back into a transaction that failed.
    RollbackTo,
    /// Nothing that concerns us; answered with this tag.
    Quiet(&'static str),
}

/// One statement.
#[derive(Clone)]
pub struct Statement {
    /// What it is about.
    pub kind: Kind,
    /// As it was sent.
    pub text: String,
    pub(in crate::query) parsed: Option<Box<Parsed>>,
    /// Whether it concerns PostgreSQL's catalogue.
    pub(in crate::query) catalog: bool,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

/// Statements in a text at most.
const MOST: usize = 50;

/// All statements of a text.
///
/// # Errors
/// The text is too long, or a statement can't be read.
pub fn statements(sql: &str, most_bytes: usize) -> Result<Vec<Statement>, QueryError> {
    guard::check_text(sql, most_bytes)?;
    let sql = &*quoted(sql);
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize();
    let tokens = tokens.map_err(|error| QueryError::Invalid(first_line(&error.to_string())))?;
    let pieces = tokens.split(|token| *token == Token::SemiColon);
    let pieces: Vec<&[Token]> =
        pieces.filter(|piece| piece.iter().any(|token| !matches!(token, Token::Whitespace(_)))).collect();
    if pieces.len() > MOST {
        return Err(QueryError::Invalid(format!("there are more than {MOST} statements")));
    }
    pieces.into_iter().map(one).collect()
}

fn one(piece: &[Token]) -> Result<Statement, QueryError> {
    let text: String = piece.iter().map(ToString::to_string).collect();
    let text = text.trim().to_owned();
    let words: Vec<String> =
        piece.iter().filter(|token| !matches!(token, Token::Whitespace(_))).map(ToString::to_string).collect();
    if let Some(kind) = chatter(&words)? {
        return Ok(Statement { kind, text, parsed: None, catalog: false });
    }
    let catalog = piece.iter().any(concerns_catalog);
    let explained = words.first().is_some_and(|word| word.eq_ignore_ascii_case("explain"));
    let parsed = if catalog && !explained { of_catalog(&text)? } else { ordinary(&text)? };
    guard::check(&parsed)?;
    Ok(Statement { kind: Kind::Ask, text, parsed: Some(Box::new(parsed)), catalog })
}

/// Names of the catalogue; what stands in quotes as a text names nothing.
fn concerns_catalog(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let name = word.value.to_lowercase();
    name.starts_with("pg_") || name == "information_schema" || name.starts_with("reg") && name != "region"
}

fn ordinary(text: &str) -> Result<Parsed, QueryError> {
    let parser = DFParserBuilder::new(text).with_dialect(&PostgreSqlDialect {}).with_recursion_limit(50).build();
    let parsed = parser.and_then(|mut parser| parser.parse_statements());
    let mut parsed = parsed.map_err(crate::query::error::classify)?;
    match (parsed.pop_front(), parsed.is_empty()) {
        (Some(Parsed::Statement(inner)), true) => Ok(Parsed::Statement(Box::new(rewritten(*inner)))),
        (Some(other), true) => Ok(other),
        _ => Err(QueryError::Invalid("one statement was expected".to_owned())),
    }
}

/// What PostgreSQL spells in its own way and means the same. The rules that change what a statement means, where the
/// engine can't plan it, are for the catalogue's alone: an answer about our tables is right or is none.
fn rewritten(mut statement: ast::Statement) -> ast::Statement {
    let _ = ast::VisitMut::visit(&mut statement, &mut Spelling { catalog: false });
    let rules: [&dyn SqlStatementRewriteRule; 5] = [
        &RewriteArrayAnyAllOperation,
        &StripCallableQualifier,
        &CurrentUserVariableToSessionUserFunctionCall,
        &StripCollate,
        &FixVersionColumnName,
    ];
    rules.into_iter().fold(statement, |statement, rule| rule.rewrite(statement))
}

/// Two spellings that the rules leave alone.
struct Spelling {
    catalog: bool,
}

impl ast::VisitorMut for Spelling {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        match expression {
            // A parameter has no type of its own; as a list of texts it can be compared with anything.
            ast::Expr::AnyOp { left, compare_op: ast::BinaryOperator::Eq, right, .. } if is_parameter(right) => {
                let text = || ast::DataType::Text;
                let list = ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(text()), None));
                **right = cast((**right).clone(), list);
                **left = cast((**left).clone(), text());
            }
            // PostgreSQL's has any number of places, the engine's ten; money here has twelve.
            ast::Expr::Cast { data_type, .. } if is_plain_numeric(data_type) => {
                *data_type = ast::DataType::Numeric(ast::ExactNumberInfo::PrecisionAndScale(38, 12));
            }
            // Defaults, identities, collations: what tools ask there is nowhere in this catalogue.
            ast::Expr::Case { .. } if self.catalog => {
                let _ = ast::VisitMut::visit(expression, &mut NoSubquery);
            }
            ast::Expr::CompoundIdentifier(parts)
                if self.catalog && parts.last().is_some_and(|part| part.value == "reloptions") =>
            {
                *expression = null();
            }
            ast::Expr::Function(function) if self.catalog && of_no_list(function).is_some() => {
                if let Some(nothing) = of_no_list(function) {
                    *expression = nothing;
                }
            }
            // Lists made of a subquery stand in columns that tools only show.
            ast::Expr::Function(function)
                if self.catalog
                    && matches!(function.args, ast::FunctionArguments::Subquery(_))
                    && function.name.to_string().eq_ignore_ascii_case("array") =>
            {
                *expression = null();
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Puts NULL in the place of subqueries.
struct NoSubquery;

impl ast::VisitorMut for NoSubquery {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        if matches!(expression, ast::Expr::Subquery(_)) {
            *expression = null();
        }
        ControlFlow::Continue(())
    }
}

/// NULL with a type: without one it can't be joined to a text.
fn null() -> ast::Expr {
    cast(ast::Expr::Value(ast::Value::Null.with_empty_span()), ast::DataType::Text)
}

/// Columns of indexes and constraints, of which there are none: what tools make of their lists is empty.
const LISTS: [&str; 6] = ["indkey", "indclass", "indoption", "indcollation", "conkey", "confkey"];

/// What stands in the place of a function over lists that this catalogue does not have.
fn of_no_list(function: &ast::Function) -> Option<ast::Expr> {
    let name = function.name.0.last()?.to_string().to_lowercase();
    let first = match &function.args {
        ast::FunctionArguments::List(list) => list.args.first().map(ToString::to_string).unwrap_or_default(),
        _ => return None,
    };
    let column = first.rsplit('.').next().unwrap_or_default();
    let number = || cast(ast::Expr::Value(ast::Value::Null.with_empty_span()), ast::DataType::Int(None));
    match name.as_str() {
        "unnest" | "generate_subscripts" if LISTS.contains(&column) => Some(number()),
        "pg_get_indexdef" => Some(null()),
        // Options and rights as a text, of which there are none.
        "array_to_string" => Some(null()),
        _ => None,
    }
}

const fn is_plain_numeric(kind: &ast::DataType) -> bool {
    use ast::{DataType as D, ExactNumberInfo as E};
    matches!(kind, D::Numeric(E::None) | D::Decimal(E::None) | D::Dec(E::None))
}

fn is_parameter(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)))
}

fn cast(expression: ast::Expr, data_type: ast::DataType) -> ast::Expr {
    ast::Expr::Cast {
        kind: ast::CastKind::DoubleColon,
        expr: Box::new(expression),
        data_type,
        array: false,
        format: None,
    }
}

fn of_catalog(text: &str) -> Result<Parsed, QueryError> {
    static PARSER: std::sync::LazyLock<PostgresCompatibilityParser> =
        std::sync::LazyLock::new(PostgresCompatibilityParser::new);
    let mut parsed = PARSER.parse(text).map_err(|error| QueryError::Invalid(first_line(&error.to_string())))?;
    match (parsed.pop(), parsed.is_empty()) {
        (Some(mut statement), true) => {
            let _ = ast::VisitMut::visit(&mut statement, &mut Spelling { catalog: true });
            Ok(Parsed::Statement(Box::new(statement)))
        }
        _ => Err(QueryError::Invalid("one statement was expected".to_owned())),
    }
}

/// Statements about the session; `None` for all others.
fn chatter(words: &[String]) -> Result<Option<Kind>, QueryError> {
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let at = |index: usize| lower.get(index).map_or("", String::as_str);
    Ok(Some(match at(0) {
        "begin" => Kind::Begin,
        "start" if at(1) == "transaction" => Kind::Begin,
        "commit" | "end" => Kind::Commit,
        "rollback" | "abort" if at(1) == "to" || at(2) == "to" => Kind::RollbackTo,
        "rollback" | "abort" => Kind::Rollback,
        "savepoint" => Kind::Quiet("SAVEPOINT"),
        "release" => Kind::Quiet("RELEASE"),
        "discard" => Kind::Quiet("DISCARD ALL"),
        "unlisten" => Kind::Quiet("UNLISTEN"),
        "close" => Kind::Quiet("CLOSE CURSOR"),
        "deallocate" => Kind::Quiet("DEALLOCATE"),
        "reset" if at(1) == "all" || is_setting(at(1)) => Kind::Quiet("RESET"),
        "show" if matches!(at(1), "tables" | "columns") => return Ok(None),
        "show" => Kind::Show(shown(&lower)),
        "set" => set(words, &lower)?,
        _ => return Ok(None),
    }))
}

fn shown(lower: &[String]) -> String {
    let rest: Vec<&str> = lower.iter().skip(1).map(|word| word.trim_matches('"')).collect();
    match rest.as_slice() {
        ["time", "zone"] => "timezone".to_owned(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        words => words.concat(),
    }
}

fn set(words: &[String], lower: &[String]) -> Result<Kind, QueryError> {
    let rest = match lower.get(1).map(String::as_str) {
        Some("session") if lower.get(2).map(String::as_str) == Some("characteristics") => {
            return Ok(Kind::Quiet("SET"));
        }
        Some("session" | "local") => 2,
        _ => 1,
    };
    let at = |index: usize| lower.get(rest + index).map_or("", String::as_str);
    if at(0) == "transaction" {
        return Ok(Kind::Quiet("SET"));
    }
    let (name, value) = match (at(0), at(1)) {
        ("time", "zone") => ("timezone".to_owned(), 2),
        ("names", _) => ("client_encoding".to_owned(), 1),
        (name, "=" | "to") => (name.trim_matches('"').to_owned(), 2),
        _ => return Err(not_settable(&words.get(1..).unwrap_or_default().join(" "))),
    };
    if !is_setting(&name) {
        return Err(not_settable(&name));
    }
    let value: String = words.get(rest + value..).unwrap_or_default().concat();
    Ok(Kind::Set { name, value: value.trim_matches(['\'', '"']).to_owned() })
}

fn not_settable(name: &str) -> QueryError {
    let name: String = name.chars().take(60).collect();
    QueryError::Forbidden(format!("SET {name} is refused"))
}

/// Settings that clients ask for and set, with what they are here. What a client sets is kept for it to read again, and
/// changes nothing but `statement_timeout`.
const SETTINGS: [(&str, &str); 31] = [
    ("server_version", "16.6"),
    ("server_version_num", "160006"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("application_name", ""),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("escape_string_warning", "on"),
    ("search_path", "\"$user\", public"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("default_transaction_read_only", "on"),
    ("transaction_deferrable", "off"),
    ("in_hot_standby", "off"),
    ("is_superuser", "off"),
    ("max_index_keys", "32"),
    ("max_identifier_length", "63"),
    ("jit", "off"),
    ("geqo", "off"),
    ("synchronous_commit", "on"),
    ("row_security", "on"),
];

/// Settings that say who somebody is or what they may do: shown, never set.
const FIXED: [&str; 4] = ["is_superuser", "server_version", "server_version_num", "row_security"];

/// The value of a setting that nobody set.
pub fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn is_setting(name: &str) -> bool {
    setting(name).is_some() && !FIXED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<Kind> {
        statements(sql, 1 << 16).unwrap().into_iter().map(|statement| statement.kind).collect()
    }

    fn set(name: &str, value: &str) -> Kind {
        Kind::Set { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn chatter_is_told_from_questions() {
        for (sql, kind) in [
            ("BEGIN", Kind::Begin),
            ("START TRANSACTION READ ONLY", Kind::Begin),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Kind::Begin),
            ("END", Kind::Commit),
            ("ROLLBACK TO SAVEPOINT x", Kind::RollbackTo),
            ("ROLLBACK", Kind::Rollback),
            ("RESET ALL", Kind::Quiet("RESET")),
            ("UNLISTEN *", Kind::Quiet("UNLISTEN")),
            ("SHOW TRANSACTION ISOLATION LEVEL", Kind::Show("transaction_isolation".to_owned())),
            ("show TIME ZONE", Kind::Show("timezone".to_owned())),
            ("SHOW standard_conforming_strings", Kind::Show("standard_conforming_strings".to_owned())),
            ("SET extra_float_digits = 3", set("extra_float_digits", "3")),
            ("SET SESSION application_name TO 'My App; x'", set("application_name", "My App; x")),
            ("SET TIME ZONE 'Europe/Berlin'", set("timezone", "Europe/Berlin")),
            ("SET DateStyle='ISO, MDY'", set("datestyle", "ISO, MDY")),
            ("SET NAMES 'UTF8'", set("client_encoding", "UTF8")),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Kind::Quiet("SET")),
            ("select 'a;b' -- c; d", Kind::Ask),
            ("SHOW TABLES", Kind::Ask),
        ] {
            assert_eq!(kinds(sql), [kind], "{sql}");
        }
        assert_eq!(kinds(" ; BEGIN;SELECT 1 ; COMMIT;; "), [Kind::Begin, Kind::Ask, Kind::Commit]);
        assert!(kinds(" ; ").is_empty());
    }

    #[test]
    fn what_changes_the_session_for_real_is_refused() {
        for sql in [
            "SET datafusion.execution.batch_size = 1",
            "SET ROLE admin",
            "SET SESSION AUTHORIZATION 'root'",
            "SET is_superuser = on",
            "SET row_security = off",
            "RESET datafusion.execution.batch_size",
            "COPY calls TO STDOUT",
            "LISTEN x",
            "DO $$ BEGIN END $$",
            "EXPLAIN ANALYZE DELETE FROM calls",
            "SELECT 1; DROP TABLE calls",
        ] {
            assert!(statements(sql, 1 << 16).is_err(), "{sql}");
        }
        assert!(statements(&"SELECT 1;".repeat(51), 1 << 16).is_err());
    }

    #[test]
    fn a_subquery_stays_what_it_is() {
        let sql = "SELECT (SELECT max(b.ts) FROM calls AS b WHERE b.team = a.team) AS last FROM calls AS a";
        let statement = statements(sql, 1 << 16).unwrap().remove(0);
        assert!(!statement.catalog);
        assert_eq!(statement.parsed.unwrap().to_string(), sql, "no rule may put NULL there");
    }
}
