//! Instants: microseconds since 1970-01-01T00:00:00Z, always UTC.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds in an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;

const DOTNET_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// An instant in UTC with microsecond resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest instant accepted for a call; earlier ones are a damaged clock.
    pub const EARLIEST: Self = Self(1_577_836_800 * SECOND_US); // 2020-01-01

    /// Reads RFC 3339 text and its relatives: `T` or space, any number of fraction digits (cut to microseconds), a
    /// zone or none (then UTC).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(instant.timestamp_micros()));
        }
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"]
            .iter()
            .find_map(|format| {
                NaiveDateTime::parse_from_str(text, format)
                    .map(|at| at.and_utc().timestamp_micros())
                    .ok()
                    .or_else(|| DateTime::parse_from_str(text, format).map(|at| at.timestamp_micros()).ok())
            })
            .map(Self)
    }

    /// Reads 100 ns ticks of either epoch that Azure writes: .NET (year 1) or Unix.
    #[must_use]
    pub fn from_ticks(ticks: i64) -> Option<Self> {
        match ticks {
            300_000_000_000_000_000.. => Some(Self((ticks - DOTNET_EPOCH_TICKS) / 10)),
            10_000_000_000_000_000..100_000_000_000_000_000 => Some(Self(ticks / 10)),
            _ => None,
        }
    }

    /// Nanoseconds since the Unix epoch, as OTLP writes them; 0 means unknown.
    #[must_use]
    pub fn from_unix_nanos(nanos: u64) -> Option<Self> {
        if nanos == 0 { None } else { i64::try_from(nanos / 1000).ok().map(Self) }
    }

    /// The calendar day in UTC; the epoch's day if the instant is outside the calendar.
    #[must_use]
    pub fn day(self) -> NaiveDate {
        self.datetime().date_naive()
    }

    /// The start of the interval of `length_us` microseconds that holds this instant.
    #[must_use]
    pub const fn floor(self, length_us: i64) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(length_us)))
    }

    /// This instant moved by `us` microseconds.
    #[must_use]
    pub const fn plus(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// The instant that lies `length` before this one.
    #[must_use]
    pub fn before(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this instant, negative if it lies before.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "differences of instants are far below 2^52 us")]
    pub fn millis_since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)) as f64 / 1000.0
    }

    fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_spellings_that_sources_write() {
        let expected = Timestamp::parse("2025-05-15T14:17:22Z");
        assert!(expected.is_some());
        for text in ["2025-05-15 14:17:22.000000000", "2025-05-15T14:17:22", "2025-05-15T16:17:22+02:00"] {
            assert_eq!(Timestamp::parse(text), expected, "{text}");
        }
        assert_eq!(Timestamp::parse("2025-11-04T02:03:59.9910000Z").map(|t| t.0 % SECOND_US), Some(991_000));
        assert_eq!(Timestamp::parse("xxxx"), None);
        assert_eq!(Timestamp::parse("2025-13-45T00:00:00Z"), None);
    }

    #[test]
    fn reads_ticks_of_both_epochs() {
        let dotnet = Timestamp::from_ticks(638_978_186_277_847_539).map(|t| t.to_string());
        assert_eq!(dotnet.as_deref(), Some("2025-11-04T02:03:47.784753Z"));
        let unix = Timestamp::from_ticks(17_622_218_277_847_539).map(|t| t.to_string());
        assert_eq!(unix.as_deref(), Some("2025-11-04T02:03:47.784753Z"));
        assert_eq!(Timestamp::from_ticks(5), None);
    }
}
