//! Every route on one screen.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use super::guest::{Peer, let_in};
use super::handlers::{exports, health, openapi, queries, reconcile, reports, sources, sql};
use super::listen::Connections;
use super::shrink::shrink;
use super::{ApiError, ApiState, board};
use crate::access::Tls;

/// The API.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/", get(board::page))
        .route("/board/{*path}", get(board::file))
        .route("/api/v1/sql", post(sql::post_sql).get(sql::get_sql))
        .route("/api/v1/queries", get(queries::list))
        .route("/api/v1/queries/{name}", get(queries::run))
        .route("/api/v1/reports/chargeback", get(reports::chargeback))
        .route("/api/v1/periods", get(reports::periods))
        .route("/api/v1/reports/what-if", get(reports::what_if))
        .route("/api/v1/reports/budgets", get(reports::budgets))
        .route("/api/v1/reports/variance", get(reports::variance))
        .route("/api/v1/reports/reconcile", get(reconcile::bills))
        .route("/api/v1/reports/reconcile/calls", get(reconcile::calls))
        .route("/api/v1/exports/focus", get(exports::focus))
        .route("/api/v1/sources", get(sources::list))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(|| async {
            ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
                .hint("try /api/v1/queries, /api/v1/sql?q=SELECT count(*) FROM calls, /api/v1/sources")
        })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this method is not allowed here")
        })
        .layer(from_fn(shrink))
        .layer(from_fn_with_state(state.clone(), let_in))
        .with_state(state)
}

/// Serves the API on `listener` until `shutdown` resolves, then finishes what is under way.
///
/// # Errors
/// The listener fails.
pub async fn serve_api(
    state: ApiState,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    axum::serve(Connections::accept(listener, tls)?, service).with_graceful_shutdown(shutdown).await
}
