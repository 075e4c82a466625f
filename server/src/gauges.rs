//! OpenTelemetry gauges of a running server: streams, connections, sequencer, feeder.
//!
//! All gauges of one collection report the same moment, so that a collection reads the database
//! once.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;
use tokio::time::Instant;

use crate::Shared;
use crate::model::{Connections, Feed, ReplicaReads};
use crate::observe;

/// How long the values of one read are reported.
const ONE_LOOK: Duration = Duration::from_millis(500);

/// The values of all gauges at one time.
#[derive(Clone, Copy)]
struct Look {
    listening: u64,
    connections: Option<Connections>,
    replica: Option<ReplicaReads>,
    unnumbered: Option<u64>,
    sequenced: Option<Duration>,
    feed: Option<Feed>,
}

/// The observed server, while it exists, and the last values.
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
        // While the database cannot be reached, its gauges report nothing.
        let unnumbered = store.unnumbered().ok().flatten();
        let begun = Instant::now();
        let sequenced = unnumbered.and_then(|_| store.pulse().ok()).map(|_| begun.elapsed());
        let look = Look {
            listening: observe::count(shared.hub.listening()),
            connections: store.connections(),
            replica: store.replica_reads(),
            unnumbered,
            sequenced,
            feed: store.feed().ok(),
        };
        *last = Some((Instant::now(), look));
        Some(look)
    }
}

/// Registers the gauges of this server. They report until it is dropped.
pub(crate) fn watch(shared: &Arc<Shared>) {
    observe::start();
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
    gauge(&watched, "rejoin.replica.pulls", "{pull}", |look, see| {
        if let Some(ReplicaReads { served, declined }) = look.replica {
            let by = |name| [KeyValue::new("by", name)];
            see.observe(served, &by("replica"));
            see.observe(declined, &by("database"));
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
    observe::meter().u64_observable_gauge(name).with_unit(unit).with_callback(callback).build();
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
    observe::meter().f64_observable_gauge(name).with_unit("s").with_callback(callback).build();
}
