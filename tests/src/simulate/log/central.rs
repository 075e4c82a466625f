//! The server of a run: its log in memory, or in the tables of an SQLite file.

use std::sync::Arc;

use rejoin_log::ids::{AuthorId, Buckets, EntryId, Epoch, UserId};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotRequest};
use rejoin_log::message::{Correct, Fetch, Fetched, LogSnapshot, Publish, Published};
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::memory::MemoryLog;
use rejoin_log::server::store::{AcceptedEntry, Author, LogFacts, LogStore as _, Membership};
use rejoin_log::server::{Limits, Server, ServerError, correct, horizon, snapshot};
use rejoin_protocol::Value;
use uuid::Uuid;

use super::file::LogFile;
use super::oracle::Rows;
use super::world::{Columns, unexpected};
use crate::simulate::Checked;

/// The log of the server.
#[derive(Debug)]
pub(super) struct Central {
    limits: Limits,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Box<Server<MemoryLog>>),
    File(Box<LogFile>),
}

/// Calls the log, wherever it is. In a file the call is one transaction, and may be made twice.
macro_rules! call {
    ($central:expr, $access:ident, |$log:ident| $body:expr) => {
        match &$central.place {
            Place::Memory($log) => $body.map_err(unexpected),
            Place::File(file) => file.$access(|$log| $body.map_err(ServerError::from)),
        }
    };
    (mut $central:expr, $access:ident, |$log:ident| $body:expr) => {
        match &mut $central.place {
            Place::Memory($log) => $body.map_err(unexpected),
            Place::File(file) => file.$access(|$log| $body.map_err(ServerError::from)),
        }
    };
}

impl Central {
    /// A new log: in a file if there is a seed for its crashes.
    pub(super) fn create(limits: Limits, crashes: Option<u64>) -> Checked<Self> {
        let epoch = Epoch(Uuid::from_u128(1));
        let place = if let Some(seed) = crashes {
            Place::File(Box::new(LogFile::create(limits, epoch, seed)?))
        } else {
            let log = Server::create(MemoryLog::default(), epoch, Arc::new(Columns), limits);
            Place::Memory(Box::new(log.map_err(unexpected)?))
        };
        Ok(Self { limits, place })
    }

    /// A copy: a backup.
    pub(super) fn copied(&self) -> Checked<Self> {
        let place = match &self.place {
            Place::Memory(log) => {
                let log = Server::open(log.store().clone(), Arc::new(Columns), self.limits);
                Place::Memory(Box::new(log.map_err(unexpected)?))
            }
            Place::File(file) => Place::File(Box::new(file.copied()?)),
        };
        Ok(Self { limits: self.limits, place })
    }

    /// How many writes crashed since this was called.
    pub(super) fn take_crashes(&mut self) -> u64 {
        match &mut self.place {
            Place::Memory(_) => 0,
            Place::File(file) => file.take_crashes(),
        }
    }

    pub(super) fn load(&mut self, rows: &Rows) -> Checked {
        let images = || rows.iter().map(|(name, row)| (name.clone(), LogRow::from(row.clone())));
        call!(mut self, write, |log| log.load(images()))
    }

    pub(super) fn begin_epoch(&mut self, epoch: Epoch) -> Checked {
        call!(mut self, write, |log| log.begin_epoch(epoch))
    }

    pub(super) fn register(&mut self, author: AuthorId, user: &UserId) -> Checked {
        call!(mut self, write, |log| log.register(author, user.clone()))
    }

    pub(super) fn set_buckets(
        &mut self,
        user: &UserId,
        buckets: &Buckets,
        write_only: &Buckets,
    ) -> Checked {
        call!(mut self, write, |log| log.set_buckets(user, buckets.clone(), write_only.clone()))
    }

    pub(super) fn appoint(&mut self, author: AuthorId) -> Checked {
        call!(mut self, write, |log| correct::appoint(log, Some(author)))
    }

    pub(super) fn release(&mut self, entry: EntryId, now: u64) -> Checked<bool> {
        call!(mut self, write, |log| correct::release(log, entry, now))
    }

    pub(super) fn raise_horizon(&mut self, to: Key, now: u64, most: usize) -> Checked<bool> {
        call!(mut self, write, |log| horizon::raise_horizon(log, to, now, most))
    }

    pub(super) fn publish(
        &mut self,
        author: AuthorId,
        request: &Publish,
        now: u64,
    ) -> Checked<Published> {
        call!(mut self, write_batched, |log| log.publish(author, request, now))
    }

    pub(super) fn correct(
        &mut self,
        author: AuthorId,
        request: &Correct,
        now: u64,
    ) -> Checked<usize> {
        call!(mut self, write_batched, |log| correct::correct(log, author, request, now))
    }

    pub(super) fn fetch(&self, author: AuthorId, request: &Fetch) -> Checked<Fetched> {
        call!(self, read, |log| log.fetch(author, request))
    }

    pub(super) fn snapshot(&self, author: AuthorId) -> Checked<LogSnapshot> {
        call!(self, read, |log| snapshot::snapshot(log, author))
    }

    pub(super) fn snapshot_page(
        &self,
        author: AuthorId,
        request: &SnapshotRequest,
    ) -> Checked<SnapshotAnswer> {
        call!(self, read, |log| snapshot::snapshot_page(log, author, request))
    }

    pub(super) fn facts(&self) -> Checked<LogFacts> {
        call!(self, read, |log| Ok::<_, ServerError>(log.facts().clone()))
    }

    pub(super) fn author(&self, author: AuthorId) -> Checked<Option<Author>> {
        call!(self, read, |log| log.store().author(author))
    }

    pub(super) fn membership(&self, user: &UserId) -> Checked<Membership> {
        call!(self, read, |log| log.store().membership(user))
    }

    /// All entries above the horizon, in key order.
    pub(super) fn entries(&self) -> Checked<Vec<AcceptedEntry>> {
        call!(self, read, |log| log.entries())
    }

    /// All rows, by their histories.
    pub(super) fn rows(&self) -> Checked<Rows> {
        Ok(columns(call!(self, read, |log| log.rows())?))
    }

    /// All rows, by folding every entry into the base.
    pub(super) fn fold(&self) -> Checked<Rows> {
        Ok(columns(call!(self, read, |log| log.fold())?))
    }

    /// All rows as a program reads them in the application's tables: without cells that are NULL,
    /// because a table cannot tell them from columns that a row lacks.
    pub(super) fn current_rows(&self) -> Checked<Rows> {
        let rows = match &self.place {
            Place::Memory(log) => columns(log.store().current_rows()),
            Place::File(file) => file.current_rows()?,
        };
        Ok(without_nulls(&rows))
    }
}

fn columns(rows: impl IntoIterator<Item = (RowName, LogRow)>) -> Rows {
    rows.into_iter().map(|(name, image)| (name, image.columns().clone())).collect()
}

pub(super) fn without_nulls(rows: &Rows) -> Rows {
    let mut rows = rows.clone();
    for row in rows.values_mut() {
        row.retain(|_, value| *value != Value::Null);
    }
    rows
}
