//! Numbers and instants as bills write them.

use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::model::{HOUR_US, Interval, MONEY_SCALE, Timestamp};

/// A day in microseconds.
const DAY_US: i64 = 24 * HOUR_US;
/// No line of a bill is about so much; sums of all lines of a bill then stay exact.
const ABSURD: i64 = 1_000_000_000_000_000;

/// A number, and whether it had more fraction digits than amounts keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub number: Decimal,
    pub rounded: bool,
}

/// A decimal as providers write it, with an exponent too; or what is wrong with it and what to do.
pub(super) fn decimal(text: &str) -> Result<Read, (String, String)> {
    let plain = text.trim();
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let wrong = |why: &str, hint: &str| Err((format!("'{text}' {why}"), hint.to_owned()));
    if plain.contains(',') {
        return wrong(
            "has a comma",
            "export it with a point for decimals and nothing between thousands (en-US, not opened in a spreadsheet)",
        );
    }
    if plain.is_empty() || !plain.chars().all(digits) {
        return wrong("is no number", "it must be like 12.5");
    }
    let exponent = plain.contains(['e', 'E']);
    // Digits behind the 28th can't be kept by anything here; `from_str` rounds them.
    let read = if exponent { Decimal::from_scientific(plain).ok() } else { plain.parse::<Decimal>().ok() };
    let Some(exact) = read else { return wrong("is no number that can be kept", "it must be like 12.5") };
    if exact.abs() >= Decimal::from(ABSURD) {
        return wrong("is larger than any bill", "look into the export: is the column another one?");
    }
    let places = u32::from(MONEY_SCALE.unsigned_abs());
    let number = exact.round_dp_with_strategy(places, RoundingStrategy::MidpointNearestEven);
    Ok(Read { number: number.normalize(), rounded: number != exact })
}

/// An instant or a day, as `2026-10-01T00:00:00Z`, `2026-10-01` or `10/31/2026`.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().or_else(|| american(text));
    match day {
        Some(day) => Some(Timestamp(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())),
        None => Timestamp::parse(text),
    }
    .filter(|at| *at >= Timestamp::EARLIEST)
}

/// `10/31/2026`, as Azure writes days.
fn american(text: &str) -> Option<NaiveDate> {
    (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%m/%d/%Y").ok()).flatten()
}

/// The day that starts at this instant.
pub(super) const fn day_from(start: Timestamp) -> Interval {
    Interval { from: start, to: start.plus(DAY_US) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_refused() {
        let read = |text: &str| decimal(text).map(|read| (read.number.to_string(), read.rounded));
        assert_eq!(read("0.06"), Ok(("0.06".to_owned(), false)));
        assert_eq!(read("1.5E-7"), Ok(("0.00000015".to_owned(), false)));
        assert_eq!(read("-2.500000000000000000"), Ok(("-2.5".to_owned(), false)));
        assert_eq!(read("0.1234567890125000000000000000000000001").unwrap(), ("0.123456789012".to_owned(), true));
        for bad in ["1,5", "1.234,5", "abc", "", "$1", "1e99", "NaN"] {
            assert!(decimal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_read_in_both_orders_of_azure() {
        assert_eq!(instant("10/31/2026"), instant("2026-10-31T00:00:00Z"));
        assert_eq!(instant("31/10/2026"), None);
        assert_eq!(instant("2026-02-30"), None);
    }
}
