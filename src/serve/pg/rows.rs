//! Rows in the wire's forms. Numbers are exact; lists are arrays; maps, records and lists of lists are JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Schema, SchemaRef, TimeUnit, UInt64Type,
};
use arrow::error::ArrowError;
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::arrow_pg::encoder::encode_value;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;

use super::failure::failure;
use super::numeric;
use crate::serve::encode::json_column;

/// How the rows of an answer are written.
#[derive(Debug)]
pub struct Writer {
    /// What the client is told of the columns.
    pub fields: Arc<Vec<FieldInfo>>,
    forms: Vec<Form>,
    schema: SchemaRef,
}

/// The form of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Cast to this type, then as the library does it.
    Plain(DataType),
    Number,
    Json,
}

fn form(kind: &DataType) -> Form {
    use DataType as D;
    match kind {
        D::UInt64 | D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => Form::Number,
        D::Timestamp(_, zone) => Form::Plain(D::Timestamp(TimeUnit::Microsecond, zone.clone())),
        // There is no integer of one byte on the wire.
        D::Int8 => Form::Plain(D::Int16),
        D::Date64 => Form::Plain(D::Timestamp(TimeUnit::Microsecond, None)),
        D::Float16 => Form::Plain(D::Float32),
        D::FixedSizeBinary(_) => Form::Plain(D::Binary),
        D::Null => Form::Plain(D::Utf8),
        D::Dictionary(_, values) => form(values),
        D::RunEndEncoded(_, values) => form(values.data_type()),
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) if is_simple(item.data_type()) => {
            Form::Plain(kind.clone())
        }
        kind if kind.is_nested() => Form::Json,
        kind => Form::Plain(kind.clone()),
    }
}

/// What arrays can hold.
const fn is_simple(kind: &DataType) -> bool {
    use DataType as D;
    matches!(
        kind,
        D::Boolean
            | D::Int16
            | D::Int32
            | D::Int64
            | D::Float32
            | D::Float64
            | D::Utf8
            | D::LargeUtf8
            | D::Utf8View
            | D::Binary
            | D::Date32
            | D::Timestamp(TimeUnit::Microsecond, _)
    )
}

fn pg_type(field: &Arc<Field>, form: &Form) -> PgWireResult<Type> {
    match form {
        Form::Number => Ok(Type::NUMERIC),
        Form::Json => Ok(Type::JSON),
        Form::Plain(kind) if kind == field.data_type() => field_into_pg_type(field),
        Form::Plain(kind) => field_into_pg_type(&Arc::new(Field::new(field.name(), kind.clone(), true))),
    }
}

/// The type of a parameter that the engine wants as `kind`.
pub fn type_of(kind: &DataType) -> Type {
    let field = Arc::new(Field::new("parameter", kind.clone(), true));
    pg_type(&field, &form(kind)).unwrap_or(Type::TEXT)
}

impl Writer {
    /// For answers with these columns.
    ///
    /// # Errors
    /// A column has no form on the wire.
    pub fn new(schema: &SchemaRef, format: &Format) -> PgWireResult<Self> {
        let forms: Vec<Form> = schema.fields().iter().map(|field| form(field.data_type())).collect();
        let mut fields = Vec::with_capacity(forms.len());
        for (index, (field, form)) in schema.fields().iter().zip(&forms).enumerate() {
            let kind = pg_type(field, form)?;
            let size = match kind {
                Type::BOOL => 1,
                Type::INT2 => 2,
                Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
                Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
                _ => -1,
            };
            let info = FieldInfo::new(field.name().clone(), None, None, kind, format.format_for(index));
            fields.push(info.with_type_size(size));
        }
        Ok(Self { fields: Arc::new(fields), forms, schema: Arc::clone(schema) })
    }

    /// All rows of a batch.
    ///
    /// # Errors
    /// A value has no form on the wire.
    pub fn rows(&self, batch: &RecordBatch) -> PgWireResult<Vec<DataRow>> {
        let columns = batch.columns().iter().zip(&self.forms).map(|(column, form)| prepared(column, form));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().map_err(|error| unwritable(&error))?;
        let fields = columns.iter().zip(self.schema.fields()).map(|(column, field)| {
            // What a column is about (a number that names something) is told by its metadata.
            Field::new(field.name(), column.data_type().clone(), true).with_metadata(field.metadata().clone())
        });
        let kinds = Schema::new(fields.collect::<Vec<_>>());
        let mut encoder = DataRowEncoder::new(Arc::clone(&self.fields));
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            for (((column, kind), form), info) in
                columns.iter().zip(kinds.fields()).zip(&self.forms).zip(self.fields.iter())
            {
                if column.is_null(row) {
                    encoder.encode_field(&None::<i8>)?;
                } else if *form == Form::Number {
                    number(&mut encoder, column.as_string::<i32>().value(row), info)?;
                } else if *form == Form::Json {
                    encoder.encode_field(&column.as_string::<i32>().value(row))?;
                } else {
                    encode_value(&mut encoder, column, row, kind, info)?;
                }
            }
            rows.push(encoder.take_row());
        }
        Ok(rows)
    }
}

fn number(encoder: &mut DataRowEncoder, text: &str, info: &FieldInfo) -> PgWireResult<()> {
    if info.format() == FieldFormat::Text {
        return encoder.encode_field(&text);
    }
    let bytes = numeric::binary(text)
        .ok_or_else(|| failure("22003", "a number can't be written in binary form", "ask for it as text"))?;
    // The bytes as they are.
    encoder.encode_field_with_type_and_format(
        &bytes.as_slice(),
        &Type::BYTEA,
        FieldFormat::Binary,
        info.format_options().as_ref(),
    )
}

fn prepared(column: &ArrayRef, form: &Form) -> Result<ArrayRef, ArrowError> {
    let values = match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values)?,
        DataType::RunEndEncoded(_, values) => cast(column, values.data_type())?,
        _ => Arc::clone(column),
    };
    match form {
        Form::Plain(kind) if kind == values.data_type() => Ok(values),
        Form::Plain(kind) => cast(&values, kind),
        Form::Json => json_column(&values),
        Form::Number => digits(&values),
    }
}

/// Numbers as text without loss.
fn digits(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let text: arrow::array::StringArray = match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().iter().map(|n| n.map(|n| n.to_string())).collect(),
        DataType::Decimal128(precision, scale) => {
            let format = |n| Decimal128Type::format_decimal(n, *precision, *scale);
            column.as_primitive::<Decimal128Type>().iter().map(|n| n.map(format)).collect()
        }
        DataType::Decimal256(precision, scale) => {
            let format = |n| Decimal256Type::format_decimal(n, *precision, *scale);
            column.as_primitive::<Decimal256Type>().iter().map(|n| n.map(format)).collect()
        }
        _ => return cast(column, &DataType::Utf8),
    };
    Ok(Arc::new(text))
}

fn unwritable(error: &ArrowError) -> PgWireError {
    failure("0A000", format!("a column can't be written on this wire: {error}"), "cast it to text")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int64Array, IntervalMonthDayNanoArray, TimestampNanosecondArray, UInt64Array};
    use bytes::Buf;

    use super::*;

    fn one(column: ArrayRef, format: &Format) -> (Type, Vec<Option<Vec<u8>>>) {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let writer = Writer::new(&batch.schema(), format).unwrap();
        let values = writer.rows(&batch).unwrap().into_iter().map(|mut row| {
            let length = row.data.get_i32();
            usize::try_from(length).ok().map(|length| row.data.split_to(length).to_vec())
        });
        (writer.fields[0].datatype().clone(), values.collect())
    }

    fn text(column: ArrayRef) -> (Type, Vec<Option<String>>) {
        let (kind, values) = one(column, &Format::UnifiedText);
        (kind, values.into_iter().map(|value| value.map(|value| String::from_utf8(value).unwrap())).collect())
    }

    #[test]
    fn numbers_are_exact_and_nulls_are_nulls() {
        let money = || Decimal128Array::from(vec![Some(i128::MAX / 10), Some(-1), None]);
        let money = || Arc::new(money().with_precision_and_scale(38, 12).unwrap()) as ArrayRef;
        let (kind, values) = text(money());
        assert_eq!(kind, Type::NUMERIC);
        assert_eq!(values[0].as_deref(), Some("17014118346046923173168730.371588410572"));
        assert_eq!((values[1].as_deref(), values[2].as_deref()), (Some("-0.000000000001"), None));
        let (_, binary) = one(money(), &Format::UnifiedBinary);
        assert_eq!(numeric::text(binary[0].as_ref().unwrap()), values[0]);
        assert_eq!(numeric::text(binary[1].as_ref().unwrap()), values[1]);
        let (kind, values) = text(Arc::new(UInt64Array::from(vec![u64::MAX])));
        assert_eq!((kind, values[0].as_deref()), (Type::NUMERIC, Some("18446744073709551615")));
        let intervals = IntervalMonthDayNanoArray::new_null(1);
        assert_eq!(text(Arc::new(intervals)).1, [None], "an interval that is not there");
        assert_eq!(text(Arc::new(Int64Array::from(vec![None, Some(7)]))).1, [None, Some("7".to_owned())]);
    }

    #[test]
    fn instants_have_microseconds_and_a_zone() {
        let array = TimestampNanosecondArray::from(vec![1_700_000_000_123_456_000]).with_timezone("UTC");
        let (kind, values) = text(Arc::new(array));
        assert_eq!((kind, values[0].as_deref()), (Type::TIMESTAMPTZ, Some("2023-11-14 22:13:20.123456+00")));
    }
}
