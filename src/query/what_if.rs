//! `what_if(platform => …, contract => …, …)`: the calls of a time, each with what it would have cost elsewhere. A table
//! function over `calls`: all their columns, and those of [`ADDED`] behind them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col,
    lit,
};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::catalog::ModelQuery;
use crate::columns::Row;
use crate::finance::what_if::{ARGUMENTS, Target};
use crate::model::{Call, CostStatus, MONEY_PRECISION, MONEY_SCALE, Money, Timestamp};
use crate::pricing::{Elsewhere, Priced, Under, WhatIf};
use crate::settle::{Rules, price_query};

/// Its name.
pub const NAME: &str = "what_if";

/// What a price depends on.
const NEEDED: [&str; 29] = [
    "ts",
    "platform",
    "publisher",
    "model",
    "request_model",
    "response_model",
    "deployment",
    "region",
    "scope",
    "account",
    "operation",
    "tier",
    "outcome",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "images",
    "usage_status",
    "tags",
    "list_cost",
    "cost",
    "currency",
    "cost_status",
];

/// The columns behind those of `calls`.
fn added() -> Fields {
    let money = || DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE);
    let ids = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    Fields::from(vec![
        // Known in full, or NULL.
        Field::new("cost_elsewhere", money(), true),
        Field::new("currency_elsewhere", DataType::Utf8, true),
        // Elsewhere less here; NULL with a reason in `why_not`.
        Field::new("difference", money(), true),
        Field::new("assumed", DataType::Utf8, true),
        Field::new("why_not", DataType::Utf8, true),
        Field::new("rate_ids_elsewhere", ids, true),
    ])
}

/// The statement with `from =>` and `to =>` in quotes: as bare words they are part of the language.
pub fn quoted(sql: &str) -> Cow<'_, str> {
    if !sql.to_ascii_lowercase().contains(NAME) {
        return Cow::Borrowed(sql);
    }
    // Not written again from its tokens: they do not keep how a text was written.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location() else {
        return Cow::Borrowed(sql);
    };
    let mut names: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (at, found) in tokens.iter().enumerate() {
        let next = tokens.iter().skip(at + 1).find(|next| !matches!(next.token, Token::Whitespace(_)));
        if next.is_some_and(|next| next.token == Token::RArrow)
            && let Token::Word(Word { value, quote_style: None, .. }) = &found.token
            && (value.eq_ignore_ascii_case("from") || value.eq_ignore_ascii_case("to"))
        {
            names.insert((found.span.start.line, found.span.start.column), value.len());
        }
    }
    let (mut text, mut place, mut left) = (String::with_capacity(sql.len() + 8), (1, 1), 0);
    for c in sql.chars() {
        if let Some(length) = names.get(&place) {
            text.push('"');
            left = *length;
        }
        text.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        if left == 1 {
            text.push('"');
        }
        left = left.saturating_sub(1);
        place = if c == '\n' { (place.0 + 1, 1) } else { (place.0, place.1 + 1) };
    }
    Cow::Owned(text)
}

/// Gives the named arguments of the function their places: table functions only know places.
pub fn place_arguments(statement: &mut Statement) -> Result<bool, DataFusionError> {
    let mut places = Places { found: false, wrong: None };
    match statement {
        Statement::Statement(inner) => {
            let _ = ast::VisitMut::visit(inner.as_mut(), &mut places);
        }
        Statement::Explain(explain) => return place_arguments(&mut explain.statement),
        _ => {}
    }
    match places.wrong {
        Some(wrong) => plan_err!("{wrong}"),
        None => Ok(places.found),
    }
}

struct Places {
    found: bool,
    wrong: Option<String>,
}

impl ast::VisitorMut for Places {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<()> {
        let ast::TableFactor::Table { name, args: Some(given), .. } = factor else {
            return ControlFlow::Continue(());
        };
        if !name.to_string().eq_ignore_ascii_case(NAME) {
            return ControlFlow::Continue(());
        }
        *name = ast::ObjectName::from(vec![ast::Ident::new(NAME)]);
        self.found = true;
        match placed(&given.args) {
            Ok(args) => {
                given.args = args;
                ControlFlow::Continue(())
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                ControlFlow::Break(())
            }
        }
    }
}

fn placed(given: &[ast::FunctionArg]) -> Result<Vec<ast::FunctionArg>, String> {
    let null = || ast::Expr::Value(ast::Value::Null.into());
    let mut values: [Option<ast::Expr>; ARGUMENTS.len()] = Default::default();
    for (number, argument) in given.iter().enumerate() {
        let (place, value) = match argument {
            ast::FunctionArg::Unnamed(value) => (number, value),
            ast::FunctionArg::Named { name, arg, .. } => (place_of(&name.value)?, arg),
            ast::FunctionArg::ExprNamed { name, arg, .. } => (place_of(&name.to_string())?, arg),
        };
        let ast::FunctionArgExpr::Expr(value) = value else { return Err(usage("an argument is no value")) };
        let own = values.get_mut(place).ok_or_else(|| usage("there are too many arguments"))?;
        if own.replace(value.clone()).is_some() {
            return Err(usage(&format!("'{}' is there twice", ARGUMENTS.get(place).unwrap_or(&"?"))));
        }
    }
    let one =
        |value: Option<ast::Expr>| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value.unwrap_or_else(null)));
    Ok(values.into_iter().map(one).collect())
}

fn place_of(name: &str) -> Result<usize, String> {
    let known = ARGUMENTS.iter().position(|known| known.eq_ignore_ascii_case(name.trim_matches('"')));
    known.ok_or_else(|| usage(&format!("there is no argument '{name}'")))
}

fn usage(wrong: &str) -> String {
    format!(
        "{wrong}; write {NAME}(platform => 'aws.bedrock', from => '2026-10-01', to => '2026-11-01'), in this order or \
         with names: {}",
        ARGUMENTS.join(", ")
    )
}

/// The table function.
pub struct WhatIfFunction {
    /// `calls`.
    pub calls: Arc<dyn TableProvider>,
    /// What models are called and cost.
    pub rules: Arc<Rules>,
    /// Whether whoever asks sees a part of the rows, and so no contract.
    pub scoped: bool,
}

impl fmt::Debug for WhatIfFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhatIfFunction")
    }
}

impl TableFunctionImpl for WhatIfFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let (target, from, to) = target(args.exprs())?;
        if self.scoped && target.contract.is_some() {
            return plan_err!("contracts are not told to who sees a part of the calls");
        }
        if let Some(platform) = target.platform.as_deref().filter(|_| target.contract.is_none()) {
            let known = self.rules.prices.platforms();
            if !known.contains(&platform) {
                return plan_err!("there is no price for platform '{platform}'; there are {}", known.join(", "));
            }
        }
        let under = match &target.contract {
            Some(id) => {
                let found = self.rules.prices.under(id, target.platform.as_deref(), target.account.as_deref());
                Some(found.map_err(|error| DataFusionError::Plan(error.to_string()))?)
            }
            None => None,
        };
        let mut fields: Vec<Field> = Vec::new();
        let schema = self.calls.schema();
        for name in NEEDED {
            fields.push(schema.field_with_name(name)?.clone());
        }
        let arguments = Fields::from(fields);
        let types = arguments.iter().map(|field| field.data_type().clone()).collect();
        let price = Price {
            rules: Arc::clone(&self.rules),
            under: under.map(Arc::new),
            target,
            arguments,
            signature: Signature::exact(types, Volatility::Immutable),
        };
        let price = ScalarUDF::new_from_impl(price).call(NEEDED.map(col).to_vec());
        let mut plan = LogicalPlanBuilder::scan(Call::TABLE, provider_as_source(Arc::clone(&self.calls)), None)?;
        let instant = |at: Timestamp| lit(ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into())));
        let bounds = [from.map(|at| col("ts").gt_eq(instant(at))), to.map(|at| col("ts").lt(instant(at)))];
        for bound in bounds.into_iter().flatten() {
            plan = plan.filter(bound)?;
        }
        let columns: Vec<Expr> = schema.fields().iter().map(|field| col(field.name().as_str())).collect();
        let with_price = columns.iter().cloned().chain([price.alias(ELSEWHERE)]);
        let plan = plan.project(with_price)?;
        let fields = added();
        let told = fields.iter().enumerate().map(|(place, field)| {
            let part = Part { place, signature: Signature::any(1, Volatility::Immutable) };
            ScalarUDF::new_from_impl(part).call(vec![col(ELSEWHERE)]).alias(field.name())
        });
        let plan = plan.project(columns.into_iter().chain(told))?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

const ELSEWHERE: &str = "elsewhere";

/// What is asked: values, nothing of the rows.
fn target(arguments: &[Expr]) -> Result<(Target, Option<Timestamp>, Option<Timestamp>), DataFusionError> {
    let value = |name: &str| -> Result<Option<ScalarValue>, DataFusionError> {
        let place = ARGUMENTS.iter().position(|known| *known == name).unwrap_or_default();
        match arguments.get(place) {
            None => Ok(None),
            Some(Expr::Literal(value, _)) => Ok((!value.is_null()).then(|| value.clone())),
            Some(_) => plan_err!("{}", usage(&format!("'{name}' must be a plain value"))),
        }
    };
    let text = |name: &str| -> Result<Option<String>, DataFusionError> {
        let Some(value) = value(name)? else { return Ok(None) };
        match value.try_as_str() {
            Some(text) => Ok(text.filter(|text| !text.is_empty()).map(str::to_owned)),
            None => plan_err!("{}", usage(&format!("'{name}' must be text"))),
        }
    };
    let instant = |name: &str| -> Result<Option<Timestamp>, DataFusionError> {
        let Some(value) = value(name)? else { return Ok(None) };
        match value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))) {
            Ok(ScalarValue::TimestampMicrosecond(Some(us), _)) => Ok(Some(Timestamp(us))),
            _ => plan_err!("{}", usage(&format!("'{name}' must be an instant"))),
        }
    };
    let target = Target {
        platform: text("platform")?,
        contract: text("contract")?,
        account: text("account")?,
        model: text("model")?,
        scope: text("scope")?,
        region: text("region")?,
        tier: text("tier")?,
    };
    match target.checked() {
        Ok(target) => Ok((target, instant("from")?, instant("to")?)),
        Err(wrong) => plan_err!("{}", usage(&wrong.to_string())),
    }
}

/// Prices calls elsewhere.
struct Price {
    rules: Arc<Rules>,
    under: Option<Arc<Under>>,
    target: Target,
    arguments: Fields,
    signature: Signature,
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Price").field("target", &self.target).finish_non_exhaustive()
    }
}

// One plan may hold several: those with the same question over the same prices are the same.
impl PartialEq for Price {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && Arc::ptr_eq(&self.rules, &other.rules)
    }
}
impl Eq for Price {}
impl std::hash::Hash for Price {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.target.hash(state);
    }
}

impl ScalarUDFImpl for Price {
    fn name(&self) -> &'static str {
        "price_elsewhere"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Struct(added()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let fields = self
            .arguments
            .iter()
            .zip(&arrays)
            .map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays)?;
        let calls = Call::decode(&batch).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let found: Vec<WhatIf> = calls.iter().map(|call| self.compared(call)).collect();
        Ok(ColumnarValue::Array(encoded(&found)?))
    }
}

impl Price {
    fn compared(&self, call: &Call) -> WhatIf {
        let identity = self.rules.catalog.resolve(&ModelQuery {
            platform: call.platform.as_deref(),
            request_model: call.request_model.as_deref(),
            response_model: call.response_model.as_deref(),
            deployment: call.deployment.as_deref(),
            model_version: None,
        });
        // What it cost here is what the ledger says, by whichever rules it was settled.
        let here = Priced {
            list_cost: call.list_cost,
            cost: call.cost,
            currency: call.currency.as_deref().map(Arc::from),
            status: call.cost_status,
            ..Priced::default()
        };
        let (query, target) = (price_query(call, &identity), &self.target);
        let (scope, geo) = target.scope_and_geo();
        let to = Elsewhere {
            platform: target.platform.as_deref(),
            account: target.account.as_deref(),
            model: target.model.as_deref(),
            scope,
            geo,
            region: target.region.as_deref(),
            tier: target.tier.as_deref(),
        };
        match &self.under {
            Some(under) => under.compared(here, &query, &to),
            None => self.rules.prices.compared(here, &query, &to),
        }
    }
}

/// One column of what [`Price`] tells. Not the engine's own access to fields: its optimizer moves that below the union of
/// ledger and hot set, where the types are others.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    place: usize,
    signature: Signature,
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &'static str {
        "part_of_elsewhere"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(added().get(self.place).map_or(DataType::Null, |field| field.data_type().clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let parts = arrays.first().and_then(|array| array.as_struct_opt());
        match parts.and_then(|parts| parts.columns().get(self.place)) {
            Some(part) => Ok(ColumnarValue::Array(Arc::clone(part))),
            None => exec_err!("a price elsewhere has no part {}", self.place),
        }
    }
}

fn encoded(found: &[WhatIf]) -> Result<ArrayRef, DataFusionError> {
    let money = |amounts: Vec<Option<i128>>| -> Result<ArrayRef, DataFusionError> {
        Ok(Arc::new(Decimal128Array::from(amounts).with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?))
    };
    // A part of a cost would look like the whole of one.
    let whole = |one: &WhatIf| one.elsewhere.cost.filter(|_| one.elsewhere.status == CostStatus::Priced);
    let costs = found.iter().map(|one| whole(one)?.stored()).collect();
    let currencies: StringArray = found.iter().map(|one| one.elsewhere.currency.as_deref()).collect();
    let differences = found.iter().map(|one| Money(one.difference?).stored()).collect();
    let listed = |words: Vec<String>| if words.is_empty() { None } else { Some(words.join(", ")) };
    let assumed = found.iter().map(|one| listed(one.assumed.iter().map(|word| word.code().to_owned()).collect()));
    let assumed: StringArray = assumed.collect();
    let why_not = found.iter().map(|one| match one.difference {
        Some(_) => None,
        None => listed(one.not_comparable.iter().map(|why| why.told()).collect()),
    });
    let why_not: StringArray = why_not.collect();
    let mut ids = ListBuilder::new(StringBuilder::new());
    for one in found {
        one.elsewhere.rate_ids.iter().for_each(|id| ids.values().append_value(id));
        ids.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        money(costs)?,
        Arc::new(currencies),
        money(differences)?,
        Arc::new(assumed),
        Arc::new(why_not),
        Arc::new(ids.finish()),
    ];
    Ok(Arc::new(StructArray::try_new(added(), columns, None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_language_are_names_of_arguments() {
        let sql =
            "SELECT 'from => x''y', a FROM what_if(platform => 'p', FROM => '2026-10-01', to\n=> $1) WHERE b = E'\\n'";
        let found = quoted(sql);
        assert_eq!(found.as_ref(), sql.replacen("FROM =>", "\"from\" =>", 1).replacen("to\n=>", "\"to\"\n=>", 1));
        let other = "SELECT to => 1";
        assert!(matches!(quoted(other), Cow::Borrowed(same) if same == other));
    }
}
