//! Rows of the application's tables: found under the access predicate, written under the table's
//! own rules.
//!
//! A key that is not a value of its column's type names no row. A row that is read in order to be
//! written is locked: the second of two pushes that write it waits.

use std::cmp::Ordering;
use std::fmt::Write as _;

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use tokio_postgres::types::{ToSql, Type};

use super::access::{AccessParams, allowed};
use super::batch::Write;
use super::connection::{Connection, Params, Sql};
use super::error;
use super::types::{self, Form, Parameter, parameter};
use super::{Known, Shape};
use crate::model::{ReadScope, Row, StoredRow, Table, Violation};
use crate::store::access::Right;
use crate::store::quote::{cell, quoted};
use crate::store::{Images, StoreWrite, WriteError, WriteKind};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// Rows per fetch: a page of large rows must not be read whole before its size is known.
pub(super) const CHUNK: usize = 256;

/// The context of a row query: connection, tables, access scopes.
pub(super) struct RowQuery<'a> {
    pub(super) connection: &'a Connection,
    pub(super) known: &'a Known,
    pub(super) table: &'a Table,
}

/// Calls `each` with each row at the position of its key; returns whether there is room for more.
fn hand(keys: &[Option<Value>], mut rows: Vec<Row>, key: usize, each: Images<'_>) -> bool {
    // From the index, rows are mostly in this order already.
    rows.sort_by(|left, right| by_key(left.cell(key), right.cell(key)));
    let place = |wanted: &Option<Value>| {
        let wanted = wanted.as_ref()?;
        rows.binary_search_by(|row| by_key(row.cell(key), wanted)).ok()
    };
    let places: Vec<Option<usize>> = keys.iter().map(place).collect();
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    places.into_iter().all(|place| each(place.and_then(|at| rows.get_mut(at)?.take())))
}

/// An order of keys in which equal keys are adjacent.
fn by_key(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        _ => left.as_text().cmp(&right.as_text()),
    }
}

/// The first parameters of every query.
const SEE: AccessParams = AccessParams { owners: 1, global: 2, buckets: 3 };

/// The parameters for write access.
const WRITE: AccessParams = AccessParams { owners: 4, global: 5, buckets: 6 };

/// Names that the database can store; no row has any other.
pub(super) fn names(of: &[String]) -> Vec<&str> {
    of.iter().map(String::as_str).filter(|name| types::is_text(name)).collect()
}

/// The query for the live rows of some keys.
pub(super) struct ImagesQuery<'k> {
    text: String,
    types: [Type; 4],
    is_integer: bool,
    numbers: Vec<i64>,
    texts: Vec<&'k str>,
}

impl ImagesQuery<'_> {
    pub(super) fn sql(&self) -> Sql<'_> {
        Sql { text: &self.text, types: &self.types }
    }

    /// The last parameter, after those of the scopes.
    pub(super) fn keys(&self) -> &(dyn ToSql + Sync) {
        if self.is_integer { &self.numbers } else { &self.texts }
    }
}

/// Whether a row that is read is locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    No,
    /// Waits for the holder of a lock.
    Waits,
    /// Fails on a held lock: an earlier load already waited for the full time.
    AtOnce,
}

/// The scopes for reading and writing.
pub(super) struct Sights([(Vec<String>, bool, Vec<String>); 2]);

impl Sights {
    pub(super) fn of(scope: &ReadScope, own: &ReadScope) -> Self {
        let owned = |of: &[String]| names(of).into_iter().map(str::to_owned).collect();
        Self([scope, own].map(|of| (owned(&of.owners), of.global, owned(&of.buckets))))
    }

    pub(super) fn params<'p>(&'p self, key: &'p (dyn ToSql + Sync)) -> [&'p (dyn ToSql + Sync); 7] {
        let [see, write] = &self.0;
        [&see.0, &see.1, &see.2, &write.0, &write.1, &write.2, key]
    }
}

pub(super) fn sight_types(key: Type) -> [Type; 7] {
    let (texts, truth) = (Type::TEXT_ARRAY, Type::BOOL);
    [texts.clone(), truth.clone(), texts.clone(), texts.clone(), truth, texts, key]
}

impl RowQuery<'_> {
    pub(super) fn shape(&self) -> &Shape {
        self.known.shape(self.table)
    }

    fn columns(&self) -> String {
        let forms = 0..self.shape().columns.len();
        forms.map(|at| self.column(at)).collect::<Vec<_>>().join(", ")
    }

    /// The expression that reads a column of the row `t`.
    pub(super) fn column(&self, at: usize) -> String {
        let of = self.shape().columns.get(at);
        of.map_or(String::new(), |of| types::reading(of, &cell(self.table, "t", at)))
    }

    pub(super) fn row(&self, row: &tokio_postgres::Row) -> Result<Row> {
        let columns = &self.shape().columns;
        // With fallible items, `collect` has no size hint.
        let mut cells = Vec::with_capacity(columns.len());
        for (at, of) in columns.iter().enumerate() {
            cells.push(types::read(of.form, row, at)?);
        }
        Ok(Row { cells })
    }

    pub(super) fn rows(&self, found: &[tokio_postgres::Row]) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            rows.push(self.row(row)?);
        }
        Ok(rows)
    }

    /// A SELECT of visible live rows, with one more condition.
    fn select_live(&self, what: &str, condition: &str) -> String {
        let live = self
            .table
            .deleted_at
            .map_or(String::new(), |at| format!(" AND {} IS NULL", cell(self.table, "t", at)));
        format!(
            "SELECT {what} FROM {} AS t WHERE {}{live}{condition}",
            self.shape().name,
            allowed(self.known, (self.table, "t"), SEE, Right::Read),
        )
    }

    /// Whether the key is of the column's type and in canonical form.
    pub(super) fn is_key(&self, key: &Value) -> bool {
        match (key, self.shape().form(self.table.key)) {
            (Value::Integer(_), Form::Integer) => true,
            (Value::Text(text), Form::Uuid) => types::is_uuid(text),
            (Value::Text(text), Form::Text) => types::is_text(text),
            _ => false,
        }
    }

    /// The parameter of a key, and the type its number is cast to.
    fn key(&self, number: usize) -> (String, Type) {
        match self.shape().form(self.table.key) {
            Form::Integer => (format!("${number}"), Type::INT8),
            _ => (format!("${number}::{}", self.shape().cast(self.table.key)), Type::TEXT),
        }
    }

    /// Passes the images of these keys to `each`. `locks`: locks the rows until the transaction
    /// ends. `ready`: prefetched rows; then there is at most one chunk of keys. `also`: a query
    /// sent with these; returns its result, if it was reached.
    pub(super) fn images(
        &self,
        keys: &[Option<Value>],
        (scope, locks): (&ReadScope, bool),
        ready: Option<Vec<tokio_postgres::Row>>,
        also: Option<(Sql<'_>, Params<'_>)>,
        each: Images<'_>,
    ) -> Result<Option<Vec<tokio_postgres::Row>>> {
        let mut chunks = keys.chunks(CHUNK);
        let mut answer = None;
        let mut next = |found: Vec<tokio_postgres::Row>| {
            if let Some(chunk) = chunks.next() {
                return Ok(hand(chunk, self.rows(&found)?, self.table.key, each));
            }
            answer = Some(found);
            Ok(false)
        };
        if let Some(ready) = ready {
            next(ready)?;
            return Ok(answer);
        }
        let questions: Vec<ImagesQuery<'_>> =
            keys.chunks(CHUNK).map(|chunk| self.question(chunk, locks)).collect();
        let (owners, buckets) = (names(&scope.owners), names(&scope.buckets));
        let params: Vec<[&(dyn ToSql + Sync); 4]> = questions
            .iter()
            .map(|question| -> [&(dyn ToSql + Sync); 4] {
                [&owners, &scope.global, &buckets, question.keys()]
            })
            .collect();
        let asked = questions.iter().zip(&params);
        let asked = asked.map(|(question, params)| (question.sql(), params.as_slice()));
        let asked: Vec<(Sql<'_>, Params<'_>)> = asked.chain(also).collect();
        self.connection.each_ahead(&asked, &mut next)?;
        Ok(answer)
    }

    /// The query for the visible live rows of these keys; invalid keys match nothing.
    pub(super) fn question<'k>(&self, keys: &'k [Option<Value>], locks: bool) -> ImagesQuery<'k> {
        let keys: Vec<&Value> = keys.iter().flatten().filter(|key| self.is_key(key)).collect();
        let is_integer = self.shape().form(self.table.key) == Form::Integer;
        let (list, list_type) = if is_integer {
            (String::from("$4"), Type::INT8_ARRAY)
        } else {
            (format!("$4::{}[]", self.shape().cast(self.table.key)), Type::TEXT_ARRAY)
        };
        // Bytes compare faster than linguistic collations, and are indexed.
        let order = if self.shape().by_bytes { " COLLATE \"C\"" } else { "" };
        let key = cell(self.table, "t", self.table.key) + order;
        let mut text = self.select_live(&self.columns(), &format!(" AND {key} = ANY({list})"));
        if locks {
            // Rows read by an action stay as compared until its writes are committed.
            text.push_str(" FOR SHARE OF t");
        }
        let types = [Type::TEXT_ARRAY, Type::BOOL, Type::TEXT_ARRAY, list_type];
        let numbers: Vec<i64> = keys
            .iter()
            .filter_map(|key| if let Value::Integer(number) = key { Some(*number) } else { None })
            .collect();
        let texts: Vec<&str> = keys.iter().filter_map(|key| key.as_text()).collect();
        ImagesQuery { text, types, is_integer, numbers, texts }
    }

    /// The query for rows by key, live or deleted, with the access to them. `key`: the expression
    /// that the key is compared with.
    fn stored_query(&self, key: &str) -> String {
        format!(
            "SELECT {}, {} FROM {} AS t WHERE {} = {key}",
            self.columns(),
            self.access(),
            self.shape().name,
            cell(self.table, "t", self.table.key)
        )
    }

    /// Whether the user may read the row `t`, and whether the user may write it.
    pub(super) fn access(&self) -> String {
        let allowed = |eyes, right| allowed(self.known, (self.table, "t"), eyes, right);
        format!("{}, {}", allowed(SEE, Right::Read), allowed(WRITE, Right::Write))
    }

    /// The row of this key, live or deleted.
    pub(super) fn stored(
        &self,
        key: &Value,
        scope: &ReadScope,
        own: &ReadScope,
        lock: Lock,
    ) -> Result<Option<StoredRow>> {
        if !self.is_key(key) {
            return Ok(None);
        }
        let (param, param_type) = self.key(7);
        let mut text = self.stored_query(&param);
        // Weaker than FOR UPDATE: adding a child only requires that the row stays.
        text.push_str(match lock {
            Lock::No => "",
            Lock::Waits => " FOR NO KEY UPDATE OF t",
            Lock::AtOnce => " FOR NO KEY UPDATE OF t NOWAIT",
        });
        let eyes = Sights::of(scope, own);
        let (number, words);
        let key: &(dyn ToSql + Sync) = match key {
            Value::Integer(key) => {
                number = *key;
                &number
            }
            other => {
                words = other.as_text().unwrap_or_default();
                &words
            }
        };
        let types = sight_types(param_type);
        let rows = self.connection.typed(Sql { text: &text, types: &types }, &eyes.params(key))?;
        rows.first().map(|row| self.stored_of(row)).transpose()
    }

    /// Decodes a row of [`stored_query`](Self::stored_query).
    pub(super) fn stored_of(&self, row: &tokio_postgres::Row) -> Result<StoredRow> {
        let width = self.shape().columns.len();
        let right = |at| row.get::<_, Option<bool>>(at).unwrap_or(false);
        Ok(StoredRow::new(self.row(row)?, right(width), right(width + 1)))
    }

    fn name(&self, at: usize) -> String {
        quoted(self.table.columns.get(at).map_or("", |column| column.name.as_str()))
    }

    fn written(&self, at: usize, number: usize) -> String {
        self.shape().columns.get(at).map_or(String::new(), |of| types::writing(of, number))
    }

    /// The statement of a write.
    pub(super) fn statement(&self, write: &StoreWrite) -> std::result::Result<Write, WriteError> {
        match write {
            StoreWrite::Insert { cells } => self.insertion(cells),
            StoreWrite::Update { key, cells } => Ok(self.setting(key, cells)),
            StoreWrite::Delete { key } => Ok(self.removal(key)),
        }
    }

    /// The statement that inserts a row.
    fn insertion(&self, cells: &[(usize, Value)]) -> std::result::Result<Write, WriteError> {
        let names: Vec<String> = cells.iter().map(|(at, _)| self.name(*at)).collect();
        let values: Vec<String> =
            cells.iter().zip(1..).map(|((at, _), number)| self.written(*at, number)).collect();
        let text = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            self.shape().name,
            names.join(", "),
            values.join(", ")
        );
        let is_bad_key =
            |(at, value): &&(usize, Value)| *at == self.table.key && !self.is_key(value);
        if cells.iter().find(is_bad_key).is_some_and(|(_, key)| !key.is_null()) {
            let message =
                "the key is no value of the column's type; a UUID is written in lower case";
            return Err(WriteError::Rule(Violation {
                code: code::VALUE_INVALID,
                column: self.table.columns.get(self.table.key).map(|column| column.name.clone()),
                message: message.to_owned(),
                is_among_rows: false,
            }));
        }
        let listed = self.shape().takes_many().then(|| self.listed(cells));
        let is_linked = self.shape().refers_to_itself;
        Ok(Write { listed, is_linked, ..self.write(text, cells, None) })
    }

    /// The statement that inserts many rows; its parameters are lists of their cells.
    fn listed(&self, cells: &[(usize, Value)]) -> String {
        let (mut names, mut values, mut lists, mut places) = Default::default();
        let join = |text: &mut String, part: &str| {
            text.push_str(if text.is_empty() { "" } else { ", " });
            text.push_str(part);
        };
        for ((at, _), number) in cells.iter().zip(1..) {
            let place = format!("c{number}");
            let list = types::carrier(self.shape().form(*at));
            let of = self.shape().columns.get(*at);
            join(&mut names, &self.name(*at));
            join(
                &mut values,
                &of.map_or_else(String::new, |of| {
                    types::writing_carried(of, &format!("v.{place}"))
                }),
            );
            join(&mut lists, &format!("${number}::{list}[]"));
            join(&mut places, &place);
        }
        format!(
            "INSERT INTO {} ({names}) SELECT {values} FROM unnest({lists}) AS v({places})",
            self.shape().name
        )
    }

    /// The statement that sets cells of a row.
    fn setting(&self, key: &Value, cells: &[(usize, Value)]) -> Write {
        let mut sets = String::new();
        for ((at, _), number) in cells.iter().zip(1..) {
            let comma = if number == 1 { "" } else { ", " };
            let _ = write!(sets, "{comma}{} = {}", self.name(*at), self.written(*at, number));
        }
        let text = format!(
            "UPDATE {} SET {sets} WHERE {} = {}",
            self.shape().name,
            self.name(self.table.key),
            self.written(self.table.key, cells.len() + 1)
        );
        self.write(text, cells, Some(key))
    }

    /// The statement that deletes a row.
    fn removal(&self, key: &Value) -> Write {
        let text = format!(
            "DELETE FROM {} WHERE {} = {}",
            self.shape().name,
            self.name(self.table.key),
            self.written(self.table.key, 1)
        );
        self.write(text, &[], Some(key))
    }

    fn write(&self, text: String, cells: &[(usize, Value)], key: Option<&Value>) -> Write {
        let form = |at: usize| self.shape().form(at);
        let mut parameters: Vec<Parameter> =
            cells.iter().map(|(at, value)| parameter(form(*at), value)).collect();
        parameters.extend(key.map(|key| parameter(form(self.table.key), key)));
        Write { text, parameters, listed: None, is_linked: false }
    }

    /// Writes a row, and returns the violated rule if there is one.
    pub(super) fn write_row(&self, write: &StoreWrite) -> std::result::Result<(), WriteError> {
        let cells: &[(usize, Value)] = match write {
            StoreWrite::Insert { cells } | StoreWrite::Update { cells, .. } => cells,
            StoreWrite::Delete { .. } => &[],
        };
        let deletes = write.kind() == WriteKind::Delete;
        let write = self.statement(write)?;
        let params: Vec<&(dyn ToSql + Sync)> =
            write.parameters.iter().map(Parameter::as_sql).collect();
        match self.connection.guarded(&write.text, &params) {
            // A row that is deleted already is right.
            Ok(0) if deletes && !self.is_there(&params)? => Ok(()),
            Ok(0) => Err(WriteError::Rule(Violation::of_dropped_write())),
            Ok(_) => Ok(()),
            Err(error) => {
                let columns = |constraint: &str| self.columns_of(constraint).unwrap_or_default();
                Err(error::of_write(error, self.table, cells, columns))
            }
        }
    }

    /// Whether there is a row with this key, as a parameter.
    fn is_there(&self, key: Params<'_>) -> std::result::Result<bool, WriteError> {
        let (table, column) = (&self.shape().name, self.name(self.table.key));
        let key_text = self.written(self.table.key, 1);
        let select = format!("SELECT FROM {table} WHERE {column} = {key_text}");
        let found = self.connection.first(&select, key);
        Ok(found.map_err(crate::error::Fault::from)?.is_some())
    }

    /// The columns of a constraint or a unique index.
    fn columns_of(&self, constraint: &str) -> Result<Vec<String>> {
        let select = "SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = $1::bigint::oid
            AND a.attnum = ANY(coalesce(
              (SELECT c.conkey FROM pg_constraint AS c WHERE c.conrelid = $1::bigint::oid AND c.conname = $2),
              (SELECT i.indkey::smallint[] FROM pg_index AS i JOIN pg_class AS n ON n.oid = i.indexrelid
               WHERE i.indrelid = $1::bigint::oid AND n.relname = $2)))";
        let rows = self.connection.rows(select, &[&self.shape().relation, &constraint])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
