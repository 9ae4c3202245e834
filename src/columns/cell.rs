//! How each Rust type of the model is one Arrow column.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListBuilder, MapBuilder,
    MapFieldNames, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Fields, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

use crate::model::{
    CostStatus, MONEY_PRECISION, MONEY_SCALE, Money, Outcome, RecordId, Tags, Timestamp, UsageStatus, Witness,
};

/// A type that is stored as one column.
pub trait Cell: Sized + Default {
    /// The column's type.
    fn data_type() -> DataType;
    /// Whether the column may hold NULL.
    const NULLABLE: bool;
    /// The column of these cells.
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef
    where
        Self: 'a;
    /// The cells of a column of [`Cell::data_type`]; `None` if a value can't be read.
    fn cells(column: &ArrayRef) -> Option<Vec<Self>>;
}

/// The column cast to the type it is stored as: readers may hand out views, dictionaries or other time zones.
/// Ids are stored as bytes and are hex text everywhere else.
pub fn normalized(column: &ArrayRef, expected: &DataType) -> Option<ArrayRef> {
    if matches!(column.data_type(), DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
        && *expected == DataType::Utf8
    {
        return super::ids::to_text(column);
    }
    if column.data_type() == expected || matches!(expected, DataType::Map(..) | DataType::List(_)) {
        Some(Arc::clone(column))
    } else {
        cast(column, expected).ok()
    }
}

fn utc_micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Cell for Option<String> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(cells.map(Option::as_deref).collect::<StringArray>())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_string_opt::<i32>()?.iter().map(|cell| cell.map(str::to_owned)).collect())
    }
}

impl Cell for String {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(cells))
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_string_opt::<i32>()?.iter().map(|cell| cell.unwrap_or_default().to_owned()).collect())
    }
}

fn texts(cells: impl Iterator<Item: fmt::Display>) -> StringArray {
    let mut texts = StringBuilder::new();
    for cell in cells {
        // Writing to a builder can't fail; the value ends with what is appended.
        let _ = write!(texts, "{cell}");
        texts.append_value("");
    }
    texts.finish()
}

/// Enumerations and ids are stored as the text that every surface shows.
macro_rules! text_cell {
    ($type:ty, $parse:expr) => {
        impl Cell for $type {
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                DataType::Utf8
            }
            fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(texts(cells))
            }
            fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
                let parse: fn(&str) -> Option<Self> = $parse;
                column.as_string_opt::<i32>()?.iter().map(|cell| parse(cell.unwrap_or_default())).collect()
            }
        }
    };
}
text_cell!(RecordId, RecordId::parse);
text_cell!(Outcome, |text| Outcome::from_str(text).ok());
text_cell!(Witness, |text| Witness::from_str(text).ok());
text_cell!(UsageStatus, |text| UsageStatus::from_str(text).ok());
text_cell!(CostStatus, |text| CostStatus::from_str(text).ok());

impl Cell for Option<Outcome> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(cells.map(|cell| cell.map(Outcome::as_str)).collect::<StringArray>())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let text = column.as_string_opt::<i32>()?.iter();
        Some(text.map(|cell| cell.and_then(|cell| Outcome::from_str(cell).ok())).collect())
    }
}

impl Cell for Timestamp {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        utc_micros()
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(cells.map(|cell| cell.0)).with_timezone("UTC"))
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let micros = column.as_primitive_opt::<TimestampMicrosecondType>()?.iter();
        Some(micros.map(|cell| Self(cell.unwrap_or_default())).collect())
    }
}

impl Cell for Option<Timestamp> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        utc_micros()
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let micros = cells.map(|cell| cell.map(|at| at.0)).collect::<TimestampMicrosecondArray>();
        Arc::new(micros.with_timezone("UTC"))
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let micros = column.as_primitive_opt::<TimestampMicrosecondType>()?.iter();
        Some(micros.map(|cell| cell.map(Timestamp)).collect())
    }
}

impl Cell for bool {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(cells.map(|cell| Some(*cell)).collect::<BooleanArray>())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_boolean_opt()?.iter().map(Option::unwrap_or_default).collect())
    }
}

impl Cell for Option<bool> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(cells.copied().collect::<BooleanArray>())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_boolean_opt()?.iter().collect())
    }
}

impl Cell for Option<f64> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Float64
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(cells.copied().collect::<Float64Array>())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_primitive_opt::<Float64Type>()?.iter().collect())
    }
}

/// Counts are stored as signed 64-bit integers, the only kind that every reader of Delta knows.
macro_rules! count_cell {
    ($type:ty) => {
        impl Cell for Option<$type> {
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                DataType::Int64
            }
            fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
                Arc::new(cells.map(|cell| cell.and_then(|n| i64::try_from(n).ok())).collect::<Int64Array>())
            }
            fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
                let counts = column.as_primitive_opt::<Int64Type>()?.iter();
                Some(counts.map(|cell| cell.and_then(|n| <$type>::try_from(n).ok())).collect())
            }
        }
    };
}
count_cell!(u64);
count_cell!(u16);

impl Cell for u64 {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Int64
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(cells.map(|n| i64::try_from(*n).unwrap_or(i64::MAX))))
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let counts = column.as_primitive_opt::<Int64Type>()?.iter();
        Some(counts.map(|cell| cell.and_then(|n| Self::try_from(n).ok()).unwrap_or_default()).collect())
    }
}

impl Cell for Option<Money> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE)
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let stored = cells.map(|cell| cell.and_then(Money::stored)).collect::<Decimal128Array>();
        Arc::new(stored.with_data_type(Self::data_type()))
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let stored = column.as_primitive_opt::<Decimal128Type>()?.iter();
        Some(stored.map(|cell| cell.and_then(Money::from_stored)).collect())
    }
}

impl Cell for Vec<String> {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let mut builder =
            ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
        for cell in cells {
            cell.iter().for_each(|text| builder.values().append_value(text));
            builder.append(true);
        }
        Arc::new(builder.finish())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let lists = column.as_list_opt::<i32>()?;
        let texts = |list: ArrayRef| {
            let list = normalized(&list, &DataType::Utf8)?;
            Some(list.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
        };
        lists.iter().map(|list| list.map_or_else(|| Some(Self::new()), texts)).collect()
    }
}

impl Cell for Tags {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        let entry =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
        DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
    }
    fn column<'a>(cells: impl Iterator<Item = &'a Self>) -> ArrayRef {
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for cell in cells {
            for (key, value) in cell {
                builder.keys().append_value(key);
                builder.values().append_value(value);
            }
            // Fails only if keys and values differ in number, which the loop above rules out.
            let _ = builder.append(true);
        }
        Arc::new(builder.finish())
    }
    fn cells(column: &ArrayRef) -> Option<Vec<Self>> {
        let maps = column.as_map_opt()?;
        (0..maps.len())
            .map(|row| {
                if maps.is_null(row) {
                    return Some(Self::new());
                }
                let entries = maps.value(row);
                let part = |index| normalized(entries.columns().get(index)?, &DataType::Utf8);
                let (keys, values) = (part(0)?, part(1)?);
                let (keys, values) = (keys.as_string_opt::<i32>()?, values.as_string_opt::<i32>()?);
                let pairs = keys.iter().zip(values).filter_map(|(key, value)| Some((key?, value?)));
                Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
            })
            .collect()
    }
}
