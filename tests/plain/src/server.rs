//! The server: configuration, state, and access to its tables by SQL.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::answer::Version;
use crate::cell::Cell;
use crate::changelog::{Changelog, Entry};
use crate::clients::Clients;
use crate::clock::{Clock, Ids};
use crate::control::{Fault, Outage, Poison, Written};
use crate::database::{Database, Refusal, Transaction, Writer, instant, json};
use crate::schema::{self, Unsupported};
use crate::table::Table;

/// How a request identifies its user.
#[derive(Debug, Clone)]
pub enum Identity {
    /// By `X-User-ID`, without verification.
    Header,
    /// By `Authorization: Bearer`: valid tokens with the user in their claim, if the claim exists.
    Bearer(BTreeMap<String, Option<String>>),
}

/// Server configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The tables in registration order, parents before children.
    pub tables: Vec<Table>,
    /// Whether the policies are installed and bind the server's role. Without them, snapshots
    /// contain every row, and every user may write every row.
    pub row_level_security: bool,
    /// The tolerance added to a client's clock, in microseconds.
    pub skew_micros: i64,
    /// The minimum app version.
    pub minimum_version: Option<String>,
    /// How requests identify their user.
    pub identity: Identity,
    /// `Retry-After` while the database is unavailable, in seconds.
    pub retry_after: u32,
    /// How long a client may be inactive before compaction ignores it, in microseconds.
    pub stale_after: i64,
    /// Clients that the app's hook rejects once they have synced.
    pub stale_clients: BTreeSet<String>,
    /// Whether the app's hook rejects every push with an accepted record.
    pub veto: bool,
}

impl Config {
    /// A server like `synchrod` with these tables: no policies, tolerance or minimum version.
    pub fn new(tables: Vec<Table>) -> Self {
        Self {
            tables,
            row_level_security: false,
            skew_micros: 0,
            minimum_version: None,
            identity: Identity::Header,
            retry_after: 5,
            stale_after: 7 * 24 * 3600 * 1_000_000,
            stale_clients: BTreeSet::new(),
            veto: false,
        }
    }
}

/// A simulated v0.1.2 server.
#[derive(Debug)]
pub struct PlainServer {
    /// Its configuration. Tables are changed by [`PlainServer::alter`], other values at any time.
    pub config: Config,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) database: Database,
    pub(crate) log: Changelog,
    pub(crate) clients: Clients,
    hashes: Vec<String>,
    current: Option<Version>,
    pub(crate) faults: std::collections::VecDeque<Fault>,
    pub(crate) outage: Option<Outage>,
    pub(crate) poison: Vec<Poison>,
    pub(crate) snapshot_next: bool,
    pub(crate) written: Option<Vec<Written>>,
}

impl PlainServer {
    /// A server without rows.
    pub fn new(config: Config, clock: Clock) -> Self {
        Self {
            config,
            clock,
            ids: Ids::default(),
            database: Database::default(),
            log: Changelog::default(),
            clients: Clients::default(),
            hashes: Vec::new(),
            current: None,
            faults: std::collections::VecDeque::new(),
            outage: None,
            poison: Vec::new(),
            snapshot_next: false,
            written: None,
        }
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Scripts the next ids of clients and rows.
    pub fn script_ids<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        self.ids.script.extend(ids.into_iter().map(str::to_owned));
    }

    /// The schema version: the one stored for its hash, or the next one.
    pub(crate) fn version(&mut self) -> Result<Version, Unsupported> {
        if let Some(current) = &self.current {
            return Ok(current.clone());
        }
        let hash = schema::hash(&schema::schema(&self.config.tables)?);
        let known = self.hashes.iter().position(|known| *known == hash);
        let place = known.unwrap_or(self.hashes.len());
        if known.is_none() {
            self.hashes.push(hash.clone());
        }
        let schema_version = i64::try_from(place).unwrap_or(i64::MAX - 1) + 1;
        let version = Version { schema_version, schema_hash: hash };
        self.current = Some(version.clone());
        Ok(version)
    }

    /// Changes the tables like a deployment; existing rows get the default of a new column.
    pub fn alter(&mut self, change: impl FnOnce(&mut Vec<Table>)) {
        self.current = None;
        let before = self.config.tables.clone();
        change(&mut self.config.tables);
        for table in &self.config.tables {
            let old = before.iter().find(|old| old.name == table.name);
            let Some(rows) = self.database.rows.get_mut(&table.name) else { continue };
            for row in rows.values_mut() {
                let cells = table.columns.iter().map(|column| {
                    let kept = old.and_then(|old| row.get(old.position(&column.name)?));
                    let default = column.default_sql.as_deref().filter(|sql| !sql.ends_with(')'));
                    let text = default
                        .map(|sql| sql.split("::").next().unwrap_or_default().trim_matches('\''));
                    let filled = || Cell::from_text(&column.kind, text?).ok();
                    kept.cloned().or_else(filled).unwrap_or(Cell::Null)
                });
                *row = cells.collect();
            }
        }
    }

    /// Executes several SQL writes in one transaction, all or none. Numbers keep all digits. The
    /// app's trigger and the consumer work as for a push.
    ///
    /// # Errors
    /// The error of the first rejected statement.
    pub fn outside(
        &mut self,
        work: impl FnOnce(&mut Outside<'_, '_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut transaction = Transaction {
            tables: &self.config.tables,
            database: self.database.clone(),
            events: Vec::new(),
            now: self.clock.read(),
            aborted: false,
            clock: &self.clock,
            ids: &mut self.ids,
            writer: Writer::Outside,
        };
        work(&mut Outside(&mut transaction))?;
        let (database, events) = (transaction.database, transaction.events);
        self.commit(database, events);
        Ok(())
    }

    /// Inserts a row by SQL.
    ///
    /// # Errors
    /// The database rejects the row.
    pub fn insert(&mut self, table: &str, values: &Value) -> Result<(), Refusal> {
        self.outside(|sql| sql.insert(table, values))
    }

    /// Updates a row by SQL.
    ///
    /// # Errors
    /// The database rejects the row; [`Refusal::NoRow`] if it does not exist.
    pub fn update(&mut self, table: &str, id: &str, values: &Value) -> Result<(), Refusal> {
        self.outside(|sql| sql.update(table, id, values))
    }

    /// Hard-deletes a row.
    ///
    /// # Errors
    /// The database rejects the delete; [`Refusal::NoRow`] if the row does not exist.
    pub fn remove(&mut self, table: &str, id: &str) -> Result<(), Refusal> {
        self.outside(|sql| sql.remove(table, id))
    }

    /// A row as JSON, including soft-deleted rows.
    pub fn row(&self, table: &str, id: &str) -> Option<Value> {
        let table = self.config.tables.iter().find(|known| known.name == table)?;
        serde_json::from_str(&json(table, self.database.get(&table.name, id)?, None)).ok()
    }

    /// The rows of a table that are not soft-deleted, by key, as JSON.
    pub fn live(&self, table: &str) -> BTreeMap<String, Value> {
        let Some(table) = self.config.tables.iter().find(|known| known.name == table) else {
            return BTreeMap::new();
        };
        let rows = self.database.of(&table.name);
        let live = rows.filter(|(_, row)| instant(table, row, "deleted_at").is_none());
        live.filter_map(|(id, row)| {
            Some((id.clone(), serde_json::from_str(&json(table, row, None)).ok()?))
        })
        .collect()
    }

    /// The changelog.
    pub fn entries(&self) -> &[Entry] {
        &self.log.entries
    }
}

/// SQL writes in a transaction.
#[derive(Debug)]
pub struct Outside<'a, 'b>(&'a mut Transaction<'b>);

impl Outside<'_, '_> {
    /// Inserts a row.
    ///
    /// # Errors
    /// The database rejects the row.
    pub fn insert(&mut self, table: &str, values: &Value) -> Result<(), Refusal> {
        let table = self.table(table)?;
        self.0.insert(table, &object(values)?).map(drop)
    }

    /// Updates a row.
    ///
    /// # Errors
    /// The database rejects the row; [`Refusal::NoRow`] if it does not exist.
    pub fn update(&mut self, table: &str, id: &str, values: &Value) -> Result<(), Refusal> {
        let table = self.table(table)?;
        self.0.update(table, id, &object(values)?).map(drop)
    }

    /// Hard-deletes a row.
    ///
    /// # Errors
    /// The database rejects the delete; [`Refusal::NoRow`] if the row does not exist.
    pub fn remove(&mut self, table: &str, id: &str) -> Result<(), Refusal> {
        let table = self.table(table)?;
        self.0.remove(table, id)
    }

    fn table<'t>(&self, name: &str) -> Result<&'t Table, Refusal>
    where
        Self: 't,
    {
        let found = self.0.tables.iter().find(|table| table.name == name);
        found.ok_or_else(|| Refusal::sql(&format!("there is no table {name}")))
    }
}

fn object(values: &Value) -> Result<crate::database::Values, Refusal> {
    values.as_object().cloned().ok_or_else(|| Refusal::sql("values must be an object by column"))
}
