//! What a test does to the server besides asking it: failures, records that the database refuses, the consumer's lag,
//! compaction, and what an operator does to clients.

use std::fmt;

use serde_json::Value;

use crate::changelog::Compaction;
use crate::clients::Client;
use crate::database::{Event, What, json};
use crate::request::{Change, Data};
use crate::server::PlainServer;

/// What happens to the next POST, instead of or after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500; nothing is done.
    FailsBeforeCommit,
    /// The work is done, then 500.
    FailsAfterCommit,
    /// The database is gone for a moment: 503 with `Retry-After`; nothing is done.
    Transient,
    /// The process dies before the work: nobody answers.
    HangsUpBefore,
    /// The process dies after the work: nobody answers.
    HangsUpAfter,
}

/// Why every request fails until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The connections are closed: 503 with `Retry-After` for POST, 500 for GET.
    Closed,
    /// The database refuses connections: 500.
    Refusing,
    /// The app sends everybody away: 429, with these seconds.
    TooMany(u32),
    /// The app is in maintenance: 503, with these seconds.
    Maintenance(u32),
}

type Predicate = Box<dyn Fn(&str, &str, &Value) -> bool + Send>;

/// Records that the database refuses.
pub(crate) struct Poison(Predicate);

impl Poison {
    pub(crate) fn hits(&self, change: &Change) -> bool {
        let data = match &change.data {
            Data::Values(values) => Value::Object(values.clone()),
            Data::Null | Data::Invalid => Value::Null,
        };
        (self.0)(&change.table, &change.id, &data)
    }
}

impl fmt::Debug for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poison")
    }
}

/// A row that a committed transaction wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its table.
    pub table: String,
    /// Its key.
    pub id: String,
    /// The row as it became, as JSON; `None` if it was deleted for good.
    pub row: Option<Value>,
}

impl PlainServer {
    /// Every row that is written from now on is kept for [`PlainServer::take_written`].
    pub fn watch(&mut self) {
        self.written.get_or_insert_default();
    }

    /// What was written since this was asked last, in its order; nothing unless it is watched.
    pub fn take_written(&mut self) -> Vec<Written> {
        self.written.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes what a transaction wrote.
    pub(crate) fn note_written(&mut self, events: &[Event]) {
        let Some(written) = &mut self.written else { return };
        for event in events {
            let table = self.config.tables.iter().find(|table| table.name == event.table);
            let is_there = !matches!(event.what, What::Remove);
            let row = table.filter(|_| is_there).map(|table| json(table, &event.row, None));
            let row = row.and_then(|text| serde_json::from_str(&text).ok());
            written.push(Written { table: event.table.clone(), id: event.id.clone(), row });
        }
    }

    /// The next POST that is not yet spoken for meets this.
    pub fn fail_next(&mut self, fault: Fault) -> &mut Self {
        self.faults.push_back(fault);
        self
    }

    /// Everything fails from now on, or works again.
    pub fn outage(&mut self, outage: Option<Outage>) {
        self.outage = outage;
    }

    /// The database refuses every push of this row.
    pub fn poison(&mut self, table: &str, id: &str) {
        let (table, id) = (table.to_owned(), id.to_owned());
        self.poison_when(move |of, key, _| of == table && key == id);
    }

    /// The database refuses every record that this says yes to: table, key, data (null for none).
    pub fn poison_when(&mut self, when: impl Fn(&str, &str, &Value) -> bool + Send + 'static) {
        self.poison.push(Poison(Box::new(when)));
    }

    /// The database refuses no more than by its own rules.
    pub fn heal(&mut self) {
        self.poison.clear();
    }

    /// The next pull that would be answered is told to take a snapshot.
    pub fn require_snapshot(&mut self) {
        self.snapshot_next = true;
    }

    /// Whether the consumer waits to be told ([`PlainServer::consume`]); without, it is never behind.
    pub fn lag(&mut self, lagging: bool) {
        self.log.lagging = lagging;
        if !lagging {
            self.consume(usize::MAX);
        }
    }

    /// The consumer takes this many events of the write-ahead log.
    pub fn consume(&mut self, events: usize) {
        self.log.consume(&self.config.tables, &self.database, events);
    }

    /// Events that the consumer has not taken.
    pub fn behind(&self) -> usize {
        self.log.waiting.len()
    }

    /// Events whose bucket could not be told; they are lost.
    pub fn rule_failures(&self) -> &[String] {
        &self.log.failures
    }

    /// Compaction as the server does it: quiet clients are deactivated, and what the others have reached is forgotten.
    pub fn compact(&mut self) -> Compaction {
        let quiet_since = self.clock.now() - self.config.stale_after;
        self.clients.compact(&mut self.log, quiet_since)
    }

    /// Forgets entries up to a place whatever clients have reached; how many.
    pub fn compact_to(&mut self, seq: i64) -> usize {
        self.log.forget(seq)
    }

    /// TRUNCATE on a table: the rows are gone, and the log hears nothing of it.
    pub fn truncate(&mut self, table: &str) {
        self.database.rows.remove(table);
    }

    /// What is known of a client, to be read or changed as an operator does.
    pub fn client(&mut self, user: &str, client: &str) -> Option<&mut Client> {
        self.clients.get(&user.to_lowercase(), client)
    }

    /// Compaction waits for this client no more.
    pub fn deactivate(&mut self, user: &str, client: &str) {
        if let Some(client) = self.client(user, client) {
            client.active = false;
        }
    }

    /// A client is not registered any more: 500 at its next pull and push, 404 at its next snapshot.
    pub fn forget_client(&mut self, user: &str, client: &str) {
        self.clients.0.remove(&(user.to_lowercase(), client.to_owned()));
    }
}
