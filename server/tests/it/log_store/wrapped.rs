//! A log store around another one: each call in a transaction of its own, or failing at a call.

use std::cell::Cell;
use std::collections::BTreeSet;

use rejoin_log::ids::{AuthorId, EntryId, UserId};
use rejoin_log::key::Key;
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::store::{AcceptedEntry, Author, Link, LogFacts, LogStore, Membership};
use rejoin_log::store::StoreError;
use rejoin_server::store::{LogTables, Store, read, write};

use super::fixture::NOW;

type Result<T> = std::result::Result<T, StoreError>;

/// How a call reaches the log.
pub(super) trait Access: std::fmt::Debug {
    fn reads<T>(&self, call: impl Fn(&dyn LogStore) -> Result<T>) -> Result<T>;
    fn writes(&self, call: impl Fn(&mut dyn LogStore) -> Result<()>) -> Result<()>;
}

/// Each call commits a transaction of its own.
#[derive(Debug)]
pub(super) struct EachCall(pub(super) std::sync::Arc<dyn Store>);

impl Access for EachCall {
    fn reads<T>(&self, call: impl Fn(&dyn LogStore) -> Result<T>) -> Result<T> {
        let done = read(&*self.0, |reading| {
            let log = reading.log();
            call(&log).map_err(|error| log.fault(error))
        });
        done.map_err(|fault| StoreError(fault.to_string()))
    }

    fn writes(&self, call: impl Fn(&mut dyn LogStore) -> Result<()>) -> Result<()> {
        let done = write(&*self.0, NOW, |writing| {
            let mut log = writing.log();
            call(&mut log).map_err(|error| log.fault(error))
        });
        done.map_err(|fault| StoreError(fault.to_string()))
    }
}

/// Counts the calls of one transaction, and fails after this many.
#[derive(Debug)]
pub(super) struct Counted<'t> {
    pub(super) log: LogTables<'t>,
    pub(super) calls: &'t Cell<usize>,
    pub(super) fails_after: usize,
}

impl Counted<'_> {
    /// The injected failure comes after the call has had its effect.
    fn done<T>(&self, done: Result<T>) -> Result<T> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() > self.fails_after {
            return Err(StoreError(String::from("injected")));
        }
        done
    }
}

impl Access for Counted<'_> {
    fn reads<T>(&self, call: impl Fn(&dyn LogStore) -> Result<T>) -> Result<T> {
        self.done(call(&self.log))
    }

    fn writes(&self, call: impl Fn(&mut dyn LogStore) -> Result<()>) -> Result<()> {
        self.done(call(&mut self.log.clone()))
    }
}

#[derive(Debug)]
pub(super) struct Wrapped<A>(pub(super) A);

impl<A: Access> LogStore for Wrapped<A> {
    fn facts(&self) -> Result<Option<LogFacts>> {
        self.0.reads(|log| log.facts())
    }
    fn set_facts(&mut self, facts: &LogFacts) -> Result<()> {
        self.0.writes(|log| log.set_facts(facts))
    }
    fn entry(&self, id: EntryId) -> Result<Option<AcceptedEntry>> {
        self.0.reads(|log| log.entry(id))
    }
    fn put_entry(&mut self, entry: &AcceptedEntry) -> Result<()> {
        self.0.writes(|log| log.put_entry(entry))
    }
    fn remove_entry(&mut self, id: EntryId) -> Result<()> {
        self.0.writes(|log| log.remove_entry(id))
    }
    fn by_key(&self, after: &Key, limit: usize) -> Result<Vec<EntryId>> {
        self.0.reads(|log| log.by_key(after, limit))
    }
    fn by_position(&self, after: u64, limit: usize) -> Result<Vec<EntryId>> {
        self.0.reads(|log| log.by_position(after, limit))
    }
    fn expect(&self, rows: &[(&RowName, &Key)]) -> Result<()> {
        self.0.reads(|log| log.expect(rows))
    }
    fn base(&self, row: &RowName) -> Result<Option<LogRow>> {
        self.0.reads(|log| log.base(row))
    }
    fn put_base(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<()> {
        self.0.writes(|log| log.put_base(row, image))
    }
    fn base_after(&self, after: Option<&RowName>, limit: usize) -> Result<Vec<(RowName, LogRow)>> {
        self.0.reads(|log| log.base_after(after, limit))
    }
    fn current(&self, row: &RowName) -> Result<Option<LogRow>> {
        self.0.reads(|log| log.current(row))
    }
    fn put_current(&mut self, row: &RowName, image: Option<&LogRow>) -> Result<()> {
        self.0.writes(|log| log.put_current(row, image))
    }
    fn link(&self, row: &RowName, key: &Key) -> Result<Option<Link>> {
        self.0.reads(|log| log.link(row, key))
    }
    fn link_before(&self, row: &RowName, key: &Key) -> Result<Option<Link>> {
        self.0.reads(|log| log.link_before(row, key))
    }
    fn link_after(&self, row: &RowName, key: &Key) -> Result<Option<(Key, Link)>> {
        self.0.reads(|log| log.link_after(row, key))
    }
    fn put_link(&mut self, row: &RowName, key: &Key, link: Option<&Link>) -> Result<()> {
        self.0.writes(|log| log.put_link(row, key, link))
    }
    fn linked_rows(&self) -> Result<Vec<RowName>> {
        self.0.reads(|log| log.linked_rows())
    }
    fn stored_among(&self, ids: &[EntryId]) -> Result<BTreeSet<EntryId>> {
        self.0.reads(|log| log.stored_among(ids))
    }
    fn final_author(&self, id: EntryId) -> Result<Option<AuthorId>> {
        self.0.reads(|log| log.final_author(id))
    }
    fn put_final(&mut self, id: EntryId, author: AuthorId) -> Result<()> {
        self.0.writes(|log| log.put_final(id, author))
    }
    fn author(&self, id: AuthorId) -> Result<Option<Author>> {
        self.0.reads(|log| log.author(id))
    }
    fn put_author(&mut self, id: AuthorId, author: &Author) -> Result<()> {
        self.0.writes(|log| log.put_author(id, author))
    }
    fn remove_author(&mut self, id: AuthorId) -> Result<()> {
        self.0.writes(|log| log.remove_author(id))
    }
    fn membership(&self, user: &UserId) -> Result<Membership> {
        self.0.reads(|log| log.membership(user))
    }
    fn put_membership(&mut self, user: &UserId, membership: &Membership) -> Result<()> {
        self.0.writes(|log| log.put_membership(user, membership))
    }
}
