use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{Catalog, ModelIdentity, ModelQuery};
use crate::model::platform::{AZURE_INFERENCE, AZURE_OPENAI, BEDROCK, GEMINI, OPENAI, VERTEX};

fn catalog() -> Catalog {
    Catalog::bundled().expect("the bundled catalogue loads")
}

fn resolve(platform: &str, model: &str) -> ModelIdentity {
    resolve_in(&catalog(), platform, model)
}

fn resolve_in(catalog: &Catalog, platform: &str, model: &str) -> ModelIdentity {
    let q = ModelQuery { platform: Some(platform), request_model: Some(model), ..ModelQuery::default() };
    catalog.resolve(&q)
}

/// `(platform, spelling, publisher, model, scope)`; the empty publisher stands for unknown.
const SPELLINGS: &[(&str, &str, &str, &str, Option<&str>)] = &[
    (BEDROCK, "anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic", "claude-3-5-sonnet", Some("in_region")),
    (BEDROCK, "anthropic.claude-v2:1", "anthropic", "claude-2.1", Some("in_region")),
    (BEDROCK, "anthropic.claude-v2:1:200k", "anthropic", "claude-2.1", Some("in_region")),
    (BEDROCK, "anthropic.claude-v2", "anthropic", "claude-2", Some("in_region")),
    (BEDROCK, "anthropic.claude-instant-v1", "anthropic", "claude-instant", Some("in_region")),
    (BEDROCK, "global.anthropic.claude-opus-4-7", "anthropic", "claude-opus-4-7", Some("global")),
    (BEDROCK, "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic", "claude-sonnet-4-5", Some("geo:us-gov")),
    (BEDROCK, "jp.anthropic.claude-haiku-9-20291001-v1:0", "anthropic", "claude-haiku-9", Some("geo:jp")),
    (BEDROCK, "kr.anthropic.claude-opus-5", "anthropic", "claude-opus-5", Some("geo:kr")),
    (BEDROCK, "luma.ray-v2:0", "luma", "ray-v2", Some("in_region")),
    (BEDROCK, "arn:aws:bedrock:us-east-1:1:default-prompt-router/anthropic.claude:1", "", "", None),
    (BEDROCK, "amazon.titan-embed-text-v2:0", "amazon", "titan-embed-text-v2", Some("in_region")),
    (BEDROCK, "amazon.titan-embed-text-v1", "amazon", "titan-embed-text", Some("in_region")),
    (BEDROCK, "amazon.nova-premier-v1:0:1000k", "amazon", "nova-premier", Some("in_region")),
    (BEDROCK, "amazon.rerank-v1:0", "amazon", "rerank", Some("in_region")),
    (BEDROCK, "apac.amazon.nova-lite-v1:0", "amazon", "nova-lite", Some("geo:apac")),
    (BEDROCK, "meta.llama3-1-405b-instruct-v1:0", "meta", "llama3-1-405b-instruct", Some("in_region")),
    (BEDROCK, "us.meta.llama4-scout-17b-instruct-v1:0", "meta", "llama4-scout-17b-instruct", Some("geo:us")),
    (BEDROCK, "mistral.mistral-large-2402-v1:0", "mistral", "mistral-large", Some("in_region")),
    (BEDROCK, "mistral.mistral-7b-instruct-v0:2", "mistral", "mistral-7b-instruct", Some("in_region")),
    (BEDROCK, "cohere.command-r-plus-v1:0", "cohere", "command-r-plus", Some("in_region")),
    (BEDROCK, "cohere.command-text-v14:7:4k", "cohere", "command", Some("in_region")),
    (BEDROCK, "cohere.embed-english-v3", "cohere", "embed-english-v3", Some("in_region")),
    (BEDROCK, "openai.gpt-oss-120b-1:0", "openai", "gpt-oss-120b", Some("in_region")),
    (BEDROCK, "openai.gpt-4o", "openai", "gpt-4o", Some("in_region")),
    (BEDROCK, "deepseek.v3-v1:0", "deepseek", "deepseek-v3", Some("in_region")),
    (BEDROCK, "us.deepseek.r1-v1:0", "deepseek", "deepseek-r1", Some("geo:us")),
    (BEDROCK, "deepseek.v4", "deepseek", "deepseek-v4", Some("in_region")),
    (
        BEDROCK,
        "arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/us-gov.anthropic.claude-opus-9",
        "anthropic",
        "claude-opus-9",
        Some("geo:us-gov"),
    ),
    (
        BEDROCK,
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        "amazon",
        "nova-lite",
        Some("in_region"),
    ),
    (BEDROCK, "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2", "", "", None),
    (BEDROCK, "arn:aws:bedrock:us-east-1:1:imported-model/a1b2", "", "", None),
    (BEDROCK, "arn:aws:bedrock:us-east-1:1:custom-model/amazon.titan-text-express-v1:0:8k/abc", "", "", None),
    (BEDROCK, "dummy-model-v1", "", "", Some("in_region")),
    (BEDROCK, "us.newvendor.model-v1:0", "", "", Some("geo:us")),
    (BEDROCK, "claude-sonnet-4-20250514-v1:0", "anthropic", "claude-sonnet-4", None),
    (BEDROCK, "llama3-1-70b-instruct-v1:0", "meta", "llama3-1-70b-instruct", None),
    (
        BEDROCK,
        "bedrock/converse/us.anthropic.claude-sonnet-4-20250514-v1:0",
        "anthropic",
        "claude-sonnet-4",
        Some("geo:us"),
    ),
    (
        BEDROCK,
        "bedrock/us-east-1/anthropic.claude-3-haiku-20240307-v1:0",
        "anthropic",
        "claude-3-haiku",
        Some("in_region"),
    ),
    (
        BEDROCK,
        "bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-6",
        "anthropic",
        "claude-sonnet-4-6",
        Some("geo:eu"),
    ),
    (OPENAI, "gpt-4o-2024-08-06", "openai", "gpt-4o", None),
    (OPENAI, "gpt-4-0613", "openai", "gpt-4", None),
    (OPENAI, "gpt-4-1106-preview", "openai", "gpt-4-turbo", None),
    (OPENAI, "gpt-3.5-turbo-16k-0613", "openai", "gpt-3.5-turbo-16k", None),
    (OPENAI, "GPT-4.1-mini-2025-04-14", "openai", "gpt-4.1-mini", None),
    (OPENAI, "gpt-6-astra", "openai", "gpt-6-astra", None),
    (OPENAI, "gpt-7.2-nova-2028-01-01", "openai", "gpt-7.2-nova", None),
    (OPENAI, "ft:gpt-4o-mini-2024-07-18:acme::abc123", "openai", "ft:gpt-4o-mini", None),
    (OPENAI, "o3-2025-04-16", "openai", "o3", None),
    (OPENAI, "text-embedding-ada-002", "openai", "text-embedding-ada-002", None),
    (OPENAI, "text-embedding-3-small", "openai", "text-embedding-3-small", None),
    (OPENAI, "my-model", "", "", None),
    (OPENAI, "openai/gpt-4o", "openai", "gpt-4o", None),
    ("anthropic", "claude-3-5-sonnet-latest", "anthropic", "claude-3-5-sonnet", None),
    ("anthropic", "claude-opus-4-20250514", "anthropic", "claude-opus-4", None),
    ("anthropic", "claude-4-sonnet", "anthropic", "claude-sonnet-4", None),
    ("anthropic", "claude-4.5-haiku", "anthropic", "claude-haiku-4-5", None),
    ("anthropic", "claude-sonnet-4-5-20250929[1m]", "anthropic", "claude-sonnet-4-5", None),
    ("openrouter", "openrouter/anthropic/claude-3.5-sonnet:beta", "anthropic", "claude-3-5-sonnet", None),
    (VERTEX, "claude-sonnet-4-5@20250929", "anthropic", "claude-sonnet-4-5", None),
    (VERTEX, "claude-3-5-sonnet-v2@20241022", "anthropic", "claude-3-5-sonnet", None),
    (VERTEX, "publishers/google/models/gemini-2.5-pro", "google", "gemini-2.5-pro", None),
    (
        VERTEX,
        "projects/p/locations/global/publishers/anthropic/models/claude-opus-4-1@20250805",
        "anthropic",
        "claude-opus-4-1",
        Some("global"),
    ),
    (
        VERTEX,
        "projects/p/locations/us-central1/publishers/google/models/gemini-1.5-pro-002",
        "google",
        "gemini-1.5-pro",
        Some("in_region"),
    ),
    (VERTEX, "projects/p/locations/us-central1/endpoints/123456", "", "", None),
    (VERTEX, "vertex_ai/meta/llama-3.1-405b-instruct-maas", "meta", "llama3-1-405b-instruct", None),
    (GEMINI, "models/gemini-2.5-flash-preview-05-20", "google", "gemini-2.5-flash-preview", None),
    (GEMINI, "gemini/gemini-embedding-001", "google", "gemini-embedding-001", None),
    (AZURE_OPENAI, "azure/eu/gpt-4o-2024-08-06", "openai", "gpt-4o", Some("geo:eu")),
    (AZURE_OPENAI, "gpt-35-turbo-16k", "openai", "gpt-3.5-turbo-16k", None),
    (AZURE_OPENAI, "prod-chat-eu", "", "", None),
    (AZURE_OPENAI, "gpt-4o-team-blue", "", "", None),
    (AZURE_OPENAI, "gpt-chat-pilot", "", "", None),
    (AZURE_INFERENCE, "Meta-Llama-3.1-405B-Instruct", "meta", "llama3-1-405b-instruct", None),
    ("x", "team-a/gpt-4o", "", "", None),
];

fn scope_text(identity: &ModelIdentity) -> Option<String> {
    identity.scope.map(|scope| identity.geo.as_ref().map_or(scope.to_owned(), |geo| format!("{scope}:{geo}")))
}

#[test]
fn resolves_every_spelling_to_one_name() {
    let mut wrong = Vec::new();
    for (platform, spelling, publisher, model, scope) in SPELLINGS {
        let got = resolve(platform, spelling);
        let same = got.publisher.as_deref().unwrap_or_default() == *publisher
            && got.model.as_deref().unwrap_or_default() == *model
            && scope_text(&got).as_deref() == *scope;
        if !same {
            wrong.push(format!("{spelling}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_canonical_name_resolves_to_itself() {
    let catalog = catalog();
    // `rerank` is Amazon's only behind its vendor: bare, it could be anybody's.
    for (_, _, _, model, _) in SPELLINGS.iter().filter(|case| !matches!(case.3, "" | "rerank")) {
        let q = ModelQuery { request_model: Some(model), ..ModelQuery::default() };
        assert_eq!(catalog.resolve(&q).model.as_deref(), Some(*model));
    }
}

#[test]
fn keeps_the_edition_because_it_may_have_prices_of_its_own() {
    assert_eq!(resolve(OPENAI, "gpt-4o-2024-05-13").snapshot.as_deref(), Some("2024-05-13"));
    assert_eq!(resolve(OPENAI, "gpt-4o").snapshot, None);
    assert_eq!(resolve(BEDROCK, "mistral.mistral-large-2407-v1:0").snapshot.as_deref(), Some("2407"));
}

#[test]
fn provisioned_throughput_is_proved_by_the_arn() {
    let identity = resolve(BEDROCK, "arn:aws:bedrock:us-east-1:1:provisioned-model/abc");
    assert_eq!((identity.tier, identity.model, identity.scope), (Some("provisioned"), None, None));
}

#[test]
fn azure_keeps_the_version_beside_the_name() {
    let q = ModelQuery {
        platform: Some(AZURE_OPENAI),
        request_model: Some("gpt-4"),
        model_version: Some("turbo-2024-04-09"),
        deployment: Some("prod"),
        ..ModelQuery::default()
    };
    assert_eq!(catalog().resolve(&q).model.as_deref(), Some("gpt-4-turbo"));
    let q = ModelQuery { request_model: Some("gpt-4o"), model_version: Some("2024-05-13"), ..q };
    let identity = catalog().resolve(&q);
    assert_eq!((identity.model.as_deref(), identity.snapshot.as_deref()), (Some("gpt-4o"), Some("2024-05-13")));
    // A new model that only its family's shape tells, beside its deployment.
    let q = ModelQuery { request_model: Some("gpt-6-astra"), deployment: Some("x"), model_version: None, ..q };
    assert_eq!(catalog().resolve(&q).model.as_deref(), Some("gpt-6-astra"));
}

#[test]
fn a_deployment_alone_is_an_alias_unless_it_is_a_known_name() {
    let mut q = ModelQuery { platform: Some(AZURE_OPENAI), deployment: Some("gpt-4o-prod"), ..ModelQuery::default() };
    assert_eq!(catalog().resolve(&q).model, None);
    q.deployment = Some("gpt-4o");
    assert_eq!(catalog().resolve(&q).model.as_deref(), Some("gpt-4o"));
    q.platform = Some(BEDROCK);
    assert_eq!(catalog().resolve(&q).model, None);
}

#[test]
fn the_answers_model_counts_before_an_alias() {
    let q = ModelQuery {
        platform: Some(AZURE_OPENAI),
        request_model: Some("gpt-4"),
        response_model: Some("gpt-4o-2024-11-20"),
        deployment: Some("gpt-4"),
        ..ModelQuery::default()
    };
    assert_eq!(catalog().resolve(&q).model.as_deref(), Some("gpt-4o"));
    let q = ModelQuery {
        platform: Some(BEDROCK),
        request_model: Some("us.anthropic.claude-sonnet-4-20250514-v1:0"),
        response_model: Some("claude-sonnet-4-20250514"),
        ..ModelQuery::default()
    };
    let identity = catalog().resolve(&q);
    assert_eq!(scope_text(&identity).as_deref(), Some("geo:us"));
    let q = ModelQuery { request_model: Some("model-router"), response_model: Some("gpt-5-mini"), ..q };
    assert_eq!(catalog().resolve(&q).model.as_deref(), Some("gpt-5-mini"));
}

#[test]
fn no_text_makes_it_panic() {
    let catalog = catalog();
    for piece in ["a.", "us.", "/", "arn:", "azure/", "-v1", ":0", "é", "@"] {
        let long = piece.repeat(100_000);
        for platform in [BEDROCK, VERTEX] {
            let _ = resolve_in(&catalog, platform, &long);
        }
    }
    let pieces = ["arn:", "aws:bedrock:", "/", ":", "us.", "@", "ft:", "-v1", "é", "claude-", "[", "publishers/", "."];
    let platforms = [None, Some(BEDROCK), Some(AZURE_OPENAI), Some(VERTEX)];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let text = format!("{a}{b}{c}{a}");
                for platform in platforms {
                    let q = ModelQuery {
                        platform,
                        request_model: Some(&text),
                        response_model: Some(&text),
                        model_version: Some(&text),
                        deployment: Some(&text),
                    };
                    let _ = catalog.resolve(&q);
                }
            }
        }
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "says how many samples were checked")]
fn agrees_with_the_expected_models_of_real_records() {
    let root = std::env::var_os("POLYMETER_SAMPLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"), PathBuf::from);
    let catalog = catalog();
    let (mut right, mut total, mut wrong) = (0, 0, BTreeSet::new());
    for (folder, platform) in [("bedrock", BEDROCK), ("azure", AZURE_OPENAI)] {
        let Ok(text) = std::fs::read_to_string(root.join(folder).join("EXPECTED.json")) else {
            eprintln!("skipped: {folder}/EXPECTED.json is absent");
            continue;
        };
        let mut records = Vec::new();
        collect(&serde_json::from_str(&text).expect("JSON"), &mut records);
        for record in records {
            total += 1;
            match check(&catalog, platform, &record) {
                None => right += 1,
                Some(difference) => {
                    wrong.insert(difference);
                }
            }
        }
    }
    eprintln!("{right} of {total} expected models resolved");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn collect(value: &Value, out: &mut Vec<Value>) {
    match value {
        Value::Object(map) => {
            if map.get("model_raw").is_some_and(Value::is_string) {
                out.push(value.clone());
            }
            map.iter().filter(|(key, _)| *key != "also_accept").for_each(|(_, inner)| collect(inner, out));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        _ => {}
    }
}

fn check(catalog: &Catalog, platform: &str, record: &Value) -> Option<String> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let raw = text("model_raw");
    let q = ModelQuery {
        platform: Some(platform),
        request_model: raw,
        response_model: None,
        model_version: text("model_version"),
        deployment: text("deployment"),
    };
    let got = catalog.resolve(&q);
    let loose = |name: Option<&str>| name.map(|name| name.replace('.', "-"));
    let accepted = |key: &str, got: Option<&str>| {
        let also = record.get("also_accept").and_then(|also| also.get(key)).and_then(Value::as_array);
        loose(text(key)) == loose(got)
            || also.is_some_and(|values| values.iter().any(|value| loose(value.as_str()) == loose(got)))
    };
    let scope = match (got.scope, &got.geo) {
        (Some("in_region"), _) => Some("none".to_owned()),
        (Some("geo"), Some(geo)) => Some(format!("geo:{geo}")),
        (Some(scope), _) => Some(scope.to_owned()),
        (None, _) => Some("application_profile".to_owned()),
    };
    let scope_right = record.get("model_scope").is_none() || scope.as_deref() == text("model_scope");
    let right = accepted("model_vendor", got.publisher.as_deref())
        && accepted("model_family", got.model.as_deref())
        && scope_right;
    (!right).then(|| format!("{raw:?} -> {got:?}"))
}

#[test]
fn an_operator_adds_models_and_spellings() {
    let mut catalog = Catalog::bundled().expect("catalogue");
    catalog.add("acme", "acme-large", &["acme.acme-large-v1:0", "prod-chat"]);
    let model = |platform, request_model| {
        let q = ModelQuery { platform: Some(platform), request_model: Some(request_model), ..ModelQuery::default() };
        let identity = catalog.resolve(&q);
        (identity.model, identity.publisher, identity.scope)
    };
    let named = |scope| (Some("acme-large".to_owned()), Some("acme".to_owned()), scope);
    assert_eq!(model(BEDROCK, "us.acme.acme-large-v1:0"), named(Some("geo")));
    assert_eq!(model(AZURE_OPENAI, "prod-chat"), named(None));
    assert_eq!(model(AZURE_OPENAI, "prod-other").0, None);
}

/// Lets `src/pricing/data/import.py` name models by the catalogue's own rules: reads lines `platform<TAB>spelling` from
/// the file that `POLYMETER_NAMES` names and writes `publisher model snapshot scope geo tier`, tab-separated, beside it.
#[test]
#[ignore = "run by src/pricing/data/import.py"]
fn names_for_the_importer() {
    let path = std::env::var("POLYMETER_NAMES").expect("POLYMETER_NAMES names a file");
    let catalog = catalog();
    let mut out = String::new();
    for line in std::fs::read_to_string(&path).expect("readable").lines() {
        let (platform, spelling) = line.split_once('\t').expect("platform, tab, spelling");
        // A version beside it says that the name is a model, not somebody's deployment.
        let q = ModelQuery {
            platform: Some(platform),
            request_model: Some(spelling),
            model_version: Some("").filter(|_| platform.starts_with("azure")),
            ..ModelQuery::default()
        };
        let got = catalog.resolve(&q);
        let fields = [
            got.publisher.as_deref(),
            got.model.as_deref(),
            got.snapshot.as_deref().filter(|snapshot| !snapshot.is_empty()),
            got.scope,
            got.geo.as_deref(),
            got.tier,
        ];
        out.push_str(&fields.map(Option::unwrap_or_default).join("\t"));
        out.push('\n');
    }
    std::fs::write(format!("{path}.out"), out).expect("writable");
}
