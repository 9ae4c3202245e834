use rust_decimal::Decimal;

use super::{PriceFile, Reading, assemble, read_file};
use crate::model::{Timestamp, Usage};
use crate::pricing::{Bucket, PriceBook, PriceQuery, RateScope, Terms, Unused};
use crate::sheet::Problem;

const TOML: &str = include_str!("example.toml");

fn recorded() -> Timestamp {
    Timestamp::parse("2026-11-01T00:00:00Z").unwrap()
}

fn read(file: &str, text: &str) -> Result<PriceFile, Vec<Problem>> {
    read_file(file, text, &Reading::operator(recorded()))
}

fn book(text: &str) -> Result<PriceBook, Vec<Problem>> {
    assemble(Vec::new(), vec![read("p.csv", text)?], None).map(|prices| prices.book)
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Exactly these problems, each by its start and a part of it.
#[track_caller]
fn expect(problems: &[Problem], expected: &[(&str, &str)]) {
    let told = told(problems);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (problem, (start, part)) in told.iter().zip(expected) {
        assert!(problem.starts_with(start) && problem.contains(part), "{problem}\nnot {start} … {part}");
    }
}

#[test]
fn the_example_holds_every_list() {
    let file = read("example.toml", TOML).unwrap();
    assert_eq!((file.rates.len(), file.contracts.len(), file.commitments.len(), file.exchange.len()), (6, 3, 1, 1));
    let first = &file.rates[0];
    assert_eq!(
        first.row.row_id,
        "operator:azure.ai.openai:gpt-4o:global:standard:sync:cache_read:2026-04-01:r2026-11-01"
    );
    assert_eq!((first.row.amount.to_string().as_str(), first.row.scope.clone()), ("1.25", RateScope::Global));
    assert!(first.row.source_ref.starts_with("example.toml:"));
    let commitment = &file.commitments[0].row;
    assert_eq!(commitment.unused, Unused::Owner("platform-team".to_owned()));
    assert_eq!(commitment.weights.of(Bucket::CacheRead), Decimal::ZERO);
    assert_eq!(commitment.weights.of(Bucket::Input), Decimal::ONE);
    let prices = assemble(Vec::new(), vec![file], Some("EUR")).unwrap();
    assert_eq!(prices.book.len(), 6);
    assert_eq!(prices.book.contracts().filter(|c| matches!(c.terms, Terms::Multiplier(_))).count(), 1);
}

#[test]
fn csv_and_toml_say_the_same() {
    let csv =
        "platform,model,unit,per,amount,currency,valid_from,source_ref\nopenai,m,input,1M,2.50,USD,2026-04-01,x\n";
    let toml = "currency = 'USD'\nper = 1000000\n[[price]]\nplatform = 'openai'\nmodel = 'm'\nunit = 'input'\namount = 2.5\nvalid_from = 2026-04-01\nsource_ref = 'x'\n";
    let of = |file, text| assemble(Vec::new(), vec![read(file, text).unwrap()], None).unwrap().book;
    let (a, b) = (of("p.csv", csv), of("p.toml", toml));
    assert_eq!(a.version(), b.version());
    assert_eq!(a.version().len(), 64);
    let other = of("p.csv", &csv.replace("2.50", "2.51"));
    assert_ne!(a.version(), other.version());
}

#[test]
fn modes_and_tiers_are_understood_in_either_column() {
    let csv = "platform,model,tier,mode,unit,per,amount,currency\n\
        openai,a,,flex,input,1M,1,USD\n\
        openai,b,priority,,input,1M,1,USD\n\
        openai,c,batch,,input,1M,1,USD\n\
        openai,d,,provisioned,hour,1,1,USD\n\
        openai,e,default,sync,input,1M,1,USD\n";
    let file = read("p.csv", csv).unwrap();
    let keys: Vec<String> = file.rates.iter().map(|rate| format!("{} {}", rate.row.tier, rate.row.mode)).collect();
    assert_eq!(keys, ["flex sync", "priority sync", "standard batch", "standard provisioned", "standard sync"]);
    let clash =
        read("p.csv", "platform,model,tier,mode,unit,per,amount,currency\nopenai,a,priority,flex,input,1M,1,USD\n");
    expect(&clash.unwrap_err(), &[("p.csv:2:", "contradict")]);
}

#[test]
fn every_mistake_of_a_csv_file_is_told_with_its_line() {
    let csv = "platform,model,scope,unit,per,amount,currency,valid_from,valid_to\n\
        azur-openai,m,,input,1M,1,USD,,\n\
        openai,m,,inputs,1M,1,USD,,\n\
        openai,m,,input,1M,-1,USD,,\n\
        openai,m,,input,1M,\"2,50\",USD,,\n\
        openai,m,,input,1M,2,50,USD,,\n\
        openai,m,,input,1M,1,usd,,\n\
        openai,m,,input,1M,1,USD,2026-04-01,2026-04-01\n\
        openai,m,everywhere,input,0,1,USD,01.04.2026,\n\
        openai,,,input,3,1,USD,,\n";
    let short = csv.lines().filter(|line| !line.contains("2,50,USD")).collect::<Vec<_>>().join("\n");
    expect(
        &read("p.csv", &short).unwrap_err(),
        &[
            ("p.csv:2: there is no platform 'azur-openai'", "did you mean 'azure.ai.openai'"),
            ("p.csv:3: there is no unit 'inputs'", "did you mean 'input'"),
            ("p.csv:4: amount '-1' is negative", "0 or more"),
            ("p.csv:5: amount '2,50' has a decimal comma", "write 2.50"),
            ("p.csv:6: there is no currency 'usd'", "write USD"),
            ("p.csv:7: valid_to 2026-04-01 is not after", "first instant after"),
            ("p.csv:8: per is 0", "1M"),
            ("p.csv:8: there is no scope 'everywhere'", "global"),
            ("p.csv:8: valid_from '01.04.2026' is no date", "2026-04-01"),
            ("p.csv:9: 'model' is missing", "fill in"),
            ("p.csv:9: 1 per 3 is no exact price", "per 1M"),
        ],
    );
    // A field too many hides everything else in the file.
    expect(&read("p.csv", csv).unwrap_err(), &[("p.csv:6: the line has 10 fields", "write 2.50")]);
    let columns = "platform,model,unit,per,ammount,currency\nopenai,m,input,1M,1,USD\n";
    expect(
        &read("p.csv", columns).unwrap_err(),
        &[
            ("p.csv:1: the column 'amount' is missing", "add"),
            ("p.csv:1: there is no column 'ammount'", "did you mean 'amount'"),
        ],
    );
}

#[test]
fn every_mistake_of_a_toml_file_is_told_with_its_line() {
    let toml = "currency = 'USD'\nper = '1M'\ncolour = 'red'\n\
        [[price]]\nplatform = 'openai'\nmodel = 'm'\nrates = { input = 1, outptu = 2 }\n\
        [[contract]]\ncontract_id = 'c'\nplatform = 'openai'\nfactor = 15\n\
        [[contract]]\ncontract_id = 'd'\nplatform = 'openai'\n\
        [[contract]]\ncontract_id = 'e'\nplatform = 'openai'\nfactor = 0.9\nunit = 'input'\namount = 1\n\
        [[commitment]]\ncommitment_id = 'p'\nplatform = 'openai'\nunits = 1\nunused = 'burn'\nvalid_from = 2026-10-01T00:30:00Z\n\
        [[exchange]]\nfrom = 'EUR'\nto = 'EUR'\nrate = 0\n\
        [[prices]]\nx = 1\n";
    expect(
        &read("p.toml", toml).unwrap_err(),
        &[
            ("p.toml:3: there is no 'colour' here", "did you mean"),
            ("p.toml:7: there is no unit 'outptu'", "did you mean 'output'"),
            ("p.toml:11: the factor is not above 0", "0.85"),
            ("p.toml:12: there is neither a factor nor a price", "unit and amount"),
            ("p.toml:18: there are both a factor and a price", "never"),
            ("p.toml:25: unused says nothing known", "owner:NAME"),
            ("p.toml:26: valid_from is no full hour", "hour"),
            ("p.toml:29: both currencies are the same", "take"),
            ("p.toml:30: the rate is 0", "write"),
            ("p.toml:31: there is no list 'prices'", "did you mean 'price'"),
        ],
    );
}

#[test]
fn rows_that_contradict_each_other_are_refused_with_both_places() {
    let head = "platform,model,unit,per,amount,currency,valid_from,valid_to,recorded_at\n";
    let rows = |rows: &[&str]| format!("{head}{}\n", rows.join("\n"));
    let a = "openai,m,input,1M,2,USD,2026-01-01,2026-07-01,2026-01-01";
    for (other, start, part) in [
        (
            "openai,m,input,1M,3,USD,2026-06-01,,2026-01-01",
            "from 2026-06-01 until 2026-07-01 this row overlaps the row at p.csv:2",
            "valid_to 2026-06-01",
        ),
        (
            "openai,m,input,1M,3,USD,2026-01-01,,2026-01-01",
            "from 2026-01-01 on, this row contradicts the row at p.csv:2",
            "recorded_at",
        ),
        (
            "openai,m,input,1K,0.002,USD,2026-01-01,2026-07-01,2026-01-01",
            "this row is a duplicate of the row at p.csv:2",
            "take one",
        ),
    ] {
        expect(&book(&rows(&[a, other])).unwrap_err(), &[(&format!("p.csv:3: {start}"), part)]);
    }
    let named = format!("row_id,{head}x,{a}\nx,{}\n", a.replace("input", "output"));
    expect(
        &book(&named).unwrap_err(),
        &[("p.csv:3: its id 'x' is taken by the row at p.csv:2", "take a duplicate out")],
    );
    // A later start ends an open row, a later knowledge corrects the past, another unit is another thing.
    let open = "openai,m,input,1M,2,USD,2026-01-01,,2026-01-01";
    for other in [
        "openai,m,input,1M,3,USD,2026-06-01,,2026-01-01",
        "openai,m,input,1M,3,USD,2026-01-01,,2026-02-01",
        "openai,m,output,1M,3,USD,2026-01-01,,2026-01-01",
    ] {
        assert!(book(&rows(&[open, other])).is_ok(), "{other}");
    }
}

#[test]
fn contracts_commitments_and_currencies_are_held_against_each_other() {
    let toml = |text: &str| vec![read("c.toml", text).unwrap()];
    let clash = "[[contract]]\ncontract_id = 'a'\nplatform = 'openai'\naccount = 'EA-*'\nfactor = 0.9\n\
        [[contract]]\ncontract_id = 'b'\nplatform = 'openai'\naccount = '*-9'\nfactor = 0.8\n";
    expect(
        &assemble(Vec::new(), toml(clash), None).unwrap_err(),
        &[("c.toml:6: contract b holds for the same calls as a at c.toml:1", "narrow")],
    );
    assert!(assemble(Vec::new(), toml(&clash.replace("*-9", "FA-*")), None).is_ok());
    let twice = "[[commitment]]\ncommitment_id = 'p'\nplatform = 'openai'\nunits = 1\nvalid_from = 2026-10-01\n";
    expect(
        &assemble(Vec::new(), toml(&format!("{twice}{twice}")), None).unwrap_err(),
        &[("c.toml:6: commitment p is there twice", "end the earlier")],
    );
    let euro =
        read("p.csv", "platform,model,unit,per,amount,currency\nopenai,m,input,1M,1,EUR\nopenai,m,output,1M,1,USD\n")
            .unwrap();
    expect(
        &assemble(Vec::new(), vec![euro.clone()], Some("USD")).unwrap_err(),
        &[("p.csv:2: there is no exchange rate from EUR to USD", "add one")],
    );
    let rate = read("fx.csv", "from,to,rate,valid_from\nEUR,USD,1.08,2026-10-01\n").unwrap();
    assert!(assemble(Vec::new(), vec![euro, rate], Some("USD")).is_ok());
}

#[test]
fn an_operators_row_wins_over_the_bundled_one() {
    let bundled = crate::pricing::list::bundled().unwrap();
    let csv = "platform,model,unit,per,amount,currency\nopenai,gpt-4o,input,1M,1.00,USD\n";
    let usage = Usage { input: Some(1_000_000), output: Some(0), ..Usage::default() };
    let q = PriceQuery { platform: Some("openai"), model: Some("gpt-4o"), ..PriceQuery::new(recorded(), &usage) };
    let own = assemble(bundled.clone(), vec![read("p.csv", csv).unwrap()], None).unwrap().book;
    let cost = |book: &PriceBook| book.price(&q).cost.map(|cost| cost.0.normalize().to_string());
    assert_eq!(cost(&own).as_deref(), Some("1"));
    assert_eq!(cost(&assemble(bundled, Vec::new(), None).unwrap().book).as_deref(), Some("2.5"));
}

#[test]
fn what_is_written_is_read_again() {
    let rates: Vec<_> = crate::pricing::list::bundled().unwrap();
    let text = crate::pricing::write_csv(&rates);
    let reading = Reading { layer: crate::pricing::Layer::Bundled, ..Reading::operator(recorded()) };
    let read = read_file("list.csv", &text, &reading).unwrap();
    assert!(read.rates.iter().map(|located| &located.row).eq(&rates));
    // The bundled list holds against the checks of an operator's file too.
    let whole = assemble(Vec::new(), vec![read], Some("USD")).unwrap();
    assert_eq!(whole.book.version(), PriceBook::bundled().unwrap().version());
    let odd = crate::pricing::Rate { note: "a, \"b\"".to_owned(), ..rates[0].clone() };
    let read = read_file("list.csv", &crate::pricing::write_csv([&odd]), &reading).unwrap();
    assert_eq!(read.rates[0].row, odd);
}

#[test]
fn an_operators_row_that_hides_a_bundled_one_is_told() {
    let bundled = crate::pricing::list::bundled().unwrap();
    let csv =
        "platform,model,unit,per,amount,currency\nopenai,gpt-4o,input,1M,1.00,USD\nopenai,gpt-4o,output,1M,10,USD\n";
    let book = assemble(bundled, vec![read("p.csv", csv).unwrap()], None).unwrap().book;
    let pairs = crate::pricing::overridden(&book);
    assert!(!pairs.is_empty());
    assert!(pairs.iter().all(|(own, hidden)| own.bucket == Bucket::Input && hidden.bucket == Bucket::Input));
}
