//! The commands for people at a terminal, as far as they can be told without one; `tests/full/terminal.py` has one.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::Place;
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
