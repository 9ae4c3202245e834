//! `POST /api/v1/sql` and `GET /api/v1/sql?q=…`.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::query::{Asker, Page, Params, Scalar};
use crate::serve::body::whole;
use crate::serve::etag::{etag, known};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState, Format, Writer, stream};

/// Until when the sources are complete, as JSON.
const COMPLETE_TO: HeaderName = HeaderName::from_static("x-polymeter-complete-to");

/// Whether rows are missing.
const TRUNCATED: HeaderName = HeaderName::from_static("x-polymeter-truncated");

/// Larger answers go out as they come.
const HELD_BYTES: usize = 8 << 20;

/// Body of `POST /api/v1/sql`.
#[derive(Debug, Deserialize)]
pub struct SqlRequest {
    sql: String,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    format: Option<String>,
}

/// Query string of `GET /api/v1/sql`.
#[derive(Debug, Deserialize)]
pub struct SqlQuery {
    q: Option<String>,
    format: Option<String>,
}

/// Answers the statement of the body.
pub async fn post_sql(
    State(state): State<ApiState>,
    guest: Guest,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: SqlRequest = serde_json::from_slice(&whole(&headers, body).await?).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is not what is expected: {error}"))
            .hint("send {\"sql\": \"SELECT …\", \"params\": [], \"format\": \"json\"}")
    })?;
    let format = format_of(request.format.as_deref(), &headers)?;
    guest.asks(&request.sql);
    answer(&state, &guest, &request.sql, params(request.params)?, format.into()).await
}

/// Answers the statement of `q`.
pub async fn get_sql(
    State(state): State<ApiState>,
    guest: Guest,
    headers: HeaderMap,
    query: Result<Query<SqlQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let sql = query.q.ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "missing_query", "the parameter q is missing")
            .hint("GET /api/v1/sql?q=SELECT count(*) FROM calls")
    })?;
    let format = format_of(query.format.as_deref(), &headers)?;
    guest.asks(&sql);
    answer(&state, &guest, &sql, Params::None, format.into()).await
}

/// `format` before `Accept`; JSON if neither says anything.
pub fn format_of(name: Option<&str>, headers: &HeaderMap) -> Result<Format, ApiError> {
    if let Some(name) = name {
        return Format::from_name(name).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_format", format!("there is no format '{name}'"))
                .hint("json, ndjson, csv, arrow or parquet")
        });
    }
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    Ok(accept.and_then(Format::from_accept).unwrap_or_default())
}

fn params(value: Value) -> Result<Params, ApiError> {
    match value {
        Value::Null => Ok(Params::None),
        Value::Array(values) if values.is_empty() => Ok(Params::None),
        Value::Array(values) => Ok(Params::Positional(values.into_iter().map(scalar).collect::<Result<_, _>>()?)),
        Value::Object(values) => {
            let named: Result<HashMap<_, _>, ApiError> =
                values.into_iter().map(|(name, value)| Ok((name, scalar(value)?))).collect();
            named.map(Params::Named)
        }
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_params", "params must be an array or an object")),
    }
}

fn scalar(value: Value) -> Result<Scalar, ApiError> {
    Ok(match value {
        Value::Null => Scalar::Null,
        Value::Bool(flag) => Scalar::Boolean(Some(flag)),
        Value::String(text) => Scalar::Utf8(Some(text)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Scalar::Int64(Some(whole)),
            None => Scalar::Float64(number.as_f64()),
        },
        _ => {
            let error = ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_params",
                "a parameter must be a text, number, boolean or null",
            );
            return Err(error);
        }
    })
}

/// The form of an answer, and which of its rows.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// How it is written.
    pub format: Format,
    /// Which rows.
    pub page: Page,
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        Self { format, page: Page::default() }
    }
}

/// Runs a statement and encodes its answer.
pub async fn answer(
    state: &ApiState,
    guest: &Guest,
    sql: &str,
    params: Params,
    Form { format, page }: Form,
) -> Result<Response, ApiError> {
    let view = state.view.load_full();
    let asker = Asker { exports: format != Format::Json, page, ..guest.asker() };
    let mut answer = state.engine.run_as(&view, &asker, sql, params).await?;
    let complete_to = json!(state.board.complete_to());
    let headers = [(CONTENT_TYPE, format.media_type().to_owned()), (COMPLETE_TO, complete_to.to_string())];
    let mut meta = Map::from_iter([("complete_to".to_owned(), complete_to)]);
    let (mut batches, mut bytes) = (Vec::new(), 0_usize);
    while let Some(batch) = answer.next().await? {
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        batches.push(batch);
        if bytes > HELD_BYTES {
            let body = stream::body(answer, batches, format, meta, guest.takes_line()).map_err(not_encodable)?;
            return Ok((headers, body).into_response());
        }
    }
    guest.got(batches.iter().map(RecordBatch::num_rows).sum());
    meta.insert("elapsed_ms".to_owned(), json!(answer.elapsed().as_millis()));
    meta.insert("truncated".to_owned(), json!(answer.truncated()));
    if let (Some(most), true) = (page.most, answer.truncated()) {
        meta.insert("next_offset".to_owned(), json!(page.skip.saturating_add(most)));
    }
    let truncated = [(TRUNCATED, answer.truncated().to_string())];
    let Whole { body, found } = Whole::of(&batches, answer.schema(), format, &meta).map_err(not_encodable)?;
    let mut response = (headers, truncated, body).into_response();
    response.extensions_mut().insert(found);
    Ok(response)
}

/// An answer that is held as a whole.
struct Whole {
    body: Vec<u8>,
    found: Found,
}

/// Names what an answer found.
#[derive(Clone)]
struct Found(String);

impl Whole {
    fn of(
        batches: &[RecordBatch],
        schema: SchemaRef,
        format: Format,
        meta: &Map<String, Value>,
    ) -> Result<Self, ArrowError> {
        let mut writer = Writer::new(format, schema)?;
        let mut body = writer.head();
        for batch in batches {
            body.append(&mut writer.write(batch)?);
        }
        let rows = body.len();
        body.append(&mut writer.finish(meta)?);
        // Of what was found, not of how long it took.
        let found = if format == Format::Json { body.get(..rows).unwrap_or_default() } else { &body };
        let found = Found(format!("W/{}", etag(found)));
        Ok(Self { body, found })
    }
}

/// The answer with its ETag; nothing but that where the client has it already.
pub fn tagged(mut response: Response, headers: &HeaderMap) -> Response {
    let Some(Found(tag)) = response.extensions().get::<Found>().cloned() else { return response };
    let Ok(value) = HeaderValue::from_str(&tag) else { return response };
    if known(headers, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response.headers_mut().insert(ETAG, value);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

fn not_encodable(error: ArrowError) -> ApiError {
    let message = format!("the answer can't be written in this format: {error}");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, stream::NOT_ENCODABLE, message)
}
