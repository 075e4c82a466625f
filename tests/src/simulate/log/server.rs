//! The server of a run: its log in memory, or in the tables of a database.

use std::sync::Arc;

use rejoin_log::ids::{AuthorId, Buckets, EntryId, Epoch, UserId};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotRequest};
use rejoin_log::message::{Correct, Corrected, Fetch, Fetched, LogSnapshot, Publish, Published};
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::server::memory::MemoryLog;
use rejoin_log::server::store::{AcceptedEntry, Author, LogFacts, LogStore as _, Membership};
use rejoin_log::server::{Limits, Server, ServerError, correct, horizon, snapshot};
use rejoin_protocol::Value;
use uuid::Uuid;

use super::database_log::DatabaseLog;
use super::oracle::Rows;
use super::run::{Columns, unexpected};
use crate::Store;
use crate::simulate::Checked;

/// The log of the server.
#[derive(Debug)]
pub(super) struct LogServer {
    limits: Limits,
    place: LogLocation,
}

#[derive(Debug)]
enum LogLocation {
    Memory(Box<Server<MemoryLog>>),
    DatabaseLog(Box<DatabaseLog>),
}

/// Calls the log, wherever it is. In a database the call is one transaction, and may be made twice.
macro_rules! call {
    ($server:expr, $access:ident, |$log:ident| $body:expr) => {
        match &$server.place {
            LogLocation::Memory($log) => $body.map_err(unexpected),
            LogLocation::DatabaseLog(tables) => {
                tables.$access(|$log| $body.map_err(ServerError::from))
            }
        }
    };
    (mut $server:expr, $access:ident, |$log:ident| $body:expr) => {
        match &mut $server.place {
            LogLocation::Memory($log) => $body.map_err(unexpected),
            LogLocation::DatabaseLog(tables) => {
                tables.$access(|$log| $body.map_err(ServerError::from))
            }
        }
    };
}

impl LogServer {
    /// A new log: in a database of this kind if there is one, where the seed decides which writes
    /// crash.
    pub(super) fn create(limits: Limits, database: Option<Store>, seed: u64) -> Checked<Self> {
        let epoch = Epoch(Uuid::from_u128(1));
        let place = if let Some(kind) = database {
            LogLocation::DatabaseLog(Box::new(DatabaseLog::create(kind, limits, epoch, seed)?))
        } else {
            let log = Server::create(MemoryLog::default(), epoch, Arc::new(Columns), limits);
            LogLocation::Memory(Box::new(log.map_err(unexpected)?))
        };
        Ok(Self { limits, place })
    }

    /// A copy: a backup. `None` if the database cannot be copied.
    pub(super) fn copied(&self) -> Checked<Option<Self>> {
        let place = match &self.place {
            LogLocation::Memory(log) => LogLocation::Memory(Box::new(self.copy_of(log)?)),
            LogLocation::DatabaseLog(tables) => match tables.copied()? {
                Some(copy) => LogLocation::DatabaseLog(Box::new(copy)),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { limits: self.limits, place }))
    }

    fn copy_of(&self, log: &Server<MemoryLog>) -> Checked<Server<MemoryLog>> {
        Server::open(log.store().clone(), Arc::new(Columns), self.limits).map_err(unexpected)
    }

    /// How many writes crashed since this was called.
    pub(super) fn take_crashes(&mut self) -> u64 {
        match &mut self.place {
            LogLocation::Memory(_) => 0,
            LogLocation::DatabaseLog(tables) => tables.take_crashes(),
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

    /// What a publish would be answered, without its effects.
    pub(super) fn attempt_publish(
        &self,
        author: AuthorId,
        request: &Publish,
        now: u64,
    ) -> Checked<Published> {
        match &self.place {
            LogLocation::Memory(log) => {
                self.copy_of(log)?.publish(author, request, now).map_err(unexpected)
            }
            LogLocation::DatabaseLog(tables) => {
                tables.attempt(|log| log.publish(author, request, now))
            }
        }
    }

    pub(super) fn correct(
        &mut self,
        author: AuthorId,
        request: &Correct,
        now: u64,
    ) -> Checked<Corrected> {
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
    /// because a table does not distinguish them from columns that a row lacks.
    pub(super) fn current_rows(&self) -> Checked<Rows> {
        let rows = match &self.place {
            LogLocation::Memory(log) => columns(log.store().current_rows()),
            LogLocation::DatabaseLog(tables) => tables.current_rows()?,
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
        *row = row.clone().into_iter().filter(|(_, value)| *value != Value::Null).collect();
    }
    rows
}
