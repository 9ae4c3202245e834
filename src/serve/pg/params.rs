//! Parameters as they come: text or binary, of the type that the client or the statement says.

use arrow::datatypes::DataType;
use pgwire::api::Type;
use pgwire::error::PgWireResult;

use super::failure::failure;
use super::numeric;
use crate::query::Scalar;

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_US: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// The value of a parameter. What is text stays text: the statement's own type decides how it is read.
///
/// # Errors
/// The bytes are none of that type.
pub fn value(bytes: Option<&[u8]>, kind: &Type, binary: bool) -> PgWireResult<Scalar> {
    let Some(bytes) = bytes else { return Ok(Scalar::Null) };
    let read = if binary { of_binary(bytes, kind) } else { of_text(bytes, kind) };
    read.ok_or_else(|| {
        failure("22P03", format!("a parameter is no valid {kind}"), "cast it in the statement, or send it as text")
    })
}

fn of_text(bytes: &[u8], kind: &Type) -> Option<Scalar> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(match *kind {
        Type::BOOL => match text.to_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" => Scalar::Boolean(Some(true)),
            "f" | "false" | "0" | "off" | "no" => Scalar::Boolean(Some(false)),
            _ => return None,
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Scalar::Int64(Some(text.parse().ok()?)),
        Type::FLOAT4 | Type::FLOAT8 => Scalar::Float64(Some(text.parse().ok()?)),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY => {
            let items = array(text)?.into_iter();
            match *kind {
                Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY => {
                    let items: Option<Vec<Scalar>> = items
                        .map(|item| match item {
                            Some(text) => text.parse().ok().map(|n| Scalar::Int64(Some(n))),
                            None => Some(Scalar::Int64(None)),
                        })
                        .collect();
                    list(&items?, &DataType::Int64)
                }
                _ => list(&items.map(Scalar::Utf8).collect::<Vec<_>>(), &DataType::Utf8),
            }
        }
        // Lists are compared as texts, which tell numbers with fractions and times in more than one way.
        ref other if other.name().starts_with('_') => return None,
        _ => Scalar::Utf8(Some(text.to_owned())),
    })
}

fn list(items: &[Scalar], kind: &DataType) -> Scalar {
    Scalar::List(Scalar::new_list_nullable(items, kind))
}

fn of_binary(bytes: &[u8], kind: &Type) -> Option<Scalar> {
    Some(match *kind {
        Type::BOOL => Scalar::Boolean(Some(*bytes.first()? != 0)),
        Type::INT2 => Scalar::Int64(Some(i64::from(i16::from_be_bytes(bytes.try_into().ok()?)))),
        Type::INT4 => Scalar::Int64(Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))),
        Type::OID => Scalar::Int64(Some(i64::from(u32::from_be_bytes(bytes.try_into().ok()?)))),
        Type::INT8 => Scalar::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT4 => Scalar::Float64(Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?)))),
        Type::FLOAT8 => Scalar::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::NUMERIC => Scalar::Utf8(Some(numeric::text(bytes)?)),
        Type::BYTEA => Scalar::Binary(Some(bytes.to_vec())),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let at = i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_US)?;
            let zone = (*kind == Type::TIMESTAMPTZ).then(|| "UTC".into());
            Scalar::TimestampMicrosecond(Some(at), zone)
        }
        Type::DATE => Scalar::Date32(Some(i32::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_DAYS)?)),
        Type::UUID => {
            let bytes: [u8; 16] = bytes.try_into().ok()?;
            let hex = format!("{:032x}", u128::from_be_bytes(bytes));
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
            Scalar::Utf8(Some(parts.join("-")))
        }
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY => {
            binary_array(bytes)?
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            Scalar::Utf8(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
        }
        _ => return None,
    })
}

/// One dimension: count, whether there are nulls, type, length, lower bound, then the items.
fn binary_array(bytes: &[u8]) -> Option<Scalar> {
    let (dimensions, rest) = int(bytes)?;
    let (_nulls, rest) = int(rest)?;
    let (kind, mut rest) = int(rest)?;
    let kind = Type::from_oid(u32::try_from(kind).ok()?)?;
    let arrow = if matches!(kind, Type::INT4 | Type::INT8 | Type::INT2) { DataType::Int64 } else { DataType::Utf8 };
    let mut items = Vec::new();
    if dimensions == 1 {
        let (count, after) = int(rest)?;
        rest = int(after)?.1;
        for _ in 0..count {
            let (length, after) = int(rest)?;
            let Ok(length) = usize::try_from(length) else {
                items.push(Scalar::try_from(&arrow).ok()?);
                rest = after;
                continue;
            };
            let (item, after) = after.split_at_checked(length)?;
            items.push(of_binary(item, &kind)?);
            rest = after;
        }
    } else if dimensions != 0 {
        return None;
    }
    Some(list(&items, &arrow))
}

fn int(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (int, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*int), rest))
}

/// `{a,"b, \"c\"",NULL}`
fn array(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let (mut item, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.push(chars.next()?),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => {
                items.push(element(std::mem::take(&mut item), was_quoted));
                was_quoted = false;
            }
            '{' | '}' if !quoted => return None,
            c => item.push(c),
        }
    }
    if quoted {
        return None;
    }
    if !(items.is_empty() && item.trim().is_empty() && !was_quoted) {
        items.push(element(item, was_quoted));
    }
    Some(items)
}

fn element(text: String, quoted: bool) -> Option<String> {
    if quoted {
        return Some(text);
    }
    let text = text.trim();
    (!text.eq_ignore_ascii_case("null")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_both_forms() {
        let text = |bytes: &str, kind: Type| value(Some(bytes.as_bytes()), &kind, false).unwrap();
        let binary = |bytes: &[u8], kind: Type| value(Some(bytes), &kind, true).unwrap();
        assert_eq!(text("42", Type::INT4), Scalar::Int64(Some(42)));
        assert_eq!(binary(&42_i32.to_be_bytes(), Type::INT4), Scalar::Int64(Some(42)));
        assert_eq!(text("t", Type::BOOL), Scalar::Boolean(Some(true)));
        assert_eq!(
            binary(&0_i64.to_be_bytes(), Type::TIMESTAMPTZ),
            Scalar::TimestampMicrosecond(Some(EPOCH_US), Some("UTC".into()))
        );
        assert_eq!(binary(&numeric::binary("-1.50").unwrap(), Type::NUMERIC), Scalar::Utf8(Some("-1.50".to_owned())));
        assert_eq!(value(None, &Type::INT4, true).unwrap(), Scalar::Null);
        let uuid = binary(&[0x12; 16], Type::UUID);
        assert_eq!(uuid, Scalar::Utf8(Some("12121212-1212-1212-1212-121212121212".to_owned())));
        for (bytes, kind) in
            [(&[1_u8][..], Type::INT4), (&[0xff], Type::TEXT), (&[0; 3], Type::NUMERIC), (&[0; 11], Type::TEXT_ARRAY)]
        {
            assert!(value(Some(bytes), &kind, true).is_err(), "{kind}");
        }
        assert!(value(Some(b"x"), &Type::INT4, false).is_err());
    }

    #[test]
    fn arrays_are_read_from_both_forms() {
        let words = |items: &[Option<&str>]| Some(items.iter().map(|item| item.map(str::to_owned)).collect::<Vec<_>>());
        assert_eq!(
            array("{a,\"b, \\\"c\\\"\",NULL,\"NULL\"}"),
            words(&[Some("a"), Some("b, \"c\""), None, Some("NULL")])
        );
        assert_eq!(array("{}"), words(&[]));
        assert_eq!(array("{\"\"}"), words(&[Some("")]));
        assert!(array("{{1},{2}}").is_none() && array("{\"a}").is_none() && array("a").is_none());
        let expected = list(&[Scalar::Int64(Some(7)), Scalar::Int64(None)], &DataType::Int64);
        assert_eq!(value(Some(b"{7,NULL}"), &Type::INT8_ARRAY, false).unwrap(), expected);
        let mut bytes = Vec::new();
        for field in [1_i32, 1, 20, 2, 1, 8] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(7_i64.to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        assert_eq!(value(Some(&bytes), &Type::INT8_ARRAY, true).unwrap(), expected);
    }
}
