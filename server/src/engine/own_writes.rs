//! What earlier mutations of a device left in the rows that it edits again.
//!
//! A database may store another value than the one that it was sent (`numeric(10,2)`, `char(4)`, a
//! trigger). The device's next edit of the row names the value that the device wrote: it is compared
//! with the one that the mutation left there. The verdict reports these values
//! ([`Verdict::left`](rejoin_protocol::wire::push::Verdict)), for later pushes and for the device.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::Group;
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
    /// What the mutations left that this group names in its `after`.
    before: RefCell<Vec<RowImage>>,
    rows: RefCell<HashMap<(i64, String), Vec<OwnWrite>>>,
}

/// A group's write of a row.
struct OwnWrite {
    group: usize,
    sent: Cells,
    /// Values that an earlier mutation left in columns that this one did not write.
    carried: Cells,
    /// The values that differ from those sent, once the row was read again.
    left: Option<Cells>,
}

/// A mutation, and what it left in its rows.
pub(super) type Left = Vec<(String, Vec<RowImage>)>;

impl OwnWrites {
    /// Starts a group. `before`: what the mutations left that it names in its `after`.
    pub(super) fn begin(&self, group: usize, before: Vec<RowImage>) {
        self.group.set(group);
        *self.before.borrow_mut() = before;
    }

    /// Records what the group has sent for a row. `sent` of a new row has every column that the
    /// device knows.
    pub(super) fn record(&self, table: &Table, id: &str, sent: Cells) {
        let mut rows = self.rows.borrow_mut();
        let writes = rows.entry((table.number, id.to_owned())).or_default();
        let group = self.group.get();
        writes.retain(|write| write.group < group);
        let mut carried = match writes.last() {
            Some(write) => write.left.clone().unwrap_or_default(),
            None => self.left_before(table, id),
        };
        carried.retain(|(at, _)| !sent.iter().any(|(other, _)| other == at));
        writes.push(OwnWrite { group, sent, carried, left: None });
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
            None => self.left_before(table, id),
        };
        // Of this push it is known what was sent: an edit of another value is not based on it.
        let is_other = |at: usize, value: &Value| {
            let sent = last.and_then(|write| write.sent.iter().find(|(other, _)| *other == at));
            sent.is_some_and(|(_, sent)| sent != value)
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

    /// What each of these groups left that differs from what it sent, by mutation.
    pub(super) fn left<'t>(
        &self,
        groups: &[Group],
        table_of: impl Fn(i64) -> Option<&'t Table>,
    ) -> Result<Left, Fault> {
        let mut found: BTreeMap<usize, Vec<RowImage>> = BTreeMap::new();
        for ((number, id), writes) in self.rows.borrow().iter() {
            let Some(table) = table_of(*number) else { continue };
            for OwnWrite { group, left, .. } in writes {
                let Some(left) = left.as_ref().filter(|left| !left.is_empty()) else { continue };
                let image = image(table, id, left)?;
                found.entry(*group).or_default().push(image);
            }
        }
        let named = found.into_iter();
        let named = named.filter_map(|(at, left)| Some((groups.get(at)?.id.clone(), left)));
        Ok(named.collect())
    }

    /// What the mutations in this group's `after` left in a row.
    fn left_before(&self, table: &Table, id: &str) -> Cells {
        let before = self.before.borrow();
        let is_it = |image: &&RowImage| image.table_name == table.name && image.id == id;
        let left = before.iter().filter(is_it).filter_map(|image| {
            // Columns that were removed since are not compared.
            decode(table, image.data.as_deref(), &Naming::PRESENT).ok()
        });
        left.flatten().collect()
    }
}

impl OwnWrite {
    fn compare(&mut self, table: &Table, row: &Row) {
        let other = |(at, value): &&(usize, Value)| {
            let is_open = table.columns.get(*at).is_some_and(|c| !c.protected && !c.generated);
            is_open && *at != table.key && !is_as_sent(table, row, *at, value)
        };
        let sent = self.sent.iter().filter(other);
        let mut left: Cells = sent.map(|(at, _)| (*at, row.cell(*at).clone())).collect();
        let stays = |(at, value): &&(usize, Value)| is_as_sent(table, row, *at, value);
        left.extend(self.carried.iter().filter(stays).cloned());
        self.left = Some(left);
    }
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
