//! A look as text: a line of sums, a line for each platform and model, and sources that are late.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;

use super::Row;
use crate::model::Timestamp;

/// So far behind a source is late.
const LATE_S: u64 = 600;
const HEAD: [&str; 11] = [
    "PLATFORM",
    "MODEL",
    "CALLS/MIN",
    "ERRORS",
    "THROTTLED",
    "P50 MS",
    "P95 MS",
    "TTFT P95",
    "TOKENS/MIN",
    "SPEND/MIN",
    "",
];

/// The whole picture. What is not known is `–`.
pub fn table(rows: &[Row], sources: &[(String, Value)], window: Duration, now: Timestamp) -> String {
    let minutes = window.as_secs() / 60;
    let calls: u64 = rows.iter().map(|row| row.calls).sum();
    let mut spend: BTreeMap<&str, Decimal> = BTreeMap::new();
    for row in rows {
        if let (Some(currency), Some(cost)) = (&row.currency, cost(row)) {
            *spend.entry(currency).or_default() += cost;
        }
    }
    let spend: Vec<String> = spend.iter().map(|(currency, cost)| a_minute(*cost, window, currency)).collect();
    let mut text = format!(
        "polymeter  {now}  last {} min: {} calls/min, {} a minute\n\n",
        minutes,
        rate(calls, window),
        if spend.is_empty() { "–".to_owned() } else { spend.join(" + ") }
    );
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "–".to_owned());
        let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
        [
            name(&row.platform),
            name(&row.model),
            rate(row.calls, window),
            share(row.error_rate),
            share(row.throttle_rate),
            ms(row.p50_ms),
            ms(row.p95_ms),
            ms(row.ttft_p95_ms),
            row.tokens.map_or_else(|| "–".to_owned(), |tokens| rate(tokens, window)),
            cost(row).map_or_else(|| "–".to_owned(), |cost| a_minute(cost, window, "").trim().to_owned()),
            row.currency.clone().unwrap_or_default(),
        ]
    }));
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at < 2 || at == HEAD.len() - 1 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let line: Vec<String> = cells.collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    if rows.is_empty() {
        text.push_str("no calls in this time\n");
    }
    let late = sources.iter().filter(|(_, source)| lag(source).is_some_and(|lag| lag > LATE_S));
    for (name, source) in late {
        let error = source.get("last_error").and_then(Value::as_str);
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        let _ = writeln!(text, "\n! {name} is late by {} s{error}", lag(source).unwrap_or_default());
    }
    text
}

fn lag(source: &Value) -> Option<u64> {
    source.get("lag_s")?.as_u64()
}

fn cost(row: &Row) -> Option<Decimal> {
    let written = row.cost.as_ref()?.get().trim_matches('"');
    Decimal::from_str(written).or_else(|_| Decimal::from_scientific(written)).ok()
}

/// Rounded for the eye; sums are what reports are for.
fn a_minute(cost: Decimal, window: Duration, currency: &str) -> String {
    let minutes = Decimal::from(window.as_secs().max(1)) / Decimal::from(60);
    format!("{} {currency}", (cost / minutes).round_dp(4))
}

fn rate(count: u64, window: Duration) -> String {
    let rate = Decimal::from(count) * Decimal::from(60) / Decimal::from(window.as_secs().max(1));
    let digits = if rate >= Decimal::from(100) { 0 } else { 1 };
    rate.round_dp(digits).to_string()
}

fn share(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_look_says_what_is_known_and_what_is_late() {
        let rows: Vec<Row> = serde_json::from_str(
            r#"[{"platform":"aws.bedrock","model":"claude-sonnet-4","currency":"USD","calls":600,"error_rate":0.015,
                 "throttle_rate":0.0,"p50_ms":812.4,"p95_ms":2100.0,"ttft_p95_ms":null,"tokens":50000,"cost":1.25},
                {"platform":"openai","model":null,"currency":null,"calls":3,"error_rate":null,"throttle_rate":null,
                 "p50_ms":null,"p95_ms":null,"ttft_p95_ms":null,"tokens":null,"cost":null}]"#,
        )
        .unwrap();
        let sources = [
            ("bedrock".to_owned(), json!({"lag_s": 3600, "last_error": "access denied"})),
            ("otlp".to_owned(), json!({"lag_s": 2})),
        ];
        let text = table(&rows, &sources, Duration::from_secs(300), Timestamp(0));
        assert!(text.contains("121 calls/min, 0.25 USD a minute"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].contains("120") && lines[3].contains("1.5 %") && lines[3].ends_with("0.25  USD"), "{text}");
        assert!(lines[4].contains("0.6") && lines[4].contains('–') && !lines[4].contains("0 %"), "{text}");
        assert!(
            text.contains("! bedrock is late by 3600 s: access denied") && !text.contains("otlp is late"),
            "{text}"
        );
        assert!(table(&[], &[], Duration::from_secs(60), Timestamp(0)).contains("no calls"));
    }
}
