//! Bills made from the calls, with seeded deletions, duplicates and alterations of 1 % of them: every key that one of
//! them touches is named, and no other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use rust_decimal::Decimal;

use super::super::Category;
use super::tests::{DAY_US, assert_sums, d, day, line, row};
use super::*;
use crate::model::{Interval, platform};
use crate::pricing::Bucket;

const CALLS: usize = 4000;
const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "o3", "claude-sonnet-4"];
const BUCKETS: [(Bucket, &str); 3] =
    [(Bucket::Input, "0.0000025"), (Bucket::Output, "0.00001"), (Bucket::CacheRead, "0.00000125")];

/// One call's tokens, by bucket.
#[derive(Clone, Copy, Debug)]
struct Made {
    day: i64,
    account: usize,
    model: usize,
    counts: [i64; 3],
}

/// A small generator: the same seed, the same calls.
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn count(&mut self, limit: usize) -> i64 {
        i64::try_from(self.below(limit)).unwrap() + 1
    }
}

fn calls(seed: &mut Seed) -> Vec<Made> {
    let one = |seed: &mut Seed| Made {
        day: seed.count(31),
        account: seed.below(3),
        model: seed.below(MODELS.len()),
        counts: [seed.count(5000), seed.count(900), seed.count(3000)],
    };
    (0..CALLS).map(|_| one(seed)).collect()
}

type Slot = (i64, usize, usize, usize);

/// Sums per key, as bill or as metered rows.
fn sums(calls: &[Made]) -> BTreeMap<Slot, i64> {
    let mut sums = BTreeMap::new();
    for call in calls {
        for (bucket, count) in call.counts.iter().enumerate() {
            *sums.entry((call.day, call.account, call.model, bucket)).or_insert(0) += count;
        }
    }
    sums
}

fn metered(calls: &[Made]) -> Vec<Metered> {
    // Every call is a row of its own here: grouping is what is tested.
    let rows = calls.iter().flat_map(|call| {
        BUCKETS.iter().zip(call.counts).map(|((bucket, price), count)| Metered {
            account: Some(format!("acc{}", call.account)),
            ..row(call.day, MODELS[call.model], *bucket, count, price)
        })
    });
    rows.collect()
}

fn billed(calls: &[Made]) -> Vec<BillLine> {
    let lines = sums(calls).into_iter().map(|((day, account, model, bucket), count)| BillLine {
        account: Some(format!("acc{account}")),
        ..line(day, MODELS[model], BUCKETS[bucket].0, count, BUCKETS[bucket].1)
    });
    lines.collect()
}

/// 1 % deleted, doubled and altered, each.
fn damaged(calls: &[Made], seed: &mut Seed) -> Vec<Made> {
    let mut all = calls.to_vec();
    for _ in 0..CALLS / 100 {
        let at = seed.below(all.len());
        all.remove(at);
        let again = all[seed.below(all.len())];
        all.push(again);
        let at = seed.below(all.len());
        all[at].counts[seed.below(3)] += seed.count(40);
    }
    all
}

fn expected(a: &[Made], b: &[Made]) -> BTreeSet<Slot> {
    let (a, b) = (sums(a), sums(b));
    a.keys().chain(b.keys()).filter(|slot| a.get(slot) != b.get(slot)).copied().collect()
}

fn named(answer: &Reconciliation) -> BTreeSet<Slot> {
    let slot = |finding: &Finding| {
        let Period::Day(date) = finding.key.period else { panic!("a month") };
        let at = |n: &i64| crate::model::Timestamp(day(*n).0 + DAY_US / 2).day() == date;
        let account = finding.key.account.as_deref().unwrap();
        let bucket = BUCKETS.iter().position(|(bucket, _)| Some(*bucket) == finding.key.bucket).unwrap();
        let model = MODELS.iter().position(|model| Some(*model) == finding.key.model.as_deref()).unwrap();
        ((1..=31).find(at).unwrap(), account.strip_prefix("acc").unwrap().parse().unwrap(), model, bucket)
    };
    answer.differences().map(slot).collect()
}

/// Rows that know little: each field may be missing or another.
fn some_of<T: Copy>(seed: &mut Seed, all: &[T]) -> Option<T> {
    all.get(seed.below(all.len() + 1)).copied()
}

fn any_row(seed: &mut Seed) -> Metered {
    let count = seed.count(50);
    let made = row(seed.count(4), "m", Bucket::Input, count, "0.01");
    Metered {
        account: some_of(seed, &["a", "b"]).map(str::to_owned),
        model: some_of(seed, &["m", "n"]).map(str::to_owned),
        bucket: some_of(
            seed,
            &[Bucket::Input, Bucket::CacheWrite5m, Bucket::CacheWrite1h, Bucket::Image, Bucket::Hour],
        ),
        quantity: made.quantity.filter(|_| seed.below(5) > 0),
        cost: made.cost.filter(|_| seed.below(5) > 0),
        ..made
    }
}

fn any_line(seed: &mut Seed) -> BillLine {
    let like = any_row(seed);
    let days = if seed.below(9) == 0 { 20 } else { 1 };
    let made = line(seed.count(4), "m", Bucket::Input, seed.count(50), "0.01");
    BillLine {
        account: like.account,
        model: like.model,
        bucket: like.bucket,
        quantity: like.quantity,
        category: some_of(seed, &Category::ALL).unwrap_or_default(),
        period: Interval { to: made.period.from.plus(days * DAY_US), ..made.period },
        ..made
    }
}

fn seeds() -> impl Strategy<Value = u64> {
    any::<u64>().prop_flat_map(|seed| Just(seed | 1))
}

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn damage_of_the_bill_is_named_and_nothing_else(seed in seeds()) {
        let mut seed = Seed(seed);
        let calls = calls(&mut seed);
        let options = Options { tolerance: Tolerance::EXACT, ..Options::default() };
        let clean = reconcile(&metered(&calls), &billed(&calls), &options);
        prop_assert_eq!(named(&clean), BTreeSet::new());
        assert!(clean.notes.is_empty());
        let other = damaged(&calls, &mut seed);
        // The bill is damaged, then the records.
        for (records, bill) in [(&calls, &other), (&other, &calls)] {
            let (rows, lines) = (metered(records), billed(bill));
            let answer = reconcile(&rows, &lines, &options);
            prop_assert_eq!(named(&answer), expected(records, bill));
            assert_sums(&answer, &rows, &lines);
            let quantities = answer.totals.quantity.values().fold(Decimal::ZERO, |sum, (metered, _)| sum + *metered);
            prop_assert_eq!(quantities, rows.iter().filter_map(|row| row.quantity).sum::<Decimal>());
        }
    }

    #[test]
    fn every_amount_ends_in_one_outcome_whatever_is_missing(seed in seeds()) {
        let mut seed = Seed(seed);
        for _ in 0..50 {
            let mut rows: Vec<_> = (0..seed.below(12)).map(|_| any_row(&mut seed)).collect();
            let mut lines: Vec<_> = (0..seed.below(12)).map(|_| any_line(&mut seed)).collect();
            let answer = reconcile(&rows, &lines, &Options::default());
            assert_sums(&answer, &rows, &lines);
            let of = |side: fn(&Finding) -> Option<&Amounts>| {
                answer.findings.iter().filter_map(side).map(|amounts| amounts.rows).sum::<u64>()
            };
            prop_assert_eq!(of(|finding| finding.metered.as_ref()), u64::try_from(rows.len()).unwrap());
            prop_assert_eq!(of(|finding| finding.billed.as_ref()), u64::try_from(lines.len()).unwrap());
            rows.reverse();
            lines.reverse();
            prop_assert_eq!(reconcile(&rows, &lines, &Options::default()).totals, answer.totals);
        }
    }

    #[test]
    fn lines_of_the_bill_that_are_lost_doubled_or_altered_are_named(seed in seeds()) {
        let mut seed = Seed(seed);
        let calls = calls(&mut seed);
        let (rows, mut lines) = (metered(&calls), billed(&calls));
        let mut touched = BTreeSet::new();
        let options = Options { tolerance: Tolerance::default(), ..Options::default() };
        for _ in 0..lines.len() / 100 {
            let at = seed.below(lines.len());
            // Each line is touched once: two kinds of damage may cancel out.
            let id = |line: &BillLine| (line.period.from, line.account.clone(), line.model.clone(), line.bucket);
            if !touched.insert(id(&lines[at])) {
                continue;
            }
            match seed.below(3) {
                0 => drop(lines.remove(at)),
                1 => lines.push(lines[at].clone()),
                _ => lines[at].cost = lines[at].cost * d("1.07") + d("0.02"),
            }
        }
        let answer = reconcile(&rows, &lines, &options);
        prop_assert_eq!(answer.differences().count(), touched.len());
        assert_sums(&answer, &rows, &lines);
        assert!(answer.findings.iter().all(|finding| finding.key.platform == platform::OPENAI));
    }
}
