//! State shared by the capture function and the engine, and the guard that turns capture off while
//! base rows are applied.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::ValueRef;

use crate::engine::capture::buffer::Buffer;
use crate::engine::capture::compose::{Composer, Recorded};
use crate::engine::rows::binary::Malformed;
use crate::engine::rows::encode;
use crate::engine::schema::guarded::GuardedTable;
use crate::engine::schema::model::Table;
use crate::error::Error;
use crate::ids::TableNumber;
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// The capture of one writing connection.
#[derive(Debug)]
pub(crate) struct Capture {
    off: AtomicU32,
    /// Whether the running statement replaces rows; see [`replace`](super::replace).
    replacing: AtomicBool,
    /// The time of the running action, microseconds since 1970; `NO_ACTION` while none runs.
    acting: AtomicI64,
    /// Limit of the buffer for an action, and whether the action has exceeded it.
    room: AtomicUsize,
    full: AtomicBool,
    state: Mutex<CaptureState>,
}

/// State of the functions.
#[derive(Debug, Default)]
pub(crate) struct CaptureState {
    /// What was captured in the current transaction.
    pub(crate) buffer: Buffer,
    /// By number; `None` if the table is not synced.
    pub(crate) tables: Vec<Option<Arc<GuardedTable>>>,
    /// Why a function failed; SQLite passes on only text.
    pub(crate) failure: Option<Error>,
    /// Tables that only actions write, lower case.
    pub(crate) guarded: BTreeSet<String>,
}

/// No action runs.
const NO_ACTION: i64 = i64::MIN;

impl Default for Capture {
    fn default() -> Self {
        Self {
            off: AtomicU32::default(),
            replacing: AtomicBool::default(),
            acting: AtomicI64::new(NO_ACTION),
            room: AtomicUsize::new(usize::MAX),
            full: AtomicBool::default(),
            state: Mutex::default(),
        }
    }
}

impl CaptureState {
    /// The guarded table with this number.
    pub(crate) fn table(&self, number: TableNumber) -> Option<&Arc<GuardedTable>> {
        self.tables.get(usize::try_from(number.0).ok()?)?.as_ref()
    }
}

/// While this guard exists, triggers capture nothing and no rule is checked. Guards nest.
#[derive(Debug)]
#[must_use]
pub(crate) struct CaptureOff(Option<Arc<Capture>>);

impl Drop for CaptureOff {
    fn drop(&mut self) {
        if let Some(capture) = &self.0 {
            capture.off.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// While this guard exists, the running statement replaces rows.
#[derive(Debug)]
#[must_use]
pub(crate) struct Replacing<'a>(&'a Capture);

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.0.replacing.store(false, Ordering::Release);
    }
}

/// While this guard exists, an action runs: its writes are captured, and its time is constant.
#[derive(Debug)]
#[must_use]
pub(crate) struct ActionGuard {
    capture: Arc<Capture>,
    /// Number of guards that turned capture off.
    silenced: u32,
}

impl Drop for ActionGuard {
    fn drop(&mut self) {
        self.capture.acting.store(NO_ACTION, Ordering::Release);
        self.capture.room.store(usize::MAX, Ordering::Release);
        self.capture.off.store(self.silenced, Ordering::Release);
    }
}

impl Capture {
    /// Starts an action that runs until the guard is dropped: its writes are captured even where
    /// capture is off, and it has this time. It may write at most `most` bytes.
    pub(crate) fn acting(self: &Arc<Self>, micros: i64, most: usize) -> ActionGuard {
        self.acting.store(micros, Ordering::Release);
        self.room.store(self.mark().saturating_add(most), Ordering::Release);
        self.full.store(false, Ordering::Release);
        ActionGuard { silenced: self.off.swap(0, Ordering::AcqRel), capture: Arc::clone(self) }
    }

    /// Whether the running action may continue with a buffer of this length.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        let fits = length <= self.room.load(Ordering::Acquire);
        self.full.fetch_or(!fits, Ordering::AcqRel);
        fits
    }

    /// Whether the last action exceeded its limit.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The time of the running action.
    pub(crate) fn acts_at(&self) -> Option<i64> {
        Some(self.acting.load(Ordering::Acquire)).filter(|micros| *micros != NO_ACTION)
    }

    /// Sets the tables that only actions write, lower case.
    pub(crate) fn guard_for_actions(&self, tables: &BTreeSet<String>) {
        self.state().guarded.clone_from(tables);
    }

    /// Turns triggers and rules off until the guard is dropped.
    pub(crate) fn off(self: &Arc<Self>) -> CaptureOff {
        if mutant::on(Mutant::GuardLeftOpen) {
            return CaptureOff(None);
        }
        self.off.fetch_add(1, Ordering::AcqRel);
        CaptureOff(Some(Arc::clone(self)))
    }

    /// Marks the running statement as one that replaces rows, until the guard is dropped.
    pub(crate) fn replacing(&self) -> Replacing<'_> {
        self.replacing.store(true, Ordering::Release);
        Replacing(self)
    }

    /// Whether the running statement replaces rows.
    pub(crate) fn is_replacing(&self) -> bool {
        self.replacing.load(Ordering::Acquire)
    }

    /// The synced tables among these (lower case).
    pub(crate) fn among(&self, names: &BTreeSet<String>) -> Vec<Arc<Table>> {
        let state = self.state();
        let tables = state.tables.iter().flatten().map(|table| &table.table);
        tables.filter(|table| names.contains(&table.name.to_ascii_lowercase())).cloned().collect()
    }

    /// Whether writes are captured.
    pub(crate) fn is_on(&self) -> bool {
        self.off.load(Ordering::Acquire) == 0
    }

    /// The shared state. Locked for one value or one statement, never across SQL.
    pub(crate) fn state(&self) -> MutexGuard<'_, CaptureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mark to cut back to.
    pub(crate) fn mark(&self) -> usize {
        self.state().buffer.len()
    }

    /// Removes what was captured after `mark`.
    pub(crate) fn cut(&self, mark: usize) {
        self.state().buffer.cut(mark);
    }

    /// Clears the buffer.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.buffer.clear();
        state.failure = None;
    }

    /// The net patches of what was captured, one per row. Of a large transaction the buffer is empty
    /// afterwards.
    pub(crate) fn compose(&self, schema_version: i64) -> Result<Recorded, Malformed> {
        let mut state = self.state();
        let mut composer = Composer::new();
        for event in state.buffer.since(0) {
            composer.push(event?.patch)?;
        }
        if state.buffer.is_large()
            && let Some(patches) = composer.all_once()
        {
            drop(composer);
            let effect = state.buffer.take_effect(schema_version, patches);
            return Ok(Recorded { rows: encode::rows_of(&effect)?.into(), effect });
        }
        composer.finish(schema_version, |number| state.table(number).map(|table| &*table.table))
    }

    /// Captures a change of a row that no trigger has seen, like a trigger.
    pub(crate) fn note(&self, table: &Table, old: Option<&[Value]>, new: Option<&[Value]>) {
        let buffer = &mut self.state().buffer;
        let tested = |_, _| Ok::<_, Infallible>(());
        let Ok(()) = match (old, new) {
            (None, Some(new)) => buffer.insert(table, |at| Ok(lent(&new[at]))),
            (Some(old), None) => {
                buffer.delete(table, |at| lent(&old[at]));
                Ok(())
            }
            (Some(old), Some(new)) => {
                buffer.update(table, |at| lent(&old[at]), |at| lent(&new[at]), tested)
            }
            (None, None) => Ok(()),
        };
    }

    /// Whether a statement that writes these tables (lower case) needs checks after it.
    pub(crate) fn checks_after(&self, writes: &BTreeSet<String>) -> bool {
        let state = self.state();
        let mut tables = state.tables.iter().flatten();
        tables.any(|table| {
            table.checks_after() && writes.contains(&table.table.name.to_ascii_lowercase())
        })
    }

    /// Whether cascades from one of these tables (lower case) lead into a circle.
    pub(crate) fn is_circular(&self, writes: &BTreeSet<String>) -> bool {
        let state = self.state();
        let mut tables = state.tables.iter().flatten().filter(|table| table.is_circular);
        tables.any(|table| writes.contains(&table.table.name.to_ascii_lowercase()))
    }

    /// Why a function failed, if one did.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }
}

/// Borrows a value like SQLite.
pub(super) fn lent(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    }
}
