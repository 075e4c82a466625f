//! Reads of many entries with their passages, and of many rows: few round trips for many records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rejoin_log::ids::EntryId;
use rejoin_log::key::Key;
use rejoin_log::row::RowName;
use rejoin_log::server::store::{AcceptedEntry, Link, LinkedEntry};
use rejoin_log::view::RowEffect;

use super::batch::Query;
use super::cells::{Cell, body, bounded, key, linked, name, named};
use super::{LogTables, Result};

/// Number of links that are read together.
const LINKS: usize = 256;

/// Number of rows whose keys are read together.
const ROWS: usize = 50;

impl LogTables<'_> {
    /// The rows of one query for each of its lists of cells.
    pub(super) fn all(&self, asked: Query) -> Result<Vec<Vec<Cell>>> {
        if asked.1.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.database.query_all(&[asked]).map_err(|fault| self.failed(fault))?;
        Ok(found.pop().unwrap_or_default())
    }

    pub(super) fn read_with_passages(&self, ids: &[EntryId]) -> Result<Vec<LinkedEntry>> {
        let cells = ids.iter().map(|id| vec![id.0.into()]).collect();
        let entries = self.all((self.sql().entry.into(), cells))?;
        let mut entries: Vec<AcceptedEntry> =
            entries.iter().map(|row| body(row.first())).collect::<Result<_>>()?;
        let places: HashMap<EntryId, usize> =
            ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        entries.sort_by_key(|entry| places.get(&entry.id));
        let effects = entries.iter().flat_map(|entry| {
            entry.content.effects.iter().map(|(row, _)| Vec::from(linked(row, &entry.key)))
        });
        let effects: Vec<Vec<Cell>> = effects.collect();
        let mut passages: BTreeMap<(RowName, Key), RowEffect> = BTreeMap::new();
        // A link has the whole row, and an entry may have ten thousand.
        for effects in effects.chunks(LINKS) {
            for record in self.all((self.sql().named_link.into(), effects.to_vec()))? {
                let link: Link = body(record.get(3))?;
                let named = (name(&record)?, key(record.get(2))?);
                passages.extend(link.passage.map(|passage| (named, passage)));
            }
        }
        let with_passages = |entry: AcceptedEntry| {
            let rows = entry.content.effects.iter().map(|(row, _)| row.clone());
            let passages = rows.map(|row| passages.remove(&(row, entry.key))).collect();
            LinkedEntry { entry, passages }
        };
        Ok(entries.into_iter().map(with_passages).collect())
    }

    pub(super) fn keys_of(&self, rows: &[&RowName], most: usize) -> Result<Option<Vec<Key>>> {
        let mut keys = BTreeSet::new();
        for rows in rows.chunks(ROWS) {
            let with_limit = |row: &&RowName| {
                let [table, id] = named(row);
                vec![table, id, bounded(most.saturating_add(1))]
            };
            let asked = (self.sql().link_keys.into(), rows.iter().map(with_limit).collect());
            for record in self.all(asked)? {
                keys.insert(key(record.first())?);
            }
            if keys.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(keys.into_iter().collect()))
    }
}
