//! The log, handed over a bounded queue to one thread.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rejoin_ffi::{LogLevel, LogRecord, LogSink, RejoinError, set_log_sink};

use crate::home::next;

/// The log is the process's: one story at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Then = Box<dyn Fn(&LogRecord) -> Result<(), RejoinError> + Send + Sync>;

/// Takes what this file logs, and does what it is told about it.
struct Sink {
    taken: Mutex<Sender<LogRecord>>,
    then: Then,
}

impl LogSink for Sink {
    fn on_log(&self, record: LogRecord) -> Result<(), RejoinError> {
        // Other stories run beside this one; theirs are no matter of ours.
        if record.target != "rejoin_story" && record.target != "rejoin_ffi::log" {
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
    let (tell, told) = mpsc::channel();
    let sink = Sink { taken: Mutex::new(tell), then: Box::new(then) };
    set_log_sink(level, Some(Arc::new(sink))).unwrap();
    told
}

fn say(words: &str) {
    tracing::info!(target: "rejoin_story", "{words}");
}

#[test]
fn a_record_carries_level_time_place_words_and_fields() {
    let _alone = alone();
    let taken = listen(LogLevel::Debug, |_| Ok(()));
    let error = RejoinError::Offline { reason: "no bars".to_owned() };
    tracing::warn!(target: "rejoin_story", %error, rows = 3, name = "a", "a batch failed");
    let record = next(&taken);
    assert_eq!((record.level, record.target.as_str()), (LogLevel::Warn, "rejoin_story"));
    assert_eq!(record.text, "a batch failed");
    let fields: Vec<_> = record.fields.iter().map(|it| (&*it.name, &*it.value)).collect();
    assert_eq!(fields, [("error", "no bars"), ("rows", "3"), ("name", "a")]);
    assert!(record.at > 1_700_000_000_000_000, "microseconds since 1970");
}

#[test]
fn each_level_is_named_and_those_below_the_asked_one_are_left_out() {
    let _alone = alone();
    let levels =
        [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    for (count, level) in levels.into_iter().enumerate() {
        let taken = listen(level, |_| Ok(()));
        tracing::trace!(target: "rejoin_story", "trace");
        tracing::debug!(target: "rejoin_story", "debug");
        tracing::info!(target: "rejoin_story", "info");
        tracing::warn!(target: "rejoin_story", "warn");
        tracing::error!(target: "rejoin_story", "error");
        let heard: Vec<_> = (0..=count).map(|_| next(&taken).level).collect();
        let expected: Vec<_> = levels[..=count].iter().rev().copied().collect();
        assert_eq!(heard, expected);
    }
}

#[test]
fn other_libraries_are_not_heard_and_after_removal_nobody_is() {
    let _alone = alone();
    let taken = listen(LogLevel::Trace, |_| Ok(()));
    tracing::error!(target: "hyper", "not ours");
    say("ours");
    assert_eq!(next(&taken).text, "ours");
    set_log_sink(LogLevel::Trace, None).unwrap();
    say("to nobody");
    assert!(taken.recv().is_err(), "the sink was let go");
}

#[test]
fn who_logs_never_waits_for_a_slow_sink_and_what_is_lost_is_counted() {
    let _alone = alone();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let taken = listen(LogLevel::Info, move |record| {
        if record.text == "first" {
            let _ = wait.lock().unwrap().recv();
        }
        Ok(())
    });
    say("first");
    assert_eq!(next(&taken).text, "first");
    // The sink stands; so many have room, and the rest must not wait.
    for _ in 0..3000 {
        say("more");
    }
    go.send(()).unwrap();
    let lost = next(&taken);
    assert!(lost.text.contains("lost"), "{lost:?}");
    let mut count: u32 = lost.fields[0].value.parse().unwrap();
    let mut heard = 0;
    while heard + count < 3000 {
        match next(&taken) {
            more if more.text == "more" => heard += 1,
            lost => count += lost.fields[0].value.parse::<u32>().unwrap(),
        }
    }
    assert_eq!(heard + count, 3000);
    assert!(heard >= 1000, "{heard} had room");
}

#[test]
fn a_sink_that_throws_panics_or_logs_is_called_again_and_hears_no_echo() {
    let _alone = alone();
    let taken = listen(LogLevel::Trace, |record| {
        say("an echo");
        match record.text.as_str() {
            "one" => Err(RejoinError::Callback { reason: "IllegalState".to_owned() }),
            "two" => panic!("in the sink"),
            _ => Ok(()),
        }
    });
    for words in ["one", "two", "three"] {
        say(words);
        assert_eq!(next(&taken).text, words);
    }
    set_log_sink(LogLevel::Trace, None).unwrap();
    assert!(taken.try_iter().all(|record| record.text != "an echo"));
}

#[test]
fn what_an_observer_throws_is_in_the_log() {
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
    let (tell, told) = mpsc::channel();
    set_log_sink(LogLevel::Warn, Some(Arc::new(Keeps(Mutex::new(tell))))).unwrap();
    let home = crate::home::Home::new();
    let (called, calls) = mpsc::channel();
    let _subscription = home.client.on_status(Arc::new(Throws(Mutex::new(called))));
    next(&calls);
    let found = std::iter::from_fn(|| Some(next(&told)))
        .find(|record| record.target == "rejoin_ffi::status" && record.level == LogLevel::Warn);
    let fields = found.unwrap().fields;
    assert!(fields.iter().any(|field| field.value.contains("IllegalStateException")), "{fields:?}");
}
