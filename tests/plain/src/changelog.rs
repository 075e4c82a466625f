//! The write-ahead log, its consumer, and the changelog that pulls read.
//!
//! The consumer takes one event after the other and keeps which buckets each row is in. An event whose rule fails is
//! dropped for good. While it lags, what was committed is in no pull yet, though a snapshot has the rows already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::access;
use crate::database::{Database, Event, What, instant};
use crate::table::Table;

/// What an entry of the changelog says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The row came into the bucket.
    Create,
    /// It changed in it.
    Update,
    /// It left the bucket, or is deleted.
    Delete,
}

/// An entry of the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: i64,
    /// The bucket that hears of it.
    pub bucket: String,
    /// The row's table.
    pub table: String,
    /// The row's key.
    pub id: String,
    /// What happened.
    pub operation: Operation,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Clients that were quiet for too long and count no more.
    pub deactivated: usize,
    /// The place that every client that counts has reached.
    pub safe_seq: i64,
    /// Entries that are gone.
    pub deleted: usize,
}

/// The log and what its consumer has made of it.
#[derive(Debug, Default)]
pub(crate) struct Changelog {
    pub(crate) waiting: VecDeque<Event>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lagging: bool,
    pub(crate) failures: Vec<String>,
    edges: BTreeMap<(String, String), BTreeSet<String>>,
    last: i64,
}

impl Changelog {
    /// The consumer takes the oldest events, this many at most.
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
            let told = if inside { Operation::Update } else { Operation::Create };
            self.enter(event, bucket.clone(), told);
        }
        for bucket in held.iter().filter(|bucket| Some(*bucket) != wanted.as_ref()) {
            self.enter(event, bucket.clone(), Operation::Delete);
        }
        self.edges.insert(key, wanted.into_iter().collect());
    }

    fn enter(&mut self, event: &Event, bucket: String, operation: Operation) {
        self.last += 1;
        let (table, id) = (event.table.clone(), event.id.clone());
        self.entries.push(Entry { seq: self.last, bucket, table, id, operation });
    }

    /// The least place that is left; 0 for an empty log, which the retention test then takes for "nothing is lost".
    pub(crate) fn least(&self) -> i64 {
        self.entries.first().map_or(0, |entry| entry.seq)
    }

    /// The greatest place; 0 for an empty log, which a snapshot's cursor then takes for "no place yet".
    pub(crate) fn greatest(&self) -> i64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }

    /// Forgets entries up to a place; how many.
    pub(crate) fn forget(&mut self, up_to: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.seq > up_to);
        before - self.entries.len()
    }

    /// What a client that holds these buckets is told after a place: entries of a page, and whether there are more.
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
