//! The engine's log, handed to the app.
//!
//! Promise: whoever logs never waits and is never called back; records go through a bounded queue to one thread, which hands
//! them to the sink one after the other. What does not fit is counted, and the count is told. What a sink throws is dropped,
//! and what it logs on that thread is not told, so that no record begets another. Border: only the engine's own words, no
//! other library's.

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

/// So many records wait for a slow sink; those that come then are lost, and counted.
const WAITING: usize = 1024;

/// How much is logged, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// What went wrong and should not.
    Error,
    /// What went wrong and was mended or will be tried again.
    Warn,
    /// What the engine does, a line per deed.
    Info,
    /// What it decides on the way.
    Debug,
    /// Everything.
    Trace,
}

/// A value beside the text of a record.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LogField {
    /// Its name.
    pub name: String,
    /// Its value, in words.
    pub value: String,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LogRecord {
    /// How grave it is.
    pub level: LogLevel,
    /// When: microseconds since 1970.
    pub at: i64,
    /// The part of the engine that speaks.
    pub target: String,
    /// What it says.
    pub text: String,
    /// What belongs to it.
    pub fields: Vec<LogField>,
}

/// Takes the engine's log.
///
/// Called on one thread, one call after the other. What it throws is dropped.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// Takes one record.
    fn on_log(&self, record: LogRecord) -> Result<()>;
}

/// Hands the engine's log to `sink` from now on, in place of the sink before; without one, nothing is logged.
///
/// One sink serves all clients of the process. May be called at any time, also to change the level alone. Throws
/// `Configuration` where the process has another logger of the same kind, which is possible in an app written in Rust only.
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
        // Under the same lock, or two callers could leave a sink with the level of none.
        LEVEL.store(number, Ordering::Release);
        std::mem::replace(&mut *current, outlet)
    };
    tracing_core::callsite::rebuild_interest_cache();
    drop(before);
    Ok(())
}

/// Whether the bridge is the process's logger.
static INSTALLED: OnceLock<bool> = OnceLock::new();
/// How much is wanted: 0 for nothing, else one more than the level's place.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// Where records go.
static OUTLET: RwLock<Option<Arc<Outlet>>> = RwLock::new(None);

thread_local! {
    /// Set on the thread that calls sinks: what is logged there is not told.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// The way to one sink. When it goes, what waits is dropped, and the thread ends.
struct Outlet {
    records: SyncSender<LogRecord>,
    /// Those that did not fit, since the last one that did.
    lost: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
}

impl Outlet {
    fn open(sink: Arc<dyn LogSink>) -> Result<Self> {
        let (records, todo) = sync_channel(WAITING);
        let outlet = Self { records, lost: Arc::default(), closed: Arc::default() };
        let (lost, closed) = (Arc::clone(&outlet.lost), Arc::clone(&outlet.closed));
        elsewhere::thread("log", move || tell(&*sink, &todo, &lost, &closed))?;
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

/// The life of the thread that calls a sink.
fn tell(sink: &dyn LogSink, todo: &Receiver<LogRecord>, lost: &AtomicU32, closed: &AtomicBool) {
    TELLING.set(true);
    let tell = |record| drop(catch_unwind(AssertUnwindSafe(|| sink.on_log(record))));
    for record in todo {
        if closed.load(Ordering::Acquire) {
            return;
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            tell(LogRecord {
                level: LogLevel::Warn,
                target: module_path!().to_owned(),
                text: "records of the log were lost: the sink is slower than the engine".to_owned(),
                fields: vec![LogField { name: "count".to_owned(), value: count.to_string() }],
                ..record.clone()
            });
        }
        tell(record);
    }
}

/// The process's logger: takes the engine's events, and no spans.
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
        Self::is_ours(metadata) && *metadata.level() <= wanted() && !TELLING.get()
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
        // No span is enabled; if one came all the same, nothing is kept of it.
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
            at: SystemHost::default().now_micros(),
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
