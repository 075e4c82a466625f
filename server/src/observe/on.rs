//! The metrics, as OpenTelemetry instruments.

use std::sync::OnceLock;

use axum::http::HeaderMap;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Ended;

/// In seconds, as in the semantic conventions.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

struct Meters {
    requests: Histogram<f64>,
    mutations: Counter<u64>,
    pulled: Counter<u64>,
    snapshotted: Counter<u64>,
    compacted: Counter<u64>,
    limited: Counter<u64>,
}

pub(crate) fn meter() -> Meter {
    global::meter("rejoin-server")
}

/// Creates the instruments. The counts of rows and entries are reported from the start: one without a number is not.
pub(crate) fn start() {
    let meters = meters();
    for counter in [&meters.pulled, &meters.snapshotted, &meters.compacted] {
        counter.add(0, &[]);
    }
}

fn meters() -> &'static Meters {
    static METERS: OnceLock<Meters> = OnceLock::new();
    METERS.get_or_init(|| {
        let counter = |name: &'static str, unit: &'static str, about: &'static str| {
            meter().u64_counter(name).with_unit(unit).with_description(about).build()
        };
        Meters {
            requests: meter()
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Requests by route and status")
                .with_boundaries(BOUNDS.to_vec())
                .build(),
            mutations: counter("rejoin.push.mutations", "{mutation}", "Pushed, by verdict"),
            pulled: counter("rejoin.pull.rows", "{row}", "Rows and deletes that pulls brought"),
            snapshotted: counter("rejoin.snapshot.rows", "{row}", "Rows that snapshots brought"),
            compacted: counter(
                "rejoin.compaction.entries",
                "{entry}",
                "Entries of the log that went",
            ),
            limited: counter(
                "rejoin.limit.refusals",
                "{refusal}",
                "What users have to send later, by the limit per hour that they reached",
            ),
        }
    })
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Makes the span a child of the one in the request's `traceparent` header.
pub(crate) fn stands_under(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Fails without a tracing layer, where there is nothing to do.
        let _ = span.set_parent(context);
    }
}

pub(crate) fn request_ended(ended: &Ended) {
    meters().requests.record(
        ended.seconds,
        &[
            KeyValue::new("http.request.method", ended.method),
            KeyValue::new("http.route", ended.route.clone()),
            KeyValue::new("http.response.status_code", i64::from(ended.status)),
        ],
    );
}

pub(crate) fn mutation(verdict: &'static str, number: usize) {
    if number > 0 {
        meters().mutations.add(count(number), &[KeyValue::new("verdict", verdict)]);
    }
}

pub(crate) fn limited(limit: &'static str, refusals: usize) {
    meters().limited.add(count(refusals), &[KeyValue::new("limit", limit)]);
}

pub(crate) fn pulled(rows: usize) {
    meters().pulled.add(count(rows), &[]);
}

pub(crate) fn snapshotted(rows: usize) {
    meters().snapshotted.add(count(rows), &[]);
}

pub(crate) fn compacted(entries: usize) {
    meters().compacted.add(count(entries), &[]);
}
