//! Loads what a push needs in one round trip: the verdicts on its mutations, and the rows that it
//! names, locked.
//!
//! Rows are locked table by table in key order, so that two pushes do not deadlock. A missing row
//! cannot be locked: if another transaction inserts it, the insert of this one fails. Large rows are
//! locked and not loaded: they are read one by one when they are needed, so that a push that names
//! thousands of them does not fill the memory.

use std::collections::{BTreeSet, HashMap};

use rejoin_protocol::Value;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::connection::{Connection, Params, Sql};
use super::records::kept;
use super::rows::{RowQuery, Sights, sight_types};
use super::types::Form;
use super::{Known, verdicts};
use crate::model::{ReadScope, StoredRow, Table};
use crate::store::quote::cell;
use crate::store::{Load, Loaded};

/// Bytes of a row that is loaded.
const MOST: usize = 64 << 10;

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
        let is_large = look.table.columns.len() + 2;
        let rows = rows.iter().map(|row| Ok((look.stored_of(row)?, row.get(is_large))));
        let rows = by_id(look.table, ids, rows.collect::<Result<_>>()?);
        loaded.rows.extend(rows.into_iter().map(|(id, row)| (*at, id, row)));
    }
    Ok(loaded)
}

/// The row of each id. Ids of large rows are left out, and so are ids without a row if the database
/// returns a row with none of these ids, because its key comparison differs.
fn by_id(
    table: &Table,
    ids: &BTreeSet<String>,
    rows: Vec<(StoredRow, bool)>,
) -> Vec<(String, Option<StoredRow>)> {
    let mut found: HashMap<String, (StoredRow, bool)> = rows
        .into_iter()
        .map(|(stored, is_large)| (stored.row.id(table), (stored, is_large)))
        .collect();
    let is_odd = found.keys().any(|id| !ids.contains(id));
    let row = |id: &String| match found.remove(id) {
        None if is_odd => None,
        Some((_, true)) => None,
        row => Some((id.clone(), row.map(|(stored, _)| stored))),
    };
    ids.iter().filter_map(row).collect()
}

/// The query for several rows, live or deleted.
pub(super) struct RowsQuery {
    text: String,
    types: [Type; 7],
    eyes: Sights,
    is_integer: bool,
    numbers: Vec<i64>,
    texts: Vec<String>,
}

impl RowsQuery {
    pub(super) fn sql(&self) -> Sql<'_> {
        Sql { text: &self.text, types: &self.types }
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        self.eyes.params(if self.is_integer { &self.numbers } else { &self.texts })
    }
}

impl RowQuery<'_> {
    /// The query for several rows like [`stored`](Self::stored); locks them in key order.
    pub(super) fn several(
        &self,
        keys: &BTreeSet<String>,
        scope: &ReadScope,
        own: &ReadScope,
    ) -> RowsQuery {
        let keys = keys.iter().filter_map(|key| self.table.key_of(key));
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for key in keys.filter(|key| self.is_key(key)) {
            match key {
                Value::Integer(number) => numbers.push(number),
                Value::Text(text) => texts.push(text),
                _ => {}
            }
        }
        let is_integer = self.shape().form(self.table.key) == Form::Integer;
        let (list, list_type) = if is_integer {
            (String::from("ANY($7)"), Type::INT8_ARRAY)
        } else {
            (format!("ANY($7::{}[])", self.shape().cast(self.table.key)), Type::TEXT_ARRAY)
        };
        let key = cell(self.table, "t", self.table.key);
        let text = format!(
            "SELECT {}, {}, w.is_large FROM {} AS t CROSS JOIN LATERAL (SELECT {} AS is_large OFFSET 0) AS w \
             WHERE {key} = {list} ORDER BY {key} FOR NO KEY UPDATE OF t",
            self.light_columns(),
            self.access(),
            self.shape().name,
            self.is_large(),
        );
        let eyes = Sights::of(scope, own);
        RowsQuery { text, types: sight_types(list_type), eyes, is_integer, numbers, texts }
    }

    /// Whether a column may have a value of any length.
    fn is_wide(&self, at: usize) -> bool {
        let is_of_length = |form| matches!(form, Form::Text | Form::Bytes | Form::Array { .. });
        at != self.table.key && is_of_length(self.shape().form(at))
    }

    /// The columns, without wide ones in a large row.
    fn light_columns(&self) -> String {
        let column = |at: usize| {
            let read = self.column(at);
            if self.is_wide(at) {
                format!("CASE WHEN NOT w.is_large THEN {read} END")
            } else {
                read
            }
        };
        (0..self.table.columns.len()).map(column).collect::<Vec<_>>().join(", ")
    }

    /// Whether the row `t` has more than [`MOST`] bytes.
    fn is_large(&self) -> String {
        let wide = (0..self.table.columns.len()).filter(|at| self.is_wide(*at));
        let sizes = wide.map(|at| format!("coalesce(octet_length({}), 0)", self.column(at)));
        let sizes = sizes.collect::<Vec<_>>().join(" + ");
        if sizes.is_empty() { String::from("false") } else { format!("{sizes} > {MOST}") }
    }
}
