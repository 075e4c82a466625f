//! Writes of a transaction: row by row, or for several groups as a batch.

use rejoin_protocol::Value;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::records::PutClient;
use super::super::{
    batch, error, hook, key_locks, load, member, operate, records, staged, verdicts,
};
use super::PostgresTransaction;
use crate::error::Fault;
use crate::hooks::{HookSql, SqlError};
use crate::model::{Client, Grant, KeyLock, Replayed, StagedPart, StoredVerdict, Table};
use crate::store::{
    ApplyError, Batch, Load, Loaded, Maintain, Planned, PlannedWrite, Savepoints, StoreWrite,
    WriteDevices, WriteError, WriteKind, WriteRows, Writing,
};

impl PostgresTransaction<'_> {
    /// The fault of a transaction that lost and will be retried: it ends at once, so that
    /// transactions waiting for its rows can proceed.
    fn given_up(&self) -> Option<Fault> {
        let is_lost = self.is_optimistic && self.collided.get();
        is_lost.then(|| Fault::Collision(String::from("lost against another transaction")))
    }

    /// Records why a load failed. It does not wait again for a row that is still locked. A
    /// cancelled load is reported by the first read of a row.
    fn refused(&self, error: &Error) {
        self.has_waited.set(error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE));
        let is_cancelled = error.code() == Some(&SqlState::QUERY_CANCELED);
        *self.refusal.borrow_mut() = is_cancelled.then(|| error::log_text(error));
    }
}

impl HookSql for PostgresTransaction<'_> {
    fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        self.hooked(|connection| hook::execute(connection, sql, values))
    }

    fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        self.hooked(|connection| hook::query(connection, sql, values))
    }
}

impl Savepoints for PostgresTransaction<'_> {
    fn lock_keys(&self, keys: &[KeyLock]) -> Result<(), Fault> {
        self.seen(key_locks::lock(self.asked()?, keys))
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn begin(&self) -> Result<(), Fault> {
        self.begins.set(self.begins.get() + 1);
        Ok(())
    }

    fn keep(&self) -> Result<(), Fault> {
        match self.begins.get().checked_sub(1) {
            Some(begins) => self.begins.set(begins),
            None => self.seen(self.asked()?.batch("RELEASE rejoin"))?,
        }
        Ok(())
    }

    fn undo(&self) -> Result<(), Fault> {
        if let Some(fault) = self.given_up() {
            return Err(fault);
        }
        match self.begins.get().checked_sub(1) {
            Some(begins) => self.begins.set(begins),
            None => self.undone()?,
        }
        Ok(())
    }

    fn defer_constraints(&self) -> Result<bool, Fault> {
        self.seen(self.asked()?.batch("SET CONSTRAINTS ALL DEFERRED"))?;
        Ok(true)
    }

    fn check_constraints(&self, _: &[(&Table, &StoreWrite)]) -> Result<(), WriteError> {
        let checked = self.asked()?.guarded("SET CONSTRAINTS ALL IMMEDIATE", &[]);
        checked.map(drop).map_err(|error| {
            self.collided.set(self.collided.get() || error::is_collision(&error));
            error::of_constraint(error)
        })
    }
}

impl Batch for PostgresTransaction<'_> {
    fn load(&self, wanted: &Load<'_>) -> Result<Loaded, Fault> {
        self.hold(wanted.user)?;
        let connection = self.asked()?;
        let error = match load::load(connection, self.known, wanted) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => error,
        };
        // Another transaction may hold one of the rows: each is then read individually, which
        // affects only its own group.
        self.refused(&error);
        match self.seen::<()>(Err(error)) {
            Err(fault) if connection.is_closed() => Err(fault),
            Err(fault @ Fault::Collision(_)) if self.is_optimistic => Err(fault),
            _ => Ok(Loaded::default()),
        }
    }

    fn changes_others(&self, table: &Table, kind: WriteKind) -> bool {
        !self.known.shape(table).stays_quiet(kind)
    }

    fn apply(&self, planned: &Planned<'_>) -> Result<(), ApplyError> {
        let mut writes = Vec::with_capacity(planned.writes.len());
        for PlannedWrite { group, table, write } in planned.writes {
            let Some(table) = self.known.schema.tables.get(*table) else {
                let why =
                    format!("a planned write names table {table}, which the schema does not have");
                return Err(ApplyError::Fault(Fault::Internal(why)));
            };
            let statement = self.at(table).statement(write);
            let statement = statement.map_err(|_| ApplyError::Group(*group))?;
            let is_sure = !self.changes_others(table, write.kind());
            writes.push((*group, if is_sure { statement } else { statement.counted() }));
        }
        if writes.is_empty() && planned.verdicts.is_empty() {
            let done = if planned.is_last { self.keep() } else { Ok(()) };
            return done.map_err(ApplyError::Fault);
        }
        self.ensure_begun().map_err(ApplyError::Fault)?;
        let sent = batch::send(self.connection, &self.savepoints(), &writes, planned);
        sent.map_err(|(group, error)| {
            self.collided.set(self.collided.get() || error::is_collision(&error));
            self.given_up().map_or(ApplyError::Group(group), ApplyError::Fault)
        })
    }
}

impl WriteRows for PostgresTransaction<'_> {
    fn write(&self, table: &Table, write: &StoreWrite) -> Result<(), WriteError> {
        let done = self.look(table)?.write_row(write);
        if let Err(WriteError::Fault(fault)) = &done {
            self.note(fault);
        }
        done
    }

    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault> {
        self.seen(records::put_written_at(self.asked()?, table.number, id, version, at))
    }
}

impl WriteDevices for PostgresTransaction<'_> {
    fn put_verdict(
        &self,
        user: &str,
        mutation: &str,
        verdict: &StoredVerdict,
    ) -> Result<(), Fault> {
        self.seen(verdicts::put(self.asked()?, user, mutation, verdict))
    }

    fn stage(&self, user: &str, client_id: &str, part: &StagedPart<'_>) -> Result<(), Fault> {
        self.seen(staged::put(self.asked()?, user, client_id, part))
    }

    fn unstage(&self, user: &str, client_id: &str) -> Result<(), Fault> {
        self.seen(staged::forget(self.asked()?, user, client_id))
    }

    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault> {
        self.asked()?;
        let (user, client_id) = (user.to_owned(), client_id.to_owned());
        // Sent with the next statement, usually the commit.
        *self.last.borrow_mut() = Some(PutClient { user, client_id, client: client.clone() });
        Ok(())
    }

    fn put_grant(&self, user: &str, grant: &Grant) -> Result<bool, Fault> {
        self.seen(records::put_grant(self.asked()?, user, grant))
    }

    fn remove_grant(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        self.seen(records::remove_grant(self.asked()?, user, bucket))
    }
}

impl Maintain for PostgresTransaction<'_> {
    fn replay_buckets(&self) -> Result<Replayed, Fault> {
        let connection = self.asked()?;
        self.seen(self.asking(|| member::replay(connection, self.known)).and_then(|done| done))
    }

    fn new_epoch(&self) -> Result<String, Fault> {
        *self.log.borrow_mut() = None;
        self.seen(records::new_epoch(self.asked()?))
    }

    fn compacts_alone(&self) -> Result<bool, Fault> {
        self.seen(operate::compacts_alone(self.asked()?))
    }

    fn forget_entries(&self, watermark: i64, most: usize) -> Result<usize, Fault> {
        *self.log.borrow_mut() = None;
        self.seen(operate::forget_entries(self.asked()?, watermark, most))
    }

    fn forget_written(&self, before: &str, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_written(self.asked()?, before, most))
    }

    fn lowest_position(&self, seen_since: &str) -> Result<Option<i64>, Fault> {
        self.seen(operate::lowest_position(self.asked()?, seen_since))
    }

    fn forget_staged(&self, before: &str, most: usize) -> Result<usize, Fault> {
        self.seen(staged::forget_before(self.asked()?, before, most))
    }

    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_verdicts(self.asked()?, seen_since, most))
    }
}

impl Writing for PostgresTransaction<'_> {}
