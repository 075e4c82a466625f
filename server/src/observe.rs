//! What a server does, counted and timed: a span for each request, and metrics beside it.
//!
//! Routes, methods, statuses, verdicts and numbers; never a user, a device, a table, a row or a value. Spans are `tracing`'s.
//! Metrics go to the global meter provider of OpenTelemetry, where the feature `otel` is on and a host has set one before the
//! first server was opened; else they cost nothing.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod on;

#[cfg(not(feature = "otel"))]
pub(crate) use off::{compacted, mutation, pulled, request_ended, snapshotted, stands_under};
#[cfg(feature = "otel")]
pub(crate) use on::{
    compacted, count, meter, mutation, pulled, request_ended, snapshotted, stands_under, start,
};

/// What is exported; what else the process tells of itself stays in its log.
#[cfg(feature = "otel")]
pub(crate) const TARGET: &str = "rejoin_server::request";

/// A request that was answered.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) method: &'static str,
    /// As it was declared, with no part that a peer could choose.
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) seconds: f64,
}

/// Times a request and everything that is done for it.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let route = route.to_owned();
    let span = tracing::info_span!(
        target: "rejoin_server::request",
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    stands_under(&span, request.headers());
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    request_ended(&Ended { method, route, status, seconds: begun.elapsed().as_secs_f64() });
    response
}

/// The part of a request that asks the database.
pub(crate) fn work(doing: &'static str) -> Span {
    tracing::info_span!(target: "rejoin_server::request", "work", otel.name = doing)
}

/// A peer may invent methods; their names are its own.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "_OTHER",
    }
}
