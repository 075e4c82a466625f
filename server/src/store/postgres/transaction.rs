//! One transaction of this store: the traits' methods, each one call further.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use rejoin_protocol::Value;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::ahead::{self, Answers};
use super::connection::Connection;
use super::pages::Above;
use super::rows::Look;
use super::{Known, changelog, check, error, hook, member, operate, policies, records};
use crate::engine::schema::{Row, Schema, Table};
use crate::error::Fault;
use crate::hooks::SqlError;
use crate::store::{
    Ahead, BucketFailure, Client, Entry, KnownClient, Life, ManifestVersion, Page, Reading,
    Replayed, Room, Sight, StoredRow, StoredVerdict, WriteError, Writing,
};

/// A transaction on a connection of the pool.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
    known: &'a Known,
    /// The statement by which it has taken the role that serves, where row level security holds.
    takes_role: Option<&'a str>,
    writes: bool,
    held: RefCell<BTreeSet<String>>,
    collided: Cell<bool>,
    life: OnceCell<Life>,
    answers: RefCell<Answers>,
    above: Above,
}

impl<'a> Transaction<'a> {
    pub(super) fn reading(
        connection: &'a Connection,
        known: &'a Known,
        takes_role: Option<&'a str>,
    ) -> Self {
        Self {
            connection,
            known,
            takes_role,
            writes: false,
            held: RefCell::default(),
            collided: Cell::new(false),
            life: OnceCell::new(),
            answers: RefCell::default(),
            above: Above::default(),
        }
    }

    pub(super) fn writing(
        connection: &'a Connection,
        known: &'a Known,
        takes_role: Option<&'a str>,
    ) -> Self {
        Self { writes: true, ..Self::reading(connection, known, takes_role) }
    }

    /// What the operator asks is asked of every row, by somebody whom no policy holds.
    fn asking<T>(&self, ask: impl FnOnce() -> T) -> Result<T, Error> {
        let Some(takes_role) = self.takes_role else { return Ok(ask()) };
        self.connection.batch("RESET ROLE")?;
        let asked = ask();
        // Where the transaction has failed the role comes back with the savepoint, or nothing comes any more.
        match self.connection.batch(takes_role) {
            Err(error) if error.code() != Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => Err(error),
            _ => Ok(asked),
        }
    }

    /// Whether something in it lost against another transaction, whatever became of the error.
    pub(super) fn collided(&self) -> bool {
        self.collided.get()
    }

    /// A statement of a hook's, as the store's own role; what loses against another transaction is noted.
    fn hooked<T>(&self, run: impl FnOnce() -> Result<T, hook::Failed>) -> Result<T, SqlError> {
        let done = self.asking(run).map_err(hook::Failed::from).and_then(|done| done);
        if let Err(hook::Failed::Database(error)) = &done {
            self.collided.set(self.collided.get() || error::is_collision(error));
        }
        done.map_err(SqlError::from)
    }

    fn look<'t>(&'t self, table: &'t Table) -> Look<'t> {
        Look { connection: self.connection, known: self.known, table }
    }

    fn seen<T>(&self, done: Result<T, Error>) -> Result<T, Fault> {
        done.map_err(|error| {
            self.collided.set(self.collided.get() || error::is_collision(&error));
            error.into()
        })
    }

    /// Reads rows that may stand below others; what stands above is asked once, where it cannot change.
    fn below<T>(&self, read: impl FnOnce(&Above) -> Result<T, Error>) -> Result<T, Fault> {
        if self.writes {
            return self.seen(read(&Above::default()));
        }
        self.seen(read(&self.above))
    }

    /// What this user's devices have said is looked at by one transaction at a time, if it may write.
    fn hold(&self, user: &str) -> Result<(), Fault> {
        if self.writes && !self.held.borrow().contains(user) {
            self.seen(records::hold_user(self.connection, user))?;
            self.held.borrow_mut().insert(user.to_owned());
        }
        Ok(())
    }

    fn wrote(&self, done: Result<(), WriteError>) -> Result<(), WriteError> {
        if let Err(WriteError::Fault(fault)) = &done {
            self.note(fault);
        }
        done
    }

    /// Notes what lost against another transaction and was told already: then all of this one is begun again.
    fn note(&self, fault: &Fault) {
        self.collided.set(self.collided.get() || matches!(fault, Fault::Collision(_)));
    }
}

impl Reading for Transaction<'_> {
    fn act_for(&self, user: &str, former: &[String]) -> Result<(), Fault> {
        let acting = Some((user.to_owned(), former.to_vec()));
        if self.takes_role.is_none() || self.answers.borrow().acting == acting {
            return Ok(());
        }
        self.seen(policies::act_for(self.connection, user, former))?;
        self.above.forget();
        if !self.writes {
            // Where there are savepoints, one of them could take it back.
            self.answers.borrow_mut().acting = acting;
        }
        Ok(())
    }

    fn expect(&self, ahead: &Ahead<'_>) -> Result<(), Fault> {
        if self.writes {
            return Ok(());
        }
        let answers = &mut self.answers.borrow_mut();
        let holds_users = self.takes_role.is_some();
        let ends = self.seen(ahead::ask(self.connection, ahead, holds_users, answers))?;
        self.life.get_or_init(|| ends.life);
        Ok(())
    }

    fn expect_images(
        &self,
        named: &[(&Table, &[Option<Value>])],
        sight: &Sight,
    ) -> Result<(), Fault> {
        if self.writes {
            return Ok(());
        }
        let answers = &mut self.answers.borrow_mut();
        self.seen(ahead::ask_images(self.connection, self.known, named, sight, answers))
    }

    fn cursor_key(&self) -> Option<&str> {
        (!self.writes).then_some(self.known.cursor_key.as_str())
    }

    fn schema(&self) -> &Arc<Schema> {
        &self.known.schema
    }

    fn life(&self) -> Result<Life, Fault> {
        if let Some(life) = self.life.get() {
            return Ok(life.clone());
        }
        let changelog::Ends { life, tag } = self.seen(changelog::life(self.connection))?;
        if !self.writes {
            // One snapshot: it stays so, and is asked for several times in each pull.
            if let Some(tag) = tag {
                self.answers.borrow_mut().keep_tag(life.head, tag);
            }
            return Ok(self.life.get_or_init(|| life).clone());
        }
        Ok(life)
    }

    fn tag(&self, position: i64) -> Result<Option<i64>, Fault> {
        if let Some(tag) = self.answers.borrow().tag(position) {
            return Ok(Some(tag));
        }
        self.seen(changelog::tag(self.connection, position))
    }

    fn granted(&self, user: &str) -> Result<Vec<String>, Fault> {
        if let Some(granted) = self.answers.borrow().granted(user) {
            return Ok(granted);
        }
        let granted = self.seen(records::granted(self.connection, user))?;
        if !self.writes {
            self.answers.borrow_mut().keep_granted(user, &granted);
        }
        Ok(granted)
    }

    fn entries(
        &self,
        position: i64,
        buckets: &[String],
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let ready = self.answers.borrow_mut().entries(position, buckets, limit);
        let buckets = changelog::possible(buckets);
        let rows = match ready {
            Some(rows) => rows,
            None => self.seen(changelog::page(self.connection, position, &buckets, limit))?,
        };
        if let Some(last) = rows.last().filter(|_| !self.writes) {
            self.answers.borrow_mut().keep_tag(last.get(0), last.get(3));
        }
        self.seen(changelog::entries(self.connection, &rows, &buckets, limit))
    }

    fn behind(&self, position: i64, buckets: &[String]) -> Result<i64, Fault> {
        self.seen(changelog::behind(self.connection, position, &changelog::possible(buckets)))
    }

    fn was_seen(&self, table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault> {
        self.seen(changelog::was_seen(
            self.connection,
            table.number,
            id,
            &changelog::possible(buckets),
        ))
    }

    fn image(&self, table: &Table, key: &Value, sight: &Sight) -> Result<Option<Row>, Fault> {
        let keys = [Some(key.clone())];
        Ok(self.images(table, &keys, usize::MAX, sight)?.pop().flatten())
    }

    fn images(
        &self,
        table: &Table,
        keys: &[Option<Value>],
        bytes: usize,
        sight: &Sight,
    ) -> Result<Vec<Option<Row>>, Fault> {
        let ready = self.answers.borrow_mut().images(table, keys, sight);
        self.seen(self.look(table).images(keys, bytes, sight, self.writes, ready))
    }

    fn page(
        &self,
        table: &Table,
        after: Option<&Value>,
        room: Room,
        sight: &Sight,
    ) -> Result<Page, Fault> {
        self.below(|above| self.look(table).page(after, room, sight, above))
    }

    fn count(&self, table: &Table, sight: &Sight) -> Result<i64, Fault> {
        self.below(|above| self.look(table).count(sight, above))
    }

    fn each(&self, table: &Table, sight: &Sight, each: &mut dyn FnMut(&Row)) -> Result<(), Fault> {
        self.below(|above| self.look(table).each(sight, above, each))
    }

    fn stored(
        &self,
        table: &Table,
        key: &Value,
        sight: &Sight,
        own: &Sight,
    ) -> Result<Option<StoredRow>, Fault> {
        self.seen(self.look(table).stored(key, sight, own, self.writes))
    }

    fn written_at(&self, table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault> {
        self.seen(records::written_at(self.connection, table.number, id, version))
    }

    fn client(&self, user: &str, client_id: &str) -> Result<Option<Client>, Fault> {
        if let Some(client) = self.answers.borrow_mut().client(user, client_id) {
            return Ok(Some(client));
        }
        self.hold(user)?;
        self.seen(records::client(self.connection, user, client_id))
    }

    fn verdict(&self, user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault> {
        self.hold(user)?;
        self.seen(records::verdict(self.connection, user, mutation))
    }

    fn holds(&self, sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault> {
        // Its locks are stronger than those of the rows written before: two that ask at once can meet crosswise.
        let done = self
            .seen(self.asking(|| check::holds(self.connection, sql, values, self.writes)))
            .and_then(|done| done);
        if let Err(fault) = &done {
            self.note(fault);
        }
        done
    }

    fn parameters_of(&self, sql: &str) -> Result<Vec<String>, String> {
        let done = self.asking(|| check::parameters_of(self.connection, sql));
        done.unwrap_or_else(|error| Err(error::told(&error)))
    }

    fn bucket_failures(&self) -> Result<Vec<BucketFailure>, Fault> {
        self.seen(member::failures(self.connection))
    }

    fn manifest(&self, version: i64, hash: Option<&str>) -> Result<Option<String>, Fault> {
        self.seen(records::manifest(self.connection, version, hash))
    }

    fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, Fault> {
        self.seen(operate::manifests(self.connection, most))
    }

    fn clients(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault> {
        self.seen(operate::clients(self.connection, after, most))
    }

    fn schema_followed_at(&self, version: i64) -> Result<Option<String>, Fault> {
        self.seen(records::schema_followed_at(self.connection, version))
    }
}

impl Writing for Transaction<'_> {
    fn begin(&self) -> Result<(), Fault> {
        self.seen(self.connection.batch("SAVEPOINT rejoin"))
    }

    fn keep(&self) -> Result<(), Fault> {
        self.seen(self.connection.batch("RELEASE rejoin"))
    }

    fn undo(&self) -> Result<(), Fault> {
        self.seen(self.connection.batch("ROLLBACK TO rejoin; RELEASE rejoin"))
    }

    fn insert(&self, table: &Table, cells: &[(usize, Value)]) -> Result<(), WriteError> {
        self.wrote(self.look(table).insert(cells))
    }

    fn update(
        &self,
        table: &Table,
        key: &Value,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError> {
        self.wrote(self.look(table).update(key, cells))
    }

    fn remove(&self, table: &Table, key: &Value) -> Result<(), WriteError> {
        self.wrote(self.look(table).remove(key))
    }

    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault> {
        self.seen(records::put_written_at(self.connection, table.number, id, version, at))
    }

    fn put_verdict(
        &self,
        user: &str,
        mutation: &str,
        verdict: &StoredVerdict,
    ) -> Result<(), Fault> {
        self.seen(records::put_verdict(self.connection, user, mutation, verdict))
    }

    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault> {
        self.seen(records::put_client(self.connection, user, client_id, client))
    }

    fn subscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        self.seen(records::subscribe(self.connection, user, bucket))
    }

    fn unsubscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        self.seen(records::unsubscribe(self.connection, user, bucket))
    }

    fn replay_buckets(&self) -> Result<Replayed, Fault> {
        self.seen(self.asking(|| member::replay(self.connection, self.known)).and_then(|done| done))
    }

    fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        self.hooked(|| hook::execute(self.connection, sql, values))
    }

    fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        self.hooked(|| hook::query(self.connection, sql, values))
    }

    fn new_epoch(&self) -> Result<String, Fault> {
        self.seen(records::new_epoch(self.connection))
    }

    fn compacts_alone(&self) -> Result<bool, Fault> {
        self.seen(operate::compacts_alone(self.connection))
    }

    fn forget_entries(&self, watermark: i64, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_entries(self.connection, watermark, most))
    }

    fn forget_written(&self, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_written(self.connection, most))
    }

    fn lowest_position(&self, seen_since: &str) -> Result<Option<i64>, Fault> {
        self.seen(operate::lowest_position(self.connection, seen_since))
    }

    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault> {
        self.seen(operate::forget_verdicts(self.connection, seen_since, most))
    }
}
