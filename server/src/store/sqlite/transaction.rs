//! One transaction of the embedded store; implements the store traits by delegation.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rejoin_protocol::Value;
use rusqlite::Connection;

use super::{Known, changelog, check, hook, records, rows, staged};
use crate::error::Fault;
use crate::hooks::{HookSql, SqlError};
use crate::model::{
    ChangeEntry, Client, Grant, KnownClient, LogState, LogTable, ManifestVersion, Page, PageLimit,
    ReadScope, Row, Schema, StagedPart, StagedSize, StoredRow, StoredVerdict, Table,
};
use crate::store::log::LogSession;
use crate::store::{
    Images, LogTables, Maintain, Prefetch, ReadDevices, ReadLog, ReadRows, ReadSchema, Reading,
    Savepoints, StoreWrite, Truths, WriteDevices, WriteError, WriteRows, Writing,
};

/// A transaction on a connection that this store holds.
#[derive(Debug)]
pub(super) struct SqliteTransaction<'a> {
    pub(super) connection: &'a Connection,
    schema: Arc<Schema>,
    pub(super) log_tables: Arc<[LogTable]>,
    /// The query for the grants of a user.
    grants: Arc<str>,
    /// The number of writes that wait for this one; `None` for a read.
    pub(super) waiting: Option<&'a AtomicUsize>,
    pub(super) log_session: LogSession,
    /// Whether foreign keys are deferred.
    defers: Cell<bool>,
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        known: Known,
        waiting: Option<&'a AtomicUsize>,
    ) -> Self {
        let Known { schema, log, grants, .. } = known;
        let log_session = LogSession::default();
        let defers = Cell::new(false);
        Self { connection, schema, log_tables: log, grants, waiting, log_session, defers }
    }

    /// Defers no foreign key any more.
    fn ends_deferring(&self) -> Result<(), Fault> {
        if self.defers.replace(false) {
            self.connection.execute_batch("PRAGMA defer_foreign_keys = OFF")?;
        }
        Ok(())
    }
}

fn number(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn array(texts: &[String]) -> String {
    serde_json::json!(texts).to_string()
}

impl Reading for SqliteTransaction<'_> {
    fn holds(&self, sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault> {
        Ok(check::holds(self.connection, sql, values)?)
    }

    fn truths(&self, sql: &str, values: &[(&str, Value)]) -> Result<Result<Truths, String>, Fault> {
        let rows = check::truths(self.connection, sql, values, 2);
        let texts = values.iter().map(|(_, value)| value.to_id().unwrap_or_default()).collect();
        Ok(rows.map(|rows| Truths { rows, texts }).map_err(|error| error.to_string()))
    }

    fn parameters_of(&self, sql: &str) -> Result<Vec<String>, String> {
        check::parameters_of(self.connection, sql)
    }

    fn log(&self) -> LogTables<'_> {
        LogTables::new(self)
    }

    fn log_tables(&self) -> &[LogTable] {
        &self.log_tables
    }
}

impl ReadSchema for SqliteTransaction<'_> {
    fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn manifest(&self, version: i64, hash: Option<&str>) -> Result<Option<String>, Fault> {
        Ok(records::manifest(self.connection, version, hash)?)
    }

    fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, Fault> {
        Ok(records::manifests(self.connection, number(most))?)
    }

    fn schema_followed_at(&self, version: i64) -> Result<Option<String>, Fault> {
        Ok(records::schema_followed_at(self.connection, version)?)
    }
}

impl ReadLog for SqliteTransaction<'_> {
    fn log_state(&self) -> Result<LogState, Fault> {
        Ok(changelog::log_state(self.connection)?)
    }

    fn tag(&self, position: i64) -> Result<Option<i64>, Fault> {
        Ok(changelog::tag(self.connection, position)?)
    }

    fn entries(
        &self,
        position: i64,
        buckets: &[String],
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, Fault> {
        Ok(changelog::entries(self.connection, position, buckets, limit)?)
    }

    fn behind(&self, position: i64, buckets: &[String]) -> Result<i64, Fault> {
        Ok(changelog::behind(self.connection, position, &array(buckets))?)
    }

    fn was_seen(&self, table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault> {
        Ok(changelog::was_seen(self.connection, table.number, id, &array(buckets))?)
    }
}

impl ReadRows for SqliteTransaction<'_> {
    fn image(&self, table: &Table, key: &Value, scope: &ReadScope) -> Result<Option<Row>, Fault> {
        let keys = [Some(key.clone())];
        let mut found = None;
        self.images(table, &keys, scope, &mut |image| {
            found = image;
            true
        })?;
        Ok(found)
    }

    fn images(
        &self,
        table: &Table,
        keys: &[Option<Value>],
        scope: &ReadScope,
        each: Images<'_>,
    ) -> Result<(), Fault> {
        Ok(rows::images(self.connection, &self.schema, table, keys, scope, each)?)
    }

    fn page(
        &self,
        table: &Table,
        after: Option<&Value>,
        room: PageLimit,
        scope: &ReadScope,
    ) -> Result<Page, Fault> {
        Ok(rows::page(self.connection, &self.schema, table, after, room, scope)?)
    }

    fn count(&self, table: &Table, scope: &ReadScope) -> Result<i64, Fault> {
        Ok(rows::count(self.connection, &self.schema, table, scope)?)
    }

    fn each(
        &self,
        table: &Table,
        scope: &ReadScope,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), Fault> {
        Ok(rows::each(self.connection, &self.schema, table, scope, each)?)
    }

    fn stored(
        &self,
        table: &Table,
        key: &Value,
        scope: &ReadScope,
        own: &ReadScope,
    ) -> Result<Option<StoredRow>, Fault> {
        Ok(rows::stored(self.connection, &self.schema, table, key, scope, own)?)
    }

    fn written_at(&self, table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault> {
        Ok(records::written_at(self.connection, table.number, id, version)?)
    }
}

impl ReadDevices for SqliteTransaction<'_> {
    fn grants(&self, user: &str) -> Result<Vec<Grant>, Fault> {
        Ok(records::grants(self.connection, &self.grants, user)?)
    }

    fn client(&self, user: &str, client_id: &str) -> Result<Option<Client>, Fault> {
        Ok(records::client(self.connection, user, client_id)?)
    }

    fn verdict(&self, user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault> {
        Ok(records::verdict(self.connection, user, mutation)?)
    }

    fn staged(&self, user: &str, client_id: &str) -> Result<Option<StagedSize>, Fault> {
        Ok(staged::size(self.connection, user, client_id)?)
    }

    fn staged_by(&self, user: &str) -> Result<i64, Fault> {
        Ok(staged::size_of_user(self.connection, user)?)
    }

    fn staged_bytes(&self, user: &str, client_id: &str, content: &str) -> Result<Vec<u8>, Fault> {
        Ok(staged::bytes(self.connection, user, client_id, content)?)
    }

    fn clients(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault> {
        Ok(records::clients(self.connection, after, number(most))?)
    }

    fn devices_since(&self, user: &str, since: &str) -> Result<i64, Fault> {
        Ok(records::devices_since(self.connection, user, since)?)
    }

    fn verdicts_from(
        &self,
        user: &str,
        client_id: &str,
        seq: i64,
        most: i64,
    ) -> Result<i64, Fault> {
        Ok(records::verdicts_from(self.connection, user, client_id, (seq, most))?)
    }
}

impl Prefetch for SqliteTransaction<'_> {}

impl HookSql for SqliteTransaction<'_> {
    fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        hook::execute(self.connection, sql, values)
    }

    fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        hook::query(self.connection, sql, values)
    }
}

impl Savepoints for SqliteTransaction<'_> {
    fn is_awaited(&self) -> bool {
        self.waiting.is_some_and(|waiting| waiting.load(Ordering::Relaxed) > 0)
    }

    fn begin(&self) -> Result<(), Fault> {
        Ok(self.connection.execute_batch("SAVEPOINT rejoin")?)
    }

    fn keep(&self) -> Result<(), Fault> {
        Ok(self.connection.execute_batch("RELEASE rejoin")?)
    }

    fn undo(&self) -> Result<(), Fault> {
        if self.connection.is_autocommit() {
            return Err(Fault::Transient(String::from("SQLite ended the transaction")));
        }
        self.connection.execute_batch("ROLLBACK TO rejoin; RELEASE rejoin")?;
        self.ends_deferring()
    }

    fn defer_constraints(&self) -> Result<bool, Fault> {
        self.connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        self.defers.set(true);
        Ok(true)
    }

    /// SQLite checks at the commit only, where it would fail the whole push.
    fn check_constraints(&self, written: &[(&Table, &StoreWrite)]) -> Result<(), WriteError> {
        for (table, write) in written {
            rows::check_references(self.connection, table, write)?;
        }
        Ok(self.ends_deferring()?)
    }
}

impl WriteRows for SqliteTransaction<'_> {
    fn write(&self, table: &Table, write: &StoreWrite) -> Result<(), WriteError> {
        match write {
            StoreWrite::Insert { cells } => rows::insert(self.connection, table, cells),
            StoreWrite::Update { key, cells } => rows::update(self.connection, table, key, cells),
            StoreWrite::Delete { key } => rows::remove(self.connection, table, key),
        }
    }

    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault> {
        Ok(records::put_written_at(self.connection, table.number, id, version, at)?)
    }
}

impl WriteDevices for SqliteTransaction<'_> {
    fn put_verdict(
        &self,
        user: &str,
        mutation: &str,
        verdict: &StoredVerdict,
    ) -> Result<(), Fault> {
        Ok(records::put_verdict(self.connection, user, mutation, verdict)?)
    }

    fn stage(&self, user: &str, client_id: &str, part: &StagedPart<'_>) -> Result<(), Fault> {
        Ok(staged::put(self.connection, user, client_id, part)?)
    }

    fn unstage(&self, user: &str, client_id: &str) -> Result<(), Fault> {
        Ok(staged::forget(self.connection, user, client_id)?)
    }

    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault> {
        Ok(records::put_client(self.connection, user, client_id, client)?)
    }

    fn put_grant(&self, user: &str, grant: &Grant) -> Result<bool, Fault> {
        Ok(records::put_grant(self.connection, user, grant)?)
    }

    fn remove_grant(&self, user: &str, bucket: &str) -> Result<bool, Fault> {
        Ok(records::remove_grant(self.connection, user, bucket)?)
    }
}

impl Maintain for SqliteTransaction<'_> {
    fn new_epoch(&self) -> Result<String, Fault> {
        Ok(records::new_epoch(self.connection)?)
    }

    fn forget_entries(&self, watermark: i64, most: usize) -> Result<usize, Fault> {
        Ok(changelog::forget(self.connection, watermark, number(most))?)
    }

    fn forget_written(&self, before: &str, most: usize) -> Result<usize, Fault> {
        Ok(records::forget_written(self.connection, before, number(most))?)
    }

    fn lowest_position(&self, seen_since: &str) -> Result<Option<i64>, Fault> {
        Ok(records::lowest_position(self.connection, seen_since)?)
    }

    fn forget_staged(&self, before: &str, most: usize) -> Result<usize, Fault> {
        Ok(staged::forget_before(self.connection, before, number(most))?)
    }

    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault> {
        Ok(records::forget_verdicts(self.connection, seen_since, number(most))?)
    }
}

impl Writing for SqliteTransaction<'_> {}
