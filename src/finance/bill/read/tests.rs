//! Bills as the providers document them, and what is wrong with damaged ones.

use rust_decimal::Decimal;

use super::*;
use crate::finance::bill::Category;
use crate::pricing::Bucket;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn read_text(format: Format, text: &str) -> Result<Bill, Vec<Problem>> {
    let catalog = Catalog::bundled().unwrap();
    read(format, "bill", text.as_bytes(), Names { catalog: &catalog, meters: &Meters::default() })
}

const AWS: &str = "\
identity_line_item_id,identity_time_interval,line_item_usage_account_id,line_item_line_item_type,line_item_product_code,line_item_usage_type,line_item_usage_start_date,line_item_usage_end_date,line_item_usage_amount,line_item_unblended_rate,line_item_unblended_cost,line_item_currency_code,line_item_line_item_description,pricing_unit,product,product_region_code
a1,i,111122223333,Usage,AmazonBedrock,USE1-Claude4Sonnet-input-tokens,2026-10-02 00:00:00,2026-10-02 01:00:00,1234.567,0.003,3.703701,USD,,1K tokens,\"{\"\"product_name\"\":\"\"Amazon Bedrock\"\"}\",us-east-1
a2,i,111122223333,Usage,AmazonBedrock,USE1-Claude4Sonnet-cache-read-input-token-count-cross-region-global,2026-10-02 00:00:00,2026-10-02 01:00:00,10,0.0003,0.003,USD,,1K tokens,,us-east-1
a3,i,111122223333,Usage,AmazonBedrock,EUW1-Nova2.0Lite-output-tokens-flex,2026-10-02 00:00:00,2026-10-02 01:00:00,1,0.001,0.001,USD,,1K tokens,,eu-west-1
a4,i,111122223333,Usage,AmazonBedrock,USE1-openai.gpt-oss-120b-mantle-input-tokens-standard,2026-10-02 00:00:00,2026-10-02 01:00:00,2,0.1,0.2,USD,,1M tokens,,us-east-1
a5,i,111122223333,Usage,8xyzmarketplacecode,USE1-MP:USE1_OutputTokenCount-Units,2026-10-02 00:00:00,2026-10-02 01:00:00,2,15,30,USD,AWS Marketplace software usage|us-east-1|Million Response Tokens,Units,\"{\"\"product_name\"\":\"\"Claude Sonnet 4.5 (Amazon Bedrock Edition)\"\"}\",us-east-1
a6,i,111122223333,Tax,AmazonBedrock,,2026-10-01 00:00:00,2026-11-01 00:00:00,1,,7.12,USD,VAT,,,
a7,i,111122223333,Credit,AmazonBedrock,,2026-10-01 00:00:00,2026-11-01 00:00:00,1,,-5,USD,Promo,,,
a8,i,111122223333,Fee,AWSSupportEnterprise,,2026-10-01 00:00:00,2026-11-01 00:00:00,1,,100,USD,Support,,,
a9,i,111122223333,Usage,AmazonEC2,USE1-BoxUsage:m5,2026-10-02 00:00:00,2026-10-02 01:00:00,1,0.1,0.1,USD,,Hrs,,us-east-1
b1,i,111122223333,Usage,AmazonBedrock,USE1-Claude4Sonnet-input-tokens-some-new-thing,2026-10-02 00:00:00,2026-10-02 01:00:00,1,0.003,0.003,USD,,1K tokens,,us-east-1
";

#[test]
fn an_aws_bill_is_read() {
    let bill = read_text(Format::AwsCur2, AWS).unwrap();
    let told: Vec<_> = bill
        .lines
        .iter()
        .map(|l| (l.model.as_deref(), l.bucket, l.scope.as_deref(), l.tier.as_deref(), l.quantity, l.category))
        .collect();
    let usage = Category::Usage;
    let expected = [
        (Some("claude-sonnet-4"), Some(Bucket::Input), None, None, Some(d("1234567")), usage),
        (Some("claude-sonnet-4"), Some(Bucket::CacheRead), Some("global"), None, Some(d("10000")), usage),
        (Some("nova-2-lite"), Some(Bucket::Output), None, Some("flex"), Some(d("1000")), usage),
        (Some("gpt-oss-120b"), Some(Bucket::Input), None, Some("standard"), Some(d("2000000")), usage),
        (Some("claude-sonnet-4-5"), Some(Bucket::Output), None, None, Some(d("2000000")), usage),
        (None, None, None, None, None, Category::Tax),
        (None, None, None, None, None, Category::Credit),
        (None, None, None, None, None, Category::Support),
        // A word that is not known may be another price: the line stays visible, the model open.
        (None, Some(Bucket::Input), None, None, Some(d("1000")), usage),
    ];
    assert_eq!(told, expected);
    assert_eq!(bill.lines[0].unit_price, Some(d("0.000003")));
    assert_eq!(bill.lines[0].place.line, 2);
    assert_eq!(bill.lines[0].account.as_deref(), Some("111122223333"));
    assert_eq!(bill.lines[2].region.as_deref(), Some("eu-west-1"));
    assert_eq!(bill.lines[0].period.to.to_string(), "2026-10-02T01:00:00.000000Z");
    assert_eq!(bill.skipped["AmazonEC2"].lines, 1);
    assert_eq!(bill.skipped["AmazonEC2"].cost["USD"], d("0.1"));
}

#[test]
fn names_of_aws_meters_are_models() {
    let catalog = Catalog::bundled().unwrap();
    for (name, model) in [
        ("USE1-Claude4.6Sonnet-input-tokens", "claude-sonnet-4-6"),
        ("USW2-Claude3Haiku-output-tokens-batch", "claude-3-haiku"),
        ("APN1-NovaPro-input-tokens", "nova-pro"),
        ("EUC1-NovaMicro-cache-read-input-token-count", "nova-micro"),
        ("USE1-Claude3.5Sonnet-input-tokens", "claude-3-5-sonnet"),
    ] {
        assert_eq!(meter::aws(&catalog, name, None).model.as_deref(), Some(model), "{name}");
    }
    let ptu = meter::aws(&catalog, "USE1-ProvisionedThroughput-Claude-ModelUnits", None);
    assert_eq!((ptu.bucket, ptu.tier.as_deref()), (Some(Bucket::Hour), Some("provisioned")));
}

#[test]
fn names_of_azure_meters_are_models() {
    let catalog = Catalog::bundled().unwrap();
    let input = Some(Bucket::Input);
    for (name, model, bucket, scope, tier) in [
        ("GPT 5 outpt Glbl 1M Tokens", Some("gpt-5"), Some(Bucket::Output), Some("global"), None),
        ("5.1 codex opt Gl 1M Tokens", Some("gpt-5.1-codex"), Some(Bucket::Output), Some("global"), None),
        ("5 mini pp Inp Gl 1M Tokens", Some("gpt-5-mini"), input, Some("global"), Some("priority")),
        ("GPT 5 Mini cchd Inpt Glbl 1M Tokens", Some("gpt-5-mini"), Some(Bucket::CacheRead), Some("global"), None),
        ("gpt-4o-mini-0718-Inp-glbl Tokens", Some("gpt-4o-mini"), input, Some("global"), None),
        ("gpt 4.1 Outp regnl Tokens", Some("gpt-4.1"), Some(Bucket::Output), Some("in_region"), None),
        ("text-embedding-3-small-glbl Tokens", Some("text-embedding-3-small"), input, Some("global"), None),
        ("GPT 5 Batch Inpt Glbl 1M Tokens", Some("gpt-5"), input, Some("global"), Some("batch")),
        ("gpt 4o ft inp glbl Tokens", None, input, Some("global"), None),
        ("Zork 9 inp Gl 1M Tokens", None, input, Some("global"), None),
        ("Provisioned Managed Global Unit", None, Some(Bucket::Hour), None, Some("provisioned")),
    ] {
        let meter = meter::azure(&catalog, name);
        let told = (meter.model.as_deref(), meter.bucket, meter.scope.as_deref(), meter.tier.as_deref());
        assert_eq!(told, (model, bucket, scope, tier), "{name}");
    }
}

const AZURE: &str = "\
SubscriptionId,ResourceId,Date,MeterCategory,MeterSubCategory,MeterName,MeterId,UnitOfMeasure,Quantity,CostInBillingCurrency,BillingCurrency,ChargeType,ResourceLocation
0A-1B,/subscriptions/0a-1b/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/ai,10/02/2026,Foundry Models,Azure OpenAI GPT5,GPT 5 outpt Glbl 1M Tokens,m1,1M,150000,1.5,EUR,Usage,SwedenCentral
0A-1B,/subscriptions/0a-1b/resourceGroups/rg/providers/Microsoft.Storage/x,10/02/2026,Storage,Blob,Hot LRS,m2,10K,3,0.4,EUR,Usage,westeurope
0A-1B,/subscriptions/0a-1b/x,10/31/2026,Azure OpenAI,,,m3,,0,-0.01,EUR,RoundingAdjustment,
";

#[test]
fn an_azure_bill_is_read() {
    let bill = read_text(Format::AzureCost, AZURE).unwrap();
    let first = &bill.lines[0];
    assert_eq!(first.model.as_deref(), Some("gpt-5"));
    assert_eq!((first.quantity, first.cost, first.currency.as_str()), (Some(d("150000")), d("1.5"), "EUR"));
    assert_eq!(first.account.as_deref(), Some("0a-1b"));
    assert_eq!(first.region.as_deref(), Some("swedencentral"));
    assert_eq!(first.period.from.to_string(), "2026-10-02T00:00:00.000000Z");
    assert_eq!(bill.lines[1].category, Category::Adjustment);
    assert_eq!(bill.skipped["Storage"].lines, 1);
    // Counts with fractions can't be tokens: such an export counts in the block of the price.
    let blocks = read_text(Format::AzureCost, &AZURE.replace(",150000,", ",0.15,")).unwrap();
    assert_eq!(blocks.lines[0].quantity, Some(d("150000")));
}

const OPENAI: &str = r#"{"object": "page", "data": [
 {"object": "bucket", "start_time": 1790899200, "end_time": 1790985600, "results": [
  {"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, cached input", "project_id": "proj_a", "quantity": 48000},
  {"object": "organization.costs.result", "amount": {"value": "1.2500000000000000000000000000000000", "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, output", "project_id": "proj_a", "quantity": null},
  {"object": "organization.costs.result", "amount": {"value": 2.5e-7, "currency": "usd"}, "line_item": "assistants api | file search", "project_id": null}
 ]}], "has_more": false, "next_page": null}"#;

#[test]
fn openai_costs_are_read() {
    let bill = read_text(Format::OpenAiCosts, OPENAI).unwrap();
    let told: Vec<_> =
        bill.lines.iter().map(|l| (l.model.as_deref(), l.bucket, l.quantity, l.cost, l.place.line)).collect();
    let expected = [
        (Some("gpt-4o"), Some(Bucket::CacheRead), Some(d("48000")), d("0.06"), 3),
        (Some("gpt-4o"), Some(Bucket::Output), None, d("1.25"), 4),
        (None, None, None, d("0.00000025"), 5),
    ];
    assert_eq!(told, expected);
    assert_eq!(bill.lines[0].period.from.to_string(), "2026-10-02T00:00:00.000000Z");
    let accounts: Vec<_> = bill.lines.iter().map(|line| line.account.as_deref()).collect();
    assert_eq!(accounts, [Some("proj_a"), Some("proj_a"), None]);
    assert!(bill.lines.iter().all(|line| line.currency == "USD" && line.platform == "openai"));
    // The same page twice, and a page that says that there is more.
    let twice = read_text(Format::OpenAiCosts, &format!("[{OPENAI},\n{OPENAI}]")).unwrap_err();
    assert_eq!(twice.len(), 3, "{twice:?}");
    assert!(twice[0].what.contains("stands in line 3 already"), "{}", twice[0]);
    let more = read_text(Format::OpenAiCosts, &OPENAI.replace("\"has_more\": false", "\"has_more\": true"));
    assert!(more.unwrap_err()[0].what.contains("there is more"));
    let ungrouped = read_text(Format::OpenAiCosts, &OPENAI.replace("\"gpt-4o-2024-08-06, output\"", "null"));
    let problem = &ungrouped.unwrap_err()[0];
    assert_eq!(problem.line, 4);
    assert!(problem.hint.contains("group_by=line_item"));
}

const ANTHROPIC: &str = r#"{"data": [{"starting_at": "2026-10-02T00:00:00Z", "ending_at": "2026-10-03T00:00:00Z", "results": [
 {"currency": "USD", "amount": "123.78912", "workspace_id": "wrkspc_1", "description": "Claude Sonnet 4 Usage - Input Tokens", "cost_type": "tokens", "context_window": "0-200k", "model": "claude-sonnet-4-20250514", "service_tier": "standard", "token_type": "uncached_input_tokens", "inference_geo": "not_available"},
 {"currency": "USD", "amount": "50", "workspace_id": "wrkspc_1", "description": "Claude Sonnet 4 Usage - Cache Write", "cost_type": "tokens", "context_window": "200k-1M", "model": "claude-sonnet-4-20250514", "service_tier": "batch", "token_type": "cache_creation.ephemeral_1h_input_tokens"},
 {"currency": "USD", "amount": "7", "workspace_id": null, "description": "Web Search Usage", "cost_type": "web_search", "context_window": null, "model": null, "service_tier": null, "token_type": null}
]}], "has_more": false, "next_page": null}"#;

#[test]
fn an_anthropic_report_is_in_cents() {
    let bill = read_text(Format::AnthropicCosts, ANTHROPIC).unwrap();
    let told: Vec<_> =
        bill.lines.iter().map(|l| (l.model.as_deref(), l.bucket, l.cost, l.context_over, l.tier.as_deref())).collect();
    let expected = [
        (Some("claude-sonnet-4"), Some(Bucket::Input), d("1.2378912"), None, Some("standard")),
        (Some("claude-sonnet-4"), Some(Bucket::CacheWrite1h), d("0.5"), Some(200_000), Some("batch")),
        (None, None, d("0.07"), None, None),
    ];
    assert_eq!(told, expected);
    let accounts: Vec<_> = bill.lines.iter().map(|line| line.account.as_deref()).collect();
    assert_eq!(accounts, [Some("wrkspc_1"), Some("wrkspc_1"), None]);
    let bad = read_text(Format::AnthropicCosts, &ANTHROPIC.replace("\"50\"", "\"5,0\"")).unwrap_err();
    assert_eq!((bad.len(), bad[0].line), (1, 3), "{bad:?}");
}

#[test]
fn a_damaged_bill_is_refused_with_every_mistake() {
    let lines = |found: Result<Bill, Vec<Problem>>| -> Vec<usize> {
        found.unwrap_err().iter().map(|problem| problem.line).collect()
    };
    // Two wrong decimals and a date with the day first.
    let text = AZURE.replace(",150000,1.5,", ",\"150.000\",\"1,5\",").replace("10/31/2026", "31/10/2026");
    let found = read_text(Format::AzureCost, &text).unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].what.contains("has a comma") && found[0].line == 2);
    assert!(found[1].what.contains("is no date") && found[1].line == 4);
    // A doubled line is told with the line it repeats, even where the lines differ in the identity's column only.
    let doubled = format!("{AWS}{}\n", AWS.lines().nth(1).unwrap());
    let found = read_text(Format::AwsCur2, &doubled).unwrap_err();
    assert_eq!((found.len(), found[0].line), (1, 12));
    assert!(found[0].what.contains("line 2 already"), "{}", found[0]);
    // Missing columns are all told, with what is there instead.
    let found = read_text(Format::AzureCost, &AZURE.replace("Quantity", "Amount").replace("MeterName", "Name"));
    let found = found.unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|problem| problem.line == 1 && problem.what.contains("missing")));
    // A cut file, an empty one, one that is no text, one that is packed.
    let cut: String = AWS.chars().take(AWS.len() - 60).collect();
    assert_eq!(lines(read_text(Format::AwsCur2, &cut)), [11]);
    assert_eq!(lines(read_text(Format::AzureCost, "")), [1]);
    assert_eq!(lines(read_text(Format::OpenAiCosts, "")), [1]);
    assert_eq!(lines(read_text(Format::OpenAiCosts, "{\"data\": [\n{")), [2]);
    let catalog = Catalog::bundled().unwrap();
    let names = Names { catalog: &catalog, meters: &Meters::default() };
    assert!(read(Format::AwsCur2, "x", &[0x1f, 0x8b, 0xff], names).unwrap_err()[0].hint.contains("UTF-8"));
}

#[test]
fn the_same_day_in_two_files_is_told() {
    let catalog = Catalog::bundled().unwrap();
    let names = Names { catalog: &catalog, meters: &Meters::default() };
    let bills = ["a.csv", "b.csv"].map(|file| read(Format::AzureCost, file, AZURE.as_bytes(), names).unwrap());
    let bills: Vec<&Bill> = bills.iter().collect();
    let found = repeated(&bills);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].to_string(), "b.csv:2: the line is in a.csv:2 too; take one of the two exports out");
    assert!(repeated(&bills[..1]).is_empty());
}

#[test]
fn lines_of_several_files_are_told_by_the_keys_of_the_bill() {
    let catalog = Catalog::bundled().unwrap();
    let names = Names { catalog: &catalog, meters: &Meters::default() };
    let of = |file: &str, text: &str| read(Format::AwsCur2, file, text.as_bytes(), names).unwrap();
    let (header, rows) = AWS.split_once('\n').unwrap();
    let keyed = |key: &str| {
        let rows: Vec<String> = rows.lines().enumerate().map(|(n, row)| format!("{key}-{n},{row}\n")).collect();
        format!("identity_line_item_id,{header}\n{}", rows.concat())
    };
    // The same figures are other lines if the bill says so.
    let (one, two, again) = (of("a.csv", &keyed("x")), of("b.csv", &keyed("y")), of("c.csv", &keyed("x")));
    assert!(!one.ids.is_empty());
    assert!(repeated(&[&one, &two]).is_empty());
    let found = repeated(&[&one, &two, &again]);
    assert_eq!(found.len(), one.ids.len());
    assert!(found[0].to_string().contains("is in a.csv:"), "{}", found[0]);
}

#[test]
fn the_operators_meters_come_first() {
    let meters = Meters::read("m.csv", "meter,model,bucket,scope,tier\nZork 9 inp Gl 1M Tokens,zork-9,input,global,\n");
    let meters = meters.unwrap();
    assert_eq!(meters.get("zork 9 INP gl 1M tokens").unwrap().model.as_deref(), Some("zork-9"));
    let bad = Meters::read("m.csv", "meter,model,bucket,scope,tier\na,b,inputt,,\n").unwrap_err();
    assert!(bad[0].to_string().contains("did you mean 'input'"), "{}", bad[0]);
}

#[test]
fn formats_are_known_by_their_first_line() {
    for (text, format) in [
        (AWS, Format::AwsCur2),
        (AZURE, Format::AzureCost),
        (OPENAI, Format::OpenAiCosts),
        (ANTHROPIC, Format::AnthropicCosts),
    ] {
        assert_eq!(Format::detect(text.as_bytes()), Some(format));
    }
    assert_eq!(Format::detect(b"a,b\n1,2\n"), None);
}

/// What stands where something else should.
const NASTY: [&str; 14] = [
    "",
    "\"",
    ",",
    "\n",
    "\r",
    "-",
    "9999999999999999999999999999999",
    "1e400",
    "\u{feff}",
    "ß",
    "{",
    "]",
    "NaN",
    "null",
];

proptest::proptest! {
    #[test]
    fn no_damage_stops_the_reader(
        which in 0..4_usize,
        hits in proptest::collection::vec((0..10_000_usize, 0..NASTY.len(), 0..12_usize), 1..6),
    ) {
        let (text, format) =
            [(AWS, Format::AwsCur2), (AZURE, Format::AzureCost), (OPENAI, Format::OpenAiCosts), (ANTHROPIC, Format::AnthropicCosts)][which];
        let mut bytes = text.as_bytes().to_vec();
        for (at, nasty, cut) in hits {
            let at = at % bytes.len();
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, NASTY[nasty].bytes());
        }
        let catalog = Catalog::bundled().unwrap();
        let names = Names { catalog: &catalog, meters: &Meters::default() };
        match read(format, "bill", &bytes, names) {
            Ok(bill) => {
                let options = crate::finance::bill::Options::default();
                let answer = crate::finance::bill::reconcile(&[], &bill.lines, &options);
                let (_, billed) = answer.totals.all("USD");
                let own = bill.lines.iter().filter(|line| line.currency == "USD").map(|line| line.cost).sum::<Decimal>();
                assert_eq!(billed, own);
            }
            Err(problems) => {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                assert!(problems.iter().all(|problem| problem.line >= 1 && problem.line <= lines + 1), "{problems:?}");
            }
        }
    }
}

#[test]
fn wide_exports_as_json_are_the_same_and_tell_their_own_lines() {
    let mut csv = csv::Reader::from_reader(AWS.as_bytes());
    let names = csv.headers().unwrap().clone();
    let objects: Vec<String> = csv
        .records()
        .map(|record| {
            let record = record.unwrap();
            let pairs = names.iter().zip(record.iter()).filter(|(_, text)| !text.is_empty());
            let map: serde_json::Map<String, serde_json::Value> =
                pairs.map(|(name, text)| (name.to_owned(), text.into())).collect();
            serde_json::Value::Object(map).to_string()
        })
        .collect();
    let plain = |bill: Bill| {
        let lines = bill.lines.into_iter().map(|line| BillLine { place: Place::default(), ..line });
        lines.collect::<Vec<_>>()
    };
    let expected = plain(read_text(Format::AwsCur2, AWS).unwrap());
    for text in [objects.join("\n"), format!("[\n{}\n]", objects.join(",\n"))] {
        assert_eq!(Format::detect(text.as_bytes()), Some(Format::AwsCur2));
        assert_eq!(plain(read_text(Format::AwsCur2, &text).unwrap()), expected);
    }
    // Numbers are read from their digits; the third object is in the third line, or in the fourth of a list.
    let wrong =
        |text: String| read_text(Format::AwsCur2, &text.replacen("\"0.001\"", "\"0,001\"", 1)).unwrap_err()[0].line;
    assert_eq!(wrong(objects.join("\n")), 3);
    assert_eq!(wrong(format!("[\n{}\n]", objects.join(",\n"))), 4);
    let numbers = objects.join("\n").replacen("\"3.703701\"", "3.7037010000000000001e0", 1);
    assert_eq!(read_text(Format::AwsCur2, &numbers).unwrap().lines[0].cost, d("3.703701"));
    assert!(read_text(Format::AwsCur2, "[1, 2]").unwrap_err()[0].what.contains("no record"));
}
