//! Snapshots: the live rows table by table, each page read at its own time. Only row-level security
//! restricts them.
//!
//! The first page reads the log position, which the cursor contains from then on. Position 0 means
//! "none yet": with an empty log every page reads it again.

use crate::answer::{Cursor, Snapshotted, Version};
use crate::database::instant;
use crate::pull;
use crate::request::{Invalid, Members};
use crate::server::PlainServer;

/// The parameters of a snapshot page.
pub(crate) struct Snapshot {
    pub(crate) client: String,
    pub(crate) table: i64,
    after: String,
    checkpoint: i64,
    limit: usize,
}

impl Snapshot {
    pub(crate) fn read(members: Members<'_>) -> Result<Self, Invalid> {
        let mut snapshot = Self {
            client: members.text("client_id")?,
            table: 0,
            after: String::new(),
            checkpoint: 0,
            limit: pull::limit(members)?,
        };
        if let Some(cursor) = members.object("cursor")? {
            snapshot.checkpoint = cursor.integer("checkpoint")?;
            snapshot.table = cursor.integer("table_idx")?;
            snapshot.after = cursor.text("after_id")?;
        }
        Ok(snapshot)
    }
}

impl PlainServer {
    /// Handles a page; `None` if the client is unknown. The caller has checked the table index.
    pub(crate) fn snapshot(
        &mut self,
        user: &str,
        ask: &Snapshot,
        schema: Version,
    ) -> Option<Snapshotted> {
        self.clients.get(user, &ask.client)?;
        let checkpoint = if ask.checkpoint == 0 { self.log.greatest() } else { ask.checkpoint };
        let mut place = usize::try_from(ask.table).unwrap_or(usize::MAX);
        let mut after = ask.after.clone();
        let mut records = Vec::new();
        while let Some(table) = self.config.tables.get(place).filter(|_| records.len() < ask.limit)
        {
            let live = self.database.of(&table.name).filter(|(id, row)| {
                **id > after
                    && instant(table, row, "deleted_at").is_none()
                    && self.sees(user, table, row)
            });
            let wanted = ask.limit - records.len();
            let page: Vec<_> = live.take(wanted).map(|(_, row)| pull::synced(table, row)).collect();
            let full = page.len() == wanted;
            after = page.last().filter(|_| full).map(|last| last.id.clone()).unwrap_or_default();
            place += usize::from(!full);
            records.extend(page);
        }
        let has_more = place < self.config.tables.len();
        let table_idx = i64::try_from(place).unwrap_or(i64::MAX);
        let cursor = has_more.then_some(Cursor { checkpoint, table_idx, after_id: after });
        if !has_more {
            let now = self.clock.read();
            if let Some(client) = self.clients.get(user, &ask.client) {
                client.advance(checkpoint, now);
                client.active = true;
            }
        }
        Some(Snapshotted { records, cursor, checkpoint, has_more, schema })
    }
}
