//! Observability: a span for each request, and metrics.
//!
//! Recorded are routes, methods, statuses, verdicts and numbers, never users, devices, tables, rows
//! or values. Only the line of a request at level `debug`, which stays in the process's log, has the
//! device and a hash of the user. Spans use `tracing`. Metrics go to OpenTelemetry's global meter provider, if the
//! feature `otel` is enabled and a host has set a provider before the first server was opened.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, Method};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod on;

#[cfg(not(feature = "otel"))]
pub(crate) use off::{
    compacted, limited, mutation, pulled, request_ended, snapshotted, stands_under,
};
#[cfg(feature = "otel")]
pub(crate) use on::{
    compacted, count, limited, meter, mutation, pulled, request_ended, snapshotted, stands_under,
    start,
};

/// The exported targets; everything else stays in the process's log.
#[cfg(feature = "otel")]
pub(crate) const TARGET: &str = "rejoin_server::request";

/// A completed request.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) method: &'static str,
    /// As declared, without parts chosen by the client.
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) seconds: f64,
}

/// Who has sent a request, for its line in the log; filled while the request is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sender(Arc<(OnceLock<String>, OnceLock<String>)>);

impl Sender {
    /// The sender of the request with these extensions, if its line is logged.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// The first 8 hexadecimal digits of the SHA-256 of the user's id: enough to follow one user.
    pub(crate) fn is_user(&self, user: &str) {
        let digits = || {
            let digest = Sha256::digest(user);
            format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
        };
        self.0.0.get_or_init(digits);
    }

    pub(crate) fn is_device(&self, client_id: &str) {
        self.0.1.get_or_init(|| client_id.to_owned());
    }
}

/// Times a request and its spans.
pub(crate) async fn request(mut request: Request, next: Next) -> Response {
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
    let sender = Sender::default();
    if tracing::enabled!(tracing::Level::DEBUG) {
        request.extensions_mut().insert(sender.clone());
    }
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    let ended = Ended { method, route, status, seconds: begun.elapsed().as_secs_f64() };
    let Ended { method, route, status, seconds } = &ended;
    let (user, device) = (sender.0.0.get(), sender.0.1.get());
    tracing::debug!(method, route, status, seconds, user, device, "answered");
    request_ended(&ended);
    response
}

/// The database part of a request.
pub(crate) fn work(doing: &'static str) -> Span {
    tracing::info_span!(target: "rejoin_server::request", "work", otel.name = doing)
}

/// Clients may send arbitrary methods; unknown ones are not recorded by name.
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
