//! `POST /api/v1/sql` and `GET /api/v1/sql?q=…`.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::query::{Asker, Page, Params, Scalar};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState, Format, encode, stream};

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
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let request: SqlRequest = serde_json::from_slice(&body?).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is not what is expected: {error}"))
            .hint("send {\"sql\": \"SELECT …\", \"params\": [], \"format\": \"json\"}")
    })?;
    let format = format_of(request.format.as_deref(), &headers)?;
    guest.asks(&request.sql);
    answer(&state, &guest, &request.sql, params(request.params)?, (format, Page::default())).await
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
    answer(&state, &guest, &sql, Params::None, (format, Page::default())).await
}

/// `format` before `Accept`; JSON if neither says anything.
pub fn format_of(name: Option<&str>, headers: &HeaderMap) -> Result<Format, ApiError> {
    if let Some(name) = name {
        return Format::from_name(name).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_format", format!("there is no format '{name}'"))
                .hint("json, ndjson, csv, arrow or parquet")
        });
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
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

/// Runs a statement and encodes its answer.
pub async fn answer(
    state: &ApiState,
    guest: &Guest,
    sql: &str,
    params: Params,
    (format, page): (Format, Page),
) -> Result<Response, ApiError> {
    let view = state.view.load_full();
    let asker = Asker { exports: format != Format::Json, page, ..guest.asker() };
    let mut answer = state.engine.run_as(&view, &asker, sql, params).await?;
    let schema = answer.schema();
    let complete_to = state.board.complete_to();
    let (mut batches, mut bytes) = (Vec::new(), 0_usize);
    while let Some(batch) = answer.next().await? {
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        batches.push(batch);
        if bytes > HELD_BYTES {
            let meta = Map::from_iter([("complete_to".to_owned(), json!(complete_to))]);
            let body = stream::body(answer, batches, format, meta, guest.streams()).map_err(not_encodable)?;
            let headers = [
                (header::CONTENT_TYPE, format.media_type().to_owned()),
                (header::HeaderName::from_static("x-polymeter-complete-to"), json!(complete_to).to_string()),
            ];
            return Ok((headers, body).into_response());
        }
    }
    guest.got(batches.iter().map(RecordBatch::num_rows).sum());
    // Of what was found, not of how long it took.
    let mut mark = Sha256::new();
    let body = match format {
        Format::Json => {
            let mut meta = Map::new();
            meta.insert("elapsed_ms".to_owned(), json!(answer.elapsed().as_millis()));
            meta.insert("complete_to".to_owned(), json!(complete_to));
            meta.insert("truncated".to_owned(), json!(answer.truncated()));
            if let (Some(most), true) = (page.most, answer.truncated()) {
                meta.insert("next_offset".to_owned(), json!(page.skip.saturating_add(most)));
            }
            let rows = encode::json_rows(&batches).map_err(not_encodable)?;
            rows.iter().for_each(|row| mark.update(row.get()));
            serde_json::to_vec(&JsonAnswer { columns: encode::columns(&schema), rows, meta: Value::Object(meta) })
                .unwrap_or_default()
        }
        Format::Ndjson => encode::ndjson(&batches).map_err(not_encodable)?,
        Format::Csv => encode::csv(&schema, &batches).map_err(not_encodable)?,
        Format::Arrow => encode::arrow_stream(&schema, &batches).map_err(not_encodable)?,
        Format::Parquet => encode::parquet(&schema, &batches).map_err(not_encodable)?,
    };
    if format != Format::Json {
        mark.update(&body);
    }
    let mark = mark.finalize().iter().take(12).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let truncated = if answer.truncated() { "true" } else { "false" };
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::HeaderName::from_static("x-polymeter-truncated"), truncated.to_owned()),
        (header::HeaderName::from_static("x-polymeter-complete-to"), json!(complete_to).to_string()),
    ];
    let mut response = (headers, body).into_response();
    response.extensions_mut().insert(Mark(format!("W/\"{mark}\"")));
    Ok(response)
}

/// Names what an answer found.
#[derive(Clone)]
struct Mark(String);

/// The answer with its ETag; nothing but that where the client has it already.
pub fn tagged(mut response: Response, headers: &HeaderMap) -> Response {
    let Some(Mark(mark)) = response.extensions().get::<Mark>().cloned() else { return response };
    let Ok(value) = HeaderValue::from_str(&mark) else { return response };
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|known| known.to_str().ok());
    if known.flat_map(|known| known.split(',')).any(|known| known.trim() == mark || known.trim() == "*") {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response.headers_mut().insert(header::ETAG, value);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// The JSON form of an answer.
#[derive(Serialize)]
struct JsonAnswer {
    columns: Vec<Value>,
    rows: Vec<Box<RawValue>>,
    meta: Value,
}

fn not_encodable(error: ArrowError) -> ApiError {
    let message = format!("the answer can't be written in this format: {error}");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_encodable", message)
}
