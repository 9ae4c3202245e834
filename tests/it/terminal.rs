//! The commands for people at a terminal, as far as they can be told without one; `tests/full/terminal.py` has one.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Place, files_below};
use crate::records::{bedrock, lines};

const POLYMETER: &str = env!("CARGO_BIN_EXE_polymeter");

#[test]
fn statements_come_from_standard_input() {
    let place = Place::new();
    let file = place.file("log.json", lines((0..3).map(|n| bedrock(1, n))));
    place.import("bedrock", &[&file]);
    let mut child = Command::new(POLYMETER)
        .args(["sql", "--format", "csv", "--data", &place.data()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let text = "SELECT count(*) AS n FROM calls; -- a ; in a comment\nSELECT 'a;b' AS x;\n";
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
    let done = child.wait_with_output().expect("an end");
    assert!(done.status.success());
    assert_eq!(String::from_utf8_lossy(&done.stdout), "n\n3\nx\na;b\n");
}

#[test]
fn top_shows_what_goes_on_and_says_what_is_wrong() {
    let place = Place::new();
    let server = place.serve();
    let once = place.run(&["top", "--once", "--url", &server.http]);
    assert_eq!(once.status.code(), Some(0), "{}", once.stderr);
    assert!(once.stdout.contains("no calls in this time") && once.stdout.contains("CALLS/MIN"), "{}", once.stdout);
    server.stop();
    let nobody = place.run(&["top", "--once", "--url", "http://127.0.0.1:1"]);
    assert!(!nobody.status.success());
    assert!(nobody.stderr.contains("polymeter serve"), "{}", nobody.stderr);
}

#[test]
fn the_program_writes_about_itself() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = place.run(&["completions", shell]).stdout;
        assert!(text.contains("polymeter") && text.contains("check-config"), "{shell}");
    }
    let page = place.run(&["man"]).stdout;
    assert!(page.contains(".TH polymeter") && page.contains("SUBCOMMANDS"), "{page}");
    let folder = place.path("man1");
    assert!(place.run(&["man", "--out", &folder.display().to_string()]).status.success());
    assert!(folder.join("polymeter-serve.1").exists() && folder.join("polymeter-report-chargeback.1").exists());
    let reference = place.run(&["config-reference"]).stdout;
    assert!(reference.starts_with(concat!("# polymeter ", env!("CARGO_PKG_VERSION"))));
    let file = place.file("polymeter.toml", &reference);
    assert!(place.run(&["check-config", &file]).status.success(), "the reference is a configuration");
}

/// The reader's own lists of keys, as they stand in its text: lists of nothing but words in quotes.
fn keys_of_the_reader() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut keys = BTreeSet::new();
    for file in files_below(&folder) {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for list in text.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
            let words: Option<Vec<&str>> = list
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(|word| word.strip_prefix('"')?.strip_suffix('"'))
                .collect();
            let is_key = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            keys.extend(words.unwrap_or_default().into_iter().filter(is_key).map(str::to_owned));
        }
    }
    keys
}

#[test]
fn the_reference_has_every_key_that_is_read() {
    let reference = Place::new().run(&["config-reference"]).stdout;
    let words: BTreeSet<&str> =
        reference.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let keys = keys_of_the_reader();
    assert!(keys.len() > 80, "{}", keys.len());
    let missing: Vec<&String> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "deploy/polymeter.example.toml does not tell of {missing:?}");
}
