//! Pages of all rows visible to a user, in key order, and their number.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rejoin_protocol::Value;
use tokio_postgres::types::{ToSql, Type};

use super::access_paths::{AccessPaths, Next};
use super::connection::Sql;
use super::rows::RowQuery;
use super::types::{self, Form};
use crate::model::{Page, PageLimit, ReadScope, Row};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// Rows per query. Few different sizes keep the number of statements small; small ones avoid
/// reading a page of large rows before their size is known.
const CHUNKS: [usize; 4] = [16, 64, 128, 256];

/// If a user sees more parent rows than this, most child rows may be visible too: then all keys are
/// scanned first.
const MANY: usize = 1_000;

/// The visible rows of parent tables, cached per snapshot.
#[derive(Debug, Default)]
pub(super) struct ParentRows(RefCell<Vec<Seen>>);

/// The visible keys of the table with this number; `None` if there are too many.
#[derive(Debug)]
struct Seen {
    table: i64,
    scope: ReadScope,
    keys: Option<Vec<String>>,
}

impl ParentRows {
    /// Clears the cache: the user or its access may change.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// Reads visible rows from key to key.
struct Reader<'a> {
    look: &'a RowQuery<'a>,
    ways: AccessPaths<'a>,
    /// Whether to scan all keys, as long as that finds enough visible rows.
    walks: bool,
}

impl RowQuery<'_> {
    /// Live rows in key order, as many as `room` allows.
    pub(super) fn page(
        &self,
        after: Option<&Value>,
        room: PageLimit,
        scope: &ReadScope,
        above: &ParentRows,
    ) -> Result<Page> {
        let mut reader = Reader::new(self, scope, above)?;
        let (mut rows, mut held): (Vec<Row>, usize) = (Vec::new(), 0);
        let mut after = after.cloned();
        loop {
            // One more row than there is room for shows whether the page is the last.
            let wanted = (room.rows - rows.len()).saturating_add(1);
            let (found, ends) = reader.next(after.as_ref(), wanted)?;
            for row in found {
                if !rows.is_empty() && held >= room.bytes || rows.len() >= room.rows {
                    return Ok(Page { rows, ends: false });
                }
                held += row.weight();
                rows.push(row);
            }
            if ends {
                return Ok(Page { rows, ends });
            }
            after = rows.last().map(|row| row.cell(self.table.key).clone());
        }
    }

    /// The number of visible live rows.
    pub(super) fn count(&self, scope: &ReadScope, above: &ParentRows) -> Result<i64> {
        let reader = Reader::new(self, scope, above)?;
        let Some(text) = reader.ways.count() else { return Ok(0) };
        Ok(reader.ask(&text, None)?.first().map_or(0, |row| row.get(0)))
    }

    /// Calls `each` with every visible live row.
    pub(super) fn each(
        &self,
        scope: &ReadScope,
        above: &ParentRows,
        each: &mut dyn FnMut(&Row),
    ) -> Result<()> {
        let mut reader = Reader::new(self, scope, above)?;
        let mut after = None;
        loop {
            let (found, ends) = reader.next(after.as_ref(), usize::MAX)?;
            found.iter().for_each(&mut *each);
            match found.last() {
                Some(last) if !ends => after = Some(last.cell(self.table.key).clone()),
                _ => return Ok(()),
            }
        }
    }
}

impl<'a> Reader<'a> {
    fn new(look: &'a RowQuery<'a>, scope: &ReadScope, above: &ParentRows) -> Result<Self> {
        let ways = AccessPaths::of(look.known, look.table, scope);
        let mut reader = Self { look, ways, walks: false };
        if let Some((parent, text)) = reader.ways.above(MANY + 1) {
            match reader.keys_above(parent, &text, scope, above)? {
                Some(keys) => reader.ways.list_above(parent, keys),
                None => reader.walks = true,
            }
        }
        Ok(reader)
    }

    /// The visible parent keys, each once, unless there are too many. Queried once per snapshot,
    /// because it costs an index descent per bucket.
    fn keys_above(
        &self,
        parent: usize,
        text: &str,
        scope: &ReadScope,
        above: &ParentRows,
    ) -> Result<Option<Vec<String>>> {
        let table = self.look.known.schema.tables.get(parent).map_or(0, |table| table.number);
        let is_it = |seen: &&Seen| seen.table == table && seen.scope == *scope;
        if let Some(seen) = above.0.borrow().iter().find(is_it) {
            return Ok(seen.keys.clone());
        }
        let found = self.ask(text, None)?;
        let keys = (found.len() <= MANY).then(|| {
            let keys: BTreeSet<String> = found.iter().map(|row| row.get(0)).collect();
            keys.into_iter().collect::<Vec<_>>()
        });
        above.0.borrow_mut().push(Seen { table, scope: scope.clone(), keys: keys.clone() });
        Ok(keys)
    }

    /// The next rows after a key: at least `wanted` or a chunk, and whether there are no more.
    fn next(&mut self, after: Option<&Value>, wanted: usize) -> Result<(Vec<Row>, bool)> {
        let after = after.filter(|key| self.look.is_key(key));
        let [.., largest] = CHUNKS;
        let most = CHUNKS.into_iter().find(|most| *most >= wanted).unwrap_or(largest);
        let next = Next { most, goes_on: after.is_some() };
        let columns = self.columns();
        if self.walks {
            let found = self.rows(&self.ways.walk(&columns, next), after)?;
            if found.len() >= most {
                return Ok((found, false));
            }
            self.walks = false;
        }
        let Some(text) = self.ways.page(&columns, next) else { return Ok((Vec::new(), true)) };
        let found = self.rows(&text, after)?;
        let ends = found.len() < most;
        Ok((found, ends))
    }

    /// The selected columns of a row, from the cells of the access paths.
    fn columns(&self) -> String {
        let forms = self.look.shape().columns.iter().enumerate();
        let cells = forms.map(|(at, of)| types::reading(of, &format!("u.c{at}")));
        cells.collect::<Vec<_>>().join(", ")
    }

    fn rows(&self, text: &str, after: Option<&Value>) -> Result<Vec<Row>> {
        let found = match after {
            Some(Value::Integer(after)) => self.ask(text, Some(after)),
            Some(after) => self.ask(text, Some(&after.as_text())),
            None => self.ask(text, None),
        };
        self.look.rows(&found?)
    }

    fn ask(
        &self,
        text: &str,
        after: Option<&(dyn ToSql + Sync)>,
    ) -> Result<Vec<tokio_postgres::Row>> {
        let lists = self.ways.lists();
        let mut types = vec![Type::TEXT_ARRAY; lists.len()];
        let mut params: Vec<&(dyn ToSql + Sync)> =
            lists.iter().map(|list| list as &(dyn ToSql + Sync)).collect();
        if let Some(after) = after {
            let is_integer = self.look.shape().form(self.look.table.key) == Form::Integer;
            types.push(if is_integer { Type::INT8 } else { Type::TEXT });
            params.push(after);
        }
        self.look.connection.typed(Sql { text, types: &types }, &params)
    }
}
