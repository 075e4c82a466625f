//! A store that counts its calls, and fails one of them.

use std::cell::Cell;

use rejoin_log::ids::{EntryId, Name};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::SnapshotPage;
use rejoin_log::rebase::{Footprint, StepIndex};
use rejoin_log::replica::store::{Facts, Record, ReplicaStore, Waiting};
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::store::{LogRows, StoreError, Table};

/// Counts the calls.
#[derive(Debug)]
pub(super) struct Calls {
    made: Cell<u64>,
    /// The call that fails, from zero.
    failing: u64,
}

impl Calls {
    pub(super) fn failing_at(failing: u64) -> Self {
        Self { made: Cell::new(0), failing }
    }

    pub(super) fn never_failing() -> Self {
        Self::failing_at(u64::MAX)
    }

    /// Number of calls since the last question.
    pub(super) fn take(&self) -> u64 {
        self.made.take()
    }

    fn pass(&self) -> Result<(), StoreError> {
        let call = self.made.get();
        self.made.set(call + 1);
        if call == self.failing { Err(StoreError(format!("call {call}"))) } else { Ok(()) }
    }
}

/// A store whose calls are counted.
#[derive(Debug)]
pub(super) struct CountedStore<'c, S> {
    pub(super) store: S,
    pub(super) calls: &'c Calls,
}

/// Methods that count, and pass the call on.
macro_rules! counted {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
            self.calls.pass()?;
            self.store.$name($($arg),*)
        })*
    };
    (mut $($name:ident($($arg:ident: $kind:ty),*);)*) => {
        $(fn $name(&mut self, $($arg: $kind),*) -> Result<(), StoreError> {
            self.calls.pass()?;
            self.store.$name($($arg),*)
        })*
    };
}

impl<S: ReplicaStore> LogRows for CountedStore<'_, S> {
    counted! {
        row(row: &RowName) -> Option<LogRow>;
        table(table: &Name) -> Vec<(RowName, LogRow)>;
    }
}

impl<S: ReplicaStore> Table for CountedStore<'_, S> {
    counted! { all_rows() -> Vec<(RowName, LogRow)>; }
    counted! { mut put_row(row: &RowName, image: Option<&LogRow>); }
}

impl<S: ReplicaStore> ReplicaStore for CountedStore<'_, S> {
    counted! {
        facts() -> Option<Facts>;
        record(id: EntryId) -> Option<Record>;
        ids(up_to: &Key) -> Vec<EntryId>;
        own_ids() -> Vec<EntryId>;
        waiting_ids(what: Waiting, limit: usize) -> Vec<EntryId>;
        page_after(number: u64) -> Option<(u64, SnapshotPage)>;
        names_between(after: Option<&RowName>, through: Option<&RowName>) -> Vec<RowName>;
    }
    counted! { mut
        set_facts(facts: &Facts);
        put_record(id: EntryId, record: &Record);
        remove_record(id: EntryId);
        put_page(page: &SnapshotPage);
        clear_pages();
    }

    fn steps(&self) -> &dyn StepIndex {
        self
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        self
    }
}

impl<S: ReplicaStore> StepIndex for CountedStore<'_, S> {
    fn put(&mut self, step: &Key, footprint: &Footprint) -> Result<(), StoreError> {
        self.calls.pass()?;
        self.store.steps_mut().put(step, footprint)
    }

    fn remove(&mut self, step: &Key) -> Result<(), StoreError> {
        self.calls.pass()?;
        self.store.steps_mut().remove(step)
    }

    fn get(&self, step: &Key) -> Result<Option<Footprint>, StoreError> {
        self.calls.pass()?;
        self.store.steps().get(step)
    }

    fn keys(&self) -> Result<Vec<Key>, StoreError> {
        self.calls.pass()?;
        self.store.steps().keys()
    }

    fn last(&self) -> Result<Option<Key>, StoreError> {
        self.calls.pass()?;
        self.store.steps().last()
    }

    fn naming(&self, row: &RowName, after: &Key) -> Result<Vec<Key>, StoreError> {
        self.calls.pass()?;
        self.store.steps().naming(row, after)
    }

    fn reading(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        self.calls.pass()?;
        self.store.steps().reading(table, after)
    }

    fn writing(&self, table: &Name, after: &Key) -> Result<Vec<Key>, StoreError> {
        self.calls.pass()?;
        self.store.steps().writing(table, after)
    }
}
