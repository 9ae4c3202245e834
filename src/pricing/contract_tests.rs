//! Contracts, commitments, explanations, differences and what-if.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{
    Assumed, Bucket, Commitment, Contract, Elsewhere, Layer, Mode, NotComparable, PriceBook, PriceQuery, Rate,
    RateScope, Terms, UNUSED, diff,
};
use crate::model::platform::{ANTHROPIC, AZURE_OPENAI, BEDROCK, OPENAI};
use crate::model::{Call, CostStatus, HOUR_US, Money, Pattern, Timestamp, Usage};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn rate(platform: &str, model: &str, bucket: Bucket, amount: &str) -> Rate {
    let rate = Rate {
        platform: platform.into(),
        model: model.into(),
        tier: "standard".into(),
        bucket,
        per: dec("1000000"),
        amount: dec(amount),
        currency: "USD".into(),
        valid_from: Some(at("2026-01-01T00:00:00Z")),
        ..Rate::default()
    };
    Rate { row_id: rate.derived_id("list"), ..rate }
}

fn contract(id: &str, account: Option<&str>, terms: Terms) -> Contract {
    let contract = Contract {
        row_id: String::new(),
        contract_id: id.into(),
        terms,
        platform: AZURE_OPENAI.into(),
        account: account.map(Pattern::new),
        model: None,
        scope: RateScope::Any,
        tier: None,
        mode: None,
        valid_from: None,
        valid_to: None,
        recorded_at: Timestamp::default(),
        source: String::new(),
        source_ref: String::new(),
        note: String::new(),
    };
    Contract { row_id: contract.derived_id(), ..contract }
}

fn factor(text: &str) -> Terms {
    Terms::Multiplier(dec(text))
}

fn price_of(bucket: Bucket, amount: &str) -> Terms {
    Terms::Rate { bucket, amount: dec(amount), per: dec("1000000"), currency: "USD".into() }
}

fn rows() -> Vec<Rate> {
    vec![
        rate(AZURE_OPENAI, "gpt-4o", Bucket::Input, "2.50"),
        rate(AZURE_OPENAI, "gpt-4o", Bucket::Output, "10.00"),
        rate(OPENAI, "gpt-4o", Bucket::Input, "2.50"),
        rate(OPENAI, "gpt-4o", Bucket::Output, "10.00"),
        rate(BEDROCK, "gpt-4o", Bucket::Input, "2.30"),
        rate(BEDROCK, "gpt-4o", Bucket::Output, "9.20"),
    ]
}

fn usage() -> Usage {
    Usage { input: Some(1_234_567), output: Some(89_012), ..Usage::default() }
}

fn query<'a>(usage: &'a Usage, account: Option<&'a str>) -> PriceQuery<'a> {
    PriceQuery {
        platform: Some(AZURE_OPENAI),
        model: Some("gpt-4o"),
        account,
        ..PriceQuery::new(at("2026-11-15T12:00:00Z"), usage)
    }
}

fn text(money: Option<Money>) -> Option<String> {
    money.map(|money| money.0.normalize().to_string())
}

#[test]
fn a_premium_is_a_factor_and_leaves_the_list_price_alone() {
    let contracts =
        vec![contract("p15", Some("EA-115"), factor("1.15")), contract("p40", Some("EA-140"), factor("1.40"))];
    let book = PriceBook::new(rows(), contracts).unwrap();
    let usage = usage();
    for (account, expected) in [(None, "3.9765375"), (Some("EA-115"), "4.573018125"), (Some("EA-140"), "5.5671525")] {
        let priced = book.price(&query(&usage, account));
        assert_eq!(text(priced.list_cost).as_deref(), Some("3.9765375"));
        assert_eq!(text(priced.cost).as_deref(), Some(expected));
    }
    let priced = book.price(&query(&usage, Some("EA-115")));
    assert_eq!(priced.rate_ids.len(), 3, "two list rows and the contract: {:?}", priced.rate_ids);
    assert_eq!(priced.lines[0].contract_price, Some(dec("0.000002875")));
}

#[test]
fn the_most_specific_contract_holds_and_a_price_beats_any_factor() {
    let exact_model = |c: Contract| Contract { model: Some(Pattern::new("gpt-4o")), ..c };
    let contracts = [
        contract("all", None, factor("0.99")),
        contract("one", Some("EA-9"), factor("0.80")),
        exact_model(contract("model", Some("EA-*"), factor("0.70"))),
        contract("input", None, price_of(Bucket::Input, "1.50")),
    ];
    let usage = Usage { input: Some(1_000_000), output: Some(1_000_000), ..Usage::default() };
    let price = |contracts: &[Contract], account| {
        let book = PriceBook::new(rows(), contracts.to_vec()).unwrap();
        let priced = book.price(&query(&usage, account));
        priced.lines.iter().map(|line| text(line.cost).unwrap()).collect::<Vec<_>>()
    };
    // A model beats an account beats nothing; a clash of patterns and nothing is refused elsewhere.
    assert_eq!(price(&contracts[1..], Some("EA-9")), ["1.5", "7"]);
    assert_eq!(price(&contracts[..2], Some("EA-9")), ["2", "8"]);
    assert_eq!(price(&contracts[..1], None), ["2.475", "9.9"]);
    assert_eq!(price(&contracts[1..3], None), ["2.5", "10"], "a pattern never matches an unknown account");
}

#[test]
fn a_contract_can_price_what_no_list_knows() {
    let book = PriceBook::new(rows(), vec![contract("c", None, price_of(Bucket::CacheRead, "1"))]).unwrap();
    let usage = Usage { input: Some(2_000_000), cache_read: Some(1_000_000), output: Some(0), ..Usage::default() };
    let priced = book.price(&query(&usage, None));
    assert_eq!((priced.status, text(priced.cost).as_deref()), (CostStatus::Priced, Some("3.5")));
    // The list cost of all of it is not known: not a part of it, and not 0.
    assert_eq!(priced.list_cost, None);
}

#[test]
fn an_amendment_replaces_and_a_rival_is_refused() {
    let start = |c: Contract, from: &str| {
        let c = Contract { valid_from: Some(at(from)), ..c };
        Contract { row_id: c.derived_id(), ..c }
    };
    let first = contract("c", None, factor("0.9"));
    let amended = start(contract("c", None, factor("0.8")), "2026-07-01T00:00:00Z");
    let book = PriceBook::new(rows(), vec![first.clone(), amended]).unwrap();
    let usage = Usage { input: Some(1_000_000), output: Some(0), ..Usage::default() };
    let cost = |time: &str| text(book.price(&PriceQuery { at: at(time), ..query(&usage, None) }).cost);
    assert_eq!(cost("2026-06-30T23:59:59Z").as_deref(), Some("2.25"));
    assert_eq!(cost("2026-07-01T00:00:00Z").as_deref(), Some("2"));
    let rival = start(contract("d", None, factor("0.8")), "2026-07-01T00:00:00Z");
    assert!(PriceBook::new(rows(), vec![first.clone(), rival.clone()]).is_err());
    let ended = Contract { valid_to: Some(at("2026-07-01T00:00:00Z")), ..first };
    assert!(PriceBook::new(rows(), vec![ended, rival]).is_ok());
    for wrong in ["0", "-1", "10.01"] {
        assert!(PriceBook::new(rows(), vec![contract("c", None, factor(wrong))]).is_err(), "{wrong}");
    }
}

#[test]
fn an_explanation_shows_the_arithmetic_and_what_nearly_fits() {
    let mut all = rows();
    all.push(Rate {
        scope: RateScope::Global,
        row_id: "g".into(),
        ..rate(AZURE_OPENAI, "gpt-4o", Bucket::CacheRead, "1.25")
    });
    let book = PriceBook::new(all, vec![contract("p15", None, factor("1.15"))]).unwrap();
    let usage = Usage { cache_read: Some(234_567), ..usage() };
    let q = query(&usage, None);
    let explained = book.explain(&q);
    assert_eq!(explained.priced, book.price(&q));
    assert_eq!(explained.key.scope, "*");
    let [input, read, output] = explained.lines.as_slice() else { panic!("{:?}", explained.lines) };
    for line in [input, output] {
        let (quantity, unit) = (Decimal::from(line.quantity.unwrap()), line.list_unit_price.unwrap());
        assert_eq!(quantity * unit * line.multiplier.unwrap(), line.cost.unwrap().0);
        assert_eq!(line.layer, Some(Layer::ContractMultiplier));
        assert!(line.list.as_ref().is_some_and(|row| row.valid_from.is_some()));
    }
    let why = read.unpriced.as_ref().unwrap();
    assert_eq!((why.nearest.len(), why.nearest[0].rate.row_id.as_str()), (1, "g"));
    let differs: Vec<_> = why.nearest[0].differs.iter().map(|d| (d.key, d.rate.as_str(), d.call.as_str())).collect();
    assert_eq!(differs, [("scope", "global", "*")]);
    // Without usage: what each bucket would cost.
    let none = Usage::default();
    let rates = book.explain(&query(&none, None));
    assert_eq!(
        rates.lines.iter().map(|line| line.bucket).collect::<Vec<_>>(),
        [Bucket::Input, Bucket::CacheRead, Bucket::Output]
    );
    assert_eq!(rates.lines[0].unit_price, Some(dec("0.000002875")));
    // A name that is nearly right, a tier without rates, a call before the first price.
    let near = book.explain(&PriceQuery { model: Some("gpt-4oo"), ..q });
    assert_eq!(near.lines[0].unpriced.as_ref().unwrap().nearest[0].differs[0].key, "model");
    let flex = book.explain(&PriceQuery { tier: Some("flex"), at: at("2025-01-01T00:00:00Z"), ..q });
    let keys: Vec<_> = flex.lines[0].unpriced.as_ref().unwrap().nearest[0].differs.iter().map(|d| d.key).collect();
    assert_eq!(keys, ["tier", "valid_from"]);
}

#[test]
fn a_difference_tells_added_ended_and_changed_rows() {
    let old = PriceBook::from_rows(rows()).unwrap();
    let mut now = rows();
    let cut = Rate { valid_from: Some(at("2026-06-01T00:00:00Z")), ..rate(OPENAI, "gpt-4o", Bucket::Input, "2.00") };
    now.push(Rate { row_id: cut.derived_id("list"), ..cut });
    now[1].valid_to = Some(at("2026-12-01T00:00:00Z"));
    let appended = diff(&old, &PriceBook::from_rows(now.clone()).unwrap());
    assert_eq!((appended.added.len(), appended.ended.len(), appended.only_appends()), (1, 1, true));
    assert_eq!(appended.added[0].percent(), Some(dec("-20")));
    assert_eq!(appended.added[0].replaces.as_ref().map(|row| row.amount), Some(dec("2.50")));
    now[0].amount = dec("3");
    now.remove(4);
    let edited = diff(&old, &PriceBook::new(now, vec![contract("c", None, factor("0.9"))]).unwrap());
    assert_eq!((edited.changed.len(), edited.removed.len(), edited.contracts.len()), (1, 1, 1));
    assert_eq!(edited.changed[0].columns, ["amount"]);
    assert!(!edited.only_appends());
    assert!(diff(&old, &PriceBook::from_rows(rows()).unwrap()).is_empty());
}

#[test]
fn a_call_is_priced_elsewhere_or_it_is_said_why_not() {
    let mut all = rows();
    all.push(rate(AZURE_OPENAI, "gpt-4o", Bucket::CacheRead, "1.25"));
    all.push(Rate { scope: RateScope::Global, row_id: "v".into(), ..rate(BEDROCK, "m", Bucket::Input, "3") });
    all.push(rate(ANTHROPIC, "m", Bucket::Input, "3.30"));
    let book = PriceBook::new(all, vec![contract("p15", Some("EA-115"), factor("1.15"))]).unwrap();
    let counts = usage();
    let q = query(&counts, Some("EA-115"));
    let to = |platform| Elsewhere { platform: Some(platform), ..Elsewhere::default() };
    let bedrock = book.what_if(&q, &to(BEDROCK));
    assert_eq!(bedrock.difference, Some(dec("3.6584145") - dec("4.573018125")));
    assert_eq!((bedrock.assumed, bedrock.not_comparable), (vec![Assumed::NoAccount], vec![]));
    let without = book.what_if(&q, &Elsewhere { account: Some(""), ..Elsewhere::default() });
    assert_eq!(text(without.elsewhere.cost).as_deref(), Some("3.9765375"));
    // Cached tokens have no rate on Bedrock.
    let cached = Usage { cache_read: Some(5), ..counts };
    let bedrock = book.what_if(&query(&cached, None), &to(BEDROCK));
    assert_eq!(bedrock.difference, None);
    assert!(matches!(bedrock.not_comparable.as_slice(), [NotComparable::Buckets(lines)] if lines[0].quantity == 5));
    assert_eq!(book.what_if(&q, &to(ANTHROPIC)).not_comparable, [NotComparable::NoRates]);
    // A platform whose rates all have a scope: the widest is taken, and said so.
    let input = Usage { input: Some(1_000_000), output: Some(0), ..Usage::default() };
    let direct = PriceQuery { platform: Some(ANTHROPIC), model: Some("m"), ..query(&input, None) };
    let scoped = book.what_if(&direct, &to(BEDROCK));
    assert_eq!((scoped.difference, scoped.assumed), (Some(dec("-0.3")), vec![Assumed::GlobalScope]));
}

#[test]
fn capacity_is_paid_by_the_hour_and_never_by_the_token() {
    let hour = Rate {
        mode: Mode::Provisioned,
        per: Decimal::ONE,
        model: "*".into(),
        ..rate(AZURE_OPENAI, "*", Bucket::Hour, "2.00")
    };
    let mut all = rows();
    all.push(hour);
    let book = PriceBook::new(all, vec![contract("p10", Some("EA-1"), factor("0.9"))]).unwrap();
    let commitment = Commitment {
        commitment_id: "ptu".into(),
        platform: AZURE_OPENAI.into(),
        account: Some(Pattern::new("EA-1")),
        units: dec("50"),
        capacity: dec("1000"),
        valid_from: at("2026-10-01T00:00:00Z"),
        valid_to: Some(at("2026-10-01T03:00:00Z")),
        ..Commitment::default()
    };
    let hours = commitment.hours(&book, at("2026-09-30T00:00:00Z"), at("2026-11-01T00:00:00Z"));
    assert_eq!(hours.len(), 3);
    assert_eq!((text(hours[0].list_cost).as_deref(), text(hours[0].cost).as_deref()), (Some("100"), Some("90")));
    assert_eq!((hours[2].hour, hours[0].rate_ids.len()), (hours[0].hour.plus(2 * HOUR_US), 2));
    let weighted: BTreeMap<String, Decimal> = [("a".to_owned(), dec("100")), ("b".to_owned(), dec("233"))].into();
    let shares = commitment.allocate(hours[0].cost.unwrap(), &weighted).unwrap();
    assert_eq!(shares.iter().map(|share| share.cost.0).sum::<Decimal>(), dec("90"));
    let unused = shares.iter().find(|share| share.key == UNUSED).unwrap();
    assert_eq!((unused.weighted, unused.cost.0), (dec("667"), dec("60.03")));
    // The calls themselves cost nothing on top.
    let usage = usage();
    let priced = book.price(&PriceQuery { tier: Some("provisioned"), ..query(&usage, Some("EA-1")) });
    assert_eq!((priced.status, priced.cost, priced.lines.len()), (CostStatus::Allocated, None, 0));
    let call = Call {
        ts: at("2026-10-01T02:59:59Z"),
        platform: Some(AZURE_OPENAI.into()),
        account: Some("EA-1".into()),
        tier: Some("provisioned".into()),
        ..Call::default()
    };
    assert!(commitment.serves(&call));
    assert!(!commitment.serves(&Call { tier: None, ..call.clone() }), "what spilled over is paid by the token");
    assert!(!commitment.serves(&Call { ts: at("2026-10-01T03:00:00Z"), ..call }));
    // Without any price the hours are unpriced, not free.
    let none = commitment.hours(&PriceBook::default(), at("2026-10-01T00:00:00Z"), at("2026-10-01T01:00:00Z"));
    assert_eq!((none.len(), none[0].cost), (1, None));
}
