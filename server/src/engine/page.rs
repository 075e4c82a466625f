//! Rows that were named, read as they now stand: what a pull and a walk put into their answers (C4).

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::Value;
use rejoin_protocol::wire::row::RowName;

use super::encode;
use crate::error::Fault;
use crate::model::{ReadScope, Row, Table};
use crate::store::Reading;

/// Names of rows, each once, by table and key text.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, BTreeSet<String>>);

/// The names of one table, and what they are as keys, in the order of those.
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

/// What becomes of rows that stand, as they come: table by table, in the order of their keys.
pub(super) type Stands<'a, 's> = &'a mut dyn FnMut(&'s Table, Row) -> Result<(), Fault>;

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

    /// Reads each row under `scope`, and hands it on; what is not seen there is gone for this user. `None` if the rows hold more
    /// than `bytes`: the page must name fewer, and what was handed on is none.
    pub(super) fn read<'s>(
        self,
        reading: &'s dyn Reading,
        bytes: usize,
        scope: &ReadScope,
        stands: Stands<'_, 's>,
    ) -> Result<Option<Gone>, Fault> {
        let schema = reading.schema();
        let (mut gone, mut left) = (Gone::default(), bytes);
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
                            stands(table, row).map(|()| true)
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

/// Which of the rows do not stand.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) names: Vec<RowName>,
    /// How many rows there were, those that stand too.
    pub(super) rows: usize,
}
