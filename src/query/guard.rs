//! What a statement may be, decided on its text and syntax before anything is planned: planning can't be interrupted.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor, visit_relations};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::QueryError;

/// Each operator of a chain is a level of the tree that planning descends into, and a stack has an end.
const MAX_OPERATORS: usize = 1_000;

/// Tables that a statement may read, each use counted, also those inside of what WITH defines. Planning joins takes time
/// in the square of their number.
pub const MAX_TABLES: u64 = 50;

/// Planning asks each call, case and cast for its type, and that asks its arguments, twice over: the time doubles with each
/// level, and planning can't be interrupted. This much of it is some tenths of a second: thirteen levels, or many times a few.
const MAX_NESTED_WORK: u64 = 1 << 14;

/// Refuses text that is too long or too deep.
///
/// # Errors
/// Which limit it breaks.
pub fn check_text(sql: &str, most_bytes: usize) -> Result<(), QueryError> {
    if sql.len() > most_bytes {
        return Err(QueryError::Invalid(format!("the statement is longer than {most_bytes} bytes")));
    }
    // Text that has no tokens has none that is deep.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    if operators(&tokens) > MAX_OPERATORS {
        return Err(QueryError::Invalid(format!("the statement has more than {MAX_OPERATORS} operators")));
    }
    if nested_calls(&tokens) > MAX_NESTED_WORK {
        return Err(too_deep());
    }
    Ok(())
}

fn too_deep() -> QueryError {
    let why = "the statement has too many calls, cases or casts inside of each other (more than 13, or many of fewer)";
    QueryError::Invalid(why.to_owned())
}

/// The parser tries each call in several ways, its arguments in each of them: its time doubles with each level too.
fn nested_calls(tokens: &[Token]) -> u64 {
    let (mut open, mut depth, mut work) = (Vec::new(), 0_u32, 0_u64);
    let mut called = false;
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        match token {
            Token::LParen => {
                open.push(called);
                if called {
                    depth += 1;
                    work = work.saturating_add(1 << depth.min(40));
                }
            }
            Token::RParen => depth -= u32::from(open.pop().unwrap_or_default()),
            _ => {}
        }
        called = matches!(token, Token::Word(word) if !LISTS.contains(&word.keyword));
    }
    work
}

/// Words before a parenthesis that call nothing.
const LISTS: [Keyword; 24] = [
    Keyword::IN,
    Keyword::FROM,
    Keyword::SELECT,
    Keyword::AND,
    Keyword::OR,
    Keyword::WHERE,
    Keyword::NOT,
    Keyword::AS,
    Keyword::ON,
    Keyword::BY,
    Keyword::VALUES,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::JOIN,
    Keyword::OVER,
    Keyword::EXISTS,
    Keyword::USING,
    Keyword::UNION,
    Keyword::ALL,
    Keyword::HAVING,
    Keyword::BETWEEN,
    Keyword::FILTER,
    Keyword::GROUP,
];

/// Tokens that may make the tree deeper; lists of values, however long, are flat.
fn operators(tokens: &[Token]) -> usize {
    let flat = |token: &Token| match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword,
        Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::Whitespace(_) | Token::Period => true,
        _ => false,
    };
    tokens.iter().filter(|token| !flat(token)).count()
}

/// Only a query, or EXPLAIN of one, over a bounded number of tables. The plan is verified as well; this refuses before
/// anything is looked up.
///
/// # Errors
/// What is refused.
pub fn check(statement: &Statement) -> Result<(), QueryError> {
    let forbidden = |what: &str| Err(QueryError::Forbidden(format!("{what} is refused")));
    match statement {
        Statement::Statement(inner) => match inner.as_ref() {
            ast::Statement::Query(query) if tables(query) > MAX_TABLES => Err(too_many_tables()),
            ast::Statement::Query(query) => {
                let mut nesting = Nesting::default();
                match query.visit(&mut nesting).is_break() {
                    true if nesting.wide => Err(QueryError::Invalid(format!(
                        "the statement has a list of more than {MAX_ITEMS} columns, groups or orders"
                    ))),
                    true => Err(too_deep()),
                    false => Ok(()),
                }
            }
            ast::Statement::ShowTables { .. } | ast::Statement::ShowColumns { .. } => Ok(()),
            other => {
                let text = other.to_string();
                forbidden(text.split_whitespace().next().unwrap_or("this statement"))
            }
        },
        Statement::Explain(explain) => check(&explain.statement),
        Statement::CreateExternalTable(_) => forbidden("CREATE EXTERNAL TABLE"),
        Statement::CopyTo(_) => forbidden("COPY"),
        Statement::Reset(_) => forbidden("RESET"),
    }
}

/// How deep expressions are; what is chained by operators is counted by [`check_text`].
#[derive(Default)]
struct Nesting {
    depth: u32,
    work: u64,
    wide: bool,
}

impl Nesting {
    const fn counts(expression: &ast::Expr) -> bool {
        use ast::Expr as E;
        !matches!(
            expression,
            E::BinaryOp { .. }
                | E::Identifier(_)
                | E::CompoundIdentifier(_)
                | E::Value(_)
                | E::Nested(_)
                | E::InList { .. }
        )
    }
}

/// Items of a list of a SELECT, of its groups or of its order: planning takes time in the square of their number.
const MAX_ITEMS: usize = 500;

fn too_wide(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => {
            let groups = match &select.group_by {
                ast::GroupByExpr::Expressions(items, _) => items.len(),
                ast::GroupByExpr::All(_) => 0,
            };
            select.projection.len() > MAX_ITEMS || groups > MAX_ITEMS
        }
        ast::SetExpr::SetOperation { left, right, .. } => too_wide(left) || too_wide(right),
        ast::SetExpr::Values(values) => values.rows.first().is_some_and(|row| row.len() > MAX_ITEMS),
        _ => false,
    }
}

impl Visitor for Nesting {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let orders = query.order_by.as_ref().is_some_and(
            |order| matches!(&order.kind, ast::OrderByKind::Expressions(items) if items.len() > MAX_ITEMS),
        );
        self.wide |= orders || too_wide(&query.body);
        if self.wide { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        if Self::counts(expression) {
            self.depth += 1;
            self.work = self.work.saturating_add(1 << self.depth.min(40));
        }
        if self.work > MAX_NESTED_WORK { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        self.depth -= u32::from(Self::counts(expression));
        ControlFlow::Continue(())
    }
}

/// Gives each subquery in FROM a name. Without one the engine takes the same list of columns over two of them for one.
pub fn name_subqueries(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => {
            let _ = ast::VisitMut::visit(inner.as_mut(), &mut Names(0));
        }
        Statement::Explain(explain) => name_subqueries(&mut explain.statement),
        _ => {}
    }
}

struct Names(usize);

impl ast::VisitorMut for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<()> {
        if let ast::TableFactor::Derived { alias: alias @ None, .. } = factor {
            self.0 += 1;
            let name = ast::Ident::new(format!("__subquery_{}", self.0));
            *alias = Some(ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// The error for a statement over too many tables.
pub fn too_many_tables() -> QueryError {
    QueryError::Invalid(format!("the statement reads more than {MAX_TABLES} tables"))
}

/// How many tables a query reads once all WITH names are put in.
fn tables(query: &ast::Query) -> u64 {
    let mut defined: HashMap<String, u64> = HashMap::new();
    for with in query.with.iter().flat_map(|with| &with.cte_tables) {
        let weight = weigh(&*with.query, &defined);
        defined.insert(with.alias.name.value.to_lowercase(), weight);
    }
    weigh(&*query.body, &defined)
}

fn weigh<V: Visit>(node: &V, defined: &HashMap<String, u64>) -> u64 {
    let mut sum = 0_u64;
    // The walk goes into every subquery; names that one of them defines itself count as one table each.
    let _ = visit_relations(node, |name| {
        let weight = defined.get(&name.to_string().to_lowercase()).copied().unwrap_or(1);
        sum = sum.saturating_add(weight);
        ControlFlow::<()>::Continue(())
    });
    sum
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn verdict(sql: &str) -> Result<(), QueryError> {
        check_text(sql, 1 << 16)?;
        check(&DFParser::parse_sql(sql).unwrap()[0])
    }

    #[test]
    fn counts_tables_through_with() {
        let doubling = (1..20).fold("WITH t0 AS (SELECT 1 FROM calls)".to_owned(), |sql, n| {
            format!("{sql}, t{n} AS (SELECT 1 FROM t{} a, t{} b)", n - 1, n - 1)
        });
        assert!(verdict(&format!("{doubling} SELECT * FROM t19")).is_err());
        let many = vec!["calls"; 51].join(", ");
        assert!(verdict(&format!("SELECT 1 FROM {many}")).is_err());
        assert!(verdict("WITH a AS (SELECT * FROM calls) SELECT * FROM a JOIN a b ON true").is_ok());
    }

    #[test]
    fn refuses_calls_inside_of_calls_inside_of_calls() {
        let nested = |open: &str, close: &str, depth: usize| {
            verdict(&format!("SELECT {}1{} FROM calls", open.repeat(depth), close.repeat(depth)))
        };
        for (open, close) in [("abs(", ")"), ("CASE WHEN true THEN ", " END"), ("CAST(", " AS INT)"), ("- ", "")] {
            assert!(nested(open, close, 13).is_ok(), "{open}");
            assert!(nested(open, close, 14).is_err(), "{open}");
        }
        assert!(
            verdict(&format!("SELECT {} FROM calls", vec!["abs(abs(1))"; 100].join(" + "))).is_ok(),
            "side by side"
        );
        let hidden =
            format!("WITH a AS (SELECT {}1{}) SELECT 1 FROM a WHERE (SELECT 2) = 2", "abs(".repeat(40), ")".repeat(40));
        assert!(verdict(&hidden).is_err());
    }

    #[test]
    fn refuses_wide_lists() {
        let list = |count: usize| vec!["1"; count].join(", ");
        assert!(verdict(&format!("SELECT {}", list(500))).is_ok());
        for wide in [
            format!("SELECT {}", list(501)),
            format!("SELECT 1 UNION SELECT {}", list(501)),
            format!("SELECT 1 FROM (SELECT {}) t", list(501)),
            format!("VALUES ({})", list(501)),
            format!("SELECT 1 FROM calls GROUP BY {}", list(501)),
            format!("SELECT 1 FROM calls ORDER BY {}", list(501)),
        ] {
            assert!(
                verdict(&wide).unwrap_err().to_string().contains("500"),
                "{}",
                wide.chars().take(40).collect::<String>()
            );
        }
    }

    #[test]
    fn refuses_deep_text_and_writes() {
        assert!(verdict(&format!("SELECT 1{}", " + 1".repeat(2_000))).is_err());
        assert!(verdict("DROP TABLE calls").is_err());
        assert!(verdict("EXPLAIN SELECT * FROM calls").is_ok());
    }
}
