//! Composes many changes of a row into one patch.
//!
//! Pure. [`Composer`] takes the captured events in order and returns the net patches, one per row
//! in the order of the first change; an unchanged row has none. [`compose`] does the same for two
//! patches. Values are compared exactly, by storage class and bits, as SQLite stored them.

use std::collections::HashMap;
use std::sync::Arc;

use rejoin_protocol::limits::GROUP_CHANGES;

use crate::engine::rows::binary::{BinaryWriter, Malformed};
use crate::engine::rows::encode::{self, PatchBytes};
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch, same};
use crate::engine::schema::model::Table;
use crate::error::{Error, InputFault, Result};
use crate::ids::TableNumber;
use crate::value::Value;

/// The changes of one transaction, ready for the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The effect as [`encode::encode`] writes it.
    pub effect: Vec<u8>,
    /// The rows of the effect, in order, and what it does to them.
    pub rows: Arc<[(RowKey, PatchKind)]>,
}

/// Bytes of the values of one mutation, old and new ones. As JSON, with its names, it fits into
/// [`GROUP_BYTES`](rejoin_protocol::limits::GROUP_BYTES) unless it is mostly control characters.
const MUTATION_BYTES: usize = 64 << 20;

impl Recorded {
    /// Refuses a transaction that no server takes as a whole: only the app can divide it.
    pub(crate) fn check_size(&self) -> Result<()> {
        let (rows, bytes) = (self.rows.len(), self.effect.len());
        if rows <= GROUP_CHANGES && bytes <= MUTATION_BYTES {
            return Ok(());
        }
        Err(Error::InvalidInput(InputFault::Refused {
            what: format!("a transaction that changes {rows} rows with {bytes} bytes of values"),
            reason: format!(
                "it is sent as a whole, and at most {GROUP_CHANGES} rows and {} MiB are; write it in several transactions",
                MUTATION_BYTES >> 20
            ),
        }))
    }
}

/// Collects the changes of one transaction. The event of a row that is changed once, the common
/// case, is copied unchanged.
#[derive(Debug, Default)]
pub struct Composer<'a> {
    rows: Vec<Touched<'a>>,
    index: HashMap<&'a [u8], usize, foldhash::fast::RandomState>,
}

#[derive(Debug)]
enum Touched<'a> {
    Once(PatchBytes<'a>),
    Often(Box<Net>),
}

impl<'a> Composer<'a> {
    /// Creates an empty composer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one event. A key change arrives as a delete and an insert.
    pub fn push(&mut self, event: PatchBytes<'a>) -> Result<(), Malformed> {
        // One row per transaction is the common case: the map is filled only from the second on.
        if let [Touched::Once(only)] = self.rows.as_slice() {
            self.index.insert(only.name, 0);
        }
        let end = self.rows.len();
        let place = if end == 0 { 0 } else { *self.index.entry(event.name).or_insert(end) };
        match self.rows.get_mut(place) {
            None => self.rows.push(Touched::Once(event)),
            Some(Touched::Often(net)) => net.take(event.patch()?),
            Some(place @ Touched::Once(_)) => {
                let Touched::Once(first) = place else { return Ok(()) };
                let mut net = Net::of(first.patch()?);
                net.take(event.patch()?);
                *place = Touched::Often(Box::new(net));
            }
        }
        Ok(())
    }

    /// The number of rows, if each is changed once: then the events are the net patches.
    pub(super) fn all_once(&self) -> Option<usize> {
        let once = |touched: &Touched<'_>| matches!(touched, Touched::Once(_));
        self.rows.iter().all(once).then_some(self.rows.len())
    }

    /// The net patches. `table` finds a table by its number.
    pub fn finish<'t>(
        self,
        schema_version: i64,
        table: impl Fn(TableNumber) -> Option<&'t Table>,
    ) -> Result<Recorded, Malformed> {
        let (mut often, mut room) = (Vec::new(), 32);
        for touched in &self.rows {
            match touched {
                Touched::Once(patch) => room += patch.bytes.len(),
                Touched::Often(net) => {
                    often.push(table(net.row.table).and_then(|table| net.patch(table)));
                }
            }
        }
        let left = self.rows.len() - often.iter().filter(|patch| patch.is_none()).count();
        let mut out = BinaryWriter::with_room(room);
        let mut rows = Vec::with_capacity(left);
        encode::write_head(&mut out, schema_version, left);
        let mut often = often.into_iter();
        for touched in &self.rows {
            match touched {
                Touched::Once(patch) => {
                    out.raw(patch.bytes);
                    rows.push((patch.row()?, patch.kind));
                }
                Touched::Often(_) => {
                    for patch in often.next().into_iter().flatten() {
                        encode::write_patch(&mut out, &patch);
                        rows.push((patch.row, patch.kind));
                    }
                }
            }
        }
        Ok(Recorded { effect: out.finish(), rows: rows.into() })
    }
}

/// A row that is changed more than once: whether it existed before and exists now, and its known
/// columns.
#[derive(Debug)]
struct Net {
    row: RowKey,
    before: bool,
    after: bool,
    columns: Vec<ColumnPatch>,
}

impl Net {
    fn of(first: RowPatch) -> Self {
        let RowPatch { row, kind, columns } = first;
        Self { row, before: kind != PatchKind::Insert, after: kind != PatchKind::Delete, columns }
    }

    /// The first old value stays the old value, the last new value is the new one.
    fn take(&mut self, next: RowPatch) {
        self.after = next.kind != PatchKind::Delete;
        for column in next.columns {
            match self.columns.iter_mut().find(|known| known.column == column.column) {
                Some(known) => known.new = column.new,
                None => self.columns.push(column),
            }
        }
    }

    /// The net patch, if any. A soft delete and its undo name every column, like the events of the
    /// row.
    fn patch(&self, table: &Table) -> Option<RowPatch> {
        let kind = match (self.before, self.after) {
            (false, false) => return None,
            (false, true) => PatchKind::Insert,
            (true, false) => PatchKind::Delete,
            (true, true) => PatchKind::Update,
        };
        let mut columns = self.columns.clone();
        let softly = table.deleted_at.is_some_and(|at| {
            let id = table.columns[at].id;
            columns.iter().any(|c| c.column == id && c.old.is_null() != c.new.is_null())
        });
        if kind == PatchKind::Update && !softly {
            columns.retain(ColumnPatch::is_change);
        }
        columns.sort_by_key(|column| table.position(column.column));
        let row = self.row.clone();
        (kind != PatchKind::Update || !columns.is_empty()).then_some(RowPatch {
            row,
            kind,
            columns,
        })
    }
}

/// The composition of two patches of one row; `None` if nothing is left, or if the second cannot
/// follow the first.
///
/// An insert and a delete cancel out; a delete and an insert are an update of what differs.
pub fn compose(first: &RowPatch, second: &RowPatch) -> Option<RowPatch> {
    let row = first.row.clone();
    let (kind, columns) = match (first.kind, second.kind) {
        (PatchKind::Insert, PatchKind::Update) => (PatchKind::Insert, merge_columns(first, second)),
        (PatchKind::Update, PatchKind::Update) => {
            let mut columns = merge_columns(first, second);
            columns.retain(|column| !same(&column.old, &column.new));
            (PatchKind::Update, columns)
        }
        (PatchKind::Update, PatchKind::Delete) => (PatchKind::Delete, olds_of(first, second)),
        (PatchKind::Delete, PatchKind::Insert) => {
            let mut columns = first.columns.clone();
            for column in &mut columns {
                column.new = find(second, column).map_or(Value::Null, |other| other.new.clone());
            }
            columns.extend(second.columns.iter().filter(|c| find(first, c).is_none()).cloned());
            columns.retain(|column| !same(&column.old, &column.new));
            (PatchKind::Update, columns)
        }
        _ => return None,
    };
    (kind != PatchKind::Update || !columns.is_empty()).then_some(RowPatch { row, kind, columns })
}

fn find<'a>(patch: &'a RowPatch, column: &ColumnPatch) -> Option<&'a ColumnPatch> {
    patch.columns.iter().find(|other| other.column == column.column)
}

/// First's columns with second's new values, then second's own, in the order of column identities.
fn merge_columns(first: &RowPatch, second: &RowPatch) -> Vec<ColumnPatch> {
    let mut columns = first.columns.clone();
    for column in &second.columns {
        match columns.iter_mut().find(|other| other.column == column.column) {
            Some(mine) => mine.new = column.new.clone(),
            None => columns.push(match first.kind {
                PatchKind::Insert => ColumnPatch { old: Value::Null, ..column.clone() },
                _ => column.clone(),
            }),
        }
    }
    columns.sort_by_key(|column| column.column);
    columns
}

fn olds_of(first: &RowPatch, second: &RowPatch) -> Vec<ColumnPatch> {
    let mut columns = second.columns.clone();
    for column in &mut columns {
        if let Some(earlier) = find(first, column) {
            column.old = earlier.old.clone();
        }
    }
    columns
}

#[cfg(test)]
#[path = "compose/tests.rs"]
pub(super) mod tests;
