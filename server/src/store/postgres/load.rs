//! Loads what a push needs in one round trip: the verdicts on its mutations, and the rows that it
//! names, locked.
//!
//! Rows are locked table by table in key order, so that two pushes do not deadlock. A missing row
//! cannot be locked: if another transaction inserts it, the insert of this one fails.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Params, Sql};
use super::records::kept;
use super::rows::{RowQuery, RowsQuery};
use super::{Known, verdicts};
use crate::model::{StoredRow, Table};
use crate::store::{Load, Loaded};

type Result<T> = std::result::Result<T, Error>;

/// Sends all queries together.
pub(super) fn load(connection: &Connection, known: &Known, load: &Load<'_>) -> Result<Loaded> {
    let tables = load.rows.iter();
    let named: Vec<_> = tables
        .filter_map(|(at, ids)| {
            let table = known.schema.tables.get(*at)?;
            Some((*at, RowQuery { connection, known, table }, ids))
        })
        .collect();
    let questions: Vec<RowsQuery> =
        named.iter().map(|(_, look, ids)| look.several(ids, load.scope, load.own)).collect();
    let params: Vec<_> = questions.iter().map(RowsQuery::params).collect();
    let user = kept(load.user);
    let user = user.as_ref();
    let ids: Vec<_> = load.mutations.iter().map(|id| kept(id)).collect();
    let of_user: [&(dyn ToSql + Sync); 2] = [&user, &ids];
    let verdicts = Sql { text: verdicts::VERDICTS, types: &[] };
    let verdicts = (!ids.is_empty()).then_some((verdicts, of_user.as_slice()));
    let rows = questions.iter().zip(&params).map(|(of, params)| (of.sql(), params.as_slice()));
    let asked: Vec<(Sql<'_>, Params<'_>)> = verdicts.into_iter().chain(rows).collect();
    let mut loaded = Loaded::default();
    if asked.is_empty() {
        return Ok(loaded);
    }
    let mut found = connection.all_guarded(&asked)?.into_iter();
    if verdicts.is_some() {
        loaded.verdicts = load.mutations.iter().map(|id| ((*id).to_owned(), None)).collect();
        let rows = found.next().unwrap_or_default();
        let verdicts = rows.iter().map(verdicts::of_row);
        loaded.verdicts.extend(verdicts.map(|(mutation, verdict)| (mutation, Some(verdict))));
    }
    for ((at, look, ids), rows) in named.iter().zip(found) {
        let rows: Vec<StoredRow> =
            rows.iter().map(|row| look.stored_of(row)).collect::<Result<_>>()?;
        let rows = by_id(look.table, ids, rows);
        loaded.rows.extend(rows.into_iter().map(|(id, row)| (*at, id, row)));
    }
    Ok(loaded)
}

/// The row of each id. If the database returns a row with none of these ids, because its key
/// comparison differs, ids without a row are left out.
fn by_id(
    table: &Table,
    ids: &BTreeSet<String>,
    rows: Vec<StoredRow>,
) -> Vec<(String, Option<StoredRow>)> {
    let mut found: HashMap<String, StoredRow> =
        rows.into_iter().map(|stored| (stored.row.id(table), stored)).collect();
    let is_odd = found.keys().any(|id| !ids.contains(id));
    let row = |id: &String| match found.remove(id) {
        None if is_odd => None,
        row => Some((id.clone(), row)),
    };
    ids.iter().filter_map(row).collect()
}
