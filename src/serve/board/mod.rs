//! The board at `/`: a static page of a few files that are part of the binary. It asks the API like any other client.
//!
//! The files hold no data, so everybody may load them; what they ask for needs what the API needs.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::ApiError;
use super::etag::{etag, known};

/// Nothing but our own files and the API of this address; no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct File {
    name: &'static str,
    content: &'static [u8],
    etag: String,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!($name).as_slice())),+]
    };
}

/// All of them; below `/board/`, the first at `/`.
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = files![
        "index.html",
        "api.js",
        "board.css",
        "chart.js",
        "console.js",
        "dom.js",
        "editor.js",
        "empty.js",
        "exact.js",
        "filters.js",
        "format.js",
        "fresh.js",
        "health.js",
        "icon.svg",
        "latency.js",
        "login.js",
        "main.js",
        "overview.js",
        "panel.js",
        "range.js",
        "sources.js",
        "spend.js",
        "state.js",
        "table.js",
        "theme.js",
        "time.js",
        "vendor/editor.js",
        "vendor/uplot.css",
        "vendor/uplot.js",
    ];
    files.into_iter().map(|(name, content)| File { name, content, etag: etag(content) }).collect()
});

/// `GET /`.
pub async fn page(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// `GET /board/{*path}`.
pub async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        let error = ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such file of the page");
        return error.hint("the page is at /").into_response();
    };
    let told = [
        (CONTENT_TYPE, media_type(file.name)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        // Asked for each time and answered with 304: a new version is there at once.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, file.etag.as_str()),
    ];
    if known(headers, &file.etag) {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, file.content).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
