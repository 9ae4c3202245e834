//! The bundled list: `data/list.csv`, written by `data/import.py`. See `data/README.md` for where it comes from.

use rust_decimal::Decimal;

use super::key::Layer;
use super::rate::{PriceError, Rate};
use crate::model::Timestamp;

const BUNDLED: &str = include_str!("data/list.csv");
const HEADER: &str = "platform,model,snapshot,scope,tier,mode,bucket,context_over,per,amount,currency,valid_from,valid_to,recorded_at,source,source_ref";

pub(super) fn bundled() -> Result<Vec<Rate>, PriceError> {
    parse(BUNDLED)
}

/// Rows of comma-separated text without quoting: no field holds a comma.
pub(super) fn parse(text: &str) -> Result<Vec<Rate>, PriceError> {
    let mut lines = text.lines().zip(1_u32..);
    if lines.next().map(|(header, _)| header) != Some(HEADER) {
        return Err(PriceError::Field { row: "line 1".to_owned(), field: "header" });
    }
    lines.filter(|(line, _)| !line.is_empty()).map(|(line, number)| row(line, number)).collect()
}

fn row(line: &str, number: u32) -> Result<Rate, PriceError> {
    let invalid = |field| PriceError::Field { row: format!("line {number}"), field };
    let fields: Vec<&str> = line.split(',').collect();
    let [
        platform,
        model,
        snapshot,
        scope,
        tier,
        mode,
        bucket,
        over,
        per,
        amount,
        currency,
        from,
        to,
        recorded,
        source,
        source_ref,
    ] = fields.as_slice()
    else {
        return Err(invalid("number of fields"));
    };
    let instant = |text: &str, field| match text {
        "" => Ok(None),
        text => Timestamp::parse(&format!("{text}T00:00:00Z")).map(Some).ok_or_else(|| invalid(field)),
    };
    let decimal = |text: &str, field| Decimal::from_str_exact(text).map_err(|_| invalid(field));
    let rate = Rate {
        layer: Layer::Bundled,
        platform: (*platform).to_owned(),
        model: (*model).to_owned(),
        snapshot: (!snapshot.is_empty()).then(|| (*snapshot).to_owned()),
        scope: scope.parse().map_err(|()| invalid("scope"))?,
        tier: (*tier).to_owned(),
        mode: mode.parse().map_err(|()| invalid("mode"))?,
        bucket: bucket.parse().map_err(|()| invalid("bucket"))?,
        context_over: if over.is_empty() { None } else { Some(over.parse().map_err(|_| invalid("context_over"))?) },
        per: decimal(per, "per")?,
        amount: decimal(amount, "amount")?,
        currency: (*currency).to_owned(),
        valid_from: instant(from, "valid_from")?,
        valid_to: instant(to, "valid_to")?,
        recorded_at: instant(recorded, "recorded_at")?.ok_or_else(|| invalid("recorded_at"))?,
        source: (*source).to_owned(),
        source_ref: (*source_ref).to_owned(),
        ..Rate::default()
    };
    Ok(Rate { row_id: rate.derived_id("list"), ..rate })
}
