//! The committed files are what is generated, and wrong definitions are refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

/// Set, the test writes the files instead of comparing them.
const UPDATE: &str = "POLYMETER_UPDATE";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn bundled() -> Vec<Generated> {
    let definitions = Definitions::bundled().unwrap();
    let queries = NamedQueries::bundled();
    Form::ALL.into_iter().flat_map(|form| generate(&definitions, &queries, form).unwrap()).collect()
}

#[test]
fn the_committed_files_are_what_is_generated() {
    let made = bundled();
    for file in &made {
        let path = folder().join(&file.path);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &file.text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == file.text, "{} is not what is generated: {UPDATE}=1 cargo test dashboards", file.path);
    }
    let made: BTreeSet<_> = made.iter().map(|file| folder().join(&file.path)).collect();
    for part in ["postgres", "infinity", "alerting"] {
        for entry in folder().join(part).read_dir().unwrap() {
            let path = entry.unwrap().path();
            assert!(made.contains(&path), "{} is made by nothing", path.display());
        }
    }
}

#[test]
fn every_definition_in_the_folder_is_bundled() {
    let mut names: BTreeSet<String> = ["fields", "annotations", "alerts"].map(str::to_owned).into();
    names.extend(Definitions::bundled().unwrap().dashboards.into_iter().map(|board| board.name));
    for entry in folder().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(names.contains(name), "{name}.toml is not bundled");
        }
    }
}

#[test]
fn grafana_finds_each_thing_once_and_nothing_undeclared() {
    let mut ids = BTreeSet::new();
    for file in bundled() {
        let board: Value = serde_json::from_str(&file.text).unwrap();
        if board["panels"].is_null() {
            continue;
        }
        let id = board["uid"].as_str().unwrap();
        assert!(id.len() <= 40 && ids.insert(id.to_owned()), "{id}");
        let known: Vec<&str> =
            board["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        for used in file.text.split("${").skip(1).map(|rest| rest.split([':', '}', '.']).next().unwrap()) {
            assert!(
                used.starts_with("__") || known.contains(&used),
                "{}: ${{{used}}} is declared by nothing",
                file.path
            );
        }
        let panels: BTreeSet<_> =
            board["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(panels.len(), board["panels"].as_array().unwrap().len(), "{}", file.path);
    }
}

fn refused(board: &str) -> String {
    let mut definitions = Definitions::default();
    let head = "title = \"t\"\ndescription = \"d\"\nvariables = [\"team\"]\n";
    match definitions.add("own", &format!("{head}{board}")) {
        Ok(()) => generate(&definitions, &NamedQueries::bundled(), Form::Postgres).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_is_told_with_its_file() {
    let panel = |text: &str| refused(&format!("[[row]]\n[[row.panel]]\ntitle = \"p\"\nwidth = 4\n{text}"));
    for (text, part) in [
        ("kind = \"stat\"", "neither a query nor a metric"),
        ("kind = \"stat\"\nquery = \"overvew\"\ncolumns = [\"calls\"]", "no query 'overvew'"),
        ("kind = \"stat\"\nquery = \"overview\"", "shows no column"),
        ("kind = \"timeseries\"\nquery = \"overview\"\nvalue = [\"calls\"]", "needs `time`"),
        ("kind = \"stat\"\nquery = \"overview\"\ncolumns = [\"calls\"]\nargs = { bar = \"1\" }", "no parameter 'bar'"),
        ("kind = \"stat\"\nquery = \"overview\"\ncolumns = [\"calls\"]\nargs = { from = \"1\" }", "`last`"),
        ("kind = \"stat\"\nquery = \"overview\"\ncolumns = [\"calls\"]\nlinks = { team = \"x\" }", "links to 'x'"),
        ("kind = \"donut\"", "donut"),
        ("kind = \"stat\"\ncolour = \"red\"", "colour"),
    ] {
        let error = panel(text);
        assert!(error.starts_with("dashboards/own.toml: ") && error.contains(part), "{error}");
    }
}

#[test]
fn parameters_become_macros_variables_and_values() {
    let mut definitions = Definitions::bundled().unwrap();
    let board = "title = \"t\"\ndescription = \"d\"\nvariables = [\"team\"]\n[[choice]]\nname = \"goal\"\ntitle = \"g\"\nvalues = [\"0.9\"]\n\
        [[row]]\n[[row.panel]]\ntitle = \"p\"\nkind = \"table\"\nwidth = 4\nquery = \"own\"\ncolumns = [\"team\", \"n\"]\n\
        args = { word = \"it's a\", goal = \"$goal\" }\n";
    definitions.add("own", board).unwrap();
    let own = "-- x\n-- unit: y\n-- param from timestamp = now()   (a)\n-- param to timestamp = now()   (a)\n-- param bucket interval = interval '1 hour'\n\
        -- param word text = 'w'   (a)\n-- param goal double = 1   (a)\n-- param rest bigint = 7   (a)\n-- filter team, model\n\
        SELECT $from, $to, $bucket, $word, $goal, $rest WHERE $filters\n";
    let queries = NamedQueries::bundled().with(NamedQueries::from_texts([("own", own)]));
    let made = |form| {
        let files = generate(&definitions, &queries, form).unwrap();
        let file = files.into_iter().find(|file| file.path.ends_with("/own.json")).unwrap();
        serde_json::from_str::<Value>(&file.text).unwrap()["panels"][0]["targets"][0].clone()
    };
    assert_eq!(
        made(Form::Postgres)["rawSql"],
        "-- polymeter: own\nSELECT CAST($__timeFrom() AS TIMESTAMPTZ), CAST($__timeTo() AS TIMESTAMPTZ), \
         interval '$__interval_ms milliseconds', 'it''s a', ${goal}, (7) \
         WHERE (${team:sqlstring} = '*' OR team = ${team:sqlstring}) AND (('*') = '*' OR model = ('*'))"
    );
    let asked = made(Form::Infinity);
    assert_eq!(
        asked["url"],
        "/api/v1/queries/own?from=${__from:date:iso}&to=${__to:date:iso}&bucket=${__interval_ms}%20milliseconds\
         &word=it%27s%20a&goal=${goal:percentencode}&team=${team:percentencode}"
    );
    assert_eq!(asked["columns"][0], json!({"selector": "team", "text": "team", "type": "string"}));
    assert_eq!(asked["columns"][1]["type"], "number");
}

#[test]
fn every_metric_that_is_drawn_is_one_of_ours() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/metrics.rs");
    let ours = std::fs::read_to_string(ours).unwrap();
    let mut drawn = BTreeSet::new();
    for file in bundled() {
        let words = file.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("polymeter_")).map(|word| word.trim_end_matches("_bucket"));
        drawn.extend(names.map(str::to_owned));
    }
    for name in &drawn {
        assert!(ours.contains(&format!("\"{name}\"")), "{name} is no metric of polymeter");
    }
    assert!(drawn.len() > 10, "{drawn:?}");
}
