//! `polymeter prices update`: rows of a public catalogue, appended with their source, never over a row of one's own.

use crate::harness::Place;
use crate::ops::works;

/// In the form of LiteLLM's list, made up.
const CATALOGUE: &str = r#"{
    "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.1e-06, "output_cost_per_token": 8.4e-06},
    "gpt-4.1": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.9e-06, "output_cost_per_token": 0}
}"#;
const OWN: &str = "platform,model,scope,unit,amount,per,currency,valid_from,source\n\
    openai,gpt-4.1,*,input,1.50,1M,USD,2026-01-01,contract desk\n";

fn update(place: &Place, more: &[&str]) -> crate::harness::Finished {
    let (config, into) = (place.text("polymeter.toml"), place.text("imported.csv"));
    let from = place.text("list.json");
    let asked = ["prices", "update", "--from", &from, "--into", &into, "--config", &config, "--data", &place.data()];
    place.run(&[&asked[..], more].concat())
}

#[test]
fn a_catalogue_is_appended_once_and_never_over_a_row_of_ones_own() {
    let place = Place::new();
    place.file("list.json", CATALOGUE);
    place.file("prices.csv", OWN);
    place.file("polymeter.toml", "[prices]\nfiles = ['prices.csv']\n");
    // Nothing is fetched by itself.
    let offline = works(&place, &["prices", "update"]).stdout;
    assert!(offline.contains("the bundled list holds") && offline.contains("--from"), "{offline}");
    // Nobody agreed.
    let asked = update(&place, &[]);
    assert!(!asked.status.success() && asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert!(!place.path("imported.csv").exists());
    let dry = update(&place, &["--dry-run"]);
    assert!(
        dry.stdout.contains("2 added") && dry.stdout.contains("nothing was written"),
        "{}{}",
        dry.stdout,
        dry.stderr
    );
    assert!(!place.path("imported.csv").exists());

    let done = update(&place, &["--yes"]);
    assert!(done.status.success(), "{}", done.stderr);
    for part in ["yours stays", "1.9 USD", "1.50 USD", "2 row(s) were appended", "before:"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let written = std::fs::read_to_string(place.path("imported.csv")).unwrap();
    assert_eq!(written.lines().count(), 3, "{written}");
    assert!(written.contains(",2.1,USD,") && written.contains("list.json sha256:"), "{written}");

    // Once it is among the files, the same import has nothing new, and a later one only appends.
    let config = place.file("polymeter.toml", "[prices]\nfiles = ['prices.csv', 'imported.csv']\n");
    let explain = ["prices", "explain", "--platform", "openai", "--config", &config, "--model"];
    let told = works(&place, &[&explain[..], &["gpt-4o"]].concat()).stdout;
    assert!(told.contains("0.0000021") && told.contains("list.json"), "{told}");
    let own = works(&place, &[&explain[..], &["gpt-4.1"]].concat()).stdout;
    assert!(own.contains("0.0000015") && own.contains("contract desk"), "{own}");
    let again = update(&place, &["--yes"]);
    assert!(again.stdout.contains("nothing to append"), "{}{}", again.stdout, again.stderr);
    place.file("list.json", CATALOGUE.replace("8.4e-06", "8.0e-06"));
    let changed = update(&place, &["--yes"]);
    assert!(changed.stdout.contains("1 row(s) were appended"), "{}{}", changed.stdout, changed.stderr);
    let longer = std::fs::read_to_string(place.path("imported.csv")).unwrap();
    assert!(longer.starts_with(&written) && longer.lines().count() == 4, "{longer}");

    // What can't be read changes nothing.
    for wrong in ["{", "[{\"id\": 1}]", "{}"] {
        place.file("list.json", wrong);
        let refused = update(&place, &["--yes"]);
        assert!(!refused.status.success() && refused.stderr.starts_with("error:"), "{wrong}: {}", refused.stderr);
    }
    place.file("list.json", CATALOGUE);
    place.file("imported.csv", "a,b\n1,2\n");
    assert!(!update(&place, &["--yes"]).status.success());
    assert_eq!(std::fs::read_to_string(place.path("imported.csv")).unwrap(), "a,b\n1,2\n");
}
