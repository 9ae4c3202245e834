//! Splitting money so that the parts are the whole, to the last digit: the largest remainder rule. Beside
//! [`Money`](super::Money) this is the only place that rounds.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

/// Where an amount stays that has nothing to be in proportion to.
pub const UNALLOCATED: &str = "(unallocated)";

/// Why an amount can't be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A part can't be less than nothing.
    #[error("the weight of '{0}' is negative")]
    Negative(String),
    /// More digits than exact arithmetic has here.
    #[error("amounts or weights have too many digits to be split exactly")]
    TooLarge,
}

/// The amount with `digits` fraction digits, half to even: for totals of a report, never for a call.
#[must_use]
pub fn rounded(amount: Decimal, digits: u32) -> Decimal {
    let mut fixed = amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointNearestEven);
    fixed.rescale(digits);
    fixed
}

/// Splits `total` (rounded half to even to `digits` first) in proportion to `weights`. Each part is cut by magnitude,
/// what is left goes unit by unit to the largest remainders, equal ones in ascending byte order of their keys. Without
/// any weight above 0 all of it is `(unallocated)`.
///
/// # Errors
/// A negative weight, or numbers beyond 38 digits.
pub fn split(
    total: Decimal,
    digits: u32,
    weights: &BTreeMap<String, Decimal>,
) -> Result<BTreeMap<String, Decimal>, SplitError> {
    if let Some((key, _)) = weights.iter().find(|(_, weight)| **weight < Decimal::ZERO) {
        return Err(SplitError::Negative(key.clone()));
    }
    let units = units_of(rounded(total, digits), digits)?;
    let weights = whole_numbers(weights)?;
    let sum = weights.iter().try_fold(0_i128, |sum, (_, weight)| sum.checked_add(*weight));
    let sum = sum.ok_or(SplitError::TooLarge)?;
    if sum == 0 {
        return Ok(BTreeMap::from([(UNALLOCATED.to_owned(), amount_of(units, digits)?)]));
    }
    let shares = weights.into_iter().map(|(key, weight)| {
        let product = units.abs().checked_mul(weight).ok_or(SplitError::TooLarge)?;
        Ok((key, product / sum, product % sum))
    });
    hand_out(units, digits, shares.collect::<Result<_, _>>()?)
}

/// Rounds exact lines together, so that they add up to their rounded sum.
///
/// # Errors
/// Numbers beyond 38 digits.
pub fn round_together(lines: &BTreeMap<String, Decimal>, digits: u32) -> Result<BTreeMap<String, Decimal>, SplitError> {
    let add = |sum: Decimal, line: &Decimal| sum.checked_add(*line);
    let total = lines.values().try_fold(Decimal::ZERO, add).ok_or(SplitError::TooLarge)?;
    let units = units_of(rounded(total, digits), digits)?;
    // A credit is cut by magnitude, as a debit is.
    let sign = if total.is_sign_negative() { Decimal::NEGATIVE_ONE } else { Decimal::ONE };
    let finest = lines.values().map(Decimal::scale).max().unwrap_or(0).max(digits);
    let unit = 10_i128.checked_pow(finest - digits).ok_or(SplitError::TooLarge)?;
    let shares = lines.iter().map(|(key, line)| {
        let fine = units_of(*line * sign, finest)?;
        Ok((key.clone(), fine.div_euclid(unit), fine.rem_euclid(unit)))
    });
    hand_out(units, digits, shares.collect::<Result<_, _>>()?)
}

/// Shares of many amounts, summed exactly and rounded once: the hours of a month, each split by weights of its own.
/// Rounding the parts of each hour would give the first key a little more every time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareSum {
    total: Decimal,
    sums: BTreeMap<String, Fine>,
}

/// A sum of shares: whole units of 10^-12, and what is left of a unit with [`FINE_DIGITS`] digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fine {
    units: i128,
    left: i128,
}

/// Digits of the unit that amounts are split in.
const UNIT_DIGITS: u32 = 12;
/// Further digits of a share. Cutting them is the only error there is, and far smaller than those that are compared.
const FINE_DIGITS: u32 = 36;
/// Further digits that are compared: two shares that agree in them are equal.
const SURE_DIGITS: u32 = 24;
const STEP: i128 = 1_000_000_000_000;

impl ShareSum {
    /// Splits `amount` (at most twelve fraction digits) in proportion to `weights`, and adds each share to its key's.
    ///
    /// # Errors
    /// A negative weight, or numbers with too many digits; nothing is added then.
    pub fn add(&mut self, amount: Decimal, weights: &BTreeMap<String, Decimal>) -> Result<(), SplitError> {
        if let Some((key, _)) = weights.iter().find(|(_, weight)| **weight < Decimal::ZERO) {
            return Err(SplitError::Negative(key.clone()));
        }
        let units = units_of(amount.normalize(), UNIT_DIGITS)?;
        let total = self.total.checked_add(amount).ok_or(SplitError::TooLarge)?;
        let mut weights = whole_numbers(weights)?;
        let mut sum = weights.iter().try_fold(0_i128, |sum, (_, weight)| sum.checked_add(*weight));
        if sum == Some(0) {
            (weights, sum) = (vec![(UNALLOCATED.to_owned(), 1)], Some(1));
        }
        let sum = sum.ok_or(SplitError::TooLarge)?;
        let shares = weights.into_iter().map(|(key, weight)| Ok((key, Fine::share(units, weight, sum)?)));
        for (key, share) in shares.collect::<Result<Vec<_>, SplitError>>()? {
            let known = self.sums.entry(key).or_default();
            *known = known.plus(share).ok_or(SplitError::TooLarge)?;
        }
        self.total = total;
        Ok(())
    }

    /// What was added up.
    #[must_use]
    pub const fn total(&self) -> Decimal {
        self.total
    }

    /// The sums, rounded together to `digits` (at most twelve): they add up to the rounded total.
    ///
    /// # Errors
    /// Numbers beyond 38 digits.
    pub fn rounded(&self, digits: u32) -> Result<BTreeMap<String, Decimal>, SplitError> {
        let units = units_of(rounded(self.total, digits), digits)?;
        let finer = UNIT_DIGITS.checked_sub(digits).ok_or(SplitError::TooLarge)?;
        let unit = 10_i128.pow(finer);
        let sure = 10_i128.pow(SURE_DIGITS);
        let share = |(key, sum): (&String, &Fine)| {
            let sum = if self.total.is_sign_negative() { sum.negated() } else { *sum };
            let cut = 10_i128.pow(FINE_DIGITS - SURE_DIGITS);
            // What differs from a whole unit by no more than the cut digits is one.
            let left = (sum.left + cut / 2) / cut;
            let whole = sum.units + left / sure;
            (key.clone(), whole.div_euclid(unit), whole.rem_euclid(unit) * sure + left % sure)
        };
        hand_out(units, digits, self.sums.iter().map(share).collect())
    }
}

impl Fine {
    const ONE: i128 = 10_i128.pow(FINE_DIGITS);

    /// `units * weight / sum`, by long division in steps of twelve digits.
    fn share(units: i128, weight: i128, sum: i128) -> Result<Self, SplitError> {
        let product = units.abs().checked_mul(weight).ok_or(SplitError::TooLarge)?;
        let (mut rest, mut left) = (product % sum, 0_i128);
        for _ in 0..FINE_DIGITS / 12 {
            rest = rest.checked_mul(STEP).ok_or(SplitError::TooLarge)?;
            left = left * STEP + rest / sum;
            rest %= sum;
        }
        let share = Self { units: product / sum, left };
        Ok(if units < 0 { share.negated() } else { share })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let left = self.left + other.left;
        let units = self.units.checked_add(other.units)?.checked_add(left / Self::ONE)?;
        Some(Self { units, left: left % Self::ONE })
    }

    const fn negated(self) -> Self {
        if self.left == 0 {
            Self { units: -self.units, left: 0 }
        } else {
            Self { units: -self.units - 1, left: Self::ONE - self.left }
        }
    }
}

/// Cut parts with their remainders to whole ones.
fn hand_out(
    units: i128,
    digits: u32,
    shares: Vec<(String, i128, i128)>,
) -> Result<BTreeMap<String, Decimal>, SplitError> {
    let mut order: Vec<(Reverse<i128>, String, i128)> =
        shares.into_iter().map(|(key, part, rest)| (Reverse(rest), key, part)).collect();
    order.sort_unstable();
    let mut left = units.abs() - order.iter().map(|(_, _, part)| part).sum::<i128>();
    let mut parts = BTreeMap::new();
    for (_, key, part) in order {
        let one = i128::from(left > 0);
        left -= one;
        parts.insert(key, amount_of((part + one) * units.signum(), digits)?);
    }
    Ok(parts)
}

/// The weights as whole numbers in the same proportion, as small as they get.
fn whole_numbers(weights: &BTreeMap<String, Decimal>) -> Result<Vec<(String, i128)>, SplitError> {
    let scale = weights.values().map(|weight| weight.normalize().scale()).max().unwrap_or(0);
    let whole = weights.iter().map(|(key, weight)| Ok((key.clone(), units_of(weight.normalize(), scale)?)));
    let mut whole: Vec<(String, i128)> = whole.collect::<Result<_, _>>()?;
    let divisor = whole.iter().fold(0_i128, |divisor, (_, weight)| gcd(divisor, *weight));
    if divisor > 1 {
        for (_, weight) in &mut whole {
            *weight /= divisor;
        }
    }
    Ok(whole)
}

const fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The amount in units of `10^-digits`; it has no finer ones.
fn units_of(amount: Decimal, digits: u32) -> Result<i128, SplitError> {
    let finer = digits.checked_sub(amount.scale()).ok_or(SplitError::TooLarge)?;
    let factor = 10_i128.checked_pow(finer).ok_or(SplitError::TooLarge)?;
    amount.mantissa().checked_mul(factor).ok_or(SplitError::TooLarge)
}

fn amount_of(units: i128, digits: u32) -> Result<Decimal, SplitError> {
    Decimal::try_from_i128_with_scale(units, digits).map_err(|_| SplitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amounts(pairs: &[(&str, &str)]) -> BTreeMap<String, Decimal> {
        pairs.iter().map(|(key, amount)| ((*key).to_owned(), amount.parse().unwrap())).collect()
    }

    #[test]
    fn gives_the_left_cents_to_the_largest_remainders() {
        let thirds = amounts(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let cents = |total: &str| split(total.parse().unwrap(), 2, &thirds).unwrap();
        assert_eq!(cents("10"), amounts(&[("a", "3.34"), ("b", "3.33"), ("c", "3.33")]));
        assert_eq!(cents("-10"), amounts(&[("a", "-3.34"), ("b", "-3.33"), ("c", "-3.33")]));
        let none = split("5".parse().unwrap(), 2, &amounts(&[("a", "0")])).unwrap();
        assert_eq!(none, amounts(&[(UNALLOCATED, "5")]));
        let negative = split(Decimal::TEN, 2, &amounts(&[("a", "-1")]));
        assert_eq!(negative, Err(SplitError::Negative("a".to_owned())));
    }

    #[test]
    fn many_shares_are_rounded_once() {
        let weights = amounts(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "7")]);
        for (hour, expected) in [
            // 744 times 0.13 over 13: whole cents, which no sum of cut parts gives.
            ("0.13", [("a", "7.44"), ("b", "14.88"), ("c", "22.32"), ("d", "52.08")]),
            ("-0.13", [("a", "-7.44"), ("b", "-14.88"), ("c", "-22.32"), ("d", "-52.08")]),
        ] {
            let mut month = ShareSum::default();
            for _ in 0..744 {
                month.add(hour.parse().unwrap(), &weights).unwrap();
            }
            assert_eq!(month.rounded(2).unwrap(), amounts(&expected));
        }
        let mut mixed = ShareSum::default();
        mixed.add("0.01".parse().unwrap(), &amounts(&[("a", "1"), ("b", "2")])).unwrap();
        mixed.add("0.01".parse().unwrap(), &amounts(&[("b", "1"), ("c", "2")])).unwrap();
        mixed.add("0.01".parse().unwrap(), &amounts(&[("c", "1"), ("a", "2")])).unwrap();
        mixed.add("0.01".parse().unwrap(), &amounts(&[])).unwrap();
        let expected = amounts(&[("a", "0.01"), ("b", "0.01"), ("c", "0.01"), (UNALLOCATED, "0.01")]);
        assert_eq!((mixed.rounded(2).unwrap(), mixed.total()), (expected, "0.04".parse().unwrap()));
    }

    #[test]
    fn rounds_lines_to_their_rounded_sum() {
        let lines = amounts(&[("a", "0.005"), ("b", "0.005"), ("c", "0.005")]);
        assert_eq!(round_together(&lines, 2).unwrap(), amounts(&[("a", "0.01"), ("b", "0.01"), ("c", "0.00")]));
        let mixed = amounts(&[("a", "-0.015"), ("b", "1.004")]);
        assert_eq!(round_together(&mixed, 2).unwrap().values().sum::<Decimal>(), "0.99".parse().unwrap());
    }

    proptest! {
        #[test]
        fn parts_are_the_whole(
            total in -1_000_000_000_000_i64..1_000_000_000_000,
            digits in 0_u32..13,
            weights in prop::collection::btree_map("[a-z]{1,4}", (0_i64..1_000_000_000, 0_u32..6), 1..12),
        ) {
            let total = Decimal::new(total, digits);
            let weights: BTreeMap<_, _> = weights.into_iter().map(|(key, (n, scale))| (key, Decimal::new(n, scale))).collect();
            let parts = split(total, digits, &weights).unwrap();
            prop_assert_eq!(parts.values().sum::<Decimal>(), total);
            let sum: Decimal = weights.values().sum();
            for (key, part) in &parts {
                if let Some(weight) = weights.get(key).filter(|_| !sum.is_zero()) {
                    // Never more than one unit from its exact share.
                    prop_assert!((*part - total * *weight / sum).abs() <= Decimal::new(1, digits) + Decimal::new(1, 15));
                }
            }
        }

        #[test]
        fn a_sum_of_shares_is_its_total(
            hours in prop::collection::vec(
                (-1_000_000_000_i64..1_000_000_000, prop::collection::btree_map("[a-d]", 0_i64..1_000_000, 0..4)), 1..30,
            ),
        ) {
            let mut sum = ShareSum::default();
            for (amount, weights) in &hours {
                let weights = weights.iter().map(|(key, n)| (key.clone(), Decimal::from(*n))).collect();
                sum.add(Decimal::new(*amount, 6), &weights).unwrap();
            }
            let total: Decimal = hours.iter().map(|(amount, _)| Decimal::new(*amount, 6)).sum();
            prop_assert_eq!(sum.rounded(2).unwrap().values().sum::<Decimal>(), rounded(total, 2));
        }

        #[test]
        fn lines_rounded_together_tie_to_their_sum(
            lines in prop::collection::btree_map("[a-z]{1,3}", -1_000_000_i64..1_000_000, 1..12),
        ) {
            let lines: BTreeMap<_, _> = lines.into_iter().map(|(key, n)| (key, Decimal::new(n, 4))).collect();
            let together = round_together(&lines, 2).unwrap();
            prop_assert_eq!(together.values().sum::<Decimal>(), rounded(lines.values().sum(), 2));
        }
    }
}
