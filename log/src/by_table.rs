//! Rows on the wire and in records: an object of tables, each an object of rows.
//!
//! The columns of a row mostly have the names of the row before it: they are read without a new
//! name each.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::Name;
use super::row::{Columns, RowName};

/// Writes rows, which are sorted by name.
pub(crate) fn serialize<S: Serializer, V: Serialize>(
    rows: &[(&RowName, &V)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut tables = serializer.serialize_map(None)?;
    for rows in rows.chunk_by(|(left, _), (right, _)| left.table == right.table) {
        let Some((first, _)) = rows.first() else { continue };
        tables.serialize_entry(&first.table, &OfTable(rows))?;
    }
    tables.end()
}

struct OfTable<'r, V>(&'r [(&'r RowName, &'r V)]);

impl<V: Serialize> Serialize for OfTable<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(row, value)| (&row.id, value)))
    }
}

/// Reads rows in the order in which they are written.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<(RowName, V)>, D::Error> {
    deserializer.deserialize_map(Tables(PhantomData))
}

struct Tables<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Tables<V> {
    type Value = Vec<(RowName, V)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(table) = tables.next_key()? {
            tables.next_value_seed(Rows { table, rows: &mut rows })?;
        }
        Ok(rows)
    }
}

/// Adds the rows of a table.
struct Rows<'r, V> {
    table: Name,
    rows: &'r mut Vec<(RowName, V)>,
}

impl<'de, V: Deserialize<'de>> DeserializeSeed<'de> for Rows<'_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Rows<'_, V> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some((id, value)) = rows.next_entry()? {
            self.rows.push((RowName { table: self.table.clone(), id }, value));
        }
        Ok(())
    }
}

/// Maximum number of kept names: the bounds of a row are checked after it was read.
const KEPT: usize = 256;

thread_local! {
    /// The columns that were read last, by position.
    static LAST: RefCell<Vec<Name>> = const { RefCell::new(Vec::new()) };
}

/// Reads columns by name.
pub(crate) fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
    deserializer.deserialize_map(NamedCells)
}

struct NamedCells;

impl<'de> Visitor<'de> for NamedCells {
    type Value = Columns;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut cells: A) -> Result<Columns, A::Error> {
        let mut columns = Vec::with_capacity(LAST.with_borrow(Vec::len));
        while let Some(name) = cells.next_key_seed(ColumnName(columns.len()))? {
            columns.push((name, cells.next_value()?));
        }
        if columns.len() <= KEPT {
            LAST.with_borrow_mut(|last| {
                last.clear();
                last.extend(columns.iter().map(|(name, _)| name.clone()));
            });
        }
        Ok(columns.into())
    }
}

/// The name of the column at this position.
struct ColumnName(usize);

impl<'de> DeserializeSeed<'de> for ColumnName {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnName {
    type Value = Name;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a column")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
        let known =
            |last: &Vec<Name>| last.get(self.0).filter(|name| name.as_str() == text).cloned();
        Ok(LAST.with_borrow(known).unwrap_or_else(|| Name::from(text)))
    }
}
