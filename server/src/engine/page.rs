//! Reads named rows in their current state, for pulls and walks.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::Value;
use rejoin_protocol::wire::row::RowName;

use super::encode;
use crate::error::Fault;
use crate::model::{ReadScope, Row, Table};
use crate::store::Reading;

/// Row ids, each once, by table and key text.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, BTreeSet<String>>);

/// The ids of one table with their keys, in key order.
struct Named<'a> {
    table: &'a Table,
    ids: Vec<String>,
    keys: Vec<Option<Value>>,
}

impl<'a> Named<'a> {
    fn of(table: &'a Table, ids: BTreeSet<String>) -> Self {
        let mut named: Vec<(Option<Value>, String)> =
            ids.into_iter().map(|id| (table.key_of(&id), id)).collect();
        named.sort_by(|(left, _), (right, _)| match (left, right) {
            (Some(left), Some(right)) => encode::key_order(left, right),
            _ => left.is_some().cmp(&right.is_some()),
        });
        let (keys, ids) = named.into_iter().unzip();
        Self { table, ids, keys }
    }
}

/// Receives the rows that exist, table by table in key order.
pub(super) type RowSink<'a, 's> = &'a mut dyn FnMut(&'s Table, Row) -> Result<(), Fault>;

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

    /// Reads each row under `scope` and passes it on; rows that are not visible there are reported
    /// as gone. Returns `None` if the rows exceed `bytes`: the page must name fewer, and the rows
    /// passed on are void.
    pub(super) fn read<'s>(
        self,
        reading: &'s dyn Reading,
        bytes: usize,
        scope: &ReadScope,
        sink: RowSink<'_, 's>,
    ) -> Result<Option<MissingRows>, Fault> {
        let schema = reading.schema();
        let (mut gone, mut left) = (MissingRows::default(), bytes);
        let named: Vec<Named<'_>> = self
            .0
            .into_iter()
            .filter_map(|(name, ids)| Some(Named::of(schema.table(&name)?, ids)))
            .collect();
        let asked: Vec<(&Table, &[Option<Value>])> =
            named.iter().map(|named| (named.table, named.keys.as_slice())).collect();
        reading.expect_images(&asked, scope)?;
        for Named { table, ids, keys } in named {
            gone.rows += ids.len();
            let (mut ids, mut done) = (ids.into_iter(), Ok(true));
            reading.images(table, &keys, scope, &mut |image| {
                done = match (image, ids.next()) {
                    (Some(row), _) => match left.checked_sub(row.weight()) {
                        Some(rest) => {
                            left = rest;
                            sink(table, row).map(|()| true)
                        }
                        None => Ok(false),
                    },
                    (None, id) => {
                        let table_name = table.name.clone();
                        gone.names.extend(id.map(|id| RowName { table_name, id }));
                        Ok(true)
                    }
                };
                matches!(done, Ok(true))
            })?;
            if !done? {
                return Ok(None);
            }
        }
        Ok(Some(gone))
    }
}

/// The named rows that do not exist.
#[derive(Debug, Default)]
pub(super) struct MissingRows {
    pub(super) names: Vec<RowName>,
    /// The number of named rows, including those that exist.
    pub(super) rows: usize,
}
