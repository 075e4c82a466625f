//! Read access to a snapshot of the database, by purpose: schema, log, rows, devices and verdicts.

use std::sync::Arc;

use rejoin_protocol::Value;

use super::log::LogTables;
use super::prefetch::Prefetch;
use crate::error::Fault;
use crate::model::{
    BucketFailure, ChangeEntry, Client, Grant, KnownClient, LogState, LogTable, ManifestVersion,
    Page, PageLimit, ReadScope, Row, Schema, StagedSize, StoredRow, StoredVerdict, Table,
};

/// Called with the image of each key; returns whether there is room for more.
pub type Images<'a> = &'a mut dyn FnMut(Option<Row>) -> bool;

/// Buckets of the transaction's user besides those that are granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FurtherBuckets {
    /// To read: of subscriptions, and former ones, whose rows are reported as gone.
    pub reads: Vec<String>,
    /// To write.
    pub writes: Vec<String>,
}

/// What a query says about values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truths {
    /// For each of its first two rows, whether the first cell is a number other than 0.
    pub rows: Vec<bool>,
    /// The values as the database writes them in the types to which it compares them. Empty without rows.
    pub texts: Vec<String>,
}

/// A snapshot of the database.
pub trait Reading: ReadSchema + ReadLog + ReadRows + ReadDevices + Prefetch {
    /// Sets the user of the transaction, before any row is read. `further`: buckets besides those that
    /// are granted. For stores with row level security; others ignore it.
    fn act_for(&self, user: &str, further: &FurtherBuckets) -> Result<(), Fault> {
        let _ = (user, further);
        Ok(())
    }

    /// Runs an action check: whether the first cell of its first row is a number other than 0.
    /// `values` are its parameters by name. Within [`Store::write`](super::Store::write) the tables
    /// that it reads cannot change until the transaction ends.
    fn holds(&self, sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault>;

    /// Runs a query that only reads, or says why the database refuses it. The transaction goes on.
    fn truths(&self, sql: &str, values: &[(&str, Value)]) -> Result<Result<Truths, String>, Fault>;

    /// The parameters of a check, or why it cannot run: it is not a query, more than one statement,
    /// or it writes.
    fn parameters_of(&self, sql: &str) -> Result<Vec<String>, String>;

    /// The log in this transaction. In a write, its first access waits for the log's lock, which is
    /// held until the transaction ends; a read refuses writes.
    fn log(&self) -> LogTables<'_>;

    /// The tables that the log writes.
    fn log_tables(&self) -> &[LogTable];

    /// The rows for which a bucket function failed; empty without such a function.
    fn bucket_failures(&self) -> Result<Vec<BucketFailure>, Fault> {
        Ok(Vec::new())
    }
}

/// The schema and its earlier versions.
pub trait ReadSchema {
    /// The schema of this snapshot.
    fn schema(&self) -> &Arc<Schema>;

    /// The manifest of an older version, as JSON.
    fn manifest(&self, version: i64, hash: Option<&str>) -> Result<Option<String>, Fault>;

    /// The schema versions that were ever served, the newest first: at most `most`.
    fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, Fault>;

    /// When the first schema version after this one was served; `None` if there is none.
    fn schema_followed_at(&self, version: i64) -> Result<Option<String>, Fault>;
}

/// The change log.
pub trait ReadLog {
    /// The log's identity and ends.
    fn log_state(&self) -> Result<LogState, Fault>;

    /// The random tag of a position; `None` if the log has no such entry (any more). Position 0 has a tag too.
    fn tag(&self, position: i64) -> Result<Option<i64>, Fault>;

    /// Entries after `position` in any of `buckets`, in order: at most `limit`, then on to the end of the transaction
    /// of the last one.
    fn entries(
        &self,
        position: i64,
        buckets: &[String],
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, Fault>;

    /// The number of entries after `position` in any of `buckets`; a store may stop counting at 100,000.
    fn behind(&self, position: i64, buckets: &[String]) -> Result<i64, Fault>;

    /// Whether the log has this row in any of `buckets`: the user could read it once.
    fn was_seen(&self, table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault>;
}

/// Rows of the application's tables.
pub trait ReadRows {
    /// The row of this key, if it is live and in the scope.
    fn image(&self, table: &Table, key: &Value, scope: &ReadScope) -> Result<Option<Row>, Fault>;

    /// Images for many keys of one table. `each` is called in their order, while later ones may
    /// still be in transit, until it returns `false`. `None` among the keys names no row.
    fn images(
        &self,
        table: &Table,
        keys: &[Option<Value>],
        scope: &ReadScope,
        each: Images<'_>,
    ) -> Result<(), Fault>;

    /// Live rows in the scope, in key order, after a key, up to the limit.
    fn page(
        &self,
        table: &Table,
        after: Option<&Value>,
        room: PageLimit,
        scope: &ReadScope,
    ) -> Result<Page, Fault>;

    /// The number of live rows in the scope, for progress and to choose shared pages. It may be
    /// estimated for a large table.
    fn count(&self, table: &Table, scope: &ReadScope) -> Result<i64, Fault>;

    /// Calls `each` with every live row in the scope.
    fn each(
        &self,
        table: &Table,
        scope: &ReadScope,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), Fault>;

    /// The row of this key, live or deleted, and the access of a user who reads by `scope` and
    /// writes by `own`.
    fn stored(
        &self,
        table: &Table,
        key: &Value,
        scope: &ReadScope,
        own: &ReadScope,
    ) -> Result<Option<StoredRow>, Fault>;

    /// When the author wrote this version of the row, if that is stored
    /// ([`put_written_at`](super::WriteRows::put_written_at)).
    fn written_at(&self, table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault>;
}

/// Devices, subscriptions, and verdicts.
pub trait ReadDevices {
    /// The user's rights to buckets besides the user's own and the public one, by name.
    fn grants(&self, user: &str) -> Result<Vec<Grant>, Fault>;

    /// The device.
    fn client(&self, user: &str, client_id: &str) -> Result<Option<Client>, Fault>;

    /// The devices by user and id, each compared by its bytes: those after `after`, at most `most`.
    fn clients(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault>;

    /// The number of the user's devices that were seen at this time or later.
    fn devices_since(&self, user: &str, since: &str) -> Result<i64, Fault>;

    /// The number of verdicts on mutations of a device from this position of its queue on, counted up
    /// to `most`.
    fn verdicts_from(&self, user: &str, client_id: &str, seq: i64, most: i64)
    -> Result<i64, Fault>;

    /// The content of a device that is staged, and how much of it.
    fn staged(&self, user: &str, client_id: &str) -> Result<Option<StagedSize>, Fault>;

    /// The bytes of the contents that the devices of a user have begun to stage.
    fn staged_by(&self, user: &str) -> Result<i64, Fault>;

    /// The bytes of a content, as far as they are staged; empty if there are none.
    fn staged_bytes(&self, user: &str, client_id: &str, content: &str) -> Result<Vec<u8>, Fault>;

    /// The verdict on the latest attempt of a mutation.
    fn verdict(&self, user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault>;
}
