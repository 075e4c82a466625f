//! Connections that only read: the last committed state, beside the writer, never waiting for it (I7).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::engine::database::authorizer::{self, Gate};
use crate::engine::database::fault;
use crate::engine::schema::model::Schema;
use crate::engine::statement::{self, Footprints};
use crate::error::{Error, Result};
use crate::value::Value;

/// A reading connection.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    gate: Arc<Gate>,
    footprints: Footprints,
}

/// What a query reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadSet {
    /// Names of tables, lower case.
    pub tables: BTreeSet<String>,
    /// Whether it calls `rejoin_row_state`, which verdicts change without touching a row.
    pub row_state: bool,
}

impl Reader {
    pub(crate) fn open(path: &Path, schema: &Schema) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags).map_err(fault::of)?;
        conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(fault::of)?;
        conn.execute_batch("PRAGMA query_only = ON").map_err(fault::of)?;
        let gate = Arc::new(Gate::of_reader());
        gate.set_synced(schema.by_name.keys().map(String::as_str));
        authorizer::install(&mut conn, &gate).map_err(fault::of)?;
        Ok(Self { conn, gate, footprints: Footprints::default() })
    }

    /// Runs a query and reads its rows.
    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Value],
        mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let _app = self.gate.app();
        let mut prepared = statement::prepare(&self.conn, &self.gate, sql)?;
        if !prepared.readonly() {
            return Err(Error::Refused {
                what: String::from("a writing statement in query()"),
                why: String::from("readers cannot write; use execute() or execute_returning()"),
            });
        }
        statement::bind(&mut prepared, params)?;
        let mut rows = prepared.raw_query();
        let mut out = Vec::new();
        let mut each = || -> rusqlite::Result<()> {
            while let Some(row) = rows.next()? {
                out.push(read(row)?);
            }
            Ok(())
        };
        each().map_err(|error| statement::explain(error, &self.gate))?;
        Ok(out)
    }

    /// What this query reads, without running it.
    pub fn tables_of(&mut self, sql: &str) -> Result<ReadSet> {
        let footprint = self.footprints.of(&self.conn, &self.gate, sql)?;
        Ok(ReadSet { tables: footprint.reads.clone(), row_state: footprint.row_state })
    }
}
