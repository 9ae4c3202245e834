//! A month of calls is billed, and again without the program: the Python script of the full run, on fewer calls.

use std::process::Command;

const CALLS: &str = "20000";

#[test]
fn the_report_is_what_somebody_else_computes() {
    let binary = std::env::var_os("POLYMETER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_polymeter").into());
    let script = format!("{}/tests/full/recompute.py", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.args([script.as_str(), "--calls", CALLS]).env("POLYMETER_BIN", binary).env("PYTHONDONTWRITEBYTECODE", "1");
    for variable in ["POLYMETER_DATA", "POLYMETER_CONFIG"] {
        command.env_remove(variable);
    }
    let Ok(done) = command.output() else {
        println!("skipped: there is no python3");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{out}");
    assert!(done.status.success() && out.contains("the report is what was recomputed"), "{out}{err}");
}
