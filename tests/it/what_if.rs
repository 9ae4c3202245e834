//! What the calls of a month would have cost elsewhere: through the commands, in SQL and over HTTP.

use serde_json::{Value, json};

use crate::harness::Place;
use crate::ops::{told, works};
use crate::records::spans;

const PRICES: &str = "platform,model,scope,unit,amount,per,currency,valid_from,source\n\
    azure.ai.openai,gpt-4o,*,input,2.50,1M,USD,2026-01-01,seed\n\
    azure.ai.openai,gpt-4o,*,output,10.00,1M,USD,2026-01-01,seed\n\
    aws.bedrock,gpt-4o,*,input,2.30,1M,USD,2026-01-01,seed\n\
    aws.bedrock,gpt-4o,*,output,9.20,1M,USD,2026-01-01,seed\n\
    openai,gpt-4o,*,input,2.50,1M,USD,2026-01-01,seed\n\
    openai,gpt-4o,*,output,10.00,1M,USD,2026-01-01,seed\n\
    azure.ai.openai,gpt-4.1,*,input,2.00,1M,USD,2026-01-01,seed\n\
    aws.bedrock,gpt-4.1,*,input,1.85,1M,USD,2026-01-01,seed\n\
    openai,gpt-4.1,*,input,2.00,1M,USD,2026-01-01,seed\n\
    anthropic,claude-sonnet-4,*,input,3.00,1M,USD,2026-01-01,seed\n";
const PREMIUMS: &str = "source = 'offer'\n\
    [[contract]]\ncontract_id = 'premium-15'\nplatform = 'azure.ai.openai'\nfactor = 1.15\nvalid_from = 2026-01-01\nvalid_to = 2026-02-01\n\
    [[contract]]\ncontract_id = 'premium-40'\nplatform = 'azure.ai.openai'\nfactor = 1.40\nvalid_from = 2027-01-01\n";
const OFFER: &str = "source = 'paper'\n[[contract]]\ncontract_id = 'offer'\nplatform = 'azure.ai.openai'\n\
    rates = { input = 2.00 }\ncurrency = 'USD'\nper = '1M'\nvalid_from = 2026-01-01\n";
const CONFIG: &str = "[prices]\nfiles = ['prices.csv', 'premiums.toml']\n";

/// Start of 2026-10-05, noon.
const NOON_US: i64 = 1_791_201_600_000_000;

fn call(n: u64, platform: &str, model: &str, input: u64, output: Option<u64>) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let count = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let operation = if output.is_some() { "chat" } else { "embeddings" };
    let mut attributes = vec![
        text("gen_ai.operation.name", operation),
        text("gen_ai.provider.name", platform),
        text("gen_ai.request.model", model),
        text("gen_ai.response.model", model),
        count("gen_ai.usage.input_tokens", input),
    ];
    attributes.extend(output.map(|output| count("gen_ai.usage.output_tokens", output)));
    let start = NOON_US + i64::try_from(n).unwrap() * 1_000_000;
    json!({
        "traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", n + 1), "name": "chat", "kind": 3,
        "startTimeUnixNano": (start * 1000).to_string(), "endTimeUnixNano": ((start + 250_000) * 1000).to_string(),
        "attributes": attributes, "status": {},
    })
}

/// The seed calls: two of them can't be compared with Bedrock.
fn filled() -> Place {
    let place = Place::new();
    place.file("prices.csv", PRICES);
    place.file("premiums.toml", PREMIUMS);
    let config = place.file("polymeter.toml", CONFIG);
    let calls = vec![
        call(0, "azure.ai.openai", "gpt-4o", 1_234_567, Some(89_012)),
        call(1, "openai", "gpt-4o", 1_234_567, Some(89_012)),
        call(2, "azure.ai.openai", "gpt-4.1", 1_000_000, None),
        call(3, "anthropic", "claude-sonnet-4", 1_000_000, None),
        call(4, "azure.ai.openai", "model-of-nobody", 5, Some(7)),
    ];
    let log = place.file("spans.json", spans(calls).to_string());
    let done = place.run(&["import", "otlp", &log, "--config", &config, "--data", &place.data()]);
    assert!(done.status.success(), "{}", done.stderr);
    place
}

fn report(place: &Place, more: &[&str]) -> Value {
    let asked = ["report", "what-if", "--month", "2026-10", "--format", "json"];
    told(&works(place, &[&asked[..], more].concat()))
}

fn line<'a>(report: &'a Value, platform: &str, model: &str) -> &'a Value {
    let lines = report["lines"].as_array().unwrap();
    let found = lines.iter().find(|line| line["platform"] == platform && line["model"] == model);
    found.unwrap_or_else(|| panic!("{platform} {model} not in {report}"))
}

fn totals(report: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let row = |row: &Value| (text(&row["kind"]), row["calls"].as_u64().unwrap(), text(&row["cost"]));
    report["totals"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn the_seed_table_on_other_clouds_and_under_premiums() {
    let place = filled();
    let bedrock = report(&place, &["--platform", "aws.bedrock"]);
    let azure = line(&bedrock, "azure.ai.openai", "gpt-4o");
    assert_eq!(
        (&azure["cost"], &azure["cost_elsewhere"], &azure["difference"]),
        (&json!("3.9765375"), &json!("3.6584145"), &json!("-0.318123"))
    );
    assert_eq!(line(&bedrock, "openai", "gpt-4o")["cost_elsewhere"], "3.6584145");
    assert_eq!(line(&bedrock, "azure.ai.openai", "gpt-4.1")["cost_elsewhere"], "1.85");
    for (platform, model, why) in [
        ("anthropic", "claude-sonnet-4", None),
        ("azure.ai.openai", "(unknown)", Some("unknown_here: unpriced, no_rates")),
    ] {
        let own = line(&bedrock, platform, model);
        // The bundled list has Claude on Bedrock; nobody has a price for the other.
        if let Some(why) = why {
            assert_eq!((&own["kind"], &own["why_not"]), (&json!("not_compared"), &json!(why)));
            assert_eq!(own["cost_elsewhere"], Value::Null);
        } else {
            assert_eq!(own["cost"], "3");
        }
    }
    // Together they are the ledger, and all five calls.
    let ledger = place.sql("SELECT CAST(sum(cost) AS VARCHAR) AS cost, count(*) AS calls FROM calls");
    let whole = totals(&bedrock).into_iter().filter(|(kind, _, _)| kind == "total").collect::<Vec<_>>();
    assert_eq!(whole.iter().map(|(_, calls, _)| calls).sum::<u64>(), 5);
    assert_eq!(whole[0].2, ledger[0]["cost"].as_str().unwrap().trim_end_matches('0').trim_end_matches('.'));

    let direct = report(&place, &["--platform", "openai"]);
    assert_eq!(line(&direct, "azure.ai.openai", "gpt-4o")["difference"], "0");
    assert_eq!(line(&direct, "azure.ai.openai", "gpt-4.1")["cost_elsewhere"], "2");
    assert_eq!(line(&direct, "anthropic", "claude-sonnet-4")["why_not"], "no_rates");

    for (contract, cost, difference) in
        [("premium-15", "4.573018125", "0.596480625"), ("premium-40", "5.5671525", "1.590615")]
    {
        let premium = report(&place, &["--contract", contract]);
        let azure = line(&premium, "azure.ai.openai", "gpt-4o");
        assert_eq!((&azure["cost_elsewhere"], &azure["difference"]), (&json!(cost), &json!(difference)));
        assert_eq!(azure["assumed"], "contract_dates");
        let openai = line(&premium, "openai", "gpt-4o");
        assert_eq!((&openai["why_not"], &openai["cost"]), (&json!("other_platform"), &json!("3.9765375")));
    }
    // A contract that nobody keeps, with a price for a part of the tokens: the list price for the rest.
    let offer = report(&place, &["--contract", &place.file("offer.toml", OFFER)]);
    assert_eq!(line(&offer, "azure.ai.openai", "gpt-4o")["cost_elsewhere"], "3.359254");
    // Each form says the same.
    let table = works(&place, &["report", "what-if", "--month", "2026-10", "--platform", "bedrock"]).stdout;
    assert!(table.contains("3.6584145") && table.contains("no_rates"), "{table}");
    let csv = ["report", "what-if", "--month", "2026-10", "--platform", "bedrock", "--by", "model", "--format", "csv"];
    let csv = works(&place, &csv).stdout;
    assert!(csv.contains("compared,gpt-4o,2,2469134,178024,7.953075,7.316829,-0.636246,USD"), "{csv}");
}

#[test]
fn each_call_can_be_asked_in_sql_and_over_http() {
    let place = filled();
    let money = "CAST(cost_elsewhere AS VARCHAR) AS there, CAST(difference AS VARCHAR) AS difference, assumed, why_not";
    let of = |arguments: &str| {
        let sql = format!("SELECT call_id, platform, model, {money} FROM what_if({arguments}) ORDER BY ts");
        place.sql(&sql)
    };
    let named = of("platform => 'aws.bedrock', from => '2026-10-01', to => '2026-11-01'");
    assert_eq!(named.len(), 5);
    assert_eq!(named[0]["there"], "3.658414500000");
    assert_eq!(of("'aws.bedrock', NULL, '2026-10-01', TIMESTAMP '2026-11-01'"), named);
    assert_eq!(of("platform => 'aws.bedrock', to => '2026-10-01'").len(), 0);
    let premium = of("contract => 'premium-40', platform => 'azure'");
    assert_eq!((&premium[0]["there"], &premium[1]["there"]), (&json!("5.567152500000"), &json!("5.567152500000")));
    // In a join, an aggregate and EXPLAIN.
    let joined = place.sql(
        "SELECT c.model, CAST(sum(w.difference) AS VARCHAR) AS saved FROM what_if(platform => 'aws.bedrock') w \
         JOIN calls c ON c.call_id = w.call_id WHERE w.why_not IS NULL AND c.model = 'gpt-4o' GROUP BY c.model",
    );
    assert_eq!(joined[0]["saved"], "-0.636246000000");
    assert!(!place.sql("EXPLAIN SELECT difference FROM what_if(platform => 'openai')").is_empty());
    let refused = |arguments: &str| {
        let sql = format!("SELECT * FROM what_if({arguments})");
        let done = place.run(&["sql", &sql, "--data", &place.data()]);
        assert!(!done.status.success(), "{arguments}");
        done.stderr
    };
    for (arguments, told) in [
        ("", "say what would be different"),
        ("platfrm => 'x'", "there is no argument 'platfrm'"),
        ("platform => 'nowhere'", "there is no price for platform 'nowhere'"),
        ("contract => 'nix'", "there are premium-15, premium-40"),
        ("contract => 'premium-15', platform => 'openai'", "is with azure.ai.openai, not with openai"),
        ("platform => 'openai', platform => 'openai'", "twice"),
        ("platform => model", "platform"),
        ("platform => 'openai', from => 'yesterday'", "'from' must be an instant"),
    ] {
        let stderr = refused(arguments);
        assert!(stderr.contains(told) && !stderr.contains("panicked"), "{arguments}: {stderr}");
    }
    let server = place.serve();
    let path = "/api/v1/reports/what-if?month=2026-10&platform=aws.bedrock";
    let reply = server.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["lines"], report(&place, &["--platform", "aws.bedrock"])["lines"]);
    assert!(server.get(&format!("{path}&format=csv")).text().contains("compared,azure.ai.openai,gpt-4o,"));
    for wrong in ["month=2026-10", "month=2026-10&platform=nowhere", "month=2026-10&contract=nix", "platform=openai"] {
        let reply = server.get(&format!("/api/v1/reports/what-if?{wrong}"));
        assert_eq!(reply.status, 400, "{wrong}: {}", reply.text());
    }
    server.stop();
}
