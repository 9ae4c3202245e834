//! Money: exact decimals, rounded here and nowhere else.

use rust_decimal::{Decimal, RoundingStrategy};

/// Digits of a money column, fraction included.
pub const MONEY_PRECISION: u8 = 38;
/// Fraction digits of a money column: a token at 0.0001 per million is still exact.
pub const MONEY_SCALE: i8 = 12;

/// An amount in the currency that stands beside it; never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub Decimal);

impl Money {
    /// The amount in units of 10^-12, as it is stored. Rates have at most 12 fraction digits per token, so this
    /// rounds (half to even) only what could not be stored otherwise; `None` if it does not fit.
    #[must_use]
    pub fn stored(self) -> Option<i128> {
        let scaled = self.0.round_dp_with_strategy(12, RoundingStrategy::MidpointNearestEven);
        let mut fixed = scaled;
        fixed.rescale(12);
        (fixed.scale() == 12).then(|| fixed.mantissa())
    }

    /// The amount that [`Money::stored`] stands for.
    #[must_use]
    pub fn from_stored(units: i128) -> Option<Self> {
        Decimal::try_from_i128_with_scale(units, 12).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_keeps_every_digit() {
        let amount = Money("4.573018125".parse().unwrap_or_default());
        assert_eq!(amount.stored(), Some(4_573_018_125_000));
        assert_eq!(amount.stored().and_then(Money::from_stored), Some(amount));
    }
}
