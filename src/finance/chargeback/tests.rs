use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::attribution::{assemble_rules, read_rules};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::capacity::{Capacity, Part};
use crate::pricing::{Exchange, ExchangeRate};

fn of(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn line(team: Option<&str>, currency: Option<&str>, calls: u64, cost: Option<&str>) -> Summed {
    let figures = Figures { calls, cost: cost.map(of), list_cost: cost.map(of), ..Figures::default() };
    Summed { keys: vec![team.map(str::to_owned)], currency: currency.map(str::to_owned), figures }
}

/// The ledger of these lines, as the store would sum it.
fn inputs(lines: Vec<Summed>) -> Inputs {
    let mut ledger: BTreeMap<Option<String>, Figures> = BTreeMap::new();
    for line in &lines {
        let sum = ledger.entry(line.currency.clone()).or_default();
        *sum = sum.plus(&line.figures).unwrap();
    }
    let ledger = ledger.into_iter().map(|(currency, figures)| Summed { keys: Vec::new(), currency, figures });
    Inputs { ledger: ledger.collect(), lines, now: at("2026-11-05T00:00:00Z"), ..Inputs::default() }
}

fn ask(currency: Option<&str>) -> Ask {
    Ask::new("2026-10", "team", Some("Europe/Berlin"), currency).unwrap()
}

fn rate(from: &str, rate: &str, month: u32) -> ExchangeRate {
    ExchangeRate {
        from: from.to_owned(),
        to: "EUR".to_owned(),
        rate: of(rate),
        valid_from: Timestamp::parse(&format!("2026-{month:02}-01T00:00:00Z")),
        valid_to: Timestamp::parse(&format!("2026-{:02}-01T00:00:00Z", month + 1)),
        source: "ECB month average".to_owned(),
        ..ExchangeRate::default()
    }
}

fn codes(report: &Report) -> Vec<&str> {
    report.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn lines_are_rounded_together_and_nobody_is_on_page_one() {
    let lines = vec![
        line(Some("a"), Some("USD"), 1, Some("0.005")),
        line(Some("b"), Some("USD"), 1, Some("0.005")),
        line(None, Some("USD"), 1, Some("0.005")),
        // Without a price and so without a currency: beside the money of its group.
        line(Some("b"), None, 2, None),
        line(Some("c"), None, 4, None),
    ];
    let report = Report::new(ask(None), &Terms::default(), inputs(lines)).unwrap();
    let shown: Vec<_> =
        report.lines.iter().map(|line| (line.keys[0].as_deref(), line.figures.calls, line.amount)).collect();
    let cent = Some(of("0.01"));
    assert_eq!(shown, [(Some("a"), 1, cent), (Some("b"), 3, cent), (None, 1, Some(of("0.00"))), (Some("c"), 4, None)]);
    assert_eq!(report.totals.len(), 1);
    assert_eq!((report.totals[0].figures.cost, report.totals[0].amount), (Some(of("0.015")), Some(of("0.02"))));
    assert_eq!(report.totals[0].figures.calls, 9);
    assert_eq!(codes(&report), ["unattributed"]);
    assert!(report.warnings[0].text.contains("1 call with 0.005 USD"), "{:?}", report.warnings);
    let csv = report.whole_grid().csv();
    assert!(csv.contains("\r\nline,(unattributed),1,"), "{csv}");
    assert!(csv.contains("\r\ntotal,TOTAL,9,"), "{csv}");
    assert!(report.table().contains("! 1 call with 0.005 USD have no team: they are (unattributed)"));
    assert_eq!(report.json()["lines"][2]["team"], serde_json::Value::Null);
}

#[test]
fn currencies_are_added_by_a_named_rate_only() {
    let lines =
        || vec![line(Some("a"), Some("USD"), 1, Some("10.005")), line(Some("a"), Some("EUR"), 1, Some("1.005"))];
    let report = Report::new(ask(None), &Terms::default(), inputs(lines())).unwrap();
    let totals: Vec<_> = report.totals.iter().map(|total| (total.currency.as_deref(), total.amount)).collect();
    assert_eq!(totals, [(Some("EUR"), Some(of("1.00"))), (Some("USD"), Some(of("10.00")))]);

    let error = Report::new(ask(Some("EUR")), &Terms::default(), inputs(lines())).unwrap_err();
    assert_eq!(error, ReportError::Exchange { from: "USD".into(), to: "EUR".into() });
    // Only rates of other months: none.
    let terms = |rates: Vec<ExchangeRate>| Terms { exchange: Exchange::new(rates), ..Terms::default() };
    let others = terms(vec![rate("USD", "0.5", 9), rate("USD", "0.6", 11)]);
    assert!(Report::new(ask(Some("EUR")), &others, inputs(lines())).is_err());
    // What the configuration wishes for is given up with a warning.
    let wished = Terms { currency: Some("EUR".into()), ..others };
    let report = Report::new(ask(None), &wished, inputs(lines())).unwrap();
    assert_eq!((codes(&report), report.currency.clone()), (vec!["no_exchange_rate"], None));

    let terms = terms(vec![rate("USD", "0.5", 9), rate("USD", "0.92", 10), rate("USD", "0.6", 11)]);
    let report = Report::new(ask(Some("EUR")), &terms, inputs(lines())).unwrap();
    // 10.005 × 0.92 = 9.2046; together with 1.005 that is 10.2096.
    let amounts: Vec<_> = report.lines.iter().map(|line| line.amount.unwrap()).collect();
    assert_eq!(amounts, [of("1.01"), of("9.20")]);
    let last = report.totals.last().unwrap();
    assert_eq!((last.currency.as_deref(), last.figures.cost, last.amount), (None, None, Some(of("10.21"))));
    assert!(report.facts().iter().any(|(_, value)| value == "1 USD = 0.92 EUR (ECB month average)"));
}

#[test]
fn a_report_that_is_not_the_ledger_is_not_made() {
    let mut wrong = inputs(vec![line(Some("a"), Some("USD"), 1, Some("1.000000000001"))]);
    wrong.lines[0].figures.cost = Some(of("1"));
    assert!(matches!(Report::new(ask(None), &Terms::default(), wrong), Err(ReportError::Differs { .. })));
    let mut fewer = inputs(vec![line(Some("a"), Some("USD"), 2, Some("1"))]);
    fewer.lines[0].figures.calls = 1;
    assert!(matches!(Report::new(ask(None), &Terms::default(), fewer), Err(ReportError::Differs { .. })));
}

#[test]
fn shared_cost_goes_on_in_full() {
    let text = "[[split]]\nsplit_id = 'platform'\nfield = 'team'\nof = 'platform'\nby = 'cost'\n";
    let splits = assemble_rules(vec![read_rules("r.toml", text).unwrap()]).unwrap().splits;
    let terms = Terms { splits, ..Terms::default() };
    let lines = vec![
        line(Some("a"), Some("USD"), 1, Some("2")),
        line(Some("b"), Some("USD"), 1, Some("1")),
        line(Some("platform"), Some("USD"), 1, Some("0.10")),
    ];
    let report = Report::new(ask(None), &terms, inputs(lines)).unwrap();
    let charged: Vec<_> = report.shared[0].charged.iter().map(|(who, amount)| (who.as_str(), *amount)).collect();
    assert_eq!(charged, [("a", of("2.07")), ("b", of("1.03")), ("platform", of("0.00"))]);
    let grid = report.whole_grid();
    let shared: Decimal = grid
        .rows
        .iter()
        .filter(|row| row[0] == crate::finance::grid::Cell::Text("shared".into()))
        .map(|row| {
            let crate::finance::grid::Cell::Money(amount) = row[grid.columns.len() - 3] else { panic!("{row:?}") };
            amount
        })
        .sum();
    assert_eq!(shared, Decimal::ZERO);
}

#[test]
fn what_is_missing_is_told() {
    let mut all = inputs(vec![line(Some("a"), Some("USD"), 5, Some("1"))]);
    for figures in [&mut all.lines[0].figures, &mut all.ledger[0].figures] {
        (figures.unpriced_calls, figures.partial_calls, figures.estimated_calls) = (1, 1, 1);
        (figures.estimated_cost, figures.uncounted_calls, figures.conflicts) = (Some(of("0.2")), 1, 1);
    }
    let gap = |status: &str| Gap {
        model: Some("new-model".into()),
        status: status.into(),
        calls: 1,
        input_tokens: 7,
        ..Gap::default()
    };
    all.gaps = vec![gap("unpriced"), gap("partial")];
    let seen = |source: &str, day: &str| SourceSeen {
        source: source.into(),
        records: 1,
        last_event: at(day),
        last_read: at(day),
    };
    all.sources = vec![seen("dry", "2026-10-20T00:00:00Z"), seen("full", "2026-10-31T22:00:00Z")];
    all.set_aside = vec![("full".into(), 3)];
    all.complete_to = [
        ("late".to_owned(), Some("2026-10-31T22:59:00Z".to_owned())),
        ("up".to_owned(), Some("2026-11-04T00:00:00Z".to_owned())),
    ]
    .into();
    let report = Report::new(ask(None), &Terms::default(), all.clone()).unwrap();
    let expected = [
        "unpriced",
        "partial",
        "estimated",
        "uncounted",
        "conflicts",
        "incomplete_source",
        "incomplete_source",
        "set_aside",
    ];
    assert_eq!(codes(&report), expected);
    let text = report.warnings.iter().map(|warning| warning.text.clone()).collect::<Vec<_>>().join("\n");
    for part in
        ["unknown new-model (1 call, 7 tokens)", "nothing of dry", "late is complete up to", "3 records of full"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    all.now = at("2026-10-31T22:59:59Z");
    assert!(codes(&Report::new(ask(None), &Terms::default(), all).unwrap()).contains(&"month_not_ended"));
}

proptest! {
    #[test]
    fn amounts_are_the_rounded_ledger(costs in prop::collection::vec((0..5_u8, any::<bool>(), 0_i64..9_000_000_000_000_000), 1..60)) {
        let mut lines: BTreeMap<(u8, bool), Decimal> = BTreeMap::new();
        for (team, dollars, units) in costs {
            *lines.entry((team, dollars)).or_default() += Decimal::new(units, 12);
        }
        let lines: Vec<Summed> = lines
            .iter()
            .map(|((team, dollars), cost)| {
                let figures = Figures { calls: 1, cost: Some(*cost), ..Figures::default() };
                let currency = if *dollars { "USD" } else { "JPY" };
                Summed { keys: vec![Some(team.to_string())], currency: Some(currency.to_owned()), figures }
            })
            .collect();
        let report = Report::new(ask(None), &Terms::default(), inputs(lines.clone())).unwrap();
        for total in &report.totals {
            let own = report.lines.iter().filter(|line| line.currency == total.currency);
            let exact: Decimal = lines.iter().filter(|line| line.currency == total.currency).filter_map(|line| line.figures.cost).sum();
            let digits = if total.currency.as_deref() == Some("JPY") { 0 } else { 2 };
            prop_assert_eq!(own.filter_map(|line| line.amount).sum::<Decimal>(), total.amount.unwrap());
            prop_assert_eq!(total.amount.unwrap(), crate::model::rounded(exact, digits));
            prop_assert_eq!(total.figures.cost, Some(exact));
        }
    }
}

#[test]
fn capacity_has_lines_of_its_own_and_is_in_the_total_once() {
    let part = |team: &str, cost: &str| Part { keys: vec![Some(team.to_owned())], weighted: of("1"), cost: of(cost) };
    let capacity = |cost: &str, currency: &str| Capacity {
        commitment_id: "ptu".to_owned(),
        currency: Some(currency.to_owned()),
        hours: 2,
        cost: of(cost),
        idle: of("5.1"),
        parts: vec![part("a", "0.9"), part("(unused)", "5.1")],
        ..Capacity::default()
    };
    let made = |currency: Option<&str>, capacity: Capacity| {
        let lines = vec![line(Some("a"), Some("USD"), 3, Some("0.015")), line(Some("b"), None, 1, None)];
        let inputs = Inputs { capacity: vec![capacity], uncovered_calls: 1, ..inputs(lines) };
        let exchange = Exchange::new(vec![rate("USD", "0.5", 10)]);
        Report::new(ask(currency), &Terms { exchange, ..Terms::default() }, inputs)
    };
    let report = made(None, capacity("6.0", "USD")).unwrap();
    let shown: Vec<_> = report.lines.iter().map(|line| (line.commitment.as_deref(), line.keys[0].as_deref())).collect();
    assert_eq!(
        shown,
        [(None, Some("a")), (None, Some("b")), (Some("ptu"), Some("(unused)")), (Some("ptu"), Some("a"))]
    );
    let total = &report.totals[0];
    assert_eq!((report.totals.len(), total.figures.cost, total.figures.calls), (1, Some(of("6.015")), 4));
    assert_eq!(total.amount, Some(of("6.02")));
    assert_eq!(report.lines.iter().filter_map(|line| line.amount).sum::<Decimal>(), of("6.02"));
    assert_eq!(codes(&report), ["commitment", "allocated"]);
    // In the currency of the report, and in one that the ledger has nothing of.
    assert_eq!(made(Some("EUR"), capacity("6", "USD")).unwrap().totals[0].amount, Some(of("3.01")));
    let other = made(None, capacity("6", "EUR")).unwrap();
    let totals: Vec<_> = other.totals.iter().map(|total| (total.currency.as_deref(), total.figures.cost)).collect();
    assert_eq!(totals, [(Some("USD"), Some(of("0.015"))), (Some("EUR"), Some(of("6")))]);
    // Parts that are not the whole make no report.
    assert!(matches!(made(None, capacity("6.1", "USD")), Err(ReportError::Differs { .. })));
}
