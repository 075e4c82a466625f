//! Readiness: the state reported by `/readyz`, also available to a host program.
//!
//! Reports on database, writes, schema, sequencer and feeder by fixed names and numbers. Database
//! messages are never included, since `/readyz` needs no credentials. Failing checks are logged at
//! a limited rate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::Fault;
use crate::model::{LeftOut, LogState};
use crate::store::{self, WriteProblem};
use crate::{Server, Shared};

/// Microseconds for which a successful test write is reused: each test is a commit, and `/readyz`
/// is public.
const WRITTEN: i64 = 1_000_000;

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probe {
    /// Why the check fails; `None` if it passes.
    pub failing: Option<&'static str>,
    /// The number of waiting changes.
    pub waiting: Option<u64>,
    /// The lag.
    pub lag: Option<Duration>,
}

/// The readiness of a server, by check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The database responds.
    pub database: Probe,
    /// The database accepts writes: its disk is not full, and it is not read-only.
    pub writes: Probe,
    /// The tables can be read and synced.
    pub schema: Probe,
    /// Committed changes get positions in time. SQLite needs no sequencer.
    pub sequencer: Probe,
    /// Changes that wait for bucket resolvers are resolved in time.
    pub feeder: Probe,
    /// The server is not shutting down.
    pub serving: Probe,
    /// Configured tables, and parts of tables, that are not served because they cannot be synced. The
    /// server is ready without them.
    pub left_out: Vec<LeftOut>,
    /// The epoch of the log.
    pub epoch: String,
    /// The last position of the log.
    pub position: i64,
    /// Cursors below it need a snapshot.
    pub watermark: i64,
    /// Number of devices listening to this server.
    pub listening: usize,
}

impl Probe {
    const UNKNOWN: Self = Self {
        failing: Some("not checked: a check that it depends on failed"),
        waiting: None,
        lag: None,
    };

    fn failing(why: &'static str) -> Self {
        Self { failing: Some(why), ..Self::default() }
    }

    fn body(&self) -> Value {
        let mut body = json!({ "ok": self.failing.is_none() });
        if let Some(why) = self.failing {
            body["why"] = json!(why);
        }
        if let Some(waiting) = self.waiting {
            body["waiting"] = json!(waiting);
        }
        if let Some(lag) = self.lag {
            body["lag_ms"] = json!(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
        }
        body
    }
}

impl Readiness {
    fn probes(&self) -> [(&'static str, &Probe); 6] {
        [
            ("database", &self.database),
            ("writes", &self.writes),
            ("schema", &self.schema),
            ("sequencer", &self.sequencer),
            ("feeder", &self.feeder),
            ("serving", &self.serving),
        ]
    }

    /// Whether all checks pass.
    pub fn is_ready(&self) -> bool {
        self.probes().iter().all(|(_, probe)| probe.failing.is_none())
    }

    /// The body of `/readyz`.
    pub(crate) fn body(&self) -> Value {
        let checks: serde_json::Map<String, Value> =
            self.probes().iter().map(|(name, probe)| (String::from(*name), probe.body())).collect();
        let left_out = self.left_out.iter().map(
            |LeftOut { table, what, why }| json!({ "table": table, "what": what, "why": why }),
        );
        json!({
            "status": match self.is_ready() {
                true if self.left_out.is_empty() => "ready",
                true => "degraded",
                false => "failing",
            },
            "checks": checks,
            "left_out": left_out.collect::<Vec<Value>>(),
            "log": { "epoch": self.epoch, "position": self.position, "watermark": self.watermark },
            "listening": self.listening,
        })
    }

    /// The result while the database does not respond.
    fn without_database(shared: &Shared, why: &'static str) -> Self {
        Self {
            database: Probe::failing(why),
            writes: Probe::UNKNOWN,
            schema: Probe::UNKNOWN,
            sequencer: Probe::UNKNOWN,
            feeder: Probe::UNKNOWN,
            serving: serving(shared),
            listening: shared.hub.listening(),
            ..Self::default()
        }
    }
}

fn serving(shared: &Shared) -> Probe {
    if shared.hub.is_closing() { Probe::failing("the server is ending") } else { Probe::default() }
}

/// Runs all checks. Blocks for as long as a request waits for a lock.
pub(crate) fn look(shared: &Shared) -> Readiness {
    let store = &*shared.engine.store;
    let bound = Duration::from_millis(u64::from(shared.engine.limits.lag_ms));
    let numbering = match store.unnumbered() {
        Ok(numbering) => numbering,
        Err(fault) => {
            log(shared, "database", &fault);
            return Readiness::without_database(shared, "it does not answer");
        }
    };
    let begun = Instant::now();
    let pulse = store.pulse();
    let took = begun.elapsed();
    let mut sequencer = Probe::default();
    if let Some(waiting) = numbering {
        sequencer = Probe { waiting: Some(waiting), lag: Some(took), failing: None };
        if pulse.is_err() {
            sequencer.failing = Some("it does not get its turn");
        } else if took > bound {
            sequencer.failing = Some("it is behind");
        }
    } else if pulse.is_err() {
        return Readiness::without_database(shared, "it does not answer");
    }
    let (schema, found) = if pulse.is_ok() { schema(shared) } else { (Probe::UNKNOWN, None) };
    let (log, left_out) = found.unwrap_or_default();
    Readiness {
        database: Probe::default(),
        writes: if pulse.is_ok() { writes(shared) } else { Probe::UNKNOWN },
        schema,
        sequencer,
        feeder: feeder(shared, bound),
        serving: serving(shared),
        left_out,
        epoch: log.epoch,
        position: log.head,
        watermark: log.watermark,
        listening: shared.hub.listening(),
    }
}

/// Logs why a check fails.
fn log(shared: &Shared, check: &'static str, why: &dyn std::fmt::Display) {
    if let Some(count) = shared.failures.count((check, 503)) {
        tracing::warn!(%why, check, count, "not ready");
    } else {
        tracing::debug!(%why, check, "not ready");
    }
}

fn writes(shared: &Shared) -> Probe {
    let (now, last) = (shared.engine.clock.now(), shared.written.load(Ordering::Relaxed));
    if (last..last.saturating_add(WRITTEN)).contains(&now) {
        return Probe::default();
    }
    let Err(problem) = shared.engine.store.try_write() else {
        shared.written.store(now, Ordering::Relaxed);
        return Probe::default();
    };
    shared.written.store(0, Ordering::Relaxed);
    log(shared, "writes", &problem);
    Probe::failing(match problem {
        WriteProblem::Full(_) => "the disk is full",
        WriteProblem::ReadOnly(_) => "the database is read-only",
        WriteProblem::Other(_) => "it takes no writes",
    })
}

fn schema(shared: &Shared) -> (Probe, Option<(LogState, Vec<LeftOut>)>) {
    let found = store::read(&*shared.engine.store, |reading| {
        Ok((reading.log_state()?, reading.schema().left_out.clone()))
    });
    match found {
        Ok(found) => (Probe::default(), Some(found)),
        Err(fault) => {
            log(shared, "schema", &fault);
            let why = match fault {
                Fault::Schema(_) => "the tables can no longer be synced",
                _ => "it cannot be read",
            };
            (Probe::failing(why), None)
        }
    }
}

fn feeder(shared: &Shared, bound: Duration) -> Probe {
    match shared.engine.store.feed() {
        Ok(feed) => {
            let failing = match feed.oldest {
                _ if !feed.is_fed => Some("no feeder is running"),
                Some(oldest) if oldest > bound => Some("it is behind"),
                _ => None,
            };
            Probe { failing, waiting: Some(feed.waiting), lag: feed.oldest }
        }
        Err(fault) => {
            log(shared, "feeder", &fault);
            Probe::failing("its state cannot be read")
        }
    }
}

/// Like [`look`], with a timeout and one check at a time: a hanging database must not occupy more
/// and more threads.
pub(crate) async fn look_in_time(shared: &Arc<Shared>) -> Readiness {
    let bound = Duration::from_millis(u64::from(shared.engine.limits.lag_ms).max(100));
    let asking = Arc::clone(shared);
    let looked = tokio::time::timeout(bound, async move {
        let turn = Arc::clone(&asking.looking).lock_owned().await;
        let look = move || {
            let _turn = turn;
            look(&asking)
        };
        tokio::task::spawn_blocking(look).await
    });
    match looked.await {
        Ok(Ok(readiness)) => readiness,
        Ok(Err(error)) => {
            log(shared, "look", &error);
            Readiness::without_database(shared, "its state could not be read")
        }
        Err(_) => Readiness::without_database(shared, "no answer in time"),
    }
}

impl Server {
    /// Checks the readiness of this server. Blocks for as long as a request waits for a lock.
    pub fn readiness(&self) -> Readiness {
        look(&self.shared)
    }
}
