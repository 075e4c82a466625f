//! What a transaction of this store writes: at once, or kept back until a run of groups ends.

use rejoin_protocol::Value;

use super::super::foresight::Kind;
use super::super::records::PutClient;
use super::super::run::{Send, Write};
use super::super::{hook, key_locks, member, operate, records, verdicts};
use super::Transaction;
use crate::error::Fault;
use crate::hooks::{HookSql, SqlError};
use crate::model::{Client, KeyLock, Replayed, StoredVerdict, Table};
use crate::store::{Maintain, WriteBatch, WriteDevices, WriteError, WriteRows, Writing};

impl Transaction<'_> {
    /// Writes a row now, or keeps it back until a run ends.
    fn written(
        &self,
        table: &Table,
        (key, kind): (&Value, Kind),
        write: Write,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError> {
        self.foresight.borrow_mut().wrote(self.known, table, key, kind);
        if self.run.is_on() {
            self.run.write(write);
            return Ok(());
        }
        let done = self.at(table).run(&write, cells);
        if let Err(WriteError::Fault(fault)) = &done {
            self.note(fault);
        }
        done
    }
}

impl HookSql for Transaction<'_> {
    fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        self.hooked(|connection| hook::execute(connection, sql, values))
    }

    fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        self.hooked(|connection| hook::query(connection, sql, values))
    }
}

impl WriteBatch for Transaction<'_> {
    fn lock_keys(&self, keys: &[KeyLock]) -> Result<(), Fault> {
        self.seen(key_locks::lock(self.asked()?, keys))
    }

    fn together(
        &self,
        work: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Option<usize>, Fault> {
        loop {
            let before = self.foresight.borrow().before();
            self.run.start();
            let done = work().and_then(|()| self.settle(Send::Last));
            let failed = self.run.failed();
            let stands = self.run.stop();
            match (done, failed) {
                // What is begun again is given up at once: whoever waits for its rows goes on.
                (Err(Fault::Undone), _) if self.hopes && self.collided.get() => {
                    let why = String::from("lost against another transaction");
                    return Err(Fault::Collision(why));
                }
                (Err(Fault::Undone), failed) => {
                    if stands {
                        let back = "ROLLBACK TO rejoin_run; RELEASE rejoin_run";
                        self.seen(self.connection.batch(back))?;
                    }
                    self.foresight.borrow_mut().restore(self.known, before);
                    if !self.run.is_one_of_many() {
                        return Ok(Some(failed.unwrap_or_default()));
                    }
                }
                (done, _) => return done.map(|()| None),
            }
        }
    }

    fn begin(&self) -> Result<(), Fault> {
        self.foresight.borrow_mut().begin();
        if self.run.is_on() {
            self.run.begin();
            return Ok(());
        }
        self.seen(self.asked()?.batch("SAVEPOINT rejoin"))
    }

    fn keep(&self) -> Result<(), Fault> {
        self.foresight.borrow_mut().keep();
        if self.run.is_on() {
            self.run.keep();
            return Ok(());
        }
        self.seen(self.asked()?.batch("RELEASE rejoin"))
    }

    fn undo(&self) -> Result<(), Fault> {
        self.foresight.borrow_mut().undo(self.known);
        if self.run.is_on() {
            return if self.run.undo() { Ok(()) } else { Err(Fault::Undone) };
        }
        self.seen(self.asked()?.batch("ROLLBACK TO rejoin; RELEASE rejoin"))
    }
}

impl WriteRows for Transaction<'_> {
    fn insert(&self, table: &Table, cells: &[(usize, Value)]) -> Result<(), WriteError> {
        let write = self.at(table).insertion(cells)?;
        let key =
            cells.iter().find(|(at, _)| *at == table.key).map_or(&Value::Null, |(_, key)| key);
        self.written(table, (key, Kind::Insert), write, cells)
    }

    fn update(
        &self,
        table: &Table,
        key: &Value,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError> {
        self.written(table, (key, Kind::Update), self.at(table).setting(key, cells), cells)
    }

    fn remove(&self, table: &Table, key: &Value) -> Result<(), WriteError> {
        self.written(table, (key, Kind::Delete), self.at(table).removal(key), &[])
    }

    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault> {
        self.seen(records::put_written_at(self.asked()?, table.number, id, version, at))
    }
}

impl WriteDevices for Transaction<'_> {
    fn put_verdict(
        &self,
        user: &str,
        mutation: &str,
        verdict: &StoredVerdict,
    ) -> Result<(), Fault> {
        let mut foresight = self.foresight.borrow_mut();
        foresight.judged(user, mutation, verdict);
        if self.run.is_on() && foresight.is_of(user) {
            self.run.put_verdict(user, mutation, verdict);
            return Ok(());
        }
        drop(foresight);
        self.seen(verdicts::put(self.asked()?, user, mutation, verdict))
    }

    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault> {
        self.asked()?;
        let (user, client_id) = (user.to_owned(), client_id.to_owned());
        // It travels with whatever comes next, which mostly is the end.
        *self.last.borrow_mut() = Some(PutClient { user, client_id, client: client.clone() });
        Ok(())
    }

    fn subscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        self.seen(records::subscribe(self.asked()?, user, bucket))
    }

    fn unsubscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        self.seen(records::unsubscribe(self.asked()?, user, bucket))
    }
}

impl Maintain for Transaction<'_> {
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

    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_verdicts(self.asked()?, seen_since, most))
    }
}

impl Writing for Transaction<'_> {}
