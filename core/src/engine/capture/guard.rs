//! What the capture function and the engine share, and the guard that silences it while base rows are applied.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::ValueRef;

use crate::engine::capture::buffer::Buffer;
use crate::engine::capture::compose::{Composer, Recorded};
use crate::engine::rows::binary::Malformed;
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
    /// The time of the action that runs, microseconds since 1970; `NOBODY` while none does.
    acting: AtomicI64,
    /// How far an action may fill the buffer, and whether it has tried to go beyond.
    room: AtomicUsize,
    full: AtomicBool,
    state: Mutex<State>,
}

/// What the functions work on.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was captured in the present transaction.
    pub(crate) buffer: Buffer,
    /// By number; what is not synced is `None`.
    pub(crate) tables: Vec<Option<Arc<GuardedTable>>>,
    /// Why a function failed, in the engine's words; SQLite carries only text.
    pub(crate) failure: Option<Error>,
    /// Tables that only actions write, lower case (D24).
    pub(crate) guarded: BTreeSet<String>,
}

/// No action runs.
const NOBODY: i64 = i64::MIN;

impl Default for Capture {
    fn default() -> Self {
        Self {
            off: AtomicU32::default(),
            acting: AtomicI64::new(NOBODY),
            room: AtomicUsize::new(usize::MAX),
            full: AtomicBool::default(),
            state: Mutex::default(),
        }
    }
}

impl State {
    /// What is known of this table.
    pub(crate) fn table(&self, number: TableNumber) -> Option<&Arc<GuardedTable>> {
        self.tables.get(usize::try_from(number.0).ok()?)?.as_ref()
    }
}

/// While it lives, triggers capture nothing and no rule is checked (R5). Guards nest.
#[derive(Debug)]
#[must_use]
pub(crate) struct Off(Option<Arc<Capture>>);

impl Drop for Off {
    fn drop(&mut self) {
        if let Some(capture) = &self.0 {
            capture.off.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// While it lives, an action runs: what is written is captured, and the clock stands.
#[derive(Debug)]
#[must_use]
pub(crate) struct Acting {
    capture: Arc<Capture>,
    /// How many guards silenced the capture.
    silenced: u32,
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.capture.acting.store(NOBODY, Ordering::Release);
        self.capture.room.store(usize::MAX, Ordering::Release);
        self.capture.off.store(self.silenced, Ordering::Release);
    }
}

impl Capture {
    /// An action runs until the guard is dropped: its writes are local ones, whoever has silenced the capture (R5), and
    /// its time is this. It may write so many bytes.
    pub(crate) fn acting(self: &Arc<Self>, micros: i64, most: usize) -> Acting {
        self.acting.store(micros, Ordering::Release);
        self.room.store(self.mark().saturating_add(most), Ordering::Release);
        self.full.store(false, Ordering::Release);
        Acting { silenced: self.off.swap(0, Ordering::AcqRel), capture: Arc::clone(self) }
    }

    /// Whether the action that runs may go on with a buffer of this length.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        let fits = length <= self.room.load(Ordering::Acquire);
        self.full.fetch_or(!fits, Ordering::AcqRel);
        fits
    }

    /// Whether the last action tried to write more than it may.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The time of the action that runs.
    pub(crate) fn acts_at(&self) -> Option<i64> {
        Some(self.acting.load(Ordering::Acquire)).filter(|micros| *micros != NOBODY)
    }

    /// Names the tables that only actions write, lower case.
    pub(crate) fn guard_for_actions(&self, tables: &BTreeSet<String>) {
        self.state().guarded.clone_from(tables);
    }

    /// Silences triggers and rules until the guard is dropped.
    pub(crate) fn off(self: &Arc<Self>) -> Off {
        if mutant::on(Mutant::GuardLeftOpen) {
            return Off(None);
        }
        self.off.fetch_add(1, Ordering::AcqRel);
        Off(Some(Arc::clone(self)))
    }

    /// Whether writes are local ones.
    pub(crate) fn is_on(&self) -> bool {
        self.off.load(Ordering::Acquire) == 0
    }

    /// The shared state. Held for as long as one value or one statement takes, never across SQL.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mark to cut back to.
    pub(crate) fn mark(&self) -> usize {
        self.state().buffer.len()
    }

    /// Forgets what was captured after `mark` (D1).
    pub(crate) fn cut(&self, mark: usize) {
        self.state().buffer.cut(mark);
    }

    /// Forgets the transaction.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.buffer.clear();
        state.failure = None;
    }

    /// The net patches of what was captured, one per row.
    pub(crate) fn compose(&self, schema_version: i64) -> Result<Recorded, Malformed> {
        let state = self.state();
        let mut composer = Composer::new();
        for event in state.buffer.since(0) {
            composer.push(event?.patch)?;
        }
        composer.finish(schema_version, |number| state.table(number).map(|table| &*table.table))
    }

    /// Takes a change of a row that no trigger has seen, as a trigger would have.
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

    /// Why a function failed, if one did.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }
}

/// A value as SQLite lends it.
pub(super) fn lent(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Real(number) => ValueRef::Real(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    }
}
