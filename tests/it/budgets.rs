//! Budgets of a running server: metrics, report, and alerts that are sent once to receivers that fail and hang.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place, eventually, files_below};
use crate::ops::told;
use crate::records::{now_us, span, spans};

/// The path of a webhook is its password.
const SECRET: &str = "hooks-0f1e2d3c4b5a";

/// A receiver of alerts: sends on what it gets, path and body. It answers 500 so many times first.
struct Hook {
    url: String,
    got: Receiver<(String, Value, u16)>,
}

fn hook(failures: usize) -> Hook {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, got) = channel();
    std::thread::spawn(move || {
        let mut left = failures;
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let status = if left > 0 { 500 } else { 200 };
            left = left.saturating_sub(1);
            if answer(stream, status, &sender).is_none() {
                return;
            }
        }
    });
    Hook { url, got }
}

fn answer(mut stream: TcpStream, status: u16, sender: &Sender<(String, Value, u16)>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut path, mut length) = (String::new(), 0_usize);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return Some(());
        }
        if path.is_empty() {
            path = line.split_whitespace().nth(1)?.to_owned();
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    sender.send((path, serde_json::from_slice(&body).ok()?, status)).ok()
}

/// Accepts and never answers.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let kept: Vec<_> = listener.incoming().collect();
        drop(kept);
    });
    url
}

impl Hook {
    /// The next that was taken: path and body.
    fn next(&self) -> (String, Value) {
        loop {
            let (path, body, status) = self.got.recv_timeout(PATIENCE).expect("an alert");
            if status == 200 {
                return (path, body);
            }
        }
    }
}

#[test]
fn thresholds_are_told_once_whatever_receivers_do() {
    let place = Place::new();
    let (chat, manager, hung) = (hook(2), hook(0), silent());
    let chat_url = place.file("hook-url", format!("{}/{SECRET}\n", chat.url));
    let config = format!(
        "[settle]\ninterval_s = 1\n[alerts]\ninterval_s = 1\n\
         [[budget]]\nname = 'shop'\namount = '0.001'\ncurrency = 'USD'\nfilter = {{ service = 'shop' }}\nthresholds = [50, 100]\n\
         [[budget]]\nname = 'calm'\namount = 1000000\ncurrency = 'USD'\n\
         [[alert]]\nname = 'hung'\nkind = 'webhook'\nurl = '{hung}'\n\
         [[alert]]\nname = 'chat'\nkind = 'webhook'\nurl_file = '{chat_url}'\n\
         [[alert]]\nname = 'manager'\nkind = 'alertmanager'\nurl = '{}'\n",
        manager.url
    );
    let server = place.serve_with(&config, &[]);
    let start = now_us() - 5_000_000;
    server.export(&spans((0..20).map(|n| span(1, n, start)).collect()));

    let mut seen = Vec::new();
    for _ in 0..2 {
        let (path, body) = chat.next();
        assert_eq!(path, format!("/{SECRET}"));
        assert_eq!(
            (&body["type"], &body["budget"], &body["kind"]),
            (&json!("budget_threshold"), &json!("shop"), &json!("reached"))
        );
        assert!(body["text"].as_str().unwrap().contains("budget shop has reached"), "{body}");
        seen.push(body["threshold_percent"].as_str().unwrap().to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["100", "50"]);
    for _ in 0..2 {
        let (path, body) = manager.next();
        assert_eq!(path, "/api/v2/alerts");
        assert_eq!(body[0]["labels"]["alertname"], "PolymeterBudget");
        assert!(body[0]["endsAt"].as_str().unwrap() > body[0]["startsAt"].as_str().unwrap());
    }
    // One of them hangs, and everything else goes on.
    server.export(&spans((20..30).map(|n| span(1, n, start)).collect()));
    eventually("calls are counted", PATIENCE, || (server.number("SELECT count(*) FROM calls") == 30).then_some(()));
    let metrics = server.get("/metrics").text();
    for name in ["polymeter_budget_spent{", "polymeter_budget_forecast{", "polymeter_budget_amount{"] {
        assert!(metrics.lines().any(|line| line.starts_with(name) && line.contains("shop")), "{name}: {metrics}");
    }
    let reply = server.get("/api/v1/reports/budgets");
    let budgets = reply.json()["budgets"].clone();
    assert_eq!((&budgets[0]["state"], &budgets[1]["state"]), (&json!("over"), &json!("ok")), "{budgets}");
    assert!(server.get("/api/v1/reports/budgets?format=csv").text().contains("shop,service shop,"));
    assert_eq!(server.get("/api/v1/reports/budgets?month=2026-1").status, 400);
    let errors = server.stderr();
    assert!(errors.contains("budget alert not sent") && errors.contains("chat"), "{errors}");
    assert!(!errors.contains(SECRET), "{errors}");
    server.stop();

    // After a restart, what was sent is known: only a new budget is told, and it comes last.
    let more = "[[budget]]\nname = 'newer'\namount = '0.001'\ncurrency = 'USD'\nthresholds = [100]\n";
    let server = place.serve_with(&format!("{config}{more}"), &[]);
    assert_eq!(chat.next().1["budget"], "newer");
    assert_eq!(manager.next().1[0]["labels"]["budget"], "newer");
    server.stop();
    assert!(chat.got.try_recv().is_err() && manager.got.try_recv().is_err());
    let kept = files_below(&place.path("data"));
    assert!(kept.iter().any(|file| file.to_string_lossy().contains("/alerts/")), "{kept:?}");
    for file in kept {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", file.display());
    }
    // The same without a server.
    let config = place.file("polymeter.toml", &config);
    let data = place.data();
    let done = place.run(&["report", "budgets", "--config", &config, "--data", &data, "--format", "json"]);
    assert!(done.status.success(), "{}", done.stderr);
    assert_eq!(told(&done)["budgets"][0]["state"], "over");
    let none = place.run(&["report", "budgets", "--data", &data]);
    assert!(!none.status.success() && none.stderr.contains("no [[budget]]"), "{}", none.stderr);
}
