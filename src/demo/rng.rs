//! A small deterministic random generator (splitmix64) and the distributions that traffic is drawn from.

use std::fmt::Write;
use std::time::Duration;

/// The state of the generator. Equal seeds give equal traffic.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// Starts from `seed`; every value is a good one.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A whole number in `0..bound`; 0 where the bound is 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True with a chance of `per_mille` in 1,000.
    pub(super) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// An instant offset in `0..bound`; 0 where the bound is not positive.
    pub(super) fn below_us(&mut self, bound: i64) -> i64 {
        u64::try_from(bound).ok().and_then(|bound| i64::try_from(self.below(bound)).ok()).unwrap_or(0)
    }

    /// One of `items`, each as likely as its weight says; `None` where there is none.
    pub(super) fn weighted<'a, T>(&mut self, items: &'a [T], weight: impl Fn(&T) -> u64) -> Option<&'a T> {
        let total = items.iter().map(&weight).sum();
        let mut rest = self.below(total);
        items.iter().find(|item| {
            let own = weight(item);
            let hit = rest < own;
            rest = rest.saturating_sub(own);
            hit
        })
    }

    /// One of `items`, all equally likely; the default where there is none.
    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = usize::try_from(self.below(u64::try_from(items.len()).unwrap_or(0))).unwrap_or(0);
        items.get(index).copied().unwrap_or_default()
    }

    /// A positive number around `median`, log-normal with the shape `sigma` in hundredths, never above 20 medians.
    pub(super) fn around(&mut self, median: u64, sigma_percent: u32) -> u64 {
        let factor = (self.normal() * f64::from(sigma_percent) / 100.0).exp().min(20.0);
        let median = f64::from(u32::try_from(median).unwrap_or(u32::MAX));
        // A duration is the one checked way from a float to a whole number.
        Duration::try_from_secs_f64(median * factor).map_or(1, |value| value.as_secs().max(1))
    }

    /// A UUID of version 4 in lower case.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let mut text = String::with_capacity(36);
        let _ = write!(
            text,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 50),
            low & 0xffff_ffff_ffff
        );
        text
    }

    /// `length` characters of the alphabet that providers use in answer ids.
    pub(super) fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        (0..length).map(|_| char::from(self.pick(ALPHABET))).collect()
    }

    /// A span id.
    pub(super) fn span_id(&mut self) -> [u8; 8] {
        self.next().to_be_bytes()
    }

    /// A trace id.
    pub(super) fn trace_id(&mut self) -> [u8; 16] {
        ((u128::from(self.next()) << 64) | u128::from(self.next())).to_be_bytes()
    }

    /// Standard normal, as the sum of twelve uniform numbers: exact on every machine.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / 4_294_967_296.0).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_itself_and_keeps_to_its_bounds() {
        let (mut one, mut two) = (Rng::new(7), Rng::new(7));
        assert_eq!(one.uuid(), two.uuid());
        assert_eq!(one.uuid().len(), 36);
        assert_eq!((one.below(0), one.below_us(-5), one.pick::<u8>(&[])), (0, 0, 0));
        assert!((0..1000).all(|_| one.below(10) < 10));
        assert_eq!(one.weighted(&[1_u64, 0], |w| *w), Some(&1));
        assert_eq!(one.weighted(&[] as &[u64], |w| *w), None);
    }

    #[test]
    fn half_of_the_drawn_values_lie_below_the_median() {
        let mut rng = Rng::new(1);
        let below = (0..4000).filter(|_| rng.around(1000, 60) < 1000).count();
        assert!((1800..2200).contains(&below), "{below}");
    }
}
