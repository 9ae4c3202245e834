use super::*;

fn named(platform: &str, spelling: &str) -> NamedModel {
    let bare = spelling.rsplit('/').next().unwrap_or(spelling);
    let (bare, geo) = match bare.split_once('.') {
        Some(("eu", rest)) => (rest, Some("eu".to_owned())),
        _ => (bare, None),
    };
    let geo = geo.or_else(|| spelling.starts_with("azure/us/").then(|| "us".to_owned()));
    let scope = geo.as_ref().map(|_| "geo".to_owned());
    let (model, snapshot) = match bare.split_once('@') {
        Some((model, snapshot)) => (model, Some(snapshot.to_owned())),
        None => (bare, None),
    };
    let known = !model.contains("nobody");
    let publisher = platform.starts_with("azure").then(|| "openai".to_owned());
    NamedModel { publisher, model: known.then(|| model.to_owned()), snapshot, scope, geo, tier: None }
}

fn today() -> Timestamp {
    Timestamp::parse("2026-11-01T00:00:00Z").unwrap()
}

fn read(text: &str) -> (CatalogueKind, Imported) {
    import_catalogue(text, &named, "test", today(), today()).unwrap()
}

fn told(imported: &Imported) -> Vec<String> {
    let row = |rate: &Rate| {
        let over = rate.context_over.map(|over| format!(">{over}")).unwrap_or_default();
        let from = rate.valid_from.map(|at| at.to_string().chars().take(10).collect::<String>()).unwrap_or_default();
        let edition = rate.snapshot.as_ref().map(|edition| format!("@{edition}")).unwrap_or_default();
        format!(
            "{} {}{edition} {} {} {} {}{over} {} {from}",
            rate.platform, rate.model, rate.scope, rate.tier, rate.mode, rate.bucket, rate.amount
        )
    };
    imported.rates.iter().map(row).collect()
}

#[test]
fn litellm_is_read_exactly_with_tiers_thresholds_and_scopes() {
    let (kind, found) = read(
        r#"{"sample_spec": {"mode": "one of"},
        "azure/gpt-x": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 2.5e-06,
            "input_cost_per_token_above_200k_tokens": 5e-06, "output_cost_per_token_batches": 0.000005,
            "output_cost_per_token": 1e-05, "cache_read_input_token_cost_priority": 1.25e-07, "input_cost_per_query": 3},
        "azure/us/gpt-x": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 2.75e-06},
        "bedrock/eu-west-1/claude-x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 3.3e-06},
        "eu.claude-x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 0.0},
        "gpt-nobody": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
        "gpt-y": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
        "openai/gpt-y": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-06},
        "other": {"litellm_provider": "nobody", "mode": "chat", "input_cost_per_token": 1}}"#,
    );
    assert_eq!(kind, CatalogueKind::LiteLlm);
    assert_eq!(
        told(&found),
        [
            "aws.bedrock claude-x in_region:eu-west-1 standard sync input 3.3 2026-11-01",
            "azure.ai.openai gpt-x geo:us standard sync input 2.75 2026-11-01",
            "azure.ai.openai gpt-x global priority sync cache_read 0.125 2026-11-01",
            "azure.ai.openai gpt-x global standard batch output 5 2026-11-01",
            "azure.ai.openai gpt-x global standard sync input 2.5 2026-11-01",
            "azure.ai.openai gpt-x global standard sync input>200000 5 2026-11-01",
            "azure.ai.openai gpt-x global standard sync output 10 2026-11-01",
        ]
    );
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
}

#[test]
fn genai_prices_keeps_its_dates_and_editions_that_differ() {
    let (kind, found) = read(
        r#"[{"id": "openai", "models": [
            {"id": "o-x", "prices": [{"prices": {"input_mtok": 10, "output_mtok": "40"}},
                {"constraint": {"start_date": "2025-06-10"}, "prices": {"input_mtok": {"base": 2, "tiers": [{"start": 200000, "price": 4.05}]}}}]},
            {"id": "o-x@2025", "prices": {"input_mtok": 11}},
            {"id": "o-y@2025", "prices": {"input_mtok": 1}}, {"id": "o-y@2026", "prices": {"input_mtok": 1}},
            {"id": "night", "prices": [{"constraint": {"start_time": "00:00", "end_time": "08:00"}, "prices": {"input_mtok": 1}}]},
            {"id": "video", "prices": {"seconds": 1}}]},
        {"id": "elsewhere", "models": [{"id": "z", "prices": {"input_mtok": 1}}]}]"#,
    );
    assert_eq!(kind, CatalogueKind::GenaiPrices);
    assert_eq!(
        told(&found),
        [
            "openai o-x * standard sync input 10 ",
            "openai o-x * standard sync input 2 2025-06-10",
            "openai o-x * standard sync input>200000 4.05 2025-06-10",
            "openai o-x * standard sync output 40 ",
            "openai o-x@2025 * standard sync input 11 ",
            "openai o-y * standard sync input 1 ",
        ]
    );
    assert_eq!(found.rates[0].valid_to, found.rates[1].valid_from);
    assert_eq!(
        found.notes,
        ["openai/night: its price depends on the time of day", "openai/video: no call record counts the unit seconds"]
    );
}

#[test]
fn what_is_no_catalogue_is_refused() {
    for (text, why) in [("{", "neither"), ("[1]", "neither"), ("{}", "no price"), ("[]", "no price")] {
        let error = import_catalogue(text, &named, "t", today(), today()).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn only_news_are_added_and_never_over_a_row_of_ones_own() {
    let row = |scope: &str, amount: &str, from: Option<&str>, recorded: &str| {
        let at = |day: &str| Timestamp::parse(&format!("{day}T00:00:00Z")).unwrap();
        let rate = Rate {
            platform: "openai".into(),
            model: "m".into(),
            scope: scope.parse().unwrap(),
            tier: "standard".into(),
            per: Decimal::from(1_000_000),
            amount: amount.parse().unwrap(),
            currency: "USD".into(),
            valid_from: from.map(at),
            recorded_at: at(recorded),
            ..Rate::default()
        };
        Rate { row_id: rate.derived_id("t"), ..rate }
    };
    let book = |rows: &[Rate]| crate::pricing::PriceBook::from_rows(rows.to_vec()).unwrap();
    let told = |found: &NewRows| (found.same, found.added.len(), found.kept_back.len());
    let listed = row("*", "2.50", None, "2026-01-01");
    let same = new_rows(&book(std::slice::from_ref(&listed)), &[], vec![row("*", "2.5", None, "2026-11-01")], today());
    assert_eq!(told(&same), (1, 0, 0));
    let cut = new_rows(&book(std::slice::from_ref(&listed)), &[], vec![row("*", "2", None, "2026-11-01")], today());
    assert_eq!((told(&cut), cut.added[0].valid_from), ((0, 1, 0), Some(today())));
    // The same import again adds nothing.
    let both = book(&[listed.clone(), cut.added[0].clone()]);
    assert_eq!(told(&new_rows(&both, &[], vec![row("*", "2", None, "2026-11-02")], today())), (1, 0, 0));
    // A row of one's own stays, also where the new one would be more exact.
    let own = Rate { layer: Layer::Operator, ..listed };
    let with_own = book(std::slice::from_ref(&own));
    let wider = vec![row("*", "2", None, "2026-11-01"), row("global", "2", None, "2026-11-01")];
    assert_eq!(told(&new_rows(&with_own, &[own], wider, today())), (0, 0, 2));
}
