//! What the engine asks of a database: rows of the user's tables by access, the log, verdicts, devices.
//!
//! A store only finds and keeps; the engine decides ownership, verdicts, epochs, cursors and pages. Reads see one snapshot,
//! and writes one exclusive transaction. Each [`Store`] must pass the contract suite in `tests/it/contract.rs`.

use std::fmt::Debug;
use std::sync::Arc;

use rejoin_protocol::Value;

use crate::error::Fault;
use crate::hooks::HookSql;
use crate::model::{
    BucketFailure, Client, Connections, Entry, Feed, KeyLock, KnownClient, LogState,
    ManifestVersion, Page, PageLimit, ReadScope, Replayed, Row, Schema, StoredRow, StoredVerdict,
    Table, Touched, Violation,
};

pub use work::{read, write};

mod chosen;
mod describe;
pub mod postgres;
pub mod sqlite;
mod work;

/// A database with the user's tables and ours.
pub trait Store: Send + Sync + Debug {
    /// Runs `work` on one snapshot of the database.
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault>;

    /// Runs `work` in one exclusive transaction, committed if it ends well. `now` is canonical text; it stamps what the
    /// transaction writes, and its log entries belong together (D15).
    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault>;

    /// The last position of the log: it changes when anybody, any process, has committed a change to it. Cheap.
    fn pulse(&self) -> Result<i64, Fault>;

    /// How many changes are committed and have no position in the log yet, without giving them one; a store may stop counting
    /// at 100,000. `None` from one whose changes are committed with their positions, which need not ask.
    fn unnumbered(&self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    /// Commits a write that leaves nothing behind, unless another writer is at work. A store that cannot try takes writes.
    fn try_write(&self) -> Result<(), WriteProblem> {
        Ok(())
    }

    /// The connections that it holds; `None` where there is no such bound.
    fn connections(&self) -> Option<Connections> {
        None
    }

    /// How far the resolvers of buckets are behind, and whether anybody feeds them.
    fn feed(&self) -> Result<Feed, Fault> {
        Ok(Feed::NONE)
    }

    /// In which buckets the entries are behind `after` and up to `upto`, both pulses; `None` if that cannot be told of all of them.
    fn touched(&self, after: i64, upto: i64) -> Result<Option<Vec<Touched>>, Fault> {
        let _ = (after, upto);
        Ok(None)
    }

    /// Calls `notify` with the pulse when another process has changed it. A store that cannot does nothing: the pulse is read too.
    fn listen(&self, notify: Heard) {
        drop(notify);
    }

    /// The last position of the log and its tag, behind everything that was committed before this was asked (O14).
    fn end(&self) -> Result<(i64, i64), Fault> {
        let mut end = (0, 0);
        self.read(&mut |reading| {
            let head = reading.log_state()?.head;
            end = (head, reading.tag(head)?.unwrap_or_default());
            Ok(())
        })?;
        Ok(end)
    }
}

/// Is called with the image of each key; whether there is room for more.
pub type Images<'a> = &'a mut dyn FnMut(Option<Row>) -> bool;

/// Is called with a pulse; answers `false` when nobody wants to hear any more.
pub type Heard = Arc<dyn Fn(i64) -> bool + Send + Sync>;

/// What is about to be asked of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Ahead<'a> {
    /// For whom the transaction works, the user whose device and buckets are asked for.
    pub user: &'a str,
    /// His device.
    pub client_id: &'a str,
    /// The positions whose tags are asked for, beside the end of the log.
    pub positions: &'a [i64],
    /// The page of entries, by what [`Reading::entries`] takes.
    pub entries: Option<(i64, &'a [String], usize)>,
}

/// What a push is about to ask.
#[derive(Debug, Clone, Copy)]
pub struct Coming<'a> {
    /// Whose push it is.
    pub user: &'a str,
    /// Mutations whose verdicts are asked for.
    pub mutations: &'a [&'a str],
    /// Rows that are asked for in order to be written, or because one that is written refers to them.
    pub rows: &'a [(&'a Table, Value)],
    /// What the user reads by.
    pub scope: &'a ReadScope,
    /// What he writes by.
    pub own: &'a ReadScope,
}

/// What a snapshot of the database answers.
pub trait Reading {
    /// Says for whom the transaction works from here on, before any row is asked for. `former`: buckets that he held, whose rows
    /// he is told are gone. For a store that keeps users apart by itself, beside what the engine asks; the others need not know.
    fn act_for(&self, user: &str, former: &[String]) -> Result<(), Fault> {
        let _ = (user, former);
        Ok(())
    }
    /// Says what is asked next, so that a store across a network can ask all of it at once. It changes no answer: what is
    /// foreseen wrongly is asked again.
    fn expect(&self, ahead: &Ahead<'_>) -> Result<(), Fault> {
        let _ = ahead;
        Ok(())
    }
    /// The same of images that are asked for next, by tables.
    fn expect_images(
        &self,
        named: &[(&Table, &[Option<Value>])],
        scope: &ReadScope,
    ) -> Result<(), Fault> {
        let _ = (named, scope);
        Ok(())
    }
    /// The secret that signs cursors as the store saw it last, without asking: good for what is expected, and for nothing
    /// else. A store that has no use for that does not tell it.
    fn cursor_key(&self) -> Option<&str> {
        None
    }
    /// The schema of this snapshot.
    fn schema(&self) -> &Arc<Schema>;
    /// The log's identity and ends.
    fn log_state(&self) -> Result<LogState, Fault>;
    /// The random tag of a position; `None` if the log has no such entry (any more). Position 0 has a tag too.
    fn tag(&self, position: i64) -> Result<Option<i64>, Fault>;
    /// Buckets that the operator gave this user beside its own.
    fn granted(&self, user: &str) -> Result<Vec<String>, Fault>;
    /// Entries after `position` in any of `buckets`, in order: at most `limit`, then on to the end of the transaction
    /// of the last one.
    fn entries(&self, position: i64, buckets: &[String], limit: usize)
    -> Result<Vec<Entry>, Fault>;
    /// How many entries stand after `position` in any of `buckets`; a store may stop counting at 100,000.
    fn behind(&self, position: i64, buckets: &[String]) -> Result<i64, Fault>;
    /// Says that this will be asked behind the next images, so that a store across a network can ask it with them. Like
    /// [`expect`](Self::expect) it changes no answer.
    fn expect_behind(&self, position: i64, buckets: &[String]) {
        let _ = (position, buckets);
    }
    /// Whether the log knows this row in any of `buckets`: the user could see it once.
    fn was_seen(&self, table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault>;
    /// The row of this key, if it is live and seen.
    fn image(&self, table: &Table, key: &Value, scope: &ReadScope) -> Result<Option<Row>, Fault>;
    /// The same for many keys of one table, handed to `each` in their order, while more of them may be on their way, until it
    /// says that it is enough; a key that is no key names no row.
    fn images(
        &self,
        table: &Table,
        keys: &[Option<Value>],
        scope: &ReadScope,
        each: Images<'_>,
    ) -> Result<(), Fault>;
    /// Live rows that are seen, in key order, after a key, as many as there is room for.
    fn page(
        &self,
        table: &Table,
        after: Option<&Value>,
        room: PageLimit,
        scope: &ReadScope,
    ) -> Result<Page, Fault>;
    /// How many live rows are seen.
    fn count(&self, table: &Table, scope: &ReadScope) -> Result<i64, Fault>;
    /// Hands every live row that is seen to `each`.
    fn each(
        &self,
        table: &Table,
        scope: &ReadScope,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), Fault>;
    /// The row of this key, live or deleted, with what a user may do who reads by `scope` and writes by `own`.
    fn stored(
        &self,
        table: &Table,
        key: &Value,
        scope: &ReadScope,
        own: &ReadScope,
    ) -> Result<Option<StoredRow>, Fault>;
    /// When the row of this version was written by its author, if that was told ([`Writing::put_written_at`]).
    fn written_at(&self, table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault>;
    /// The device.
    fn client(&self, user: &str, client_id: &str) -> Result<Option<Client>, Fault>;
    /// The verdict on the latest attempt of a mutation.
    fn verdict(&self, user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault>;
    /// Asks a query of the operator's (O8): whether the first cell of its first row is a number other than 0. `values` are by
    /// the names of its parameters. Within [`Store::write`] the tables that it reads cannot change until the transaction ends.
    fn holds(&self, sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault>;
    /// The parameters that such a query names; else why it cannot be asked: it is no query, more than one, or writes.
    fn parameters_of(&self, sql: &str) -> Result<Vec<String>, String>;
    /// The rows of which a function could not say in which buckets they are; none where there is no such function.
    fn bucket_failures(&self) -> Result<Vec<BucketFailure>, Fault> {
        Ok(Vec::new())
    }
    /// The manifest of an older version, as JSON.
    fn manifest(&self, version: i64, hash: Option<&str>) -> Result<Option<String>, Fault>;
    /// The schemas that were ever served, the newest first: at most `most`.
    fn manifests(&self, most: usize) -> Result<Vec<ManifestVersion>, Fault>;
    /// The devices by user and id, each compared by its bytes: those behind `after`, at most `most`.
    fn clients(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault>;
    /// How many devices of this user were seen at this time or later.
    fn devices_since(&self, user: &str, since: &str) -> Result<i64, Fault>;
    /// When the first schema was served that came after this version; `None` if there is none.
    fn schema_followed_at(&self, version: i64) -> Result<Option<String>, Fault>;
}

/// Why a store takes no writes.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// The disk is full, or the quota of the database.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The file or the database is read-only, for example a standby.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Any other failure.
    #[error(transparent)]
    Other(#[from] Fault),
}

/// Why a row was not written.
#[derive(Debug)]
pub enum WriteError {
    /// A rule of the table; the content is at fault.
    Rule(Violation),
    /// The moment is at fault, or the server.
    Fault(Fault),
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What an exclusive transaction can do.
pub trait Writing: Reading + HookSql {
    /// Says what a push asks next, so that a store across a network can ask all of it at once. Like [`Reading::expect`] it
    /// changes no answer.
    fn foresee(&self, coming: &Coming<'_>) -> Result<(), Fault> {
        let _ = coming;
        Ok(())
    }
    /// Reserves these keys until the transaction ends; waits for another transaction that has reserved one of them, unless both
    /// only read it. Rows that are not there cannot be locked themselves. A store whose writers run one after another ignores it.
    fn lock_keys(&self, keys: &[KeyLock]) -> Result<(), Fault> {
        let _ = keys;
        Ok(())
    }
    /// Runs `work`, which judges groups each in a savepoint of its own, and need not tell it how its writes ended: a store may
    /// try them together. `None`: all of it stands. Else all of it is taken back, because the group failed in whose savepoint,
    /// counted from 0, something was not as `work` was told; without company that one is told what is wrong with it. To find out
    /// which group that is a store may run `work` again from its beginning.
    fn together(
        &self,
        work: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Option<usize>, Fault> {
        work().map(|()| None)
    }
    /// Begins a savepoint; they nest.
    fn begin(&self) -> Result<(), Fault>;
    /// Keeps what the savepoint did.
    fn keep(&self) -> Result<(), Fault>;
    /// Takes back what the savepoint did.
    fn undo(&self) -> Result<(), Fault>;
    /// Inserts a row of these cells.
    fn insert(&self, table: &Table, cells: &[(usize, Value)]) -> Result<(), WriteError>;
    /// Sets these cells.
    fn update(
        &self,
        table: &Table,
        key: &Value,
        cells: &[(usize, Value)],
    ) -> Result<(), WriteError>;
    /// Removes the row.
    fn remove(&self, table: &Table, key: &Value) -> Result<(), WriteError>;
    /// Keeps when the row of this version was written by its author, in microseconds since 1970; instead of what was kept of
    /// an earlier version of it.
    fn put_written_at(&self, table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault>;
    /// Keeps a verdict, instead of the one on an earlier attempt.
    fn put_verdict(&self, user: &str, mutation: &str, verdict: &StoredVerdict)
    -> Result<(), Fault>;
    /// Keeps a device.
    fn put_client(&self, user: &str, client_id: &str, client: &Client) -> Result<(), Fault>;
    /// Gives a user a bucket to read; whether he did not have it. Whoever listens is woken, however it came.
    fn subscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault>;
    /// Takes it back; whether he had it.
    fn unsubscribe(&self, user: &str, bucket: &str) -> Result<bool, Fault>;
    /// Asks the functions again for the rows of [`Reading::bucket_failures`].
    fn replay_buckets(&self) -> Result<Replayed, Fault> {
        Ok(Replayed::default())
    }
    /// Begins a new epoch and returns it; every cursor is worth nothing afterwards.
    fn new_epoch(&self) -> Result<String, Fault>;
    /// Whether nobody else compacts until this transaction ends. A store whose writers come one after another need not ask.
    fn compacts_alone(&self) -> Result<bool, Fault> {
        Ok(true)
    }
    /// Puts the watermark there, and forgets entries below it, at most `most`; the entry at it is kept for its tag. Returns how
    /// many went.
    fn forget_entries(&self, watermark: i64, most: usize) -> Result<usize, Fault>;
    /// Forgets when rows were written by their authors, where that version of the row is older than `before`. At most
    /// `most`; returns how many were removed.
    fn forget_written(&self, before: &str, most: usize) -> Result<usize, Fault>;
    /// The lowest position of the devices that were seen since; `None` if there is none.
    fn lowest_position(&self, seen_since: &str) -> Result<Option<i64>, Fault>;
    /// Forgets verdicts that reached devices which were not seen since, at most `most`; returns how many went.
    fn forget_verdicts(&self, seen_since: &str, most: usize) -> Result<usize, Fault>;
}
