//! `GatewayLogs` of API Management: one row per request that passed the gateway, whatever API it was for.

use super::body::Body;
use super::naming::{self, Operation, Route};
use super::record::{Fields, nested, word};
use super::row::{Row, finish, set_time, set_usage, tag};
use crate::model::{Normalized, Observation, Outcome, Witness, platform};

const DIALECT: &str = "azure.apim_gateway";

/// Parts of a path below which nothing is inference, although the API is a model's.
const MANAGING: [&str; 13] = [
    "files",
    "threads",
    "assistants",
    "vector_stores",
    "batches",
    "fine_tuning",
    "uploads",
    "evals",
    "containers",
    "conversations",
    "cancel",
    "client_secrets",
    "sessions",
];

/// Normalizes a row of the category `GatewayLogs`.
pub fn normalize(row: &Row<'_>) -> Normalized {
    let request = Request::read(row);
    if request.is_call() { finish(Ok(observe(row, request))) } else { Normalized::Skipped("not_a_call") }
}

/// The name of the gateway in column `gateway`.
pub fn gateway_name(row: &Row<'_>) -> String {
    let service = row.top.text("serviceName").or_else(|| row.resource().as_deref().and_then(naming::resource_name));
    service.map_or_else(|| "apim".to_owned(), |name| format!("apim:{}", name.to_ascii_lowercase()))
}

/// What was asked for and of whom.
struct Request {
    front: Route,
    back: Route,
    method: Option<String>,
    operation_id: Option<String>,
    question: Body,
    answer: Body,
}

impl Request {
    fn read(row: &Row<'_>) -> Self {
        let route = |name: &str| row.get(name).and_then(nested).map(|url| Route::parse(&url)).unwrap_or_default();
        let body = |names: [&str; 2]| {
            names.iter().filter_map(|name| row.get(name)).map(Body::read).find(|body| *body != Body::default())
        };
        Self {
            front: route("url"),
            back: route("backendUrl"),
            method: row.text("method").map(|method| method.to_ascii_uppercase()),
            operation_id: row.text("operationId").as_deref().and_then(word),
            question: body(["backendRequestBody", "requestBody"]).unwrap_or_default(),
            answer: body(["backendResponseBody", "responseBody"]).unwrap_or_default(),
        }
    }

    fn has(&self, part: &str) -> bool {
        self.back.has(part) || self.front.has(part)
    }

    fn route_operation(&self) -> Option<&'static str> {
        self.back.operation().or_else(|| self.front.operation())
    }

    fn is_call(&self) -> bool {
        if self.answer.is_answer() {
            return true;
        }
        let realtime = self.route_operation() == Some("realtime");
        if self.method.as_deref().is_some_and(|method| method != "POST") && !realtime {
            return false;
        }
        let inference = self.operation_id.as_deref().map(Operation::parse);
        if self.route_operation().is_some() || matches!(inference, Some(Operation::Inference(_))) {
            return true;
        }
        let of_models = ["deployments", "openai", "models"].iter().any(|part| self.has(part));
        of_models && !MANAGING.iter().any(|part| self.has(part))
    }

    fn operation(&self) -> Option<String> {
        let named = || self.operation_id.as_deref().and_then(|name| Operation::parse(name).canonical());
        self.route_operation().map(str::to_owned).or_else(named)
    }

    fn deployment(&self) -> Option<String> {
        self.back.deployment().or_else(|| self.front.deployment())
    }

    fn streaming(&self) -> Option<bool> {
        self.answer.streaming.or(self.question.streaming).or_else(|| self.answer.is_answer().then_some(false))
    }
}

fn observe(row: &Row<'_>, request: Request) -> Observation {
    let witness = if reached_backend(row) { Witness::Gateway } else { Witness::NotACall };
    let mut observation = row.observation(DIALECT, witness);
    let duration_ms = row.millis("durationMs").or_else(|| row.millis("totalTime"));
    let status = row.status("responseCode");
    let backend_status = row.status("backendResponseCode");
    let reason = row.text("lastErrorReason").as_deref().and_then(word);

    observation.gateway = Some(gateway_name(row));
    observation.gateway_request_id = row.correlation();
    observation.response_id = request.answer.id.clone();
    observation.operation = request.operation();
    observation.streaming = request.streaming();
    observation.duration_ms = duration_ms;
    observation.http_status = status.or(backend_status).or(request.answer.error_status);
    observation.outcome = outcome(observation.http_status, &request.answer, reason.as_deref());
    observation.error_code = request.answer.error_code.clone().or(reason);
    // The gateway's own subscription key is the caller's alias; the account's identity is the gateway's.
    observation.principal = row.text("apimSubscriptionId");
    name_model(row, &request, &mut observation);
    if witness == Witness::Gateway {
        let usage = request.answer.usage(observation.request_model.as_deref());
        set_usage(&mut observation, usage);
        observation.tier = request.answer.tier.clone().or_else(|| observation.tier.take());
        read_headers(row, &mut observation);
    }
    tag(&mut observation, "azure.operation", request.operation_id.clone());
    tag(&mut observation, "azure.backend_host", request.back.host.clone());
    tag(&mut observation, "azure.backend_ms", row.millis("backendTime").map(|ms| ms.to_string()));
    let differs = backend_status.filter(|code| Some(*code) != status);
    tag(&mut observation, "azure.backend_status", differs.map(|code| code.to_string()));
    for (key, field) in [("apim.api", "apiId"), ("apim.product", "productId"), ("apim.user", "userId")] {
        tag(&mut observation, key, row.text(field));
    }
    tag(&mut observation, "apim.backend", row.text("backendId"));

    set_time(&mut observation, row.time(), row.at);
    let substance = [
        request.operation_id,
        observation.http_status.map(|code| code.to_string()),
        backend_status.map(|code| code.to_string()),
        duration_ms.map(|ms| ms.to_string()),
        row.millis("backendTime").map(|ms| ms.to_string()),
        observation.deployment.clone(),
    ];
    observation.observation_id = row.id(DIALECT, observation.gateway_request_id.as_deref(), &substance);
    observation
}

/// A request that the gateway answered itself (from its cache, by a policy, by refusing it) has no backend.
fn reached_backend(row: &Row<'_>) -> bool {
    if row.text("cache").is_some_and(|cache| cache.eq_ignore_ascii_case("hit")) {
        return false;
    }
    ["backendResponseCode", "backendUrl", "backendMethod", "backendProtocol"]
        .iter()
        .any(|name| row.text(name).is_some_and(|value| value != "0"))
        || row.millis("backendTime").is_some_and(|ms| ms > 0.0)
}

fn outcome(status: Option<u16>, answer: &Body, reason: Option<&str>) -> Option<Outcome> {
    if answer.filtered {
        return Some(Outcome::ContentFiltered);
    }
    // `ClientConnectionFailure`: the caller went away, whatever code was logged for it (often 0).
    let gone = reason.is_some_and(|reason| reason.eq_ignore_ascii_case("ClientConnectionFailure"));
    match status {
        _ if gone => Some(Outcome::Cancelled),
        Some(status) => Some(Outcome::from_http_status(status)),
        None => reason.map(Outcome::from_error_name).filter(|outcome| *outcome != Outcome::Unknown),
    }
}

/// Model, deployment and platform. The backend may be no Azure service at all.
fn name_model(row: &Row<'_>, request: &Request, observation: &mut Observation) {
    let served = request.answer.model.clone();
    row.name_model(observation, request.deployment(), served.clone());
    let asked = request.question.model.clone();
    observation.request_model = match (&observation.deployment, asked) {
        (Some(_), _) => observation.request_model.take(),
        (None, asked) => asked.or_else(|| observation.request_model.take()),
    };
    let host = request.back.host.as_deref().and_then(platform::from_host);
    match host {
        Some((name, region)) if !matches!(name, platform::AZURE_OPENAI | platform::AZURE_INFERENCE) => {
            observation.platform = Some(name.to_owned());
            observation.region = region;
        }
        _ => {
            let model = served.as_deref().or(observation.request_model.as_deref());
            let anthropic = request.back.has("anthropic");
            let name = naming::platform_of(model, observation.deployment.as_deref());
            let name = if anthropic { platform::AZURE_INFERENCE } else { name };
            observation.platform = Some(name.to_owned());
        }
    }
}

/// Headers of the backend's answer, where they are logged: the provider's own request id and the region that served.
fn read_headers(row: &Row<'_>, observation: &mut Observation) {
    let text = row.get("backendResponseHeaders").and_then(nested);
    let Some(headers) = text.as_deref().and_then(Fields::parse) else { return };
    observation.provider_request_id = headers.word("apim-request-id").map(|id| id.to_ascii_lowercase());
    observation.served_region = headers.text("x-ms-region").as_deref().and_then(naming::region);
}
