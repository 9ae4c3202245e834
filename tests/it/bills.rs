//! Bills by the real binary: taken in whole or not at all, held against what was metered, and logs against each other call
//! by call, with seeded damage that must be named, all of it and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use serde_json::{Value, json};

use crate::harness::Place;
use crate::ops::{on, told, works};
use crate::records::{bedrock, gzip, lines};

const MODELS: [(&str, &str, &str); 3] = [
    ("anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4", "Claude4Sonnet"),
    ("anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "Claude4.5Sonnet"),
    ("amazon.nova-pro-v1:0", "nova-pro", "NovaPro"),
];
const ACCOUNTS: [&str; 4] = ["111122223333", "222233334444", "333344445555", "444455556666"];
const DAYS: u64 = 28;
/// Prices of a million.
const INPUT: u64 = 3;
const OUTPUT: u64 = 15;
const HEADER: &str = "identity_line_item_id,identity_time_interval,line_item_usage_account_id,line_item_line_item_type,\
    line_item_product_code,line_item_usage_type,line_item_usage_start_date,line_item_usage_end_date,\
    line_item_usage_amount,line_item_unblended_rate,line_item_unblended_cost,line_item_currency_code,pricing_unit,\
    product_region_code";

/// A small generator: the same seed, the same damage.
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    /// So many different numbers below the limit, none of those in `not`.
    fn some(&mut self, count: usize, limit: usize, not: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        while all.len() < count {
            let one = self.below(limit);
            if !not.contains(&one) {
                all.insert(one);
            }
        }
        all
    }
}

/// One call for every day, account and model.
fn record(n: u64) -> Value {
    let at = usize::try_from(n).unwrap();
    let (account, model) = (ACCOUNTS[at % 4], MODELS[at / 4 % 3].0);
    let mut record = bedrock(60, n);
    record["timestamp"] = json!(format!("2026-03-{:02}T{:02}:{:02}:00Z", 1 + n / 12 % DAYS, n % 24, n / 24 % 60));
    record["accountId"] = json!(account);
    record["region"] = json!("us-east-1");
    record["modelId"] = json!(model);
    record["identity"]["arn"] = json!(format!("arn:aws:sts::{account}:assumed-role/checkout-api/i-0a1b2c"));
    record["input"]["inputTokenCount"] = json!(1000 + n * 7 % 901);
    record["output"]["outputTokenCount"] = json!(100 + n * 3 % 89);
    record
}

/// A line of a bill: day, account, model, kind, tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    day: u64,
    account: usize,
    model: usize,
    output: bool,
    tokens: u64,
}

impl Line {
    fn csv(&self, id: &str) -> String {
        let (kind, price) = if self.output { ("output", OUTPUT) } else { ("input", INPUT) };
        // Units of 1K tokens; money in millionths.
        let cost = self.tokens * price;
        format!(
            "{id},i,{},Usage,AmazonBedrock,USE1-{}-{kind}-tokens,2026-03-{:02} 00:00:00,2026-03-{:02} 01:00:00,{}.{:03},\
             0.{:03},{}.{:06},USD,1K tokens,us-east-1",
            ACCOUNTS[self.account],
            MODELS[self.model].2,
            self.day,
            self.day,
            self.tokens / 1000,
            self.tokens % 1000,
            price,
            cost / 1_000_000,
            cost % 1_000_000
        )
    }

    fn key(&self) -> [String; 4] {
        [
            ACCOUNTS[self.account].to_owned(),
            MODELS[self.model].1.to_owned(),
            format!("2026-03-{:02}", self.day),
            if self.output { "output" } else { "input" }.to_owned(),
        ]
    }
}

fn calls() -> u64 {
    DAYS * 12
}

/// What a provider that counted every call once would bill.
fn bill() -> Vec<Line> {
    let mut all = Vec::new();
    for n in 0..calls() {
        let at = usize::try_from(n).unwrap();
        let (day, account, model) = (1 + n / 12 % DAYS, at % 4, at / 4 % 3);
        for (output, tokens) in [(false, 1000 + n * 7 % 901), (true, 100 + n * 3 % 89)] {
            all.push(Line { day, account, model, output, tokens });
        }
    }
    all
}

fn csv(lines: &[Line]) -> String {
    let rows = lines.iter().enumerate().map(|(at, line)| format!("{}\n", line.csv(&format!("id-{at}"))));
    format!("{HEADER}\n{}", rows.collect::<String>())
}

/// A store with the calls, priced as the bill is.
fn metered() -> Place {
    let place = Place::new();
    let mut prices = "platform,model,scope,unit,amount,per,currency,valid_from,source\n".to_owned();
    for (_, model, _) in MODELS {
        prices.push_str(&format!("aws.bedrock,{model},*,input,{INPUT},1M,USD,2026-01-01,own list\n"));
        prices.push_str(&format!("aws.bedrock,{model},*,output,{OUTPUT},1M,USD,2026-01-01,own list\n"));
    }
    place.file("prices.csv", prices);
    let config = place.file("polymeter.toml", "[prices]\nfiles = ['prices.csv']\n");
    let log = place.file("log.json", lines((0..calls()).map(record)));
    let done = place.run(&["import", "bedrock", &log, "--config", &config, "--data", &place.data()]);
    assert!(done.status.success(), "{}", done.stderr);
    place
}

fn import(place: &Place, file: &str, more: &[&str]) -> Value {
    let done = works(place, &[&["bill", "import", file], more].concat());
    serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap()
}

fn reconciled(place: &Place, more: &[&str]) -> Value {
    told(&works(place, &[&["reconcile", "--month", "2026-03", "--format", "json"], more].concat()))
}

/// Keys of the findings that are no match.
fn named(report: &Value) -> BTreeSet<[String; 4]> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["outcome"] != "match");
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    findings.map(|f| [text(&f["account"]), text(&f["model"]), text(&f["period"]), text(&f["bucket"])]).collect()
}

#[test]
fn damage_of_a_bill_is_named_and_nothing_else() {
    let place = metered();
    let good = bill();
    let first = import(&place, &place.file("good.csv", csv(&good)), &[]);
    assert_eq!((&first["new"], &first["lines"]), (&json!(true), &json!(good.len())));
    let report = reconciled(&place, &[]);
    assert_eq!(named(&report), BTreeSet::new(), "{report}");
    assert_eq!(report["findings"].as_array().unwrap().len(), good.len());
    let total = &report["totals"].as_array().unwrap()[4];
    assert_eq!((&total["metered_cost"], &total["difference"]), (&total["billed_cost"], &json!("0")));

    let count = good.len() / 100;
    for seed in [3, 1_000_003, 0xfeed_beef] {
        let mut seed = Seed(seed);
        let deleted = seed.some(count, good.len(), &BTreeSet::new());
        let doubled = seed.some(count, good.len(), &deleted);
        let both = deleted.union(&doubled).copied().collect();
        let altered = seed.some(count, good.len(), &both);
        let mut lines = Vec::new();
        for (at, line) in good.iter().enumerate().filter(|(at, _)| !deleted.contains(at)) {
            let mut line = line.clone();
            line.tokens += if altered.contains(&at) { 1 + line.tokens / 20 } else { 0 };
            lines.push(line.clone());
            if doubled.contains(&at) {
                lines.push(line);
            }
        }
        let damaged: BTreeSet<[String; 4]> =
            deleted.iter().chain(&doubled).chain(&altered).map(|at| good[*at].key()).collect();
        import(&place, &place.file("damaged.csv", csv(&lines)), &["--replace"]);
        let report = reconciled(&place, &[]);
        let found = named(&report);
        println!(
            "bill of {} lines: {} deleted, {} doubled, {} altered; {} keys named, {} missed, {} false",
            good.len(),
            deleted.len(),
            doubled.len(),
            altered.len(),
            found.len(),
            damaged.difference(&found).count(),
            found.difference(&damaged).count()
        );
        assert_eq!(found, damaged);
    }
}

#[test]
fn a_bill_is_taken_in_whole_or_not_at_all_and_once() {
    let place = metered();
    let good = csv(&bill());
    let mut wrong: Vec<String> = good.lines().map(str::to_owned).collect();
    wrong[3] = wrong[3].replace("1K tokens", "1K tokens,one more");
    let decimal = wrong[7].split(',').nth(10).unwrap().to_owned();
    wrong[7] = wrong[7].replace(&format!(",{decimal},"), &format!(",\"{}\",", decimal.replace('.', ",")));
    wrong.push(wrong[10].clone());
    // As every program ends its lines.
    for end in ["\n", "\r\n"] {
        let file = place.file("wrong.csv", wrong.join(end));
        let done = on(&place, &["bill", "import", &file]);
        assert!(!done.status.success());
        for part in [
            "wrong.csv:4: ",
            "wrong.csv:8: ",
            &format!("wrong.csv:{}: the line stands in line 11", wrong.len()),
            "nothing was imported",
        ] {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
    }
    let fewer = place.file("fewer.csv", good.replacen("line_item_unblended_cost", "cost", 1));
    let done = on(&place, &["bill", "import", &fewer, "--format", "aws-cur2"]);
    assert!(done.stderr.contains("fewer.csv:1: the column line_item_unblended_cost is missing"), "{}", done.stderr);
    let other = place.file("other.csv", "a,b\n1,2\n");
    let done = on(&place, &["bill", "import", &other]);
    assert!(done.stderr.contains("other.csv:1: ") && done.stderr.contains("--format"), "{}", done.stderr);
    // The same day in two files.
    let (one, two) = (place.file("parts/one.csv", &good), place.file("parts/two.csv", &good));
    let done = on(&place, &["bill", "import", &one, &two]);
    assert!(done.stderr.contains("the line is in"), "{}", done.stderr);
    assert!(!place.path("data/bills").exists());
    let done = on(&place, &["reconcile", "--month", "2026-03"]);
    assert!(!done.status.success() && done.stderr.contains("polymeter bill import"), "{}", done.stderr);

    // Packed in whatever way, it is the same bill.
    let server = place.serve();
    let rows = "SELECT count(*) FROM bill_lines";
    assert_eq!(server.number(rows), 0);
    let first = import(&place, &place.file("good.csv", &good), &[]);
    let lines = i64::try_from(bill().len()).unwrap();
    assert_eq!(server.number(rows), lines, "a server sees it at once");
    let records: Vec<Vec<&str>> = good.lines().map(|line| line.split(',').collect()).collect();
    let json = records[1..].iter().map(|record| {
        let object: serde_json::Map<String, Value> =
            records[0].iter().zip(record).map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        Value::Object(object)
    });
    let packed = [
        ("good.csv.gz", gzip(good.as_bytes())),
        ("good.jsonl", json.clone().map(|line| format!("{line}\n")).collect::<String>().into_bytes()),
        ("good.json", Value::Array(json.collect()).to_string().into_bytes()),
        ("good.snappy.parquet", parquet(&records)),
    ];
    for (name, bytes) in packed {
        let again = import(&place, &place.file(name, bytes), &[]);
        assert_eq!((&again["new"], &again["bill_id"]), (&json!(false), &first["bill_id"]), "{name}: {again}");
    }
    let wrong = good.replacen("AmazonBedrock", "AmazonBedrock\\n", 1).replacen(",Usage,", ",Usages,", 1);
    assert!(on(&place, &["bill", "import", &place.file("x.csv", wrong)]).stderr.contains("x.csv:2: "));

    // A newer one takes the place of the older only if somebody says so.
    let fewer: Vec<Line> = bill().into_iter().filter(|line| line.day != 5).collect();
    let newer = place.file("newer.csv", csv(&fewer));
    let refused = on(&place, &["bill", "import", &newer]);
    assert!(!refused.status.success() && refused.stderr.contains("--replace"), "{}", refused.stderr);
    assert_eq!(server.number(rows), lines);
    let replaced = import(&place, &newer, &["--replace"]);
    assert_eq!(replaced["supersedes"], json!([first["bill_id"]]));
    assert_eq!(server.number(rows), lines - 24);
    let report = server.get("/api/v1/reports/reconcile?month=2026-03").json();
    assert_eq!(named(&report).len(), 24);
    assert!(named(&report).iter().all(|key| key[2] == "2026-03-05"));
    let whole =
        server.get("/api/v1/reports/reconcile?month=2026-03&by=model&tolerance_tokens=10%25&tolerance_cost=10%25");
    assert_eq!(named(&whole.json()), BTreeSet::new(), "{}", whole.text());
    let csv = server.get("/api/v1/reports/reconcile?month=2026-03&format=csv").text();
    assert!(csv.contains("\r\nfinding,metered_only,,aws.bedrock,") && csv.contains("\r\ntotal,TOTAL,"), "{csv}");
    for wrong in ["month=2026-3", "by=day", "month=2026-03&by=team", "month=2026-03&tolerance_cost=much"] {
        let reply = server.get(&format!("/api/v1/reports/reconcile?{wrong}"));
        assert!(reply.status == 400 && reply.json()["error"]["message"].is_string(), "{wrong}: {}", reply.text());
    }
    server.stop();
    let listed = works(&place, &["bill", "list", "--json"]).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let holds = |id: &Value| {
        listed.as_array().unwrap().iter().filter(|bill| bill["bill_id"] == *id).all(|bill| bill["holds"] == "yes")
    };
    assert!(holds(&replaced["bill_id"]) && !holds(&first["bill_id"]), "{listed}");
    assert_eq!(place.sql(rows)[0]["count(*)"], lines - 24);
    for (format, start) in [("xlsx", &b"PK"[..]), ("parquet", b"PAR1")] {
        let out = place.text(&format!("out.{format}"));
        works(&place, &["reconcile", "--month", "2026-03", "--format", format, "--out", &out]);
        assert!(std::fs::read(&out).unwrap().starts_with(start), "{format}");
    }
}

/// All columns as text.
fn parquet(records: &[Vec<&str>]) -> Vec<u8> {
    let columns = records[0].iter().enumerate().map(|(at, name)| {
        let cells: ArrayRef = Arc::new(records[1..].iter().map(|record| Some(record[at])).collect::<StringArray>());
        (*name, cells)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let snappy = parquet::file::properties::WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), Some(snappy)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// A bill of April that takes back a charge of March is no bill of March.
#[test]
fn a_refund_of_the_month_before_replaces_nothing() {
    let place = metered();
    import(&place, &place.file("march.csv", csv(&bill())), &[]);
    let rows = || place.sql("SELECT count(*) AS n FROM bill_lines")[0]["n"].as_u64().unwrap();
    let march = rows();
    let april = |count: usize| {
        let text = csv(&bill()[..count]).replace("2026-03-", "2026-04-");
        let refund =
            "Refund,i,111122223333,Refund,AmazonBedrock,,2026-03-30 00:00:00,2026-03-31 00:00:00,1,,-1.5,USD,,";
        format!("{text}{refund}\n")
    };
    let first = import(&place, &place.file("april.csv", april(16)), &[]);
    assert_eq!((&first["supersedes"], rows()), (&json!([]), march + 17));
    let newer = import(&place, &place.file("newer.csv", april(8)), &["--replace"]);
    assert_eq!((&newer["supersedes"], rows()), (&json!([first["bill_id"]]), march + 9));
}

/// The price book says 15, the bill comes to 18; a credit and a tax have no record.
#[test]
fn stale_rates_and_lines_without_records_are_told() {
    let place = metered();
    let mut text = csv(&bill());
    for (kind, cost) in [("Tax", "7.12"), ("Credit", "-5")] {
        text.push_str(&format!(
            "{kind},i,111122223333,{kind},AmazonBedrock,,2026-03-01 00:00:00,2026-04-01 00:00:00,1,,{cost},USD,,\n"
        ));
    }
    let text: String = text.lines().map(|line| format!("{}\n", dearer(line))).collect();
    import(&place, &place.file("bill.csv", text), &[]);
    let report = reconciled(&place, &["--by", "account,day,bucket"]);
    let stale: BTreeSet<String> = report["stale_rates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rate| rate["model"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(stale, BTreeSet::from(["nova-pro".to_owned()]), "{report}");
    let rate = &report["stale_rates"][0];
    assert_eq!((&rate["book_price"], &rate["billed_price"]), (&json!("0.000015"), &json!("0.000018")));
    let reasons: BTreeSet<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["outcome"] != "match")
        .filter_map(|finding| finding["reason"].as_str())
        .collect();
    assert_eq!(reasons, BTreeSet::from(["credit", "price", "tax"]));
    let table = works(&place, &["reconcile", "--month", "2026-03"]).stdout;
    assert!(table.contains("bill contradicts") && table.contains("no record stands behind"), "{table}");
}

/// A line of output tokens of one model, at 18 for a million.
fn dearer(line: &str) -> String {
    if !line.contains("NovaPro-output") {
        return line.to_owned();
    }
    let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
    let millionths: u64 = cells[10].replace('.', "").parse().unwrap();
    let dearer = millionths / 15 * 18;
    cells[10] = format!("{}.{:06}", dearer / 1_000_000, dearer % 1_000_000);
    cells.join(",")
}

/// A span of the application for the call of a log record, with the provider's request id.
fn span(record: &Value, n: u64) -> Value {
    let text = |key: &str, value: &Value| json!({"key": key, "value": {"stringValue": value}});
    let count = |key: &str, value: &Value| json!({"key": key, "value": {"intValue": value.to_string()}});
    let start = polymeter::model::Timestamp::parse(record["timestamp"].as_str().unwrap()).unwrap().0 * 1000;
    let attributes = [
        text("gen_ai.operation.name", &json!("chat")),
        text("gen_ai.provider.name", &json!("aws.bedrock")),
        text("gen_ai.request.model", &record["modelId"]),
        count("gen_ai.usage.input_tokens", &record["input"]["inputTokenCount"]),
        count("gen_ai.usage.output_tokens", &record["output"]["outputTokenCount"]),
        text("aws.request_id", &record["requestId"]),
    ];
    json!({
        "traceId": format!("{:032x}", u128::from(n) + 1),
        "spanId": format!("{:016x}", n + 1),
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": (start + 120_000_000).to_string(),
        "endTimeUnixNano": (start + 900_000_000).to_string(),
        "attributes": attributes,
        "status": {},
    })
}

#[test]
fn damage_of_a_log_is_named_call_by_call_and_nothing_else() {
    const CALLS: usize = 1200;
    for seed in [5_u64, 77_777, 0xabad_cafe] {
        let place = Place::new();
        let log: Vec<Value> = (0..u64::try_from(CALLS).unwrap())
            .map(|n| {
                let mut record = bedrock(70, n);
                record["input"]["inputTokenCount"] = json!(1000 + n);
                record
            })
            .collect();
        let spans: Vec<Value> = log.iter().zip(0..).map(|(record, n)| span(record, n)).collect();
        let export = crate::records::spans(spans);
        let mut random = Seed(seed);
        let count = CALLS / 100;
        let deleted = random.some(count, CALLS, &BTreeSet::new());
        let doubled = random.some(count, CALLS, &deleted);
        let altered = random.some(count, CALLS, &deleted.union(&doubled).copied().collect());
        let mut damaged = Vec::new();
        for (at, record) in log.iter().enumerate().filter(|(at, _)| !deleted.contains(at)) {
            let mut record = record.clone();
            if altered.contains(&at) {
                record["output"]["outputTokenCount"] = json!(5000 + at);
            }
            damaged.push(record.clone());
            if doubled.contains(&at) {
                damaged.push(record);
            }
        }
        let traces = place.file("traces.json", format!("{export}\n"));
        place.import("otlp", &[&traces]);
        let file = place.file("log.json", lines(damaged.clone()));
        place.import("bedrock", &[&file]);
        let compare = ["reconcile", "calls", "--from", "2026-03-02", "--to", "2026-03-03", "--format", "json"];
        let report = told(&works(&place, &compare));
        let of = |verdict: &str| -> BTreeSet<usize> {
            let findings = report["findings"].as_array().unwrap().iter().filter(|f| f["verdict"] == verdict);
            let id = |f: &Value| f["request_id"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
            findings.map(|f| usize::from_str_radix(&id(f), 16).unwrap()).collect()
        };
        let found = [("left_only", &deleted), ("right_duplicate", &doubled), ("mismatch", &altered)];
        println!("log of {CALLS} calls, {count} deleted, doubled and altered each: {}", report["counts"]);
        for (verdict, expected) in found {
            assert_eq!(&of(verdict), expected, "{verdict}: {report}");
        }
        assert_eq!(report["findings"].as_array().unwrap().len(), 3 * count);
        assert_eq!(report["counts"]["match"], CALLS - 2 * count);
        if seed == 5 {
            let server = place.serve();
            let path = "/api/v1/reports/reconcile/calls?from=2026-03-02&to=2026-03-03";
            let reply = server.get(path);
            assert_eq!(reply.json()["counts"], report["counts"], "{}", reply.text());
            assert!(server.get(&format!("{path}&format=csv")).text().lines().count() == 1 + 3 * count);
            for wrong in ["from=2026-03-02", "from=2026-03-03&to=2026-03-02", "from=2026-03-02&to=2026-03-03&left=me"] {
                assert_eq!(server.get(&format!("/api/v1/reports/reconcile/calls?{wrong}")).status, 400, "{wrong}");
            }
            server.stop();
        }
        let all = report["findings"].as_array().unwrap();
        assert!(all.iter().all(|f| f["left_observation"].is_string() || f["right_observation"].is_string()));
    }
}
