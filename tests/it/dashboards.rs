//! Every panel, variable, annotation and alert rule of the Grafana dashboards, asked of the demo as Grafana would ask:
//! rows come, with the columns that are drawn, in the types that are declared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually, files_below};

const HISTORY: i64 = 50_000;
/// A debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// The bundled prices hold since ever; nobody has changed one.
const MAY_BE_EMPTY: [&str; 1] = ["price_changes"];
/// The length of a bucket that a panel's width asks for.
const BUCKET_MS: &str = "300000";

fn dashboards(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards").join(folder);
    let mut boards: Vec<(String, Value)> = Vec::new();
    for path in files_below(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        boards.push((path.display().to_string(), serde_json::from_str(&text).unwrap()));
    }
    boards.sort_by(|a, b| a.0.cmp(&b.0));
    boards.into_iter().map(|(_, board)| board).collect()
}

/// One thing that Grafana asks: where it stands, its target, and the columns that it shows.
struct Asked {
    place: String,
    target: Value,
    shown: Vec<String>,
    /// How far back it looks.
    span: String,
}

/// Everything that a dashboard asks polymeter itself.
fn asked(board: &Value) -> Vec<Asked> {
    let title = board["title"].as_str().unwrap();
    let span = board["time"]["from"].as_str().unwrap().trim_start_matches("now-").to_owned();
    let mut all = Vec::new();
    for panel in board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        let target = panel["targets"][0].clone();
        if target["expr"].is_string() {
            continue;
        }
        let names = &panel["transformations"][0]["options"]["include"]["names"];
        all.push(Asked {
            place: format!("{title} / {}", panel["title"]),
            target,
            shown: names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            span: panel["timeFrom"].as_str().unwrap_or(&span).to_owned(),
        });
    }
    for annotation in board["annotations"]["list"].as_array().unwrap().iter().filter(|one| one["target"].is_object()) {
        let fields = annotation["mappings"].as_object().unwrap().values();
        all.push(Asked {
            place: format!("{title} / annotation {}", annotation["name"]),
            target: annotation["target"].clone(),
            shown: fields.map(|field| field["value"].as_str().unwrap().to_owned()).collect(),
            span: span.clone(),
        });
    }
    for variable in board["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query") {
        let query = &variable["query"];
        let target = if query.is_string() { json!({"rawSql": query}) } else { query["infinityQuery"].clone() };
        all.push(Asked {
            place: format!("{title} / variable {}", variable["name"]),
            target,
            shown: vec!["value".to_owned()],
            span: span.clone(),
        });
    }
    all
}

/// What Grafana puts in for each variable: `all` for those of queries, else what is chosen at first.
fn values(board: &Value) -> BTreeMap<String, String> {
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    let value = |one: &Value| match one["allValue"].as_str() {
        Some(all) => all.to_owned(),
        None => one["current"]["value"].as_str().unwrap().to_owned(),
    };
    variables.map(|one| (one["name"].as_str().unwrap().to_owned(), value(one))).collect()
}

/// The time range as Grafana writes it, the server's clock being the judge.
fn range(server: &Server<'_>, span: &str) -> (String, String) {
    let (count, unit) = span.split_at(span.len() - 1);
    let unit = match unit {
        "m" => "minutes",
        "h" => "hours",
        "d" => "days",
        other => panic!("no unit of time: {other}"),
    };
    let iso = |at: &str| format!("to_char({at}, '%Y-%m-%dT%H:%M:%S.000Z')");
    let (from, to) = (iso(&format!("now() - interval '{count} {unit}'")), iso("now()"));
    let rows = server.sql(&format!("SELECT {from} AS \"from\", {to} AS \"to\""));
    (rows[0]["from"].as_str().unwrap().to_owned(), rows[0]["to"].as_str().unwrap().to_owned())
}

/// Text with `${name}` and `${name:format}` put in.
fn with_variables(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap();
        out.push_str(before);
        let name = name.split(':').next().unwrap();
        out.push_str(values.get(name).unwrap_or_else(|| panic!("{name} is declared by nothing: {text}")));
        rest = after;
    }
    out + rest
}

/// The body of the answer, or what went wrong.
fn ask(server: &Server<'_>, one: &Asked, values: &BTreeMap<String, String>) -> Result<Value, String> {
    let (from, to) = range(server, &one.span);
    let reply = if let Some(sql) = one.target["rawSql"].as_str() {
        let sql = sql.replace("$__timeFrom()", &format!("'{from}'")).replace("$__timeTo()", &format!("'{to}'"));
        let sql = with_variables(&sql.replace("$__interval_ms", BUCKET_MS), values);
        server.post_sql(&json!({"sql": sql}))
    } else {
        let mut values = values.clone();
        values.insert("__from".to_owned(), from);
        values.insert("__to".to_owned(), to);
        values.insert("__interval_ms".to_owned(), BUCKET_MS.to_owned());
        assert_eq!(one.target["root_selector"], "rows");
        server.get(&with_variables(one.target["url"].as_str().unwrap(), &values))
    };
    if reply.status == 200 { Ok(reply.json()) } else { Err(format!("{} {}", reply.status, reply.text())) }
}

/// What is wrong with an answer: no rows, or not the columns that are shown, in the types that are declared.
fn faults(one: &Asked, body: &Value) -> Vec<String> {
    let columns: BTreeMap<&str, &str> = body["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["type"].as_str().unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for name in one.shown.iter().filter(|name| !columns.contains_key(name.as_str())) {
        wrong.push(format!("there is no column {name}"));
    }
    for declared in one.target["columns"].as_array().into_iter().flatten() {
        let (name, kind) = (declared["selector"].as_str().unwrap(), declared["type"].as_str().unwrap());
        let starts: &[&str] = match kind {
            "string" => &["Utf8"],
            "number" => &["Int", "UInt", "Float", "Decimal"],
            "timestamp" => &["Timestamp", "Date"],
            "boolean" => &["Boolean"],
            other => panic!("no type of Infinity: {other}"),
        };
        match columns.get(name) {
            Some(real) if !starts.iter().any(|start| real.starts_with(start)) => {
                wrong.push(format!("{name} is {real}, declared as {kind}"));
            }
            _ => {}
        }
    }
    let text = one.target.to_string();
    if body["rows"] == json!([]) && !MAY_BE_EMPTY.iter().any(|name| text.contains(name)) {
        wrong.push("no row".to_owned());
    }
    wrong
}

fn demo(place: &Place) -> Server<'_> {
    let server = place.serve_with("", &["--demo"]);
    eventually("the history is there", DEADLINE, || {
        (server.number("SELECT count(*) FROM calls") >= HISTORY).then_some(())
    });
    eventually("counters and quarantine are there", DEADLINE, || {
        let there = |table: &str| server.number(&format!("SELECT count(*) FROM {table}")) > 0;
        (there("provider_metrics") && there("quarantine")).then_some(())
    });
    server
}

#[test]
fn every_panel_variable_and_annotation_is_answered_in_both_forms() {
    let place = Place::new();
    let server = demo(&place);
    let mut wrong = Vec::new();
    let mut counts = [0; 2];
    let mut known = BTreeSet::new();
    for (form, count) in ["postgres", "infinity"].into_iter().zip(&mut counts) {
        for board in dashboards(form) {
            let values = values(&board);
            for one in asked(&board) {
                *count += 1;
                // Variables are the same on most dashboards.
                if !known.insert(format!("{} {} {:?}", one.target, one.span, one.shown)) {
                    continue;
                }
                let found = match ask(&server, &one, &values) {
                    Ok(body) => faults(&one, &body),
                    Err(error) => vec![error],
                };
                wrong.extend(found.into_iter().map(|fault| format!("{form}: {}: {fault}", one.place)));
            }
        }
    }
    println!("asked {counts:?} times");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts[0] == counts[1] && counts[0] > 60, "{counts:?}");
    a_chosen_value_filters(&server);
    alert_rules_are_answered(&server);
    server.stop();
}

/// Both forms say the same for one platform, and less than for all.
fn a_chosen_value_filters(server: &Server<'_>) {
    let rows = |form: &str, platform: Option<&str>| {
        let board = dashboards(form).into_iter().find(|board| board["title"] == "polymeter: Overview").unwrap();
        let mut values = values(&board);
        if let Some(platform) = platform {
            let text = if form == "postgres" { format!("'{platform}'") } else { platform.to_owned() };
            values.insert("platform".to_owned(), text);
        }
        let one = asked(&board).into_iter().find(|one| one.place.contains("\"Calls\"")).unwrap();
        ask(server, &one, &values).unwrap()["rows"][0].clone()
    };
    for form in ["postgres", "infinity"] {
        let (all, some) = (rows(form, None), rows(form, Some("aws.bedrock")));
        assert_eq!(some["platforms"], json!(1), "{form}: {some}");
        assert!(all["calls"].as_i64() > some["calls"].as_i64() && some["calls"].as_i64() > Some(0), "{form}");
    }
}

fn alert_rules_are_answered(server: &Server<'_>) {
    let mut asked_of_us = 0;
    for file in dashboards("alerting") {
        for rule in file["groups"][0]["rules"].as_array().unwrap() {
            let (query, title) = (&rule["data"][0]["model"], &rule["title"]);
            assert_eq!(rule["data"][1]["model"]["expression"], query["refId"], "{title}");
            let reply = match (query["rawSql"].as_str(), query["url"].as_str()) {
                (Some(sql), _) => server.post_sql(&json!({"sql": sql})),
                (_, Some(url)) => server.get(url),
                _ => continue,
            };
            asked_of_us += 1;
            assert_eq!(reply.status, 200, "{title}: {}", reply.text());
            let body = reply.json();
            // Labels are text and one column is a number: more, or a time, and Grafana would refuse the table.
            if query["rawSql"].is_string() {
                let types: Vec<&str> =
                    body["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
                let (value, labels) = types.split_last().unwrap();
                assert!(
                    labels.iter().all(|kind| kind.starts_with("Utf8")) && !value.starts_with("Utf8"),
                    "{title}: {types:?}"
                );
                let names: Vec<&str> =
                    body["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
                let rows = body["rows"].as_array().unwrap();
                let series: BTreeSet<String> = rows
                    .iter()
                    .map(|row| names[..names.len() - 1].iter().map(|name| row[*name].to_string()).collect())
                    .collect();
                assert_eq!(series.len(), rows.len(), "{title}: two rows with the same labels");
            }
        }
    }
    assert!(asked_of_us >= 8, "{asked_of_us}");
}

#[test]
fn the_command_writes_what_is_committed_and_boards_of_ones_own() {
    let place = Place::new();
    let out = place.text("out");
    let done = place.run(&["dashboards", "--out", &out]);
    assert!(done.status.success(), "{}", done.stderr);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let made = files_below(Path::new(&out));
    assert_eq!(done.stdout.lines().count(), made.len());
    for path in &made {
        let name = path.strip_prefix(&out).unwrap();
        assert!(std::fs::read(path).unwrap() == std::fs::read(committed.join(name)).unwrap(), "{}", name.display());
    }

    place.file(
        "queries/mine.sql",
        "-- Mine.\n-- unit: calls\nSELECT team, count(*) AS calls FROM calls GROUP BY team\n",
    );
    let panel = "[[row]]\n[[row.panel]]\ntitle = \"Mine\"\nkind = \"table\"\nwidth = 24\nquery = \"mine\"\ncolumns = [\"team\", \"calls\"]\n";
    place.file("boards/mine.toml", format!("title = \"Mine\"\ndescription = \"Mine.\"\n{panel}"));
    let own = [
        "dashboards",
        "--out",
        &out,
        "--datasource",
        "postgres",
        "--definitions",
        &place.text("boards"),
        "--queries",
        &place.text("queries"),
    ]
    .map(str::to_owned);
    let done = place.run(&own.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(done.status.success(), "{}", done.stderr);
    assert!(place.path("out/postgres/mine.json").is_file() && !place.path("out/infinity/mine.json").exists());

    place.file(
        "boards/mine.toml",
        format!("title = \"Mine\"\ndescription = \"Mine.\"\n{}", panel.replace("mine", "yours")),
    );
    let done = place.run(&own.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!done.status.success() && done.stderr.contains("no query 'yours'"), "{}", done.stderr);
}
