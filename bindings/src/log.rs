//! Forwards the engine's log to the app.
//!
//! Logging never blocks and never calls the app: records go through a bounded queue to one thread,
//! which calls the sink. Records that do not fit are counted, and the count is reported. Exceptions
//! of a sink are dropped, and what it logs on that thread is ignored, to prevent recursion. Only
//! Rejoin's own records are forwarded.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rejoin_core::{Host as _, SystemHost};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::elsewhere;
use crate::error::{RejoinError, Result};

/// Queue length for a slow sink; further records are lost and counted.
const WAITING: usize = 1024;

/// The log level, from the fewest to the most records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// Problems that were fixed or will be retried.
    Warn,
    /// One record per operation of the engine.
    Info,
    /// Details of its decisions.
    Debug,
    /// Everything.
    Trace,
}

/// A structured field of a record.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LogField {
    /// Its name.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// A log record.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LogRecord {
    /// Its level.
    pub level: LogLevel,
    /// Time in milliseconds since 1970.
    pub at_ms: i64,
    /// The module that wrote it.
    pub target: String,
    /// The message.
    pub text: String,
    /// The structured fields.
    pub fields: Vec<LogField>,
}

/// Receives the engine's log.
///
/// Called on one thread, one call at a time. Exceptions are dropped.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// Receives one record.
    fn on_log(&self, record: LogRecord) -> Result<()>;
}

/// Forwards the engine's log to `sink`, which replaces the previous one; without one, logging
/// stops.
///
/// One sink serves all clients of the process. May be called at any time, also to change only the
/// level. Throws `Configuration` if the process has another global logger, which only a Rust app
/// can have.
#[uniffi::export(default(sink = None))]
pub fn set_log_sink(level: LogLevel, sink: Option<Arc<dyn LogSink>>) -> Result<()> {
    if !*INSTALLED.get_or_init(|| set_global_default(Bridge).is_ok()) {
        let reason = "the process has a logger already".to_owned();
        return Err(RejoinError::Configuration { reason });
    }
    let number = if sink.is_some() { level as u8 + 1 } else { 0 };
    let outlet = sink.map(Outlet::open).transpose()?.map(Arc::new);
    let before = {
        let mut current = OUTLET.write().unwrap_or_else(PoisonError::into_inner);
        // Under the same lock, so that concurrent callers cannot combine a sink with level 0.
        LEVEL.store(number, Ordering::Release);
        std::mem::replace(&mut *current, outlet)
    };
    tracing_core::callsite::rebuild_interest_cache();
    drop(before);
    Ok(())
}

/// Whether the bridge is the process's logger.
static INSTALLED: OnceLock<bool> = OnceLock::new();
/// The enabled level: 0 for none, else the level's index plus one.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// The current sink.
static OUTLET: RwLock<Option<Arc<Outlet>>> = RwLock::new(None);

thread_local! {
    /// Set on the thread that calls sinks: its records are ignored.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
}

/// The queue to one sink. Dropping it discards queued records and ends the thread.
struct Outlet {
    records: SyncSender<LogRecord>,
    /// Records lost since the last delivered one.
    lost: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
}

impl Outlet {
    fn open(sink: Arc<dyn LogSink>) -> Result<Self> {
        let (records, todo) = sync_channel(WAITING);
        let outlet = Self { records, lost: Arc::default(), closed: Arc::default() };
        let (lost, closed) = (Arc::clone(&outlet.lost), Arc::clone(&outlet.closed));
        elsewhere::thread("log", move || deliver(&*sink, &todo, &lost, &closed))?;
        Ok(outlet)
    }

    fn put(&self, record: LogRecord) {
        if self.records.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Main loop of the thread that calls a sink.
fn deliver(sink: &dyn LogSink, todo: &Receiver<LogRecord>, lost: &AtomicU32, closed: &AtomicBool) {
    DELIVERING.set(true);
    let call = |record| drop(catch_unwind(AssertUnwindSafe(|| sink.on_log(record))));
    for record in todo {
        if closed.load(Ordering::Acquire) {
            return;
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            call(LogRecord {
                level: LogLevel::Warn,
                target: module_path!().to_owned(),
                text: "records of the log were lost: the sink is slower than the engine".to_owned(),
                fields: vec![LogField { name: "count".to_owned(), value: count.to_string() }],
                ..record.clone()
            });
        }
        call(record);
    }
}

/// The process's logger: forwards the engine's events and ignores spans.
struct Bridge;

impl Bridge {
    fn is_ours(metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("rejoin")
    }
}

impl Subscriber for Bridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_ours(metadata) && *metadata.level() <= wanted() && !DELIVERING.get()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(wanted())
    }

    fn event(&self, event: &Event<'_>) {
        let outlet = OUTLET.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(outlet) = outlet {
            outlet.put(LogRecord::from(event));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // No span is enabled, so this is never recorded.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn wanted() -> LevelFilter {
    match LEVEL.load(Ordering::Acquire) {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

impl From<&Level> for LogLevel {
    fn from(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

impl From<&Event<'_>> for LogRecord {
    fn from(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            level: metadata.level().into(),
            at_ms: SystemHost::default().now_micros() / 1_000,
            target: metadata.target().to_owned(),
            text: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut record);
        record
    }
}

impl LogRecord {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.text = value;
        } else {
            self.fields.push(LogField { name: field.name().to_owned(), value });
        }
    }
}

impl Visit for LogRecord {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Reports each record, and waits after the first.
    struct Slow(Mutex<Sender<LogRecord>>, Mutex<Receiver<()>>);

    impl LogSink for Slow {
        fn on_log(&self, record: LogRecord) -> Result<()> {
            let is_first = record.text == "first";
            let _ = self.0.lock().unwrap().send(record);
            if is_first {
                let _ = self.1.lock().unwrap().recv();
            }
            Ok(())
        }
    }

    /// With a queue of its own: records of other tests would take room in that of the process.
    #[test]
    fn logging_never_waits_and_lost_records_are_counted() {
        let ((sender, taken), (go, wait)) = (channel(), channel());
        let outlet = Outlet::open(Arc::new(Slow(Mutex::new(sender), Mutex::new(wait)))).unwrap();
        let put = |text: &str| {
            let (target, text) = (String::from("test"), text.to_owned());
            outlet.put(LogRecord {
                level: LogLevel::Info,
                at_ms: 0,
                target,
                text,
                fields: Vec::new(),
            });
        };
        put("first");
        assert_eq!(taken.recv().unwrap().text, "first");
        // The sink is blocked: some records fit into the queue, and the others must not wait.
        for _ in 0..3000 {
            put("more");
        }
        go.send(()).unwrap();
        let lost = taken.recv().unwrap();
        assert!(lost.text.contains("lost"), "{lost:?}");
        let mut count: u32 = lost.fields[0].value.parse().unwrap();
        let mut received = 0;
        while received + count < 3000 {
            match taken.recv().unwrap() {
                more if more.text == "more" => received += 1,
                lost => count += lost.fields[0].value.parse::<u32>().unwrap(),
            }
        }
        assert_eq!(received + count, 3000);
        assert!(received >= 1000, "{received} had room");
    }
}
