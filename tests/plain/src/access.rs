//! Row access: the row-level security policies, and the bucket of a row's changes.

use crate::cell::Cell;
use crate::database::{Database, Row};
use crate::table::Table;

/// Whether the policies let `user` read the row.
pub(crate) fn may_read(
    tables: &[Table],
    database: &Database,
    table: &Table,
    row: &Row,
    user: &str,
) -> bool {
    if !table.pushable() {
        return true;
    }
    match owner(tables, database, table, row) {
        Some(owner) if *owner == Cell::Null => table.global_read,
        Some(owner) => owner.text().as_deref() == Some(user),
        None => false,
    }
}

/// Whether the policies let `user` write the row: own rows only, never rows without an owner.
pub(crate) fn may_write(
    tables: &[Table],
    database: &Database,
    table: &Table,
    row: &Row,
    user: &str,
) -> bool {
    table.pushable()
        && owner(tables, database, table, row).and_then(Cell::text).as_deref() == Some(user)
}

/// The owner of the row's root parent; `None` if a parent is missing.
fn owner<'a>(
    tables: &[Table],
    database: &'a Database,
    table: &Table,
    row: &'a Row,
) -> Option<&'a Cell> {
    if let Some(column) = &table.owner {
        return row.get(table.position(column)?);
    }
    let (parent, column) = table.parent.as_ref()?;
    let key = row.get(table.position(column)?)?.text()?;
    let parent = tables.iter().find(|table| table.name == *parent)?;
    owner(tables, database, parent, database.get(&parent.name, &key)?)
}

/// The bucket of a row; a child uses the rule of its root. On an error the caller drops the event.
pub(crate) fn bucket(
    tables: &[Table],
    database: &Database,
    table: &Table,
    row: &Row,
) -> Result<Option<String>, String> {
    let named = |table: &Table, row: &Row, column: &str| {
        let value = table.position(column).and_then(|position| row.get(position)?.text());
        value.filter(|value| !value.is_empty())
    };
    let global = |allowed: bool| allowed.then(|| "global".to_owned());
    if let Some(column) = &table.bucket_by {
        let prefix = table.bucket_prefix.as_deref().unwrap_or("user:");
        let value = named(table, row, column);
        return Ok(value
            .map(|value| prefix.to_owned() + &value)
            .or_else(|| global(table.global_read)));
    }
    let Some((parent, column)) = &table.parent else { return Ok(global(true)) };
    let key = named(table, row, column).ok_or("the reference to the parent is missing")?;
    let parent =
        tables.iter().find(|table| table.name == *parent).ok_or("the parent is not registered")?;
    let row = database.get(&parent.name, &key).ok_or("the parent has no such row")?;
    if parent.bucket_by.is_none() && parent.parent.is_none() {
        return Err("no root owns it".to_owned());
    }
    bucket(tables, database, parent, row)
}
