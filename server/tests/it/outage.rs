//! A failing store does not fill the log with a line per request.

use std::io::Write;
use std::sync::{Arc, Mutex};

use macro_rules_attribute::apply;
use rejoin_server::Limits;
use serde_json::json;

use crate::world::{Backend, TABLES, World, place, standard};

/// Log lines written on the test's thread.
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
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    /// The number of lines that contain this word.
    fn count(&self, word: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(word)).count()
    }
}

#[apply(stores!)]
async fn failures_of_one_kind_log_one_line(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 0, ..Limits::default() })
    });
    let mut anna = world.device("anna", "a1").await;
    let _holder = world.hold("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE places");
    let log = Log::default();
    let _logging = log.begin();
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let push = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    for _ in 0..50 {
        assert_eq!(anna.post("/sync/push", push.clone()).await.0, 503);
    }
    assert_eq!([log.count("busy"), log.count("")], [1, 1]);
}

#[tokio::test]
async fn readiness_checks_during_an_outage_log_one_line_postgres() {
    let world = World::postgres(TABLES, standard);
    let log = Log::default();
    let _logging = log.begin();
    world.database().close();
    for _ in 0..10 {
        assert!(!world.server.readiness().is_ready());
    }
    assert_eq!(log.count("not ready"), 1);
    world.database().reopen();
}
