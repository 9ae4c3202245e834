use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::{Bucket, Layer, PriceBook, PriceError, PriceQuery, Priced, Rate, RateScope, list};
use crate::catalog::{Catalog, ModelQuery};
use crate::model::platform::{self, ANTHROPIC, AZURE_OPENAI, BEDROCK, OPENAI, VERTEX};
use crate::model::{CostStatus, Money, Timestamp, Usage, UsageStatus};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("an instant")
}

fn dec(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("a decimal")
}

fn rate(platform: &str, model: &str, bucket: Bucket, amount: &str) -> Rate {
    Rate {
        row_id: format!("{platform}/{model}/{bucket}"),
        layer: Layer::Operator,
        platform: platform.to_owned(),
        model: model.to_owned(),
        tier: "standard".to_owned(),
        bucket,
        per: Decimal::from(1_000_000),
        amount: dec(amount),
        currency: "USD".to_owned(),
        valid_from: Some(at("2026-04-01T00:00:00Z")),
        ..Rate::default()
    }
}

fn query<'a>(platform: &'a str, model: &'a str, usage: &'a Usage) -> PriceQuery<'a> {
    PriceQuery {
        platform: Some(platform),
        model: Some(model),
        operation: Some("chat"),
        ..PriceQuery::new(at("2026-11-25T12:00:00Z"), usage)
    }
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input: Some(input), output: Some(output), ..Usage::default() }
}

fn seed() -> Vec<Rate> {
    vec![
        rate(AZURE_OPENAI, "gpt-4o", Bucket::Input, "2.50"),
        rate(AZURE_OPENAI, "gpt-4o", Bucket::Output, "10.00"),
        rate(BEDROCK, "gpt-4o", Bucket::Input, "2.30"),
        rate(BEDROCK, "gpt-4o", Bucket::Output, "9.20"),
        rate(OPENAI, "gpt-4o", Bucket::Input, "2.50"),
        rate(OPENAI, "gpt-4o", Bucket::Output, "10.00"),
        rate(AZURE_OPENAI, "gpt-4.1", Bucket::Input, "2.00"),
        rate(BEDROCK, "gpt-4.1", Bucket::Input, "1.85"),
        rate(BEDROCK, "claude-sonnet-4", Bucket::Input, "3.00"),
        rate(ANTHROPIC, "claude-sonnet-4", Bucket::Input, "3.00"),
        rate(VERTEX, "claude-sonnet-4", Bucket::Input, "3.00"),
    ]
}

fn book(rows: Vec<Rate>) -> PriceBook {
    PriceBook::from_rows(rows).expect("a valid book")
}

fn cost(priced: &Priced) -> Option<String> {
    assert_eq!(priced.cost, priced.list_cost);
    priced.cost.map(|cost| cost.0.normalize().to_string())
}

#[test]
fn the_seed_table_is_exact() {
    let book = book(seed());
    let usage = tokens(1_234_567, 89_012);
    for (platform, model, expected, status) in [
        (AZURE_OPENAI, "gpt-4o", "3.9765375", CostStatus::Priced),
        (OPENAI, "gpt-4o", "3.9765375", CostStatus::Priced),
        (BEDROCK, "gpt-4o", "3.6584145", CostStatus::Priced),
        (AZURE_OPENAI, "gpt-4.1", "2.469134", CostStatus::Partial),
        (BEDROCK, "gpt-4.1", "2.28394895", CostStatus::Partial),
        (VERTEX, "claude-sonnet-4", "3.703701", CostStatus::Partial),
    ] {
        let priced = book.price(&query(platform, model, &usage));
        assert_eq!((cost(&priced).as_deref(), priced.status), (Some(expected), status), "{platform} {model}");
        assert_eq!(priced.currency.as_deref(), Some("USD"));
    }
    let priced = book.price(&query(AZURE_OPENAI, "claude-sonnet-4", &usage));
    assert_eq!((priced.status, priced.cost, priced.currency), (CostStatus::Unpriced, None, None));
}

#[test]
fn nothing_is_borrowed_from_another_tier_mode_scope_or_date() {
    let mut rows = seed();
    rows.push(Rate { row_id: "g".into(), scope: RateScope::Global, ..rate(AZURE_OPENAI, "gpt-5", Bucket::Input, "1") });
    let book = book(rows);
    let usage = Usage { input: Some(1000), output: Some(0), ..Usage::default() };
    let base = query(AZURE_OPENAI, "gpt-4o", &usage);
    assert_eq!(book.price(&base).status, CostStatus::Priced);
    let unpriced = [
        PriceQuery { tier: Some("flex"), ..base },
        PriceQuery { tier: Some("batch"), ..base },
        PriceQuery { tier: Some("auto"), ..base },
        PriceQuery { at: at("2026-03-31T23:59:59Z"), ..base },
        PriceQuery { model: Some("gpt-5"), ..base },
        PriceQuery { model: Some("gpt-5"), scope: Some("geo"), geo: Some("eu"), ..base },
        PriceQuery { model: None, ..base },
        PriceQuery { platform: None, ..base },
    ];
    for q in unpriced {
        let priced = book.price(&q);
        assert_eq!((priced.status, priced.cost), (CostStatus::Unpriced, None), "{q:?}");
    }
    let global = PriceQuery { model: Some("gpt-5"), scope: Some("global"), ..base };
    assert_eq!(book.price(&global).status, CostStatus::Priced);
    assert_eq!(book.price(&PriceQuery { at: at("2026-04-01T00:00:00Z"), ..base }).status, CostStatus::Priced);
}

#[test]
fn a_threshold_is_strict_counts_cached_tokens_and_reprices_everything() {
    let over = |bucket, amount| Rate {
        row_id: format!("over-{bucket}"),
        context_over: Some(272_000),
        ..rate(OPENAI, "gpt-5.4", bucket, amount)
    };
    let book = book(vec![
        rate(OPENAI, "gpt-5.4", Bucket::Input, "2.5"),
        rate(OPENAI, "gpt-5.4", Bucket::CacheRead, "0.25"),
        rate(OPENAI, "gpt-5.4", Bucket::Output, "15"),
        over(Bucket::Input, "5"),
        over(Bucket::CacheRead, "0.5"),
        over(Bucket::Output, "22.5"),
    ]);
    let price = |input, read, output| {
        let usage = Usage { cache_read: Some(read), ..tokens(input, output) };
        cost(&book.price(&query(OPENAI, "gpt-5.4", &usage)))
    };
    assert_eq!(price(300_000, 0, 50_000).as_deref(), Some("2.625"));
    assert_eq!(price(272_000, 0, 1000).as_deref(), Some("0.695"));
    assert_eq!(price(272_001, 272_000, 1000).as_deref(), Some("0.158505"));
}

#[test]
fn the_buckets_are_disjoint() {
    let rows = [
        (Bucket::Input, "3"),
        (Bucket::CacheRead, "0.3"),
        (Bucket::CacheWrite5m, "3.75"),
        (Bucket::CacheWrite1h, "6"),
        (Bucket::Output, "15"),
        (Bucket::AudioInput, "40"),
    ];
    let book = book(rows.map(|(bucket, amount)| rate(ANTHROPIC, "m", bucket, amount)).to_vec());
    let usage = Usage {
        cache_read: Some(400),
        cache_write: Some(300),
        cache_write_1h: Some(100),
        audio_input: Some(50),
        reasoning: Some(90),
        image_input: Some(7),
        ..tokens(1000, 100)
    };
    let priced = book.price(&query(ANTHROPIC, "m", &usage));
    let counted: Vec<(Bucket, u64)> = priced.lines.iter().map(|line| (line.bucket, line.quantity)).collect();
    let expected = [
        (Bucket::Input, 250),
        (Bucket::CacheRead, 400),
        (Bucket::CacheWrite5m, 200),
        (Bucket::CacheWrite1h, 100),
        (Bucket::Output, 100),
        (Bucket::AudioInput, 50),
    ];
    assert_eq!(counted, expected);
    assert_eq!(cost(&priced).as_deref(), Some("0.00572"));
    assert_eq!(priced.status, CostStatus::Priced);
    // Subsets larger than their whole are no basis for a price.
    let broken = Usage { audio_input: Some(900), ..usage };
    assert_eq!(book.price(&query(ANTHROPIC, "m", &broken)), Priced::default());
}

#[test]
fn no_usage_is_free_only_where_nothing_was_served() {
    let book = book(seed());
    let (none, zero, half) = (Usage::default(), tokens(0, 0), Usage { input: Some(9), ..Usage::default() });
    let status = |usage, usage_status, failed| {
        let q = PriceQuery { usage_status, failed, ..query(OPENAI, "gpt-4o", usage) };
        let priced = book.price(&q);
        (priced.status, cost(&priced))
    };
    let free = (CostStatus::Priced, Some("0".to_owned()));
    assert_eq!(status(&none, UsageStatus::Missing, true), free);
    assert_eq!(status(&zero, UsageStatus::Measured, true), free);
    assert_eq!(status(&zero, UsageStatus::Measured, false), free);
    assert_eq!(status(&none, UsageStatus::Missing, false), (CostStatus::Unpriced, None));
    // Output that nobody reports is not 0.
    assert_eq!(status(&half, UsageStatus::Measured, false), (CostStatus::Partial, Some("0.0000225".to_owned())));
    assert_eq!(status(&half, UsageStatus::Measured, true), (CostStatus::Priced, Some("0.0000225".to_owned())));
    let q = PriceQuery { tier: Some("provisioned"), ..query(OPENAI, "gpt-4o", &half) };
    assert_eq!((book.price(&q).status, book.price(&q).cost), (CostStatus::Allocated, None));
}

#[test]
fn an_edition_with_rows_of_its_own_has_only_those() {
    let mut rows = seed();
    let own = Rate {
        row_id: "own".into(),
        snapshot: Some("2024-05-13".into()),
        ..rate(OPENAI, "gpt-4o", Bucket::Input, "5")
    };
    rows.push(own);
    let book = book(rows);
    let usage = tokens(1_000_000, 1);
    let base = query(OPENAI, "gpt-4o", &usage);
    let old = book.price(&PriceQuery { snapshot: Some("2024-05-13"), ..base });
    assert_eq!((cost(&old).as_deref(), old.status), (Some("5"), CostStatus::Partial));
    let new = book.price(&PriceQuery { snapshot: Some("2024-08-06"), ..base });
    assert_eq!(cost(&new).as_deref(), Some("2.50001"));
}

#[test]
fn refuses_rows_that_cannot_be_true() {
    let good = rate(OPENAI, "m", Bucket::Input, "1");
    let bad = [
        Rate { amount: dec("-1"), ..good.clone() },
        Rate { per: Decimal::ZERO, ..good.clone() },
        Rate { per: Decimal::from(3), ..good.clone() },
        Rate { amount: dec("0.00000000001"), ..good.clone() },
        Rate { currency: "usd".into(), ..good.clone() },
        Rate { valid_to: good.valid_from, ..good.clone() },
        Rate { model: String::new(), ..good.clone() },
    ];
    for row in bad {
        assert!(PriceBook::from_rows(vec![row.clone()]).is_err(), "{row:?}");
    }
    let twin = Rate { row_id: "twin".into(), amount: dec("2"), ..good.clone() };
    let clash = PriceBook::from_rows(vec![good.clone(), twin]);
    assert!(matches!(clash, Err(PriceError::Duplicate(..))));
    let again = PriceBook::from_rows(vec![good.clone(), good]);
    assert!(matches!(again, Err(PriceError::Duplicate(..))));
}

#[test]
fn other_currencies_are_never_added() {
    let euro = Rate { currency: "EUR".into(), ..rate(OPENAI, "m", Bucket::Output, "1") };
    let book = book(vec![rate(OPENAI, "m", Bucket::Input, "1"), euro]);
    let usage = tokens(1_000_000, 1_000_000);
    let priced = book.price(&query(OPENAI, "m", &usage));
    assert_eq!((cost(&priced).as_deref(), priced.status), (Some("1"), CostStatus::Partial));
}

#[test]
fn costs_add_up_whatever_the_counts() {
    let book = PriceBook::bundled().expect("the bundled list loads");
    let models = [("gpt-4o", OPENAI), ("claude-haiku-5-5", ANTHROPIC), ("gpt-5.4", OPENAI), ("gpt-4.1", AZURE_OPENAI)];
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..4000_usize {
        let (read, write, fresh) = (next(300_000), next(2000), next(50_000));
        let usage = Usage {
            cache_read: Some(read),
            cache_write: Some(write),
            cache_write_1h: Some(next(write + 1)),
            ..tokens(read + write + fresh, next(9000))
        };
        let (model, platform) = models[round % models.len()];
        let q = PriceQuery { scope: Some("global"), ..query(platform, model, &usage) };
        let priced = book.price(&q);
        let counted: u64 = priced.lines.iter().map(|line| line.quantity).sum();
        assert_eq!(counted, usage.input.unwrap_or(0) + usage.output.unwrap_or(0));
        let sum: Decimal = priced.lines.iter().filter_map(|line| line.cost).map(|cost| cost.0).sum();
        assert_eq!(priced.cost.map(|cost| cost.0), (!priced.rate_ids.is_empty()).then_some(sum));
        assert!(priced.cost.is_none_or(|cost| cost >= Money::default() && cost.stored().is_some()));
        assert_eq!(priced.lines.iter().all(|line| line.rate_id.is_some()), priced.status == CostStatus::Priced);
    }
}

#[test]
fn the_bundled_list_uses_the_catalogues_names() {
    let catalog = Catalog::bundled().expect("catalogue");
    let rows = list::bundled().expect("list");
    assert!(rows.len() > 2000, "{}", rows.len());
    let names: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row.platform.as_str(), row.model.as_str())).collect();
    for (platform, model) in names {
        let q = ModelQuery {
            platform: Some(platform),
            request_model: Some(model),
            model_version: Some("").filter(|_| platform.starts_with("azure")),
            ..ModelQuery::default()
        };
        assert_eq!(catalog.resolve(&q).model.as_deref(), Some(model), "{platform}");
    }
}

#[test]
fn the_bundled_list_prices_what_people_call() {
    let book = PriceBook::bundled().expect("list");
    let usage = tokens(1_000_000, 0);
    let price =
        |platform: &'static str, model: &'static str, scope: Option<&'static str>, geo: Option<&'static str>| {
            cost(&book.price(&PriceQuery { scope, geo, region: Some("us-east-1"), ..query(platform, model, &usage) }))
        };
    let (region, global, zone) = (Some("in_region"), Some("global"), Some("geo"));
    // Long contexts cost more where a threshold is known, so a million tokens cost more than the base rate.
    for (got, expected) in [
        (price(OPENAI, "gpt-4o", None, None), "2.5"),
        (price(OPENAI, "text-embedding-3-small", None, None), "0.02"),
        (price(AZURE_OPENAI, "gpt-4o", global, None), "2.5"),
        (price(AZURE_OPENAI, "gpt-4o", zone, Some("eu")), "2.75"),
        (price(ANTHROPIC, "claude-haiku-4-5", None, None), "1"),
        (price(BEDROCK, "claude-sonnet-4-6", global, None), "3"),
        (price(BEDROCK, "claude-sonnet-4-6", zone, Some("us")), "3.3"),
        (price(BEDROCK, "claude-3-haiku", region, None), "0.25"),
        (price(BEDROCK, "nova-lite", region, None), "0.06"),
        (price(BEDROCK, "titan-embed-text-v2", region, None), "0.02"),
        (price(BEDROCK, "titan-embed-text", region, None), "0.1"),
        (price(BEDROCK, "llama3-1-70b-instruct", region, None), "0.72"),
        (price(BEDROCK, "command", region, None), "1"),
        (price(BEDROCK, "mistral-7b-instruct", region, None), "0.15"),
        (price(VERTEX, "claude-haiku-4-5", global, None), "1"),
        (price(VERTEX, "claude-haiku-4-5", None, None), "1.1"),
        (price(VERTEX, "gemini-2.5-flash", None, None), "0.3"),
        (price(platform::GEMINI, "gemini-2.5-pro", None, None), "2.5"),
    ] {
        assert_eq!(got.as_deref(), Some(expected));
    }
    // The two catalogues differ on what an id without a profile costs: no price is better than a guess.
    assert_eq!(price(BEDROCK, "claude-sonnet-4-5", region, None), None);
    assert_eq!(price(AZURE_OPENAI, "gpt-4o", None, None), None);
}

#[test]
fn a_row_recorded_later_is_not_known_before() {
    let rows = vec![
        Rate { row_id: "old".into(), recorded_at: at("2026-01-01T00:00:00Z"), ..rate(OPENAI, "m", Bucket::Input, "4") },
        Rate { row_id: "new".into(), recorded_at: at("2026-10-05T00:00:00Z"), ..rate(OPENAI, "m", Bucket::Input, "3") },
    ];
    let book = book(rows);
    let usage = tokens(1_000_000, 0);
    let q = query(OPENAI, "m", &usage);
    assert_eq!(cost(&book.price(&q)).as_deref(), Some("3"));
    let before = book.as_known_at(at("2026-10-01T00:00:00Z")).expect("a valid book");
    assert_eq!(cost(&before.price(&q)).as_deref(), Some("4"));
}

#[test]
fn a_zero_with_digits_makes_no_sum_inexact() {
    for (a, b, sum) in
        [("0.000", "1.5", "1.5"), ("1.5", "0.000000", "1.5"), ("0.00", "0", "0"), ("1.25", "0.5", "1.75")]
    {
        let [a, b, sum] = [a, b, sum].map(|text| text.parse::<Decimal>().unwrap());
        assert_eq!(super::price::exact_sum(a, b), Some(sum), "{a} + {b}");
    }
}
