//! Tests of log forwarding.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rejoin_ffi::{LogLevel, LogRecord, LogSink, RejoinError, set_log_sink};

use crate::home::next;

/// The log is process-wide: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Then = Box<dyn Fn(&LogRecord) -> Result<(), RejoinError> + Send + Sync>;

/// Records what this file logs and runs an action per record.
struct Sink {
    taken: Mutex<Sender<LogRecord>>,
    then: Then,
}

impl LogSink for Sink {
    fn on_log(&self, record: LogRecord) -> Result<(), RejoinError> {
        // Ignores records of tests that run in parallel.
        if record.target != "rejoin_test" {
            return Ok(());
        }
        let _ = self.taken.lock().unwrap().send(record.clone());
        (self.then)(&record)
    }
}

fn listen(
    level: LogLevel,
    then: impl Fn(&LogRecord) -> Result<(), RejoinError> + Send + Sync + 'static,
) -> Receiver<LogRecord> {
    let (sender, receiver) = mpsc::channel();
    let sink = Sink { taken: Mutex::new(sender), then: Box::new(then) };
    set_log_sink(level, Some(Arc::new(sink))).unwrap();
    receiver
}

fn log(message: &str) {
    tracing::info!(target: "rejoin_test", "{message}");
}

#[test]
fn record_has_level_time_target_text_and_fields() {
    let _alone = alone();
    let taken = listen(LogLevel::Debug, |_| Ok(()));
    let error = RejoinError::Offline { reason: "no bars".to_owned() };
    tracing::warn!(target: "rejoin_test", %error, rows = 3, name = "a", "a batch failed");
    let record = next(&taken);
    assert_eq!((record.level, record.target.as_str()), (LogLevel::Warn, "rejoin_test"));
    assert_eq!(record.text, "a batch failed");
    let fields: Vec<_> = record.fields.iter().map(|it| (&*it.name, &*it.value)).collect();
    assert_eq!(fields, [("error", "no bars"), ("rows", "3"), ("name", "a")]);
    assert!(record.at_ms > 1_700_000_000_000, "milliseconds since 1970");
    assert!(record.at_ms < 100_000_000_000_000, "milliseconds since 1970");
}

#[test]
fn sink_gets_records_up_to_its_level() {
    let _alone = alone();
    let levels =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    for (count, level) in levels.into_iter().enumerate() {
        let taken = listen(level, |_| Ok(()));
        tracing::trace!(target: "rejoin_test", "trace");
        tracing::debug!(target: "rejoin_test", "debug");
        tracing::info!(target: "rejoin_test", "info");
        tracing::warn!(target: "rejoin_test", "warn");
        tracing::error!(target: "rejoin_test", "error");
        let received: Vec<_> = (0..=count).map(|_| next(&taken).level).collect();
        let expected: Vec<_> = levels[..=count].iter().rev().copied().collect();
        assert_eq!(received, expected);
    }
}

#[test]
fn sink_gets_only_rejoin_records_until_it_is_removed() {
    let _alone = alone();
    let taken = listen(LogLevel::Trace, |_| Ok(()));
    tracing::error!(target: "hyper", "not ours");
    log("ours");
    assert_eq!(next(&taken).text, "ours");
    set_log_sink(LogLevel::Trace, None).unwrap();
    log("without a sink");
    assert!(taken.recv().is_err(), "the sink is still referenced");
}

#[test]
fn sink_that_throws_panics_or_logs_is_called_again() {
    let _alone = alone();
    let taken = listen(LogLevel::Trace, |record| {
        log("an echo");
        match record.text.as_str() {
            "one" => Err(RejoinError::Callback { reason: "IllegalState".to_owned() }),
            "two" => panic!("in the sink"),
            _ => Ok(()),
        }
    });
    for message in ["one", "two", "three"] {
        log(message);
        assert_eq!(next(&taken).text, message);
    }
    set_log_sink(LogLevel::Trace, None).unwrap();
    assert!(taken.try_iter().all(|record| record.text != "an echo"));
}

#[test]
fn exception_of_an_observer_is_logged() {
    struct Throws(Mutex<Sender<()>>);
    impl rejoin_ffi::StatusObserver for Throws {
        fn on_status(&self, _: rejoin_ffi::SyncStatus) -> Result<(), RejoinError> {
            let _ = self.0.lock().unwrap().send(());
            Err(RejoinError::Callback { reason: "IllegalStateException".to_owned() })
        }
    }
    struct Keeps(Mutex<Sender<LogRecord>>);
    impl LogSink for Keeps {
        fn on_log(&self, record: LogRecord) -> Result<(), RejoinError> {
            let _ = self.0.lock().unwrap().send(record);
            Ok(())
        }
    }
    let _alone = alone();
    let (sender, receiver) = mpsc::channel();
    set_log_sink(LogLevel::Warn, Some(Arc::new(Keeps(Mutex::new(sender))))).unwrap();
    let home = crate::home::Home::new();
    let (called, calls) = mpsc::channel();
    let _subscription = home.client.on_status(Arc::new(Throws(Mutex::new(called))));
    next(&calls);
    let found = std::iter::from_fn(|| Some(next(&receiver)))
        .find(|record| record.target == "rejoin_ffi::status" && record.level == LogLevel::Warn);
    let fields = found.unwrap().fields;
    assert!(fields.iter().any(|field| field.value.contains("IllegalStateException")), "{fields:?}");
}
