//! Rows that were named, read as they now stand: what a pull and a walk put into their answers (C4).

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::Value;
use rejoin_protocol::wire::row::{Record, RowName, RowSet};

use super::encode;
use super::schema::{Row, Schema, Table};
use crate::error::Fault;
use crate::store::{Reading, Sight};

/// Names of rows, each once, by table and key text.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, BTreeSet<String>>);

/// The names of one table, and what they are as keys.
struct Named<'a> {
    table: &'a Table,
    ids: Vec<String>,
    keys: Vec<Option<Value>>,
}

impl Names {
    pub(super) fn add(&mut self, table: &Table, id: String) {
        match self.0.get_mut(&table.name) {
            Some(ids) => _ = ids.insert(id),
            None => _ = self.0.insert(table.name.clone(), BTreeSet::from([id])),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Reads each row under `sight`; what is not seen there is gone for this user. `None` if the rows hold more than
    /// `bytes`: the page must name fewer.
    pub(super) fn read(
        self,
        reading: &dyn Reading,
        bytes: usize,
        sight: &Sight,
    ) -> Result<Option<Rows>, Fault> {
        let schema = reading.schema();
        let mut rows = Rows::default();
        let mut left = bytes;
        let named: Vec<Named<'_>> = self
            .0
            .into_iter()
            .filter_map(|(name, ids)| {
                let table = schema.table(&name)?;
                let keys = ids.iter().map(|id| table.key_of(id)).collect();
                Some(Named { table, ids: ids.into_iter().collect(), keys })
            })
            .collect();
        let asked: Vec<(&Table, &[Option<Value>])> =
            named.iter().map(|named| (named.table, named.keys.as_slice())).collect();
        reading.expect_images(&asked, sight)?;
        for Named { table, ids, keys } in named {
            let table_name = table.name.clone();
            let images = reading.images(table, &keys, left, sight)?;
            let held: usize = images.iter().flatten().map(Row::weight).sum();
            if images.len() < keys.len() || held > left {
                return Ok(None);
            }
            left -= held;
            let mut live = Vec::with_capacity(ids.len());
            for (id, image) in ids.into_iter().zip(images) {
                match image {
                    Some(row) => live.push(row),
                    None => rows.gone.push(RowName { table_name: table_name.clone(), id }),
                }
            }
            if !live.is_empty() {
                rows.live.insert(table_name, live);
            }
        }
        for (table_name, live) in &mut rows.live {
            if let Some(table) = schema.table(table_name) {
                live.sort_by(|left, right| {
                    encode::key_order(left.cell(table.key), right.cell(table.key))
                });
            }
        }
        Ok(Some(rows))
    }
}

/// Rows that stand and names of rows that do not.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) live: BTreeMap<String, Vec<Row>>,
    pub(super) gone: Vec<RowName>,
}

impl Rows {
    /// How many there are, gone ones too.
    pub(super) fn len(&self) -> usize {
        self.live.values().map(Vec::len).sum::<usize>() + self.gone.len()
    }

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
