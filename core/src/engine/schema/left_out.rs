//! What a file lacks of the server's manifest, because this device cannot build it or the app uses a name
//! itself. The rest is synced.
//!
//! A table is left out whole with a column that cannot be built: its rows could not be read. Defaults,
//! indexes and rules are left out alone. The file stores the parts with their reasons, and the tables as
//! the server declared them.

use std::collections::{BTreeSet, HashSet};

use rejoin_protocol::admit::Part;
use rejoin_protocol::manifest::TableManifest;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::engine::meta::meta;
use crate::error::{Error, Result, StorageFault};

/// The key in `rejoin_meta`.
pub(crate) const LEFT_OUT: &str = "left_out";

/// A table of the server, or a part of one, that this device has left out of its schema; or a trigger of
/// the app that failed on rows of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutPart {
    /// The table.
    pub table: String,
    /// What of it: `table`, or `index NAME`, `CHECK NAME`, `trigger NAME` and the like.
    pub part: String,
    /// Why, and the remedy.
    pub reason: String,
}

/// Everything that is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) parts: Vec<LeftOutPart>,
    /// The parts among them whose names the app uses, as table and part.
    pub(crate) waiting: BTreeSet<(String, String)>,
    /// The tables concerned, as the server declared them.
    pub(crate) tables: Vec<TableManifest>,
    /// The release that has left them out: another one may be able to build them.
    pub(crate) release: String,
}

impl LeftOut {
    /// What the file has left out.
    pub(crate) fn load(conn: &Connection) -> Result<Self> {
        let Some(json) = meta(conn, LEFT_OUT)? else { return Ok(Self::default()) };
        serde_json::from_str(&json).map_err(|error| {
            Error::Storage(StorageFault::Corrupt(format!("fact {LEFT_OUT}: {error}")))
        })
    }

    /// As stored; `None` if nothing is left out.
    pub(crate) fn to_json(&self) -> Result<Option<String>> {
        if self.parts.is_empty() {
            return Ok(None);
        }
        let json = serde_json::to_string(self);
        json.map(Some).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Whether this table is left out as a whole.
    pub(crate) fn is_table(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.table == name && part.part == Part::TABLE)
    }

    /// A table that is left out as a whole is named once.
    pub(crate) fn forget_parts_of_tables(&mut self) {
        let whole: HashSet<String> = (self.parts.iter())
            .filter(|part| part.part == Part::TABLE)
            .map(|part| part.table.clone())
            .collect();
        self.parts.retain(|part| part.part == Part::TABLE || !whole.contains(&part.table));
    }

    /// The number of tables that are left out as a whole.
    pub(crate) fn whole_tables(&self) -> usize {
        self.parts.iter().filter(|part| part.part == Part::TABLE).count()
    }

    /// Logs what is left out and was not before.
    pub(crate) fn log_changes(&self, before: &Self) {
        for part in self.parts.iter().filter(|part| !before.parts.contains(part)) {
            let LeftOutPart { table, part, reason } = part;
            tracing::warn!(table, part, reason, "left out: the others are synced");
        }
    }
}
