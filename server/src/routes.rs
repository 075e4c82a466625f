//! HTTP: paths, methods, bodies and errors; the engine makes all decisions.
//!
//! Errors to a plain peer have v0.1.2's form. A Rejoin peer (header `Rejoin-Protocol`, or `rejoin`
//! in the body) also gets a code and whether a retry may succeed.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use rejoin_protocol::PROTOCOL_HEADER;
use rejoin_protocol::wire::{ErrorBody, code};
use serde::Serialize;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::Shared;
use crate::error::{Fault, Refusal};
use crate::observe;
use crate::ready;

mod body;
mod door;
mod events;
mod exchange;
mod log;
mod pages;

/// Seconds after which a client should retry a busy server.
const RETRY_AFTER: u64 = 5;

/// The level of gzip and of zstd. gzip's default, 6, takes twice the time for 2 % fewer bytes.
const LEVEL: i32 = 4;

/// The routes of one server.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", only("GET", get(healthz)))
        .route("/readyz", only("GET", get(readyz)))
        .route("/sync/register", only("POST", post(exchange::register)))
        .route("/sync/pull", only("POST", post(exchange::pull)))
        .route("/sync/push", only("POST", post(exchange::push)))
        .route("/sync/stage", only("POST", post(exchange::stage)))
        .route("/sync/snapshot", only("POST", post(exchange::snapshot)))
        .route("/sync/pages/{address}", only("GET", get(pages::page)))
        .route("/sync/tables", only("GET", get(exchange::tables)))
        .route("/sync/schema", only("GET", get(exchange::schema)))
        .route("/sync/digest", only("GET", get(exchange::digest)))
        .route("/sync/events", only("GET", get(events::events)))
        .route("/log/publish", only("POST", post(log::publish)))
        .route("/log/fetch", only("POST", post(log::fetch)))
        .route("/log/snapshot", only("POST", post(log::snapshot)))
        .route("/log/rows", only("POST", post(log::rows)))
        .route("/log/correct", only("POST", post(log::correct)))
        .with_state(shared)
        .layer(CompressionLayer::new().quality(CompressionLevel::Precise(LEVEL)))
        .layer(axum::middleware::map_response(bare))
        .layer(RequestDecompressionLayer::new())
        .layer(axum::middleware::from_fn(uncached))
        .layer(axum::middleware::from_fn(observe::request))
}

/// How the header of a response begins that caches may keep.
const PUBLIC: &str = "public";

/// The header of all other responses.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");

/// Removes headers about compression from uncompressed responses: plain peers do not expect them. Caches do. The
/// compression refuses a client that accepts no encoding; that is no page for caches.
async fn bare(mut response: Response) -> Response {
    let is_public = |value: &HeaderValue| value.as_bytes().starts_with(PUBLIC.as_bytes());
    let mut is_public = response.headers().get(header::CACHE_CONTROL).is_some_and(is_public);
    if is_public && response.status() != StatusCode::OK {
        response.headers_mut().insert(header::CACHE_CONTROL, PRIVATE);
        is_public = false;
    }
    if !is_public && !response.headers().contains_key(header::CONTENT_ENCODING) {
        response.headers_mut().remove(header::VARY);
    }
    response
}

/// Forbids caches to store what a device gets: it belongs to one user and one moment. A proxy that kept
/// an error or an old schema would pass it on after the server has changed. Plain peers get the headers
/// of v0.1.2.
async fn uncached(request: Request, next: Next) -> Response {
    let is_plain = !request.headers().contains_key(PROTOCOL_HEADER);
    let mut response = next.run(request).await;
    if !is_plain {
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(PRIVATE);
    }
    response
}

type Served = MethodRouter<Arc<Shared>>;

/// Answers other methods as v0.1.2 does.
fn only(allowed: &'static str, route: Served) -> Served {
    route.fallback(move || async move {
        let body =
            ErrorBody { error: Some(String::from("method not allowed")), ..ErrorBody::default() };
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &body);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        response
    })
}

/// 200 if the store responds, otherwise 503.
async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.hub.epoch().await {
        Ok(_) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        _ => json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": "failing" })),
    }
}

/// Names the failing checks; without credentials, and without database messages.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let readiness = ready::look_in_time(&shared).await;
    let status =
        if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &readiness.body())
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let kind = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, kind)], bytes).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether the header requests the extensions.
fn asks_for_extensions(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_HEADER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok())
        .is_some_and(|version| version >= 1)
}

/// The response to a fault, in the form of the peer's protocol. Server failures are logged at a
/// limited rate.
fn refused(shared: &Shared, fault: &Fault, extended: bool, doing: &'static str) -> Response {
    let count = |status| shared.failures.count((doing, status));
    let (status, mut body) = match fault {
        Fault::Refused(refusal) => (refusal.status, body_of(refusal)),
        Fault::Transient(why) | Fault::Collision(why) => {
            if let Some(count) = count(503) {
                tracing::warn!(why, doing, count, "busy");
            } else {
                tracing::debug!(why, doing, "busy");
            }
            (503, unavailable())
        }
        Fault::Internal(_) | Fault::Schema(_) | Fault::Stale(_) | Fault::Undone => {
            if let Some(count) = count(500) {
                tracing::error!(%fault, doing, count, "failed");
            } else {
                tracing::debug!(%fault, doing, "failed");
            }
            (500, internal(doing))
        }
    };
    let retry_after = body.retry_after;
    if !extended {
        // v0.1.2 uses `message` and `code` in a 409, and `error` elsewhere.
        let (error, code, message) = (body.error.take(), body.code.take(), body.message.take());
        body = if status == 409 {
            ErrorBody { code, message, retryable: None, epoch: None, ..body }
        } else {
            ErrorBody { error, retryable: None, epoch: None, ..body }
        };
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn body_of(refusal: &Refusal) -> ErrorBody {
    let mut body = refusal.body.clone();
    body.code = Some(String::from(refusal.code));
    body.retryable = Some(refusal.retryable);
    body.message = Some(refusal.message.clone());
    body.error = Some(refusal.message.clone());
    body
}

fn unavailable() -> ErrorBody {
    ErrorBody {
        error: Some(String::from("service temporarily unavailable")),
        message: Some(String::from("service temporarily unavailable")),
        code: Some(String::from(code::UNAVAILABLE)),
        retryable: Some(true),
        retry_after: Some(RETRY_AFTER),
        ..ErrorBody::default()
    }
}

fn internal(doing: &str) -> ErrorBody {
    ErrorBody {
        error: Some(format!("failed to {doing}")),
        message: Some(format!("failed to {doing}")),
        code: Some(String::from(code::INTERNAL)),
        retryable: Some(true),
        ..ErrorBody::default()
    }
}
