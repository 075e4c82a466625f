//! An outage of the store has a line per period in the log, not a line per request, and no request
//! goes uncounted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use macro_rules_attribute::apply;
use rejoin_server::Limits;
use serde_json::json;

use crate::world::{Backend, TABLES, World, place, standard};

/// Microseconds for which one line counts.
const PERIOD: i64 = 10_000_000;

/// Lines of the log that were written on the thread of the test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).without_time();
        tracing::subscriber::set_default(lines.with_writer(move || log.clone()).finish())
    }

    /// What was written since the last time.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

#[apply(stores!)]
async fn outage_logs_a_line_per_period_with_the_suppressed_count(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 0, ..Limits::default() })
    });
    let log = Log::default();
    let _logging = log.begin();
    let mut anna = world.device("anna", "a1").await;
    let holder = world.hold("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE places");
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let push = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    log.take();
    for _ in 0..50 {
        assert_eq!(anna.post("/sync/push", push.clone()).await.0, 503);
    }
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].contains("suppressed=0"), "{lines:?}");
    world.clock.advance(PERIOD);
    for _ in 0..20 {
        assert_eq!(anna.post("/sync/push", push.clone()).await.0, 503);
    }
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].contains("suppressed=49"), "{lines:?}");
    holder("COMMIT");
    assert_eq!(anna.post("/sync/push", push.clone()).await.0, 200);
    assert_eq!(log.take(), [""; 0], "the period is not over");
    world.clock.advance(PERIOD);
    for _ in 0..2 {
        assert_eq!(anna.post("/sync/push", push.clone()).await.0, 200);
    }
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].contains("suppressed=19"), "{lines:?}");
}

#[tokio::test]
async fn readyz_of_a_postgres_that_is_away_logs_a_line_per_period() {
    let world = World::postgres(TABLES, standard);
    let log = Log::default();
    let _logging = log.begin();
    world.database().close();
    for expected in ["suppressed=0", "suppressed=9"] {
        for _ in 0..10 {
            assert!(!world.server.readiness().is_ready());
        }
        let lines = log.take();
        let (lines, _): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.contains("not ready"));
        assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
        world.clock.advance(PERIOD);
    }
    world.database().reopen();
}
