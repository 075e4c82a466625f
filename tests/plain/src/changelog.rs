//! The write-ahead log, its consumer, and the changelog that pulls read.
//!
//! The consumer processes events in order and tracks the buckets of each row. An event whose rule
//! fails is dropped permanently. While the consumer lags, pulls do not contain the latest commits,
//! but snapshots do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::access;
use crate::database::{Database, Event, Row, What, instant};
use crate::table::Table;

/// The operation of a changelog entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The row entered the bucket.
    Create,
    /// The row changed within the bucket.
    Update,
    /// The row left the bucket or was deleted.
    Delete,
}

/// A changelog entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub seq: i64,
    /// The bucket that receives it.
    pub bucket: String,
    /// The row's table.
    pub table: String,
    /// The row's key.
    pub id: String,
    /// The operation.
    pub operation: Operation,
}

/// Result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Clients deactivated because they were inactive for too long.
    pub deactivated: usize,
    /// The position that every active client has reached.
    pub safe_seq: i64,
    /// Number of removed entries.
    pub deleted: usize,
}

/// The write-ahead log and the state of its consumer.
#[derive(Debug, Default)]
pub(crate) struct Changelog {
    pub(crate) waiting: VecDeque<Event>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lagging: bool,
    pub(crate) failures: Vec<String>,
    /// The rows of entries, by position, if pulls return rows as they were logged.
    pub(crate) rows: Option<BTreeMap<i64, Row>>,
    edges: BTreeMap<(String, String), BTreeSet<String>>,
    last: i64,
}

impl Changelog {
    /// Consumes at most `most` of the oldest events.
    pub(crate) fn consume(&mut self, tables: &[Table], database: &Database, most: usize) {
        for _ in 0..most {
            let Some(event) = self.waiting.pop_front() else { return };
            self.apply(tables, database, &event);
        }
    }

    fn apply(&mut self, tables: &[Table], database: &Database, event: &Event) {
        let Some(table) = tables.iter().find(|table| table.name == event.table) else { return };
        let operation = match event.what {
            What::Insert => Operation::Create,
            What::Update if instant(table, &event.row, "deleted_at").is_none() => Operation::Update,
            What::Update | What::Remove => Operation::Delete,
        };
        let key = (event.table.clone(), event.id.clone());
        let held = self.edges.get(&key).cloned().unwrap_or_default();
        if operation == Operation::Delete && !held.is_empty() {
            self.edges.remove(&key);
            for bucket in held {
                self.enter(event, bucket, Operation::Delete);
            }
            return;
        }
        let wanted = match access::bucket(tables, database, table, &event.row) {
            Ok(bucket) => bucket,
            Err(reason) => {
                self.failures.push(format!("{} {}: {reason}", event.table, event.id));
                return;
            }
        };
        if operation == Operation::Delete {
            if let Some(bucket) = wanted {
                self.enter(event, bucket, Operation::Delete);
            }
            return;
        }
        if let Some(bucket) = &wanted {
            let inside = held.contains(bucket);
            let logged = if inside { Operation::Update } else { Operation::Create };
            self.enter(event, bucket.clone(), logged);
        }
        for bucket in held.iter().filter(|bucket| Some(*bucket) != wanted.as_ref()) {
            self.enter(event, bucket.clone(), Operation::Delete);
        }
        self.edges.insert(key, wanted.into_iter().collect());
    }

    fn enter(&mut self, event: &Event, bucket: String, operation: Operation) {
        self.last += 1;
        let (table, id) = (event.table.clone(), event.id.clone());
        if let Some(rows) = &mut self.rows {
            rows.insert(self.last, event.row.clone());
        }
        self.entries.push(Entry { seq: self.last, bucket, table, id, operation });
    }

    /// The lowest remaining position; 0 for an empty log, which the retention check takes for
    /// "nothing is lost".
    pub(crate) fn least(&self) -> i64 {
        self.entries.first().map_or(0, |entry| entry.seq)
    }

    /// The highest position; 0 for an empty log, which a snapshot's cursor takes for "no position
    /// yet".
    pub(crate) fn greatest(&self) -> i64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }

    /// Removes entries up to a position; returns how many.
    pub(crate) fn forget(&mut self, up_to: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.seq > up_to);
        before - self.entries.len()
    }

    /// A page of entries after a position for a client with these buckets, and whether there are
    /// more.
    pub(crate) fn page(
        &self,
        buckets: &[String],
        tables: &[String],
        after: i64,
        limit: usize,
    ) -> (Vec<&Entry>, bool) {
        let mut page: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.seq > after && buckets.contains(&entry.bucket))
            .filter(|entry| tables.is_empty() || tables.contains(&entry.table))
            .take(limit + 1)
            .collect();
        let more = page.len() > limit;
        page.truncate(limit);
        (page, more)
    }
}
