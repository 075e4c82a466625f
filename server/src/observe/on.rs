//! The metrics, as instruments of OpenTelemetry.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::time::Instant;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::Ended;
use crate::Shared;
use crate::model::{Connections, Feed};

/// In seconds: as the semantic conventions have them.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// All gauges of one collection speak of one look.
const ONE_LOOK: Duration = Duration::from_millis(500);

struct Meters {
    requests: Histogram<f64>,
    mutations: Counter<u64>,
    pulled: Counter<u64>,
    snapshotted: Counter<u64>,
    compacted: Counter<u64>,
}

fn meter() -> Meter {
    global::meter("rejoin-server")
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
        }
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Puts the span below the one that the request names in `traceparent`.
pub(crate) fn stands_under(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Where nobody traces there is nothing to put anywhere.
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

pub(crate) fn pulled(rows: usize) {
    meters().pulled.add(count(rows), &[]);
}

pub(crate) fn snapshotted(rows: usize) {
    meters().snapshotted.add(count(rows), &[]);
}

pub(crate) fn compacted(entries: usize) {
    meters().compacted.add(count(entries), &[]);
}

/// How a server stands, for the gauges.
#[derive(Clone, Copy)]
struct Look {
    listening: u64,
    connections: Option<Connections>,
    unnumbered: Option<u64>,
    sequenced: Option<Duration>,
    feed: Option<Feed>,
}

/// The server that is looked at, as long as it is there, and what was seen last.
struct Watched {
    shared: Weak<Shared>,
    last: Mutex<Option<(Instant, Look)>>,
}

impl Watched {
    fn look(&self) -> Option<Look> {
        let shared = self.shared.upgrade()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, look)) = *last
            && at.elapsed() < ONE_LOOK
        {
            return Some(look);
        }
        let store = &*shared.engine.store;
        // A database that is away is told by what is missing.
        let unnumbered = store.unnumbered().ok().flatten();
        let begun = Instant::now();
        let sequenced = unnumbered.and_then(|_| store.pulse().ok()).map(|_| begun.elapsed());
        let look = Look {
            listening: count(shared.hub.listening()),
            connections: store.connections(),
            unnumbered,
            sequenced,
            feed: store.feed().ok(),
        };
        *last = Some((Instant::now(), look));
        Some(look)
    }
}

/// Lets the gauges tell of this server for as long as it lives.
pub(crate) fn watch(shared: &Arc<Shared>) {
    meters();
    let watched = Arc::new(Watched { shared: Arc::downgrade(shared), last: Mutex::default() });
    gauge(&watched, "rejoin.devices.listening", "{device}", |look, see| {
        see.observe(look.listening, &[]);
    });
    gauge(&watched, "db.client.connection.count", "{connection}", |look, see| {
        if let Some(connections) = look.connections {
            let state = |name| [KeyValue::new("db.client.connection.state", name)];
            see.observe(connections.used, &state("used"));
            see.observe(connections.idle, &state("idle"));
        }
    });
    gauge(&watched, "rejoin.pool.waits", "{wait}", |look, see| {
        if let Some(connections) = look.connections {
            see.observe(connections.waits, &[]);
        }
    });
    gauge(&watched, "rejoin.sequencer.waiting", "{entry}", |look, see| {
        if let Some(waiting) = look.unnumbered {
            see.observe(waiting, &[]);
        }
    });
    gauge(&watched, "rejoin.feeder.waiting", "{entry}", |look, see| {
        if let Some(feed) = look.feed {
            see.observe(feed.waiting, &[]);
        }
    });
    seconds(&watched, "rejoin.sequencer.lag", |look| look.sequenced);
    seconds(&watched, "rejoin.feeder.lag", |look| {
        look.feed.map(|feed| feed.oldest.unwrap_or_default())
    });
}

fn gauge(
    watched: &Arc<Watched>,
    name: &'static str,
    unit: &'static str,
    see: impl Fn(Look, &dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    let watched = Arc::clone(watched);
    let callback = move |observer: &dyn AsyncInstrument<u64>| {
        if let Some(look) = watched.look() {
            see(look, observer);
        }
    };
    meter().u64_observable_gauge(name).with_unit(unit).with_callback(callback).build();
}

fn seconds(
    watched: &Arc<Watched>,
    name: &'static str,
    of: impl Fn(Look) -> Option<Duration> + Send + Sync + 'static,
) {
    let watched = Arc::clone(watched);
    let callback = move |observer: &dyn AsyncInstrument<f64>| {
        if let Some(lag) = watched.look().and_then(&of) {
            observer.observe(lag.as_secs_f64(), &[]);
        }
    };
    meter().f64_observable_gauge(name).with_unit("s").with_callback(callback).build();
}
