//! What earlier mutations of a device left in the rows that it edits again.
//!
//! A database may store another value than the one that it was sent (`numeric(10,2)`, `char(4)`, a
//! trigger). The device's next edit of the row names the value that the device wrote: it is compared
//! with the one that the mutation left there. The same holds for a column that a trigger computed
//! from those that were written. The verdict reports these values ([`Verdict::left`],
//! [`Verdict::computed`]), for later pushes and for the device.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Group, Verdict};
use rejoin_protocol::wire::row::RowImage;

use super::change::{Cells, decode};
use super::conflict::is_as_sent;
use super::encode;
use super::naming::Naming;
use crate::error::Fault;
use crate::model::{Row, Table};

/// The writes of one transaction, by table number and row.
#[derive(Default)]
pub(super) struct OwnWrites {
    /// The place of the group that is evaluated, among those of the transaction.
    group: Cell<usize>,
    /// What the mutations left that this group names in its `after`, by table and row.
    before: RefCell<HashMap<(String, String), Vec<Left>>>,
    rows: RefCell<HashMap<(i64, String), Vec<OwnWrite>>>,
    /// Bytes of the values that are remembered without having been sent.
    unsent: Cell<usize>,
}

/// A group's write of a row.
struct OwnWrite {
    group: usize,
    /// The columns that it has sent.
    sent: Vec<usize>,
    /// What the device believes to be in the row after this write: what it has sent, now and in earlier
    /// groups, and small values before them in other columns, which a trigger may change.
    believed: Cells,
    /// Values that a mutation of an earlier request left in columns that were not written since.
    carried: Cells,
    /// The values that differ from the believed ones, once the row was read again.
    left: Option<Cells>,
}

/// Longest text or bytes of a value that is remembered without having been sent.
const SMALL: usize = 256;

/// Most bytes that a transaction remembers beyond what was sent; in further rows, computed columns are
/// not recognised.
const UNSENT: usize = 16 << 20;

/// What a mutation left in its rows.
#[derive(Default)]
pub(super) struct Left {
    pub(super) left: Vec<RowImage>,
    /// Of columns that it did not write, the values that the device expects.
    pub(super) computed: Vec<RowImage>,
}

impl OwnWrites {
    /// Starts a group. `before`: the verdicts on the mutations that it names in its `after`.
    pub(super) fn begin(&self, group: usize, before: Vec<Verdict>) {
        self.group.set(group);
        let mut rows = HashMap::new();
        for Verdict { left, computed, .. } in before {
            let of = |image: &RowImage| (image.table_name.clone(), image.id.clone());
            let mut computed: HashMap<_, _> =
                computed.into_iter().map(|image| (of(&image), image)).collect();
            for image in left {
                let row = of(&image);
                let computed = Vec::from_iter(computed.remove(&row));
                let all: &mut Vec<Left> = rows.entry(row).or_default();
                all.push(Left { left: vec![image], computed });
            }
        }
        *self.before.borrow_mut() = rows;
    }

    /// Records what the group has sent for a row. `sent` of a new row has every column that the
    /// device knows. `stored`: the row before.
    pub(super) fn record(&self, table: &Table, id: &str, sent: Cells, stored: Option<&Row>) {
        let mut rows = self.rows.borrow_mut();
        let writes = rows.entry((table.number, id.to_owned())).or_default();
        let group = self.group.get();
        writes.retain(|write| write.group < group);
        let (mut believed, mut carried) = match writes.last() {
            Some(write) => {
                let has_room = self.takes(size_of_val(write.believed.as_slice()));
                let believed = if has_room { write.believed.clone() } else { Cells::new() };
                (believed, write.carried.clone())
            }
            None => (Cells::new(), self.left_before(table, id, None)),
        };
        believed.retain(|(at, _)| !has(&sent, *at));
        carried.retain(|(at, _)| !has(&sent, *at));
        let mut is_known = vec![false; table.columns.len()];
        for (at, _) in sent.iter().chain(&believed).chain(&carried) {
            if let Some(known) = is_known.get_mut(*at) {
                *known = true;
            }
        }
        let stored = stored.iter().flat_map(|row| row.cells.iter().zip(&is_known).enumerate());
        let unsent = stored.filter_map(|(at, (value, is_known))| {
            let is_kept = !*is_known && is_open(table, at) && self.has_room(value);
            is_kept.then(|| (at, value.clone()))
        });
        let unsent: Cells = unsent.collect();
        let named = sent.iter().map(|(at, _)| *at).collect();
        believed.extend(unsent.into_iter().chain(sent));
        writes.push(OwnWrite { group, sent: named, believed, carried, left: None });
    }

    /// Whether a value that was not sent is small, and there is room for it.
    fn has_room(&self, value: &Value) -> bool {
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        bytes <= SMALL && self.takes(bytes + size_of::<(usize, Value)>())
    }

    fn takes(&self, bytes: usize) -> bool {
        let all = self.unsent.get().saturating_add(bytes);
        let has_room = all <= UNSENT;
        if has_room {
            self.unsent.set(all);
        }
        has_room
    }

    /// Forgets what the group has sent: it was rolled back.
    pub(super) fn forget(&self, table: &Table, id: &str) {
        let group = self.group.get();
        if let Some(writes) = self.rows.borrow_mut().get_mut(&(table.number, id.to_owned())) {
            writes.retain(|write| write.group < group);
        }
    }

    /// Replaces expected values by those of the row, where an earlier mutation of the device left
    /// these.
    pub(super) fn replace_expected(&self, table: &Table, id: &str, row: &Row, old: &mut Cells) {
        self.compare_before(table, id, row);
        if old.iter().all(|(at, value)| is_as_sent(table, row, *at, value)) {
            return;
        }
        let rows = self.rows.borrow();
        let last = rows.get(&(table.number, id.to_owned())).and_then(|writes| writes.last());
        let left = match last {
            Some(write) => write.left.clone().unwrap_or_default(),
            None => self.left_before(table, id, Some(old)),
        };
        // Of this push it is known what was sent: an edit of another value is not based on it.
        let is_other = |at: usize, value: &Value| {
            let known =
                last.and_then(|write| write.believed.iter().find(|(other, _)| *other == at));
            known.is_some_and(|(_, known)| known != value)
        };
        for (at, value) in old {
            let is_left =
                |(other, left): &(usize, Value)| other == at && is_as_sent(table, row, *at, left);
            if left.iter().any(is_left) && !is_other(*at, value) {
                value.clone_from(row.cell(*at));
            }
        }
    }

    /// Compares the row, as it is before this group, with what the last group has sent.
    fn compare_before(&self, table: &Table, id: &str, row: &Row) {
        let mut rows = self.rows.borrow_mut();
        if rows.is_empty() {
            return;
        }
        if let Some(writes) = rows.get_mut(&(table.number, id.to_owned())) {
            let group = self.group.get();
            writes.retain(|write| write.group < group);
            if let Some(last) = writes.last_mut() {
                last.compare(table, row);
            }
        }
    }

    /// Compares a row, as it is at the end, with what the last group has sent.
    pub(super) fn compare(&self, table: &Table, id: &str, row: &Row) {
        let mut rows = self.rows.borrow_mut();
        let writes = rows.get_mut(&(table.number, id.to_owned()));
        if let Some(last) = writes.and_then(|writes| writes.last_mut()) {
            last.compare(table, row);
        }
    }

    /// The ids of the rows that were written, by table number.
    pub(super) fn written(&self) -> BTreeMap<i64, Vec<String>> {
        let mut written: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for (table, id) in self.rows.borrow().keys() {
            written.entry(*table).or_default().push(id.clone());
        }
        written
    }

    /// What each of these groups left that differs from what the device expects, by mutation.
    pub(super) fn left<'t>(
        &self,
        groups: &[Group],
        table_of: impl Fn(i64) -> Option<&'t Table>,
    ) -> Result<Vec<(String, Left)>, Fault> {
        let mut found: BTreeMap<usize, Left> = BTreeMap::new();
        for ((number, id), writes) in self.rows.borrow().iter() {
            let Some(table) = table_of(*number) else { continue };
            for OwnWrite { group, left, sent, believed, .. } in writes {
                let Some(left) = left.as_ref().filter(|left| !left.is_empty()) else { continue };
                let found = found.entry(*group).or_default();
                found.left.push(image(table, id, left)?);
                let computed =
                    believed.iter().filter(|(at, _)| has(left, *at) && !sent.contains(at));
                let computed: Cells = computed.cloned().collect();
                if !computed.is_empty() {
                    found.computed.push(image(table, id, &computed)?);
                }
            }
        }
        let named = found.into_iter();
        let named = named.filter_map(|(at, left)| Some((groups.get(at)?.id.clone(), left)));
        Ok(named.collect())
    }

    /// What the mutations in this group's `after` left in a row; of columns that they did not write,
    /// only those where the device expects the value that was reported.
    fn left_before(&self, table: &Table, id: &str, expected: Option<&Cells>) -> Cells {
        let mut all = Cells::new();
        let before = self.before.borrow();
        let of_row = before.get(&(table.name.clone(), id.to_owned()));
        for Left { left, computed } in of_row.into_iter().flatten() {
            // Columns that were removed since are not compared.
            let cells =
                |image: &RowImage| decode(table, image.data.as_deref(), &Naming::PRESENT).ok();
            let before: Cells = computed.iter().filter_map(cells).flatten().collect();
            let is_expected = |at: usize| {
                let was = before.iter().find(|(other, _)| *other == at);
                was.is_none_or(|was| expected.is_some_and(|expected| expected.contains(was)))
            };
            let left = left.iter().filter_map(cells).flatten();
            all.extend(left.filter(|(at, _)| is_expected(*at)));
        }
        all
    }
}

impl OwnWrite {
    fn compare(&mut self, table: &Table, row: &Row) {
        let other = |(at, value): &&(usize, Value)| {
            is_open(table, *at) && !is_as_sent(table, row, *at, value)
        };
        let believed = self.believed.iter().filter(other);
        let mut left: Cells = believed.map(|(at, _)| (*at, row.cell(*at).clone())).collect();
        let stays = |(at, value): &&(usize, Value)| is_as_sent(table, row, *at, value);
        left.extend(self.carried.iter().filter(stays).cloned());
        self.left = Some(left);
    }
}

fn has(cells: &Cells, at: usize) -> bool {
    cells.iter().any(|(other, _)| *other == at)
}

/// Whether devices write this column.
fn is_open(table: &Table, at: usize) -> bool {
    at != table.key && table.columns.get(at).is_some_and(|c| !c.protected && !c.generated)
}

fn image(table: &Table, id: &str, left: &Cells) -> Result<RowImage, Fault> {
    let mut row = Row { cells: vec![Value::Null; table.columns.len()] };
    for (at, value) in left {
        if let Some(cell) = row.cells.get_mut(*at) {
            cell.clone_from(value);
        }
    }
    let data = Some(encode::object(table, &row, left.iter().map(|(at, _)| *at))?);
    let (table_name, id) = (table.name.clone(), id.to_owned());
    Ok(RowImage { table_name, id, data, updated_at: None, absent: false })
}
