//! One transaction of this store; implements the store traits by delegation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use rejoin_protocol::Value;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Params};
use super::known_log::RequiredEnd;
use super::pages::ParentRows;
use super::prefetch::{self, Answers};
use super::records::PutClient;
use super::rows::{Lock, RowQuery};
use super::{Known, changelog, check, error, hook, log, member, operate, policies, records};
use crate::error::Fault;
use crate::hooks::SqlError;
use crate::model::{
    BucketFailure, ChangeEntry, LogState, LogTable, ManifestVersion, Page, PageLimit, ReadScope,
    Row, Schema, StoredRow, Table,
};
use crate::store::log::LogSession;
use crate::store::{
    End, FurtherBuckets, Images, LogTables, ReadLog, ReadRows, ReadSchema, Reading, Truths,
};

mod devices;
mod entry;
mod expect;
mod writing;

use entry::Begin;
pub(super) use entry::{Entry, NotBegun};

/// A transaction on a connection of the pool.
#[derive(Debug)]
pub(super) struct PostgresTransaction<'a> {
    connection: &'a Connection,
    pub(super) known: &'a Known,
    /// The statement that switched to the serving role, with row level security.
    takes_role: Option<&'a str>,
    writes: bool,
    /// Whether it is retried after it loses against another transaction.
    is_optimistic: bool,
    held: RefCell<BTreeSet<String>>,
    collided: Cell<bool>,
    log: RefCell<Option<LogState>>,
    answers: RefCell<Answers>,
    above: ParentRows,
    /// Savepoints to begin with the next statement.
    begins: Cell<usize>,
    /// Whether a load already waited for a locked row for the full time.
    has_waited: Cell<bool>,
    /// Why a load was cancelled; reported by the first row that is read.
    refusal: RefCell<Option<String>>,
    /// The device to store at the end.
    last: RefCell<Option<PutClient>>,
    /// Whether it holds the log's lock, and runs under the store's own role.
    has_log_lock: Cell<bool>,
    has_own_role: Cell<bool>,
    /// It begins with its first statement.
    begin: RefCell<Begin>,
    /// On a standby: what its log must have, and whether it lacks it.
    required: Option<RequiredEnd>,
    is_behind: Cell<bool>,
    pub(super) log_session: LogSession,
}

impl<'a> PostgresTransaction<'a> {
    pub(super) fn reading(
        connection: &'a Connection,
        known: &'a Known,
        takes_role: Option<&'a str>,
        entry: Entry,
    ) -> Self {
        Self {
            connection,
            known,
            takes_role,
            writes: false,
            is_optimistic: false,
            held: RefCell::default(),
            collided: Cell::new(false),
            log: RefCell::default(),
            answers: RefCell::default(),
            above: ParentRows::default(),
            begins: Cell::new(0),
            has_waited: Cell::new(false),
            refusal: RefCell::default(),
            last: RefCell::default(),
            has_log_lock: Cell::new(false),
            has_own_role: Cell::new(false),
            begin: RefCell::new(Begin::Waits(entry)),
            required: None,
            is_behind: Cell::new(false),
            log_session: LogSession::default(),
        }
    }

    pub(super) fn writing(
        connection: &'a Connection,
        known: &'a Known,
        takes_role: Option<&'a str>,
        entry: Entry,
        is_optimistic: bool,
    ) -> Self {
        Self { writes: true, is_optimistic, ..Self::reading(connection, known, takes_role, entry) }
    }

    /// Operator queries see every row, so they run as a role to which no policy applies.
    fn asking<T>(&self, ask: impl FnOnce() -> T) -> Result<T, Error> {
        let Some(takes_role) = self.takes_role else { return Ok(ask()) };
        self.connection.batch("RESET ROLE")?;
        let asked = ask();
        // In an aborted transaction, the rollback to the savepoint restores the role, or the
        // transaction ends.
        match self.connection.batch(takes_role) {
            Err(error) if error.code() != Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => Err(error),
            _ => Ok(asked),
        }
    }

    /// Whether a statement lost against another transaction, even if the error was handled.
    pub(super) fn collided(&self) -> bool {
        self.collided.get()
    }

    /// Runs a hook's statement under the store's own role; records a collision.
    fn hooked<T>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, hook::Failed>,
    ) -> Result<T, SqlError> {
        let connection = self.asked().map_err(|fault| SqlError::Moment(fault.to_string()))?;
        let done =
            self.asking(|| run(connection)).map_err(hook::Failed::from).and_then(|done| done);
        if let Err(hook::Failed::Database(error)) = &done {
            self.collided.set(self.collided.get() || error::is_collision(error));
        }
        done.map_err(SqlError::from)
    }

    /// The connection for a statement under the serving role.
    fn asked(&self) -> Result<&'a Connection, Fault> {
        let connection = self.sent()?;
        if let (true, Some(takes_role)) = (self.has_own_role.take(), self.takes_role) {
            self.seen(connection.batch(takes_role))?;
        }
        Ok(connection)
    }

    /// The connection for statements of the log, and what to send before them: they run under the
    /// store's own role and, in a write, under the log's lock.
    pub(super) fn for_log(&self) -> Result<(&'a Connection, Vec<&'static str>), Fault> {
        let connection = self.sent()?;
        let changes_role = self.takes_role.is_some() && !self.has_own_role.replace(true);
        let locks = self.writes && !self.has_log_lock.replace(true);
        let before = changes_role.then_some("RESET ROLE").into_iter();
        Ok((connection, before.chain(locks.then_some(log::LOCK)).collect()))
    }

    /// Rolls back to the savepoint, which may release the log's lock and restore either role.
    fn undone(&self) -> Result<(), Fault> {
        self.seen(self.sent()?.batch("ROLLBACK TO rejoin; RELEASE rejoin"))?;
        self.log_session.forget_ahead();
        let is_used = self.has_log_lock.replace(false);
        self.has_own_role.set(self.has_own_role.get() || is_used);
        self.asked().map(drop)
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writes
    }

    /// The connection, after sending everything that the next statement depends on.
    fn sent(&self) -> Result<&'a Connection, Fault> {
        self.ensure_begun()?;
        if let Some(put) = self.last.take() {
            self.seen(put.with(|text, params| self.connection.execute(text, params)))?;
        }
        let begins = self.savepoints();
        if !begins.is_empty() {
            self.seen(self.connection.batch(&begins))?;
        }
        Ok(self.connection)
    }

    /// The statements for savepoints that are not begun yet.
    fn savepoints(&self) -> String {
        "SAVEPOINT rejoin;".repeat(self.begins.take())
    }

    /// Stores the device and commits.
    pub(super) fn commit(&self) -> Result<(), Error> {
        match self.last.take() {
            Some(put) => put.with(|text, params| self.connection.commit_behind((text, params))),
            None => self.connection.commit(),
        }
    }

    /// Stores the device, commits, and reads the end of the log in the same round trip. The inner error is that of the read.
    pub(super) fn commit_to_end(&self) -> Result<Result<End, Error>, Error> {
        let commit = |last: (&str, Params<'_>)| changelog::commit_to_end(self.connection, last);
        match self.last.take() {
            Some(put) => put.with(|text, params| commit((text, params))),
            None => commit(("SELECT 1", &[])),
        }
    }

    fn at<'t>(&'t self, table: &'t Table) -> RowQuery<'t> {
        RowQuery { connection: self.connection, known: self.known, table }
    }

    fn look<'t>(&'t self, table: &'t Table) -> Result<RowQuery<'t>, Fault> {
        self.asked().map(|_| self.at(table))
    }

    pub(super) fn seen<T>(&self, done: Result<T, Error>) -> Result<T, Fault> {
        done.map_err(|error| {
            self.collided.set(self.collided.get() || error::is_collision(&error));
            error.into()
        })
    }

    /// Reads rows that may have parents; visible parents are cached where they cannot change.
    fn with_parents<T>(
        &self,
        read: impl FnOnce(&ParentRows) -> Result<T, Error>,
    ) -> Result<T, Fault> {
        if self.writes {
            return self.seen(read(&ParentRows::default()));
        }
        self.seen(read(&self.above))
    }

    /// Serialises write transactions that read the state of this user's devices.
    fn hold(&self, user: &str) -> Result<(), Fault> {
        if self.writes && !self.held.borrow().contains(user) {
            self.seen(records::hold_user(self.asked()?, user))?;
            self.held.borrow_mut().insert(user.to_owned());
        }
        Ok(())
    }

    fn tag_of(&self, position: i64) -> Result<Option<i64>, Fault> {
        let tag = self.answers.borrow().tag(position);
        let read = || self.seen(changelog::tag(self.asked()?, position));
        tag.map_or_else(read, |tag| Ok(Some(tag)))
    }

    /// Records a collision whose error was already reported: the whole transaction is then run
    /// again.
    fn note(&self, fault: &Fault) {
        self.collided.set(self.collided.get() || matches!(fault, Fault::Collision(_)));
    }
}

impl Reading for PostgresTransaction<'_> {
    fn act_for(&self, user: &str, further: &FurtherBuckets) -> Result<(), Fault> {
        let acting = Some((user.to_owned(), further.clone()));
        if self.takes_role.is_none() || self.answers.borrow().acting == acting {
            return Ok(());
        }
        self.seen(policies::act_for(self.asked()?, user, further))?;
        // A rollback to a savepoint would also undo the setting.
        self.answers.borrow_mut().acting = acting.filter(|_| !self.writes);
        self.above.forget();
        Ok(())
    }

    fn holds(&self, sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault> {
        // Its locks are stronger than those of rows already written: two such transactions can
        // deadlock.
        let connection = self.asked()?;
        let done = self
            .seen(self.asking(|| check::holds(connection, sql, values, self.writes)))
            .and_then(|done| done);
        done.inspect_err(|fault| self.note(fault))
    }

    fn truths(&self, sql: &str, values: &[(&str, Value)]) -> Result<Result<Truths, String>, Fault> {
        let connection = self.asked()?;
        match self.asking(|| check::truths(connection, sql, values))? {
            Ok(found) => Ok(Ok(found)),
            // The user's id, or a value, is none of the type to which the query compares it.
            Err(error) if error.code().is_some_and(|code| code.code().starts_with("22")) => {
                Ok(Ok(Truths::default()))
            }
            Err(error) if error.code().is_some_and(|code| code.code().starts_with("42")) => {
                Ok(Err(error::log_text(&error)))
            }
            Err(error) => self.seen(Err(error)),
        }
    }

    fn parameters_of(&self, sql: &str) -> Result<Vec<String>, String> {
        let connection = self.asked().map_err(|fault| fault.to_string())?;
        let done = self.asking(|| check::parameters_of(connection, sql));
        done.unwrap_or_else(|error| Err(error::log_text(&error)))
    }

    fn log(&self) -> LogTables<'_> {
        LogTables::new(self)
    }

    fn log_tables(&self) -> &[LogTable] {
        &self.known.log
    }

    fn bucket_failures(&self) -> Result<Vec<BucketFailure>, Fault> {
        self.seen(member::failures(self.asked()?))
    }
}

impl ReadSchema for PostgresTransaction<'_> {
    fn schema(&self) -> &Arc<Schema> {
        &self.known.schema
    }

    fn manifest(&self, version: i64, hash: Option<&str>) -> Result<Option<String>, Fault> {
        self.seen(records::manifest(self.asked()?, version, hash))
    }

    fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, Fault> {
        self.seen(operate::manifests(self.asked()?, most))
    }

    fn schema_followed_at(&self, version: i64) -> Result<Option<String>, Fault> {
        self.seen(records::schema_followed_at(self.asked()?, version))
    }
}

impl ReadLog for PostgresTransaction<'_> {
    fn log_state(&self) -> Result<LogState, Fault> {
        if let Some(log) = self.log.borrow().as_ref() {
            return Ok(log.clone());
        }
        let changelog::Ends { log, tag } = self.seen(changelog::log_state(self.asked()?))?;
        if !self.writes {
            // Constant within a snapshot, and used several times per pull.
            if let Some(tag) = tag {
                self.answers.borrow_mut().keep_tag(log.head, tag);
            }
            self.keep_log(&log)?;
        }
        Ok(log)
    }

    fn tag(&self, position: i64) -> Result<Option<i64>, Fault> {
        self.tag_of(position)
    }

    fn entries(
        &self,
        position: i64,
        buckets: &[String],
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, Fault> {
        let ready = self.answers.borrow_mut().entries(position, buckets, limit);
        let buckets = changelog::possible(buckets);
        let page = match ready {
            Some(page) => page,
            None => self.seen(changelog::page(self.asked()?, position, &buckets, limit))?,
        };
        if let Some(last) = page.iter().take(limit).next_back().filter(|_| !self.writes) {
            self.answers.borrow_mut().keep_tag(last.entry.position, last.tag);
        }
        self.seen(changelog::entries(self.asked()?, page, &buckets, limit))
    }

    fn behind(&self, position: i64, buckets: &[String]) -> Result<i64, Fault> {
        if let Some(many) = self.answers.borrow_mut().behind(position, buckets) {
            return Ok(many);
        }
        self.seen(changelog::behind(self.asked()?, position, &changelog::possible(buckets)))
    }

    fn was_seen(&self, table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault> {
        self.seen(changelog::was_seen(
            self.asked()?,
            table.number,
            id,
            &changelog::possible(buckets),
        ))
    }
}

impl ReadRows for PostgresTransaction<'_> {
    fn image(&self, table: &Table, key: &Value, scope: &ReadScope) -> Result<Option<Row>, Fault> {
        let keys = [Some(key.clone())];
        let ready = self.answers.borrow_mut().images(table, &keys, scope);
        let look = self.look(table)?;
        let mut found = None;
        let mut each = |image| {
            found = image;
            true
        };
        self.seen(look.images(&keys, (scope, self.writes), ready, None, &mut each))?;
        Ok(found)
    }

    fn images(
        &self,
        table: &Table,
        keys: &[Option<Value>],
        scope: &ReadScope,
        each: Images<'_>,
    ) -> Result<(), Fault> {
        let ready = self.answers.borrow_mut().images(table, keys, scope);
        let coming = self.answers.borrow_mut().coming.take();
        let (position, possible) = prefetch::of_behind(coming.as_ref());
        let behind: [&(dyn ToSql + Sync); 2] = [&position, &possible];
        let also = coming.is_some().then_some((prefetch::BEHIND, behind.as_slice()));
        let look = self.look(table)?;
        let counted = self.seen(look.images(keys, (scope, false), ready, also, each))?;
        if let (Some(coming), Some(rows)) = (coming, counted) {
            self.answers.borrow_mut().keep_behind(coming, &rows);
        }
        Ok(())
    }

    fn page(
        &self,
        table: &Table,
        after: Option<&Value>,
        room: PageLimit,
        scope: &ReadScope,
    ) -> Result<Page, Fault> {
        let look = self.look(table)?;
        self.with_parents(|above| look.page(after, room, scope, above))
    }

    fn count(&self, table: &Table, scope: &ReadScope) -> Result<i64, Fault> {
        let look = self.look(table)?;
        self.with_parents(|above| look.count(scope, above))
    }

    fn each(
        &self,
        table: &Table,
        scope: &ReadScope,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), Fault> {
        let look = self.look(table)?;
        self.with_parents(|above| look.each(scope, above, each))
    }

    fn stored(
        &self,
        table: &Table,
        key: &Value,
        scope: &ReadScope,
        own: &ReadScope,
    ) -> Result<Option<StoredRow>, Fault> {
        if let Some(why) = self.refusal.take() {
            return Err(Fault::Transient(why));
        }
        let lock = match self.writes {
            false => Lock::No,
            true if self.has_waited.get() => Lock::AtOnce,
            true => Lock::Waits,
        };
        self.seen(self.look(table)?.stored(key, scope, own, lock))
    }

    fn written_at(&self, table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault> {
        self.seen(records::written_at(self.asked()?, table.number, id, version))
    }
}
