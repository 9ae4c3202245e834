//! When it happens: the load over a day, and the two incidents of the last day.

use super::company::{Place, Platform};
use crate::model::{HOUR_US, MINUTE_US, Timestamp};

/// Load by hour of the day, UTC; the company works in Europe and on the American east coast.
const LOAD: [u64; 24] =
    [16, 13, 11, 10, 11, 16, 27, 46, 68, 84, 92, 95, 93, 98, 104, 108, 103, 94, 80, 66, 52, 40, 30, 22];

/// Weekends carry this share of a working day's load, in hundredths.
const WEEKEND_PERCENT: u64 = 60;

/// How a provider feels at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    /// Factor on latencies.
    pub(super) slowness: i64,
    /// Chance of a refusal for load (429), per mille.
    pub(super) throttled: u64,
    /// Chance of a failure of the provider (500, 503), per mille.
    pub(super) broken: u64,
}

/// The instants of the incidents, relative to the moment that the demo starts at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    now: Timestamp,
}

impl Scenario {
    /// Azure's `eastus` is slow and refuses work: begins so long before the start, and lasts so long.
    pub(super) const AZURE_INCIDENT: (i64, i64) = (20 * HOUR_US, 70 * MINUTE_US);
    /// Bedrock throttles: begins so long before the start, and lasts so long.
    pub(super) const BEDROCK_INCIDENT: (i64, i64) = (5 * HOUR_US, 12 * MINUTE_US);

    /// The scenario of a demo that starts at `now`.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { now }
    }

    /// Load at `at`, in arbitrary units, interpolated between full hours.
    pub(super) fn load(at: Timestamp) -> u64 {
        let hours = at.0.div_euclid(HOUR_US);
        let part = u64::try_from(at.0.rem_euclid(HOUR_US)).unwrap_or(0);
        let hour = |n: i64| {
            usize::try_from(n.rem_euclid(24)).ok().and_then(|n| LOAD.get(n)).copied().unwrap_or(0).saturating_mul(100)
        };
        let length = u64::try_from(HOUR_US).unwrap_or(1);
        let (here, next) = (hour(hours), hour(hours.saturating_add(1)));
        // 1970-01-01 was a Thursday.
        let weekday = hours.div_euclid(24).rem_euclid(7);
        let level = (here * (length - part) + next * part) / length;
        if weekday == 2 || weekday == 3 { level * WEEKEND_PERCENT / 100 } else { level }
    }

    /// How `place` feels at `at`.
    pub(super) fn weather(&self, place: &Place, at: Timestamp) -> Weather {
        match place.platform {
            Platform::Azure { .. } if place.region == "eastus" && self.during(Self::AZURE_INCIDENT, at) => {
                Weather { slowness: 4, throttled: 250, broken: 100 }
            }
            Platform::Azure { .. } => Weather { slowness: 1, throttled: 8, broken: 2 },
            Platform::Bedrock { .. } if self.during(Self::BEDROCK_INCIDENT, at) => {
                Weather { slowness: 1, throttled: 450, broken: 10 }
            }
            Platform::Bedrock { .. } => Weather { slowness: 1, throttled: 12, broken: 2 },
            Platform::OpenAi => Weather { slowness: 1, throttled: 6, broken: 3 },
            Platform::Anthropic => Weather { slowness: 1, throttled: 5, broken: 4 },
        }
    }

    fn during(&self, (before, length): (i64, i64), at: Timestamp) -> bool {
        let begin = self.now.plus(before.saturating_neg());
        at >= begin && at < begin.plus(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afternoons_are_busier_than_nights_and_sundays() {
        let load = |text| Scenario::load(Timestamp::parse(text).unwrap());
        let tuesday = load("2026-11-17T15:00:00Z");
        assert!(tuesday > 8 * load("2026-11-17T03:00:00Z"));
        assert!(tuesday > load("2026-11-15T15:00:00Z"));
        assert_eq!(tuesday, 10_800);
    }
}
