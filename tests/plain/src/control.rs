//! Control of the server by tests: failures, rejected records, consumer lag, compaction, and
//! operator actions on clients.

use std::fmt;

use serde_json::Value;

use crate::changelog::Compaction;
use crate::clients::Client;
use crate::database::{Event, What, json};
use crate::request::{Change, Data};
use crate::server::PlainServer;

/// A fault of the next POST, instead of its execution or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500, without executing the request.
    FailsBeforeCommit,
    /// 500, after executing the request.
    FailsAfterCommit,
    /// The database is briefly unavailable: 503 with `Retry-After`, without executing the request.
    Transient,
    /// The process crashes before executing the request: no response.
    HangsUpBefore,
    /// The process crashes after executing the request: no response.
    HangsUpAfter,
}

/// An outage: every request fails until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Connections are closed: 503 with `Retry-After` for POST, 500 for GET.
    Closed,
    /// The database refuses connections: 500.
    Refusing,
    /// The app rejects every request: 429 with this `Retry-After` in seconds.
    TooMany(u32),
    /// The app is in maintenance: 503 with this `Retry-After` in seconds.
    Maintenance(u32),
}

type Predicate = Box<dyn Fn(&str, &str, &Value) -> bool + Send>;

/// Records that the database rejects.
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

/// A row written by a committed transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its table.
    pub table: String,
    /// Its key.
    pub id: String,
    /// The new row as JSON; `None` if it was hard-deleted.
    pub row: Option<Value>,
}

impl PlainServer {
    /// Starts recording written rows for [`PlainServer::take_written`].
    pub fn watch(&mut self) {
        self.written.get_or_insert_default();
    }

    /// The rows written since the last call, in order; empty unless recording was started.
    pub fn take_written(&mut self) -> Vec<Written> {
        self.written.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Records the writes of a transaction.
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

    /// Queues a fault for the next POST without one.
    pub fn fail_next(&mut self, fault: Fault) -> &mut Self {
        self.faults.push_back(fault);
        self
    }

    /// Starts or ends an outage.
    pub fn outage(&mut self, outage: Option<Outage>) {
        self.outage = outage;
    }

    /// Makes the database reject every push of this row.
    pub fn poison(&mut self, table: &str, id: &str) {
        let (table, id) = (table.to_owned(), id.to_owned());
        self.poison_when(move |of, key, _| of == table && key == id);
    }

    /// Makes the database reject every record for which this returns true: table, key, data (null
    /// for none).
    pub fn poison_when(&mut self, when: impl Fn(&str, &str, &Value) -> bool + Send + 'static) {
        self.poison.push(Poison(Box::new(when)));
    }

    /// Removes all artificial rejections and the queued faults.
    pub fn heal(&mut self) {
        self.poison.clear();
        self.faults.clear();
    }

    /// Makes the next successful pull require a snapshot.
    pub fn require_snapshot(&mut self) {
        self.snapshot_next = true;
    }

    /// Whether the consumer runs only on [`PlainServer::consume`]; otherwise it never lags.
    pub fn lag(&mut self, lagging: bool) {
        self.log.lagging = lagging;
        if !lagging {
            self.consume(usize::MAX);
        }
    }

    /// From now on a pull returns a row as it was logged, as servers do whose log contains rows.
    pub fn log_rows(&mut self) {
        self.log.rows.get_or_insert_default();
    }

    /// Consumes this many events of the write-ahead log.
    pub fn consume(&mut self, events: usize) {
        self.log.consume(&self.config.tables, &self.database, events);
    }

    /// Number of events that were not consumed.
    pub fn behind(&self) -> usize {
        self.log.waiting.len()
    }

    /// Events lost because their bucket could not be determined.
    pub fn rule_failures(&self) -> &[String] {
        &self.log.failures
    }

    /// Compacts like the real server: deactivates inactive clients and removes what all others have
    /// reached.
    pub fn compact(&mut self) -> Compaction {
        let quiet_since = self.clock.now() - self.config.stale_after;
        self.clients.compact(&mut self.log, quiet_since)
    }

    /// Removes entries up to a position regardless of clients; returns how many.
    pub fn compact_to(&mut self, seq: i64) -> usize {
        self.log.forget(seq)
    }

    /// TRUNCATE of a table: removes its rows without logging.
    pub fn truncate(&mut self, table: &str) {
        self.database.rows.remove(table);
    }

    /// A client's state, to read or to change like an operator.
    pub fn client(&mut self, user: &str, client: &str) -> Option<&mut Client> {
        self.clients.get(&user.to_lowercase(), client)
    }

    /// Deactivates a client, so that compaction ignores it.
    pub fn deactivate(&mut self, user: &str, client: &str) {
        if let Some(client) = self.client(user, client) {
            client.active = false;
        }
    }

    /// Removes a client's registration: 500 at its next pull and push, 404 at its next snapshot.
    pub fn forget_client(&mut self, user: &str, client: &str) {
        self.clients.0.remove(&(user.to_lowercase(), client.to_owned()));
    }
}
