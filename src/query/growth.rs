//! Functions that make more out of what they are given: several of them on top of each other make much out of little, beside
//! the memory that is counted. Each works out first what it would write at most, and refuses where that is too much.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::functions_nested::concat::{array_append_udf, array_concat_udf, array_prepend_udf};
use datafusion::functions_nested::make_array::make_array_udf;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Bytes that one call may write for one batch.
const MOST_BYTES: u64 = 128 << 20;

/// What a function writes of what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// All of it, or a part, or twice that.
    Sum,
    /// The third for each second in the first.
    Replace,
    /// The third for each match in the first, and parts of the first in it.
    ReplaceMatches,
    /// The second, third or fourth between or in the place of items of the first.
    Items,
}

const GROWING: [(&str, Growth); 24] = [
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
    ("encode", Growth::Sum),
    ("decode", Growth::Sum),
    ("overlay", Growth::Sum),
    ("translate", Growth::Sum),
    ("to_char", Growth::Sum),
    ("initcap", Growth::Sum),
    ("string_to_array", Growth::Sum),
    ("make_array", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_append", Growth::Sum),
    ("array_prepend", Growth::Sum),
    ("array_union", Growth::Sum),
    ("flatten", Growth::Sum),
    ("map", Growth::Sum),
    ("named_struct", Growth::Sum),
    ("struct", Growth::Sum),
    ("replace", Growth::Replace),
    ("regexp_replace", Growth::ReplaceMatches),
    ("array_to_string", Growth::Items),
    ("array_replace", Growth::Items),
    ("array_replace_n", Growth::Items),
    ("array_replace_all", Growth::Items),
];

/// Bounded functions, to stand in the place of the engine's that grow.
pub fn bounded_functions() -> Arc<[ScalarUDF]> {
    let engine = SessionContext::new();
    // One that this build of the engine does not have can't be called.
    GROWING.into_iter().filter_map(|(name, growth)| Some(bounded(engine.udf(name).ok()?, growth))).collect()
}

fn bounded(inner: Arc<ScalarUDF>, growth: Growth) -> ScalarUDF {
    ScalarUDF::new_from_impl(Bounded { inner, growth })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        self.inner.return_field_from_args(args)
    }

    // No `simplify`: it would put the unbounded one back.

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        fits(written(self.growth, &args.args, args.number_rows))?;
        self.inner.invoke_with_args(args)
    }
}

fn fits(bytes: u64) -> Result<(), DataFusionError> {
    if bytes > MOST_BYTES {
        return Err(DataFusionError::ResourcesExhausted("a function would write too much".to_owned()));
    }
    Ok(())
}

/// Bytes that come out at most.
fn written(growth: Growth, args: &[ColumnarValue], rows: usize) -> u64 {
    let rows = u64::try_from(rows).unwrap_or(u64::MAX);
    let all = args.iter().map(|arg| size(arg, rows)).fold(0, u64::saturating_add);
    let first = args.first().map_or(0, |arg| size(arg, rows));
    let length = |place: usize| args.get(place).map_or(0, longest);
    let more = match growth {
        Growth::Sum => 0,
        Growth::Replace => {
            let least = args.get(1).map_or(1, shortest).max(1);
            (first / least).saturating_add(rows).saturating_mul(length(2))
        }
        Growth::ReplaceMatches => {
            let parts = args.get(2).map_or(0, references);
            let inserted = first.saturating_add(rows).saturating_mul(length(2));
            inserted.saturating_add(first.saturating_mul(parts))
        }
        Growth::Items => first.saturating_mul(length(1).max(length(2)).max(length(3)) / 4),
    };
    all.saturating_add(more)
}

fn bytes(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Bytes of an argument, a constant as often as there are rows.
fn size(arg: &ColumnarValue, rows: u64) -> u64 {
    match arg {
        ColumnarValue::Array(array) => {
            array.to_data().get_slice_memory_size().map_or_else(|_| bytes(array.get_array_memory_size()), bytes)
        }
        ColumnarValue::Scalar(scalar) => bytes(scalar.size()).saturating_mul(rows.max(1)),
    }
}

fn texts(arg: &ColumnarValue) -> Option<ArrayRef> {
    let array = match arg {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array().ok()?,
    };
    cast(&array, &DataType::LargeUtf8).ok()
}

fn lengths(arg: &ColumnarValue) -> Vec<u64> {
    let Some(texts) = texts(arg) else { return vec![0] };
    texts.as_string::<i64>().iter().map(|text| text.map_or(0, |text| bytes(text.len()))).collect()
}

fn longest(arg: &ColumnarValue) -> u64 {
    lengths(arg).into_iter().max().unwrap_or(0)
}

fn shortest(arg: &ColumnarValue) -> u64 {
    lengths(arg).into_iter().min().unwrap_or(0)
}

/// Groups that a replacement puts in.
fn references(arg: &ColumnarValue) -> u64 {
    let Some(texts) = texts(arg) else { return 0 };
    let count = |text: &str| bytes(text.matches(['\\', '$']).count());
    texts.as_string::<i64>().iter().map(|text| text.map_or(0, count)).max().unwrap_or(0)
}

/// `||` and `[…]`, which are no functions by their spelling.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        if raw.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(raw));
        }
        let is_list = |side: &Expr| {
            matches!(
                side.get_type(schema),
                Ok(DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
            )
        };
        let function = match (is_list(&raw.left), is_list(&raw.right)) {
            (true, true) => bounded(array_concat_udf(), Growth::Sum),
            (true, false) => bounded(array_append_udf(), Growth::Sum),
            (false, true) => bounded(array_prepend_udf(), Growth::Sum),
            (false, false) => ScalarUDF::new_from_impl(Joined::default()),
        };
        let call = ScalarFunction::new_udf(Arc::new(function), vec![raw.left, raw.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }

    fn plan_array_literal(
        &self,
        items: Vec<Expr>,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        let function = bounded(make_array_udf(), Growth::Sum);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), items))))
    }
}

/// Two texts as one; NULL if one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

impl Default for Joined {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        if let Some(nested) = types.iter().find(|kind| kind.is_nested()) {
            return Err(DataFusionError::Plan(format!("{nested} can't be joined to a text")));
        }
        Ok(vec![DataType::Utf8; types.len()])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        fits(written(Growth::Sum, &args.args, args.number_rows))?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("two texts are joined".to_owned()));
        };
        let mut joined = StringBuilder::new();
        for pair in left.as_string::<i32>().iter().zip(right.as_string::<i32>()) {
            joined.append_option(if let (Some(left), Some(right)) = pair {
                Some(format!("{left}{right}"))
            } else {
                None
            });
        }
        let joined: ArrayRef = Arc::new(joined.finish());
        if constant && joined.len() == 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
