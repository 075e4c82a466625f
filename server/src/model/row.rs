//! Rows as data: cells, pages, locks on keys, and the rule that a write violated.

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;

use super::schema::Table;

/// A row: one cell per column of its table, including generated ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The cells.
    pub cells: Vec<Value>,
}

impl Row {
    /// The cell at this position; NULL if the table has no such column.
    pub fn cell(&self, at: usize) -> &Value {
        const NULL: &Value = &Value::Null;
        self.cells.get(at).unwrap_or(NULL)
    }

    /// Approximate size of the cells in bytes, for the page limit.
    pub fn weight(&self) -> usize {
        let weight = |cell: &Value| match cell {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len() / 3 * 4,
            _ => 8,
        };
        self.cells.iter().map(weight).sum()
    }

    /// The row's key in its wire form.
    pub fn id(&self, table: &Table) -> String {
        self.cell(table.key).to_id().unwrap_or_default()
    }

    /// The row's version in canonical text.
    pub fn version(&self, table: &Table) -> String {
        self.cell(table.updated_at).as_text().unwrap_or_default().to_owned()
    }

    /// Whether the row is soft-deleted.
    pub fn is_deleted(&self, table: &Table) -> bool {
        table.deleted_at.is_some_and(|at| !self.cell(at).is_null())
    }
}

/// A stored row, deleted or not, with the user's access to it.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// The cells.
    pub row: Row,
    /// Whether the user may read it.
    pub readable: bool,
    /// Whether the user may write it.
    pub writable: bool,
}

impl StoredRow {
    /// A row whose buckets give the user these rights. A row that the user may not read is not written
    /// either: its values would show in the verdict.
    pub(crate) fn new(row: Row, readable: bool, may_write: bool) -> Self {
        Self { row, readable, writable: readable && may_write }
    }
}

/// The size limit of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Most rows.
    pub rows: usize,
    /// The page ends once its rows hold this many bytes. It always contains at least one row.
    pub bytes: usize,
}

/// Rows of a table, in key order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether no rows follow.
    pub ends: bool,
}

/// A key that a transaction reserves, whether or not there is a row with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLock {
    /// The table's number.
    pub table: i64,
    /// The row's key as text.
    pub id: String,
    /// Whether the row may be written. Any number of transactions share a key that they only read.
    pub is_written: bool,
}

/// A rule of the database that a write violated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// One of [`rejoin_protocol::wire::code`].
    pub code: &'static str,
    /// The column, if the database names one.
    pub column: Option<String>,
    /// The message for people; it names rules and columns, no values.
    pub message: String,
    /// Whether other rows decide it: the same write may succeed once they are written.
    pub is_among_rows: bool,
}

impl Violation {
    /// For a write that the database has dropped without an error.
    pub(crate) fn of_dropped_write() -> Self {
        let message = "a trigger or a rule of the table has dropped the write";
        let (code, message) = (code::CONSTRAINT_TRIGGER, String::from(message));
        Self { code, column: None, message, is_among_rows: false }
    }

    /// Whether another row already has the key of the new row.
    pub(crate) fn is_key_taken(&self, table: &Table) -> bool {
        let key = table.columns.get(table.key).map(|column| column.name.as_str());
        self.code == code::CONSTRAINT_UNIQUE && self.column.as_deref() == key
    }
}
