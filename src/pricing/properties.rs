//! What must hold of any price, whatever the rows and counts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::{Bucket, Contract, PriceBook, PriceQuery, Rate, RateScope, Terms, Unused, diff, disjoint, share_out};
use crate::model::{CostStatus, Pattern, Timestamp, Usage};

const TOKENS: [Bucket; 7] = [
    Bucket::Input,
    Bucket::CacheRead,
    Bucket::CacheWrite5m,
    Bucket::CacheWrite1h,
    Bucket::Output,
    Bucket::AudioInput,
    Bucket::AudioOutput,
];

fn rates() -> impl Strategy<Value = Vec<Rate>> {
    let rate = (0..TOKENS.len(), 0_i64..100_000_000, 0_i64..4, prop::option::of(0_u64..3000), 0_i64..3);
    prop::collection::vec(rate, 0..20).prop_map(|rates| {
        let rate =
            |(number, (bucket, amount, start, over, recorded)): (usize, (usize, i64, i64, Option<u64>, i64))| Rate {
                row_id: number.to_string(),
                platform: "openai".into(),
                model: "m".into(),
                tier: "standard".into(),
                bucket: TOKENS[bucket],
                context_over: over,
                per: Decimal::from(1_000_000),
                amount: Decimal::new(amount, 6),
                currency: "USD".into(),
                valid_from: Some(Timestamp(start)),
                // No two rows are equally good.
                recorded_at: Timestamp(recorded * 100 + i64::try_from(number).unwrap()),
                ..Rate::default()
            };
        rates.into_iter().enumerate().map(rate).collect()
    })
}

fn contracts() -> impl Strategy<Value = Vec<Contract>> {
    let terms = prop::option::of((0..TOKENS.len(), 0_i64..1_000_000));
    prop::collection::vec((terms, 1_i64..100_000, 0_i64..4), 0..4).prop_map(|all| {
        let contract = |(number, (terms, factor, start)): (usize, (Option<_>, i64, i64))| Contract {
            row_id: format!("c{number}"),
            // One contract, amended: nothing clashes.
            contract_id: "c".into(),
            terms: terms.map_or(Terms::Multiplier(Decimal::new(factor, 4)), |(bucket, amount): (usize, i64)| {
                Terms::Rate {
                    bucket: TOKENS[bucket],
                    amount: Decimal::new(amount, 4),
                    per: Decimal::from(1000),
                    currency: "USD".into(),
                }
            }),
            platform: "openai".into(),
            account: Some(Pattern::new("a*")),
            model: None,
            scope: RateScope::Any,
            tier: None,
            mode: None,
            valid_from: Some(Timestamp(start)),
            valid_to: None,
            recorded_at: Timestamp(i64::try_from(number).unwrap()),
            source: String::new(),
            source_ref: String::new(),
            note: String::new(),
        };
        all.into_iter().enumerate().map(contract).collect()
    })
}

fn usages() -> impl Strategy<Value = Usage> {
    (0_u64..3000, 0_u64..3000, 0_u64..3000, 0_u64..3000, 0_u64..3000, 0_u64..300, 0_u64..300).prop_map(
        |(fresh, read, write, hour, text, heard, spoken)| Usage {
            input: Some(fresh + read + write + hour + heard),
            cache_read: Some(read),
            cache_write: Some(write + hour),
            cache_write_1h: Some(hour),
            output: Some(text + spoken),
            audio_input: Some(heard),
            audio_output: Some(spoken),
            ..Usage::default()
        },
    )
}

fn query<'a>(usage: &'a Usage, at: i64, account: Option<&'a str>) -> PriceQuery<'a> {
    PriceQuery { platform: Some("openai"), model: Some("m"), account, ..PriceQuery::new(Timestamp(at), usage) }
}

proptest! {
    #[test]
    fn a_price_is_the_sum_of_its_lines_and_never_negative(
        rates in rates(), contracts in contracts(), usage in usages(), at in -1_i64..5, known in any::<bool>(),
    ) {
        let book = PriceBook::new(rates, contracts).unwrap();
        let q = query(&usage, at, known.then_some("a1"));
        let priced = book.price(&q);
        // Every token is in exactly one line.
        let counted: u64 = priced.lines.iter().map(|line| line.quantity).sum();
        prop_assert_eq!(counted, usage.input.unwrap() + usage.output.unwrap());
        let mut buckets: Vec<Bucket> = priced.lines.iter().map(|line| line.bucket).collect();
        buckets.dedup();
        prop_assert_eq!(buckets.len(), priced.lines.len());
        prop_assert_eq!(disjoint(&usage).unwrap().values().sum::<u64>(), counted);

        let costs: Vec<Decimal> = priced.lines.iter().filter_map(|line| line.cost).map(|cost| cost.0).collect();
        prop_assert!(costs.iter().all(|cost| *cost >= Decimal::ZERO));
        match priced.status {
            CostStatus::Unpriced => prop_assert_eq!((priced.cost, costs.len()), (None, 0)),
            _ => prop_assert_eq!(priced.cost.unwrap().0, costs.iter().sum::<Decimal>()),
        }
        if let Some(list) = priced.list_cost {
            let lists = priced.lines.iter().filter_map(|line| line.list_cost).map(|cost| cost.0);
            prop_assert_eq!(list.0, lists.sum::<Decimal>());
        }
        if !known {
            prop_assert_eq!(priced.cost, priced.list_cost);
        }
        // Pricing again, in a book of the same rows in another order, changes nothing.
        let again = PriceBook::new(book.rates().cloned().collect(), book.contracts().cloned().collect()).unwrap();
        prop_assert_eq!(again.price(&q), priced.clone());
        prop_assert_eq!(again.version(), book.version());
        prop_assert!(diff(&book, &again).is_empty());
        // The explanation is of the same price, line by line.
        let explained = book.explain(&q);
        prop_assert_eq!(&explained.priced, &priced);
        for (line, told) in priced.lines.iter().zip(&explained.lines) {
            prop_assert_eq!((line.bucket, line.cost), (told.bucket, told.cost));
            if let Some(cost) = line.cost {
                let unit = told.multiplier.map_or(told.unit_price, |by| told.list_unit_price.map(|unit| unit * by));
                prop_assert_eq!(unit.unwrap() * Decimal::from(line.quantity), cost.0);
            } else {
                prop_assert!(told.unpriced.is_some());
            }
        }
    }

    #[test]
    fn an_hour_is_shared_out_in_full(
        cost in 0_i64..1_000_000_000,
        capacity in 0_u64..10_000,
        weighted in prop::collection::btree_map("[a-c]", 0_u64..5000, 0..4),
        policy in 0..3,
    ) {
        let weighted: BTreeMap<String, Decimal> = weighted.into_iter().map(|(key, n)| (key, n.into())).collect();
        let policy = [Unused::Keep, Unused::Spread, Unused::Owner("owner".into())][usize::try_from(policy).unwrap()].clone();
        let cost = Decimal::new(cost, 12);
        let parts = share_out(cost, 12, capacity.into(), &weighted, &policy).unwrap();
        prop_assert_eq!(parts.values().sum::<Decimal>(), cost);
        prop_assert!(parts.values().all(|part| *part >= Decimal::ZERO));
        prop_assert!(parts.contains_key(super::UNUSED));
    }
}
