//! Ids are stored as bytes and asked for as text. A comparison of the text is turned into one of the bytes, so that the
//! bloom filters of the files can answer it.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// `encode(x, 'hex') = 'ab…'` becomes `x = bytes`, likewise `IN` and `<>`.
#[derive(Debug, Default)]
pub struct CompareIdsAsBytes;

impl OptimizerRule for CompareIdsAsBytes {
    fn name(&self) -> &'static str {
        "compare_ids_as_bytes"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        let columns = match &plan {
            LogicalPlan::Filter(filter) => Arc::clone(filter.input.schema()),
            LogicalPlan::TableScan(scan) => Arc::clone(&scan.projected_schema),
            _ => return Ok(Transformed::no(plan)),
        };
        plan.map_expressions(|expression| expression.transform_up(|part| Ok(as_bytes(part, &columns))))
    }
}

fn as_bytes(part: Expr, columns: &DFSchema) -> Transformed<Expr> {
    let changed = match &part {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Eq | Operator::NotEq), right }) => {
            let sides = id_and(left, right, columns).or_else(|| id_and(right, left, columns));
            sides.map(|(id, bytes)| {
                let (id, bytes) = (Box::new(id.clone()), Box::new(lit(bytes)));
                Expr::BinaryExpr(BinaryExpr { left: id, op: *op, right: bytes })
            })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let ids = |id: &Expr| list.iter().map(|item| bytes(item, id, columns).map(lit)).collect::<Option<Vec<_>>>();
            hex_of(expr)
                .and_then(|id| Some((id, ids(id)?)))
                .map(|(id, list)| Expr::InList(InList { expr: Box::new(id.clone()), list, negated: *negated }))
        }
        _ => None,
    };
    changed.map_or_else(|| Transformed::no(part), Transformed::yes)
}

fn id_and<'a>(id: &'a Expr, text: &Expr, columns: &DFSchema) -> Option<(&'a Expr, ScalarValue)> {
    let id = hex_of(id)?;
    Some((id, bytes(text, id, columns)?))
}

/// The bytes of which an expression is the hex text.
fn hex_of(expression: &Expr) -> Option<&Expr> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expression else { return None };
    match args.as_slice() {
        [id @ Expr::Column(_), Expr::Literal(form, _)] if func.name() == "encode" => {
            (form.try_as_str().flatten() == Some("hex")).then_some(id)
        }
        _ => None,
    }
}

/// Lower-case hex text as bytes, of the column's own type. Other text can't equal an id and is compared as it is.
fn bytes(expression: &Expr, id: &Expr, columns: &DFSchema) -> Option<ScalarValue> {
    let Expr::Literal(value, _) = expression else { return None };
    let text = value.try_as_str().flatten()?.as_bytes();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes = Some(pairs.collect::<Option<Vec<u8>>>()?);
    let Expr::Column(column) = id else { return None };
    match columns.field_from_column(column).map(|field| field.data_type().clone()).ok()? {
        DataType::Binary => Some(ScalarValue::Binary(bytes)),
        DataType::BinaryView => Some(ScalarValue::BinaryView(bytes)),
        DataType::LargeBinary => Some(ScalarValue::LargeBinary(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::functions::encoding::expr_fn::encode;
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn comparisons_of_hex_text_become_comparisons_of_bytes() {
        let fields =
            vec![Field::new("call_id", DataType::BinaryView, false), Field::new("model", DataType::Utf8, true)];
        let columns = DFSchema::try_from(Schema::new(fields)).unwrap();
        let hex = || encode(col("call_id"), lit("hex"));
        let same = |part: Expr| part.transform_up(|part| Ok(as_bytes(part, &columns))).unwrap().data;
        let id = || lit(ScalarValue::BinaryView(Some(vec![0xab, 0x01])));
        assert_eq!(same(hex().eq(lit("ab01"))), col("call_id").eq(id()));
        assert_eq!(same(lit("ab01").eq(hex())), col("call_id").eq(id()));
        assert_eq!(same(hex().in_list(vec![lit("ab01")], true)), col("call_id").in_list(vec![id()], true));
        for other in [hex().eq(lit("AB01")), hex().eq(lit("ab0")), hex().lt(lit("ab")), col("model").eq(lit("ab01"))] {
            assert_eq!(same(other.clone()), other);
        }
    }
}
