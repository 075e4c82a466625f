//! Finds the mutations that must be undone before some of them can change.
//!
//! Pure functions. The footprint of plain SQL is the rows of its effect, including skipped writes;
//! it has read nothing. A replayed action has also read tables. It depends on earlier writes to
//! those tables, and later writes to them must be undone before it runs again, or it would see
//! them.

use std::collections::{BTreeSet, HashMap};

use crate::engine::row_state::RowStates;
use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::ids::{Seq, TableNumber};
use rejoin_protocol::mutant::{self, Mutant};

/// Rows and tables of the mutations of a queue, as far as replays need them.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Replays that have read a table, by table.
    readers: HashMap<TableNumber, BTreeSet<Seq>>,
    /// Mutations that wrote to a table, by table.
    writers: HashMap<TableNumber, BTreeSet<Seq>>,
    reads: HashMap<Seq, Vec<TableNumber>>,
}

impl Tables {
    /// Adds a mutation with its rows, and the tables that it has read if it is a replay.
    pub(crate) fn add(&mut self, seq: Seq, rows: &[(RowKey, PatchKind)], reads: &[TableNumber]) {
        for (row, _) in rows {
            self.writers.entry(row.table).or_default().insert(seq);
        }
        for table in reads {
            self.readers.entry(*table).or_default().insert(seq);
        }
        if !reads.is_empty() {
            self.reads.insert(seq, reads.to_vec());
        }
    }

    /// Tables that a replay has read; empty for any other mutation.
    pub(crate) fn reads(&self, seq: Seq) -> &[TableNumber] {
        self.reads.get(&seq).map_or(&[], Vec::as_slice)
    }

    /// Whether the mutation is a replay.
    pub(crate) fn replays(&self, seq: Seq) -> bool {
        self.reads.contains_key(&seq)
    }

    /// Replays that have read a table.
    pub(crate) fn readers(&self, table: TableNumber) -> impl Iterator<Item = Seq> + '_ {
        self.readers.get(&table).into_iter().flatten().copied()
    }

    /// Later mutations that share a table with a replay that wrote these and read those tables,
    /// except undone ones.
    pub(crate) fn meet(
        &self,
        seq: Seq,
        written: &BTreeSet<TableNumber>,
        reads: &[TableNumber],
        is_undone: impl Fn(Seq) -> bool,
    ) -> Vec<Seq> {
        let readers = written.iter().filter_map(|table| self.readers.get(table));
        let writers = reads.iter().filter_map(|table| self.writers.get(table));
        let later = readers.chain(writers).flat_map(|steps| steps.range(after(seq)..).copied());
        later.filter(|step| !is_undone(*step)).collect()
    }
}

fn after(seq: Seq) -> Seq {
    Seq(seq.0.saturating_add(1))
}

/// For each table, the first mutation that was already visited, so that each is visited once.
#[derive(Default)]
struct Taken(HashMap<TableNumber, Seq>);

impl Taken {
    /// Unvisited mutations after the given one.
    fn after<'s>(
        &mut self,
        table: TableNumber,
        seq: Seq,
        steps: &'s HashMap<TableNumber, BTreeSet<Seq>>,
    ) -> impl Iterator<Item = Seq> + 's {
        let until = self.0.get(&table).copied().unwrap_or(Seq(i64::MAX));
        let from = after(seq).min(until);
        self.0.insert(table, from);
        steps.get(&table).into_iter().flat_map(move |steps| steps.range(from..until).copied())
    }
}

/// The seeds and all later mutations that depend on them: they share a row, or one wrote a table
/// that the later one has read, or a replay has read a table that the later one wrote. Mutations in
/// `done`, and all that depend on them, are already undone. Without replays, tables are not
/// considered. An edit that `stays` at a row has no dependents through it.
pub(crate) fn closure<'a>(
    seeds: impl IntoIterator<Item = Seq>,
    states: &RowStates,
    tables: Option<&Tables>,
    (rows, stays): (impl Fn(Seq) -> &'a [(RowKey, PatchKind)], impl Fn(&RowKey, Seq) -> bool),
    done: impl Fn(Seq) -> bool,
) -> BTreeSet<Seq> {
    let mut affected: BTreeSet<Seq> = seeds.into_iter().filter(|seq| !done(*seq)).collect();
    if mutant::on(Mutant::NoClosureByRows) {
        return affected;
    }
    let mut open: Vec<Seq> = affected.iter().copied().collect();
    let (mut readers, mut writers) = (Taken::default(), Taken::default());
    let mut found = Vec::new();
    while let Some(step) = open.pop() {
        let mut last = None;
        for (row, _) in rows(step) {
            // The nearest later one is enough: the rest of the row follows from it.
            if !stays(row, step) {
                found.extend(states.steps_after(row, step).next());
            }
            if let Some(tables) = tables
                && last.replace(row.table) != Some(row.table)
            {
                found.extend(readers.after(row.table, step, &tables.readers));
            }
        }
        if let Some(tables) = tables {
            for table in tables.reads(step) {
                found.extend(writers.after(*table, step, &tables.writers));
            }
        }
        for later in found.drain(..) {
            if !done(later) && affected.insert(later) {
                open.push(later);
            }
        }
    }
    affected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::queue::mutation::MutationState;
    use crate::engine::row_state::Waiting;

    /// One mutation writes three tables, and one replay reads each of them.
    #[test]
    fn readers_of_each_written_table_are_in_the_closure() {
        let (mut tables, states) = (Tables::default(), RowStates::default());
        let row = |table, key: i64| {
            (RowKey { table: TableNumber(table), key: key.into() }, PatchKind::Update)
        };
        let written = [row(1, 1), row(1, 2), row(2, 1), row(3, 1), row(1, 3)];
        tables.add(Seq(1), &written, &[]);
        for (seq, read) in [(2, 3), (3, 2), (4, 1), (5, 4)] {
            tables.add(Seq(seq), &[], &[TableNumber(read)]);
        }
        let rows = |seq: Seq| if seq == Seq(1) { &written[..] } else { &[] };
        let set = closure([Seq(1)], &states, Some(&tables), (rows, |_, _| false), |_| false);
        assert_eq!(set.into_iter().map(|seq| seq.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn closure_of_often_edited_row_is_not_quadratic() {
        let mut states = RowStates::default();
        let row = RowKey { table: TableNumber(1), key: "a".into() };
        let rows = [(row.clone(), PatchKind::Update)];
        for seq in 1..=20_000 {
            let (state, kind) = (MutationState::Pending, PatchKind::Update);
            let waiting = Waiting { seq: Seq(seq), state, kind };
            states.add(row.table, &row.key, waiting);
        }
        let set = closure([Seq(1)], &states, None, (|_| rows.as_slice(), |_, _| false), |_| false);
        assert_eq!(set.len(), 20_000);
    }

    #[test]
    fn closure_of_many_replays_on_a_table_is_not_quadratic() {
        let (mut tables, states) = (Tables::default(), RowStates::default());
        for seq in 1..=20_000 {
            let rows = [(RowKey { table: TableNumber(1), key: seq.into() }, PatchKind::Update)];
            tables.add(Seq(seq), &rows, &[TableNumber(1)]);
        }
        let row = [(RowKey { table: TableNumber(1), key: 1.into() }, PatchKind::Update)];
        let set =
            closure([Seq(1)], &states, Some(&tables), (|_| row.as_slice(), |_, _| false), |_| {
                false
            });
        assert_eq!(set.len(), 20_000);
    }
}
