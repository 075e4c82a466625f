//! Rows that were named, read as they now stand: what a pull and a walk put into their answers (C4).

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::wire::row::{Record, RowName, RowSet};

use super::encode;
use super::schema::{Row, Schema, Table};
use crate::error::Fault;
use crate::store::{Reading, Sight};

/// Names of rows, each once, by table and key text.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<(String, String)>);

impl Names {
    pub(super) fn add(&mut self, table: &Table, id: &str) {
        self.0.insert((table.name.clone(), id.to_owned()));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads each row under `sight`; what is not seen there is gone for this user.
    pub(super) fn read(self, reading: &dyn Reading, sight: &Sight) -> Result<Rows, Fault> {
        let schema = reading.schema();
        let mut rows = Rows::default();
        for (table_name, id) in self.0 {
            let Some(table) = schema.table(&table_name) else { continue };
            let key = table.key_of(&id);
            let image = match &key {
                Some(key) => reading.image(table, key, sight)?,
                None => None,
            };
            match image {
                Some(row) => rows.live.entry(table_name).or_default().push(row),
                None => rows.gone.push(RowName { table_name, id }),
            }
        }
        for (table_name, live) in &mut rows.live {
            if let Some(table) = schema.table(table_name) {
                live.sort_by(|left, right| {
                    encode::key_order(left.cell(table.key), right.cell(table.key))
                });
            }
        }
        Ok(rows)
    }
}

/// Rows that stand and names of rows that do not.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) live: BTreeMap<String, Vec<Row>>,
    pub(super) gone: Vec<RowName>,
}

impl Rows {
    /// As sets of arrays.
    pub(super) fn sets(&self, schema: &Schema) -> Result<Vec<RowSet>, Fault> {
        let tables = self.live.iter().filter_map(|(name, rows)| Some((schema.table(name)?, rows)));
        tables.map(|(table, rows)| encode::set(table, rows)).collect()
    }

    /// As v0.1.2 writes them.
    pub(super) fn records(&self, schema: &Schema) -> Result<Vec<Record>, Fault> {
        let mut records = Vec::new();
        for (name, rows) in &self.live {
            let Some(table) = schema.table(name) else { continue };
            for row in rows {
                records.push(encode::record(table, row)?);
            }
        }
        Ok(records)
    }
}
