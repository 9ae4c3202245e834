//! The universe of calls: what call `n` is, what its witnesses say about it, and the row that it must become.

use polymeter::model::Timestamp;
use serde_json::{Value, json};

use super::rng::Rng;

/// Names of the followed sources; each reads a folder of its name.
pub const SOURCES: [&str; 2] = ["east", "west"];
/// The role that calls Bedrock, and the team that the configuration gives it.
pub const ROLE: (&str, &str) = ("checkout-api", "checkout");

const SECOND_US: i64 = 1_000_000;
const MODEL_ID: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// Who tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The application's span.
    Span,
    /// The provider's log.
    Log,
    /// Both: the span bears the request id of the log.
    Both,
    /// Two spans on one ancestor line: the outer has the team, the inner the tokens.
    Nested,
}

/// One call. Everything about it follows from the seed, `n` and the moment it was made.
#[derive(Clone, Debug)]
pub struct Call {
    n: u64,
    kind: Kind,
    /// The provider's word for the failure; `None` for an answer.
    error: Option<&'static str>,
    /// Start as the log has it: whole seconds.
    logged_us: i64,
    /// Start of the span, or of the outer one.
    span_us: i64,
    /// Start of the inner span.
    inner_us: i64,
    input: u64,
    output: u64,
    /// What the client counted beside the provider.
    miscounted: u64,
    service: &'static str,
    team: Option<&'static str>,
    /// Which sources deliver the log record, by their index, and how often.
    pub folders: Vec<usize>,
}

/// Words of Bedrock and of its SDKs for failures, and the outcome they are.
const FAILURES: [(&str, &str); 3] = [
    ("ThrottlingException", "throttled"),
    ("InternalServerException", "server_error"),
    ("ValidationException", "client_error"),
];

impl Call {
    /// The call `n`, made at `now_us`. Half start just now, a quarter where the horizon passes while the harness runs;
    /// the rest is late: by hours, or by days, so that days that are over get many small files to be merged.
    pub fn new(seed: u64, n: u64, now_us: i64) -> Self {
        let mut rng = Rng::new(seed, n + 1);
        let age_s = match rng.below(8) {
            0..=3 => rng.below(5),
            4 => rng.below(3 * 3600),
            5 => 5 * 24 * 3600 + rng.below(6 * 3600),
            _ => 30 + rng.below(180),
        };
        let back = |us: u64| i64::try_from(us).unwrap();
        let logged_us = (now_us / SECOND_US - back(age_s)) * SECOND_US;
        // Clocks differ: some spans start long before the log says so, and the horizon may lie in between.
        let skew = if rng.chance(25) { back(rng.below(120)) * SECOND_US } else { 0 };
        let span_us = logged_us + back(rng.below(1_000_000)) - skew;
        let first = rng.index(&SOURCES);
        let mut folders = vec![first];
        if rng.chance(25) {
            folders.push(1 - first);
        }
        if rng.chance(20) {
            folders.push(first);
        }
        let kind = match rng.below(20) {
            0..=6 => Kind::Span,
            7..=9 => Kind::Log,
            10..=16 => Kind::Both,
            _ => Kind::Nested,
        };
        Self {
            n,
            kind,
            error: rng.chance(15).then(|| rng.pick(&FAILURES).0),
            logged_us,
            span_us,
            inner_us: span_us + 1000 + back(rng.below(50_000_000)),
            input: 1 + rng.below(5000),
            output: 1 + rng.below(900),
            miscounted: if rng.chance(20) { 1 + rng.below(9) } else { 0 },
            service: rng.pick(&["shop", "search", "support"]),
            team: rng.pick(&[None, Some("growth"), Some("platform")]),
            folders,
        }
    }

    /// The spans that tell of it, each as an entry of `resourceSpans`.
    pub fn spans(&self) -> Vec<Value> {
        match self.kind {
            Kind::Log => Vec::new(),
            Kind::Span => vec![self.span(&self.outer_id(), None, self.span_us, self.team, Some(self.input))],
            Kind::Both => {
                vec![self.span(&self.outer_id(), None, self.span_us, self.team, Some(self.input + self.miscounted))]
            }
            Kind::Nested => vec![
                self.span(&self.outer_id(), None, self.span_us, self.team, None),
                self.span(&self.inner_id(), Some(self.outer_id()), self.inner_us, None, Some(self.input)),
            ],
        }
    }

    /// The provider's log record.
    pub fn record(&self) -> Option<Value> {
        if !self.is_bedrock() {
            return None;
        }
        let mut record = json!({
            "timestamp": Timestamp(self.logged_us).to_string(),
            "accountId": "111122223333",
            "region": "eu-central-1",
            "requestId": self.request_id(),
            "operation": "Converse",
            "modelId": MODEL_ID,
            "identity": {"arn": principal()},
            "schemaType": "ModelInvocationLog",
            "schemaVersion": "1.0",
        });
        match self.error {
            Some(word) => record["errorCode"] = word.into(),
            None => {
                record["input"] = json!({"inputContentType": "application/json", "inputTokenCount": self.input});
                record["output"] = json!({"outputContentType": "application/json", "outputTokenCount": self.output});
            }
        }
        Some(record)
    }

    /// Records that the archive must hold of it, each counted once.
    pub fn observations(&self) -> usize {
        self.spans().len() + usize::from(self.record().is_some())
    }

    /// What the row is found by: the provider's request id, or the trace.
    pub fn key(&self) -> String {
        if self.is_bedrock() { self.request_id() } else { self.trace_id() }
    }

    /// The row, without columns that are NULL; `key` is [`Call::key`], `ts` is in microseconds.
    pub fn row(&self) -> Value {
        let has_span = self.kind != Kind::Log;
        let logged = self.is_bedrock();
        let start = match self.kind {
            Kind::Span | Kind::Nested => self.span_us,
            Kind::Log => self.logged_us,
            Kind::Both => self.span_us.min(self.logged_us),
        };
        let (platform, model) = if logged { ("aws.bedrock", "claude-sonnet-4-5") } else { ("openai", "gpt-4o") };
        let outcome = FAILURES.iter().find(|(word, _)| self.error == Some(word)).map_or("ok", |(_, outcome)| outcome);
        let mut witnesses: Vec<_> = self.folders.iter().filter(|_| logged).map(|index| SOURCES[*index]).collect();
        if has_span {
            witnesses.push("otlp");
        }
        witnesses.sort_unstable();
        witnesses.dedup();
        let answered = self.error.is_none();
        let mut row = json!({
            "key": self.key(),
            "ts": start,
            "platform": platform,
            "model": model,
            "outcome": outcome,
            "witnesses": witnesses,
            "conflict": self.kind == Kind::Both && answered && self.miscounted > 0,
        });
        let mut set = |column: &str, value: Value| row[column] = value;
        if has_span {
            set("trace_id", self.trace_id().into());
            set("span_id", self.outer_id().into());
            set("service", self.service.into());
        }
        if answered {
            set("input_tokens", self.input.into());
            set("output_tokens", self.output.into());
        }
        if let Some(word) = self.error {
            set("error_code", word.into());
        }
        if logged {
            set("principal", principal().into());
        }
        // Where no span names a team, the role's does.
        if let Some(team) = self.team.filter(|_| has_span).or(logged.then_some(ROLE.1)) {
            set("team", team.into());
        }
        row
    }

    /// Bedrock served it, so its log tells of it.
    fn is_bedrock(&self) -> bool {
        matches!(self.kind, Kind::Log | Kind::Both)
    }

    fn request_id(&self) -> String {
        format!("{:08x}-0000-4000-8000-{:012x}", 0xCA11_u32, self.n)
    }

    fn trace_id(&self) -> String {
        format!("{:032x}", (0xCA11_u128 << 64) + u128::from(self.n) + 1)
    }

    fn outer_id(&self) -> String {
        format!("{:016x}", (1_u64 << 48) + self.n)
    }

    fn inner_id(&self) -> String {
        format!("{:016x}", (2_u64 << 48) + self.n)
    }

    fn span(&self, id: &str, parent: Option<String>, start_us: i64, team: Option<&str>, input: Option<u64>) -> Value {
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let count = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
        let (provider, model) = if self.is_bedrock() { ("aws.bedrock", MODEL_ID) } else { ("openai", "gpt-4o") };
        let mut attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", provider),
            text("gen_ai.request.model", model),
        ];
        if self.is_bedrock() {
            attributes.push(text("aws.request_id", &self.request_id()));
        }
        attributes.extend(team.map(|team| text("ai.telemetry.metadata.team", team)));
        match (self.error, input) {
            (Some(word), _) => attributes.push(text("error.type", word)),
            (None, Some(input)) => {
                attributes.push(count("gen_ai.usage.input_tokens", input));
                attributes.push(count("gen_ai.usage.output_tokens", self.output));
            }
            (None, None) => {}
        }
        let mut span = json!({
            "traceId": self.trace_id(),
            "spanId": id,
            "name": format!("chat {model}"),
            "kind": 3,
            "startTimeUnixNano": (start_us * 1000).to_string(),
            "endTimeUnixNano": ((start_us + 60_000_000) * 1000).to_string(),
            "attributes": attributes,
            "status": if self.error.is_some() { json!({"code": 2}) } else { json!({}) },
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = parent.into();
        }
        json!({
            "resource": {"attributes": [text("service.name", self.service)]},
            "scopeSpans": [{"scope": {"name": "app"}, "spans": [span]}],
        })
    }
}

fn principal() -> String {
    format!("arn:aws:sts::111122223333:assumed-role/{}/i-0a1b2c", ROLE.0)
}
