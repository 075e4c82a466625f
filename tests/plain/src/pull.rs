//! Pulls. The log says which rows changed, their content is read at pull time, and deletes come
//! from the log.

use std::collections::BTreeMap;

use crate::access;
use crate::answer::{BucketUpdates, Deleted, Pulled, Record, Version};
use crate::changelog::{Entry, Operation};
use crate::database::{Row, json};
use crate::push::record;
use crate::request::{Invalid, Members};
use crate::server::PlainServer;
use crate::table::Table;

/// The parameters of a pull.
pub(crate) struct Pull {
    pub(crate) client: String,
    checkpoint: i64,
    tables: Vec<String>,
    limit: usize,
    known_buckets: Vec<String>,
}

impl Pull {
    pub(crate) fn read(members: Members<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            client: members.text("client_id")?,
            checkpoint: members.integer("checkpoint")?,
            tables: members.texts("tables")?,
            limit: limit(members)?,
            known_buckets: members.texts("known_buckets")?,
        })
    }
}

/// The page size: 100 by default, 1000 at most.
pub(crate) fn limit(members: Members<'_>) -> Result<usize, Invalid> {
    let limit = members.integer("limit")?;
    Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(100).min(1000))
}

impl PlainServer {
    /// Handles a pull; `None` if the client is unknown or rejected as stale.
    pub(crate) fn pull(&mut self, user: &str, pull: &Pull, schema: Version) -> Option<Pulled> {
        let stale = self.config.stale_clients.contains(&pull.client);
        let client = self.clients.get(user, &pull.client)?.clone();
        if stale && client.last_sync.is_some() {
            return None;
        }
        let mut answer = Pulled {
            changes: Vec::new(),
            deletes: Vec::new(),
            checkpoint: pull.checkpoint,
            has_more: false,
            snapshot_required: false,
            snapshot_reason: None,
            bucket_updates: None,
            schema,
        };
        answer.snapshot_reason = self.must_rebuild(pull.checkpoint, client.last_pull.is_none());
        answer.snapshot_required = answer.snapshot_reason.is_some();
        if answer.snapshot_required {
            return Some(answer);
        }
        let (page, more) =
            self.log.page(&client.buckets, &pull.tables, pull.checkpoint, pull.limit);
        answer.has_more = more;
        answer.checkpoint = page.last().map_or(pull.checkpoint, |entry| entry.seq);
        // The last operation on a row replaces the earlier ones, at the position of the first.
        let mut last: Vec<&Entry> = Vec::new();
        let mut places = BTreeMap::new();
        for entry in page {
            let place = *places.entry((&entry.table, &entry.id)).or_insert(last.len());
            if place == last.len() {
                last.push(entry);
            } else {
                last[place] = entry;
            }
        }
        for entry in last {
            if entry.operation == Operation::Delete {
                let (id, table_name) = (entry.id.clone(), entry.table.clone());
                answer.deletes.push(Deleted { id, table_name });
            } else {
                answer.changes.extend(self.hydrate(user, entry));
            }
        }
        answer.changes.sort_by(|left, right| left.table_name.cmp(&right.table_name));
        answer.bucket_updates = bucket_updates(&pull.known_buckets, &client.buckets);
        let now = self.clock.read();
        if let Some(client) = self.clients.get(user, &pull.client) {
            if answer.checkpoint > pull.checkpoint {
                client.advance(answer.checkpoint, now);
            }
            client.last_pull = Some(now);
            client.last_sync = Some(now);
        }
        Some(answer)
    }

    /// Why the client must take a snapshot. The comparison is off by one, and an empty log or a
    /// checkpoint of 0 never requires a snapshot.
    fn must_rebuild(&mut self, checkpoint: i64, never_pulled: bool) -> Option<&'static str> {
        let least = self.log.least();
        if checkpoint == 0 && never_pulled {
            return Some("initial_sync_required");
        }
        let behind = checkpoint > 0 && least > 0 && checkpoint < least;
        (std::mem::take(&mut self.snapshot_next) || behind).then_some("checkpoint_before_retention")
    }

    /// The current row, or the one that was logged; `None` if it is deleted or not visible to the
    /// user.
    fn hydrate(&self, user: &str, entry: &Entry) -> Option<Record> {
        let table = self.config.tables.iter().find(|known| known.name == entry.table)?;
        let logged = self.log.rows.as_ref().and_then(|rows| rows.get(&entry.seq));
        let row = logged.or_else(|| self.database.get(&table.name, &entry.id))?;
        self.sees(user, table, row).then(|| synced(table, row))
    }

    pub(crate) fn sees(&self, user: &str, table: &Table, row: &Row) -> bool {
        !self.config.row_level_security
            || access::may_read(&self.config.tables, &self.database, table, row, user)
    }
}

/// The row with its synced columns.
pub(crate) fn synced(table: &Table, row: &Row) -> Record {
    record(table, row, json(table, row, table.sync_columns.as_deref()))
}

fn bucket_updates(known: &[String], held: &[String]) -> Option<BucketUpdates> {
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|bucket| !those.contains(bucket)).cloned().collect()
    };
    let updates = BucketUpdates { added: without(held, known), removed: without(known, held) };
    let same = updates.added.is_empty() && updates.removed.is_empty();
    if known.is_empty() || same { None } else { Some(updates) }
}
