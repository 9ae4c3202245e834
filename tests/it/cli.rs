//! The command line: mistakes of a user end with one clear line.

use std::net::TcpListener;

use crate::harness::{Finished, Place};

/// One line on standard error that starts with `error:` and holds all of `parts`; no success.
pub fn one_clear_line(done: &Finished, parts: &[&str]) {
    assert!(!done.status.success(), "it did not fail: {}", done.stdout);
    let errors: Vec<_> = done.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "more than one line:\n{}", done.stderr);
    no_panic(done);
    for part in parts {
        assert!(errors[0].contains(part), "'{part}' is not in: {}", errors[0]);
    }
}

fn no_panic(done: &Finished) {
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!done.stderr.contains(word), "{}", done.stderr);
    }
}

/// Arguments of a server on free ports.
fn serve<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["serve", "--data", data];
    for option in ["--http", "--pg", "--otlp-grpc", "--otlp-http"] {
        if !more.contains(&option) {
            args.extend([option, "127.0.0.1:0"]);
        }
    }
    args.extend(more);
    args
}

#[test]
fn a_busy_port_is_told_with_the_option_that_helps() {
    let place = Place::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    for option in ["--http", "--pg", "--otlp-grpc", "--otlp-http"] {
        let done = place.run(&serve(&place.data(), &[option, &address]));
        one_clear_line(&done, &[&address, option]);
    }
}

#[test]
fn a_data_directory_that_can_not_be_made_is_told() {
    let place = Place::new();
    let file = place.file("in-the-way", "a file");
    one_clear_line(&place.run(&serve(&file, &[])), &["in-the-way"]);
    let below = format!("{file}/below");
    one_clear_line(&place.run(&serve(&below, &[])), &["in-the-way"]);
    let log = place.file("log.json", "{}\n");
    one_clear_line(&place.run(&["import", "bedrock", &log, "--data", &below]), &["in-the-way"]);
    one_clear_line(&place.run(&["import", "bedrock", &log, "--data", "ftp://host/data"]), &["ftp://host/data"]);
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let server = place.serve();
    one_clear_line(&place.run(&serve(&place.data(), &[])), &["another polymeter", "--data"]);
    assert_eq!(server.get("/healthz").status, 200);
    server.stop();
}

#[test]
fn sql_on_an_empty_place_says_what_to_do_and_makes_nothing() {
    let place = Place::new();
    let done = place.run(&["sql", "SELECT 1", "--data", &place.text("nothing")]);
    one_clear_line(&done, &["nothing", "polymeter serve"]);
    assert!(!place.path("nothing").exists());
}

#[test]
fn sql_with_a_mistake_says_which() {
    let place = Place::new();
    place.serve().stop();
    let data = place.data();
    one_clear_line(&place.run(&["sql", "SELECT nonsense FROM calls", "--data", &data]), &["nonsense"]);
    one_clear_line(&place.run(&["sql", "SELEC 1", "--data", &data]), &[]);
    one_clear_line(&place.run(&["sql", "DELETE FROM calls", "--data", &data]), &["SELECT"]);
}

#[test]
fn an_import_of_nothing_says_so() {
    let place = Place::new();
    let data = place.data();
    one_clear_line(&place.run(&["import", "bedrock", "nowhere", "--data", &data]), &["nowhere"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    one_clear_line(&place.run(&["import", "azure", &place.text("empty"), "--data", &data]), &["empty"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let place = Place::new();
    let config = place.file("polymeter.toml", "[http]\nlisen = '127.0.0.1:0'\n");
    let done = place.run(&serve(&place.data(), &["--config", &config]));
    one_clear_line(&done, &["polymeter.toml", "http.lisen", "'listen'"]);
    assert!(!place.path("data").exists(), "nothing is made before the configuration is right");
}

#[test]
fn check_config_tells_all_errors_at_once() {
    let place = Place::new();
    let text = "dta = 'x'\n[http]\nlisten = 'nowhere'\n[settle]\ninterval_s = 0\n[[source]]\nname = 'a'\nkind = 'bedrok'\nlocation = 'b'\n";
    let wrong = place.file("wrong.toml", text);
    let done = place.run(&["check-config", &wrong]);
    assert!(!done.status.success());
    no_panic(&done);
    for part in ["error:", "wrong.toml", "'dta'", "'data'", "http.listen", "settle.interval_s", "'bedrok'", "'bedrock'"]
    {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let right = place.file("right.toml", "[[source]]\nname = 'a'\nkind = 'bedrock'\nlocation = 'logs'\n");
    let done = place.run(&["check-config", &right]);
    assert!(done.status.success(), "{}", done.stderr);
    assert!(done.stdout.contains("1 source"), "{}", done.stdout);
    let broken = place.file("broken.toml", "[http\n");
    assert!(!place.run(&["check-config", &broken]).status.success());
    one_clear_line(&place.run(&["check-config", "no-such-file.toml"]), &["no-such-file.toml"]);
}

#[test]
fn help_tells_every_command_and_a_wrong_one_fails() {
    let place = Place::new();
    let help = place.run(&["--help"]);
    assert!(help.status.success());
    for command in ["serve", "import", "sql", "check-config"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
        let own = place.run(&[command, "--help"]);
        assert!(own.status.success() && !own.stdout.is_empty(), "{command}");
    }
    assert!(place.run(&["--version"]).stdout.contains(env!("CARGO_PKG_VERSION")));
    let wrong = place.run(&["serv"]);
    assert!(!wrong.status.success());
    assert!(wrong.stderr.starts_with("error:") && wrong.stderr.contains("serve"), "{}", wrong.stderr);
}
