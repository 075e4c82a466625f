//! Building a row buffer from a running statement or from values.

use rusqlite::types::ValueRef;

use super::RowBuffer;
use super::cell::tag;
use super::layout::{HEADER, MAGIC};
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

/// The bytes that are allocated for any result.
const LEAST: usize = 1024;

/// The most bytes that are allocated for a result before its rows are read.
const MOST_EXPECTED: usize = 64 << 10;

/// Builds a [`RowBuffer`], row by row.
#[derive(Debug)]
pub struct Encoder {
    bytes: Vec<u8>,
    columns: usize,
    /// For each column whether it is declared BOOLEAN; empty if none is.
    booleans: Vec<bool>,
    body: usize,
    /// The start of each row, relative to the first row.
    starts: Vec<u32>,
}

impl Encoder {
    /// Creates a buffer for rows with these columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::with_capacity(LEAST);
        bytes.extend_from_slice(&MAGIC);
        bytes.resize(HEADER, 0);
        let mut count = 0;
        for name in columns {
            count += 1;
            // SQLite limits statements, and so names, to far less than 4 GiB.
            bytes.extend_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        let body = bytes.len();
        Self { bytes, columns: count, booleans: Vec::new(), body, starts: Vec::new() }
    }

    /// Creates a buffer for the rows of a statement. Integers 0 and 1 of a result column that is a
    /// table's column of the declared type BOOLEAN are encoded as booleans.
    pub fn of(statement: &rusqlite::Statement<'_>) -> Self {
        let is_boolean = |column: rusqlite::Column<'_>| {
            column.decl_type().is_some_and(|declared| declared.eq_ignore_ascii_case("BOOLEAN"))
        };
        let mut booleans: Vec<bool> = statement.columns().map(is_boolean).collect();
        if !booleans.contains(&true) {
            booleans.clear();
        }
        Self { booleans, ..Self::new(statement.column_names()) }
    }

    /// Allocates for a result of this length at once. An allocation that grows may be copied each
    /// time.
    pub(crate) fn expecting(mut self, length: usize) -> Self {
        let further = length.min(MOST_EXPECTED).saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(further);
        self
    }

    /// Adds the current row of a statement.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if the result exceeds 4 GiB.
    pub fn step(&mut self, row: &rusqlite::Row<'_>) -> Result<()> {
        self.start()?;
        for column in 0..self.columns {
            let cell = row.get_ref(column).map_err(|error| InputFault::Sql(error.to_string()))?;
            match cell {
                ValueRef::Null => self.bytes.push(tag::NULL),
                ValueRef::Integer(number @ 0..=1) if self.is_boolean(column) => {
                    self.bytes.push(if number == 0 { tag::FALSE } else { tag::TRUE });
                }
                ValueRef::Integer(number) => self.integer(number),
                ValueRef::Real(number) => self.real(number),
                ValueRef::Text(text) => self.run(tag::TEXT8, text)?,
                ValueRef::Blob(bytes) => self.run(tag::BLOB8, bytes)?,
            }
        }
        Ok(())
    }

    /// Adds a row of values, one per column.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if the number of values differs from the number of columns, or the result
    /// exceeds 4 GiB.
    pub fn row(&mut self, values: &[Value]) -> Result<()> {
        if values.len() != self.columns {
            return Err(InputFault::Refused {
                what: format!("a row of {} values", values.len()),
                reason: format!("the result has {} columns", self.columns),
            }
            .into());
        }
        self.start()?;
        for value in values {
            match value {
                Value::Null => self.bytes.push(tag::NULL),
                Value::Integer(number) => self.integer(*number),
                Value::Real(number) => self.real(*number),
                Value::Text(text) => self.run(tag::TEXT8, text.as_bytes())?,
                Value::Blob(bytes) => self.run(tag::BLOB8, bytes)?,
            }
        }
        Ok(())
    }

    /// The finished buffer.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if it exceeds 4 GiB.
    pub fn finish(mut self) -> Result<RowBuffer> {
        let rows_length = self.bytes.len() - self.body;
        let lengths = [self.columns, self.starts.len(), self.body - HEADER, rows_length];
        for (place, length) in lengths.into_iter().enumerate() {
            let length = u32::try_from(length).map_err(|_| too_large())?;
            self.bytes[4 + 4 * place..][..4].copy_from_slice(&length.to_le_bytes());
        }
        self.bytes.reserve_exact(4 * self.starts.len());
        for start in &self.starts {
            self.bytes.extend_from_slice(&start.to_le_bytes());
        }
        // A result that is shorter than expected keeps no more memory than one that grew.
        self.bytes.shrink_to((2 * self.bytes.len()).max(LEAST));
        RowBuffer::from_bytes(self.bytes)
    }

    fn start(&mut self) -> Result<()> {
        let start = u32::try_from(self.bytes.len() - self.body).map_err(|_| too_large())?;
        self.starts.push(start);
        Ok(())
    }

    fn is_boolean(&self, column: usize) -> bool {
        self.booleans.get(column).copied().unwrap_or(false)
    }

    fn integer(&mut self, number: i64) {
        if let Ok(number) = i8::try_from(number) {
            self.bytes.extend_from_slice(&[tag::INT8, number.to_le_bytes()[0]]);
        } else if let Ok(number) = i16::try_from(number) {
            let [a, b] = number.to_le_bytes();
            self.bytes.extend_from_slice(&[tag::INT16, a, b]);
        } else if let Ok(number) = i32::try_from(number) {
            let [a, b, c, d] = number.to_le_bytes();
            self.bytes.extend_from_slice(&[tag::INT32, a, b, c, d]);
        } else {
            self.wide(tag::INT64, number.to_le_bytes());
        }
    }

    fn real(&mut self, number: f64) {
        self.wide(tag::REAL, number.to_le_bytes());
    }

    fn wide(&mut self, tag: u8, payload: [u8; 8]) {
        let mut cell = [tag; 9];
        cell[1..].copy_from_slice(&payload);
        self.bytes.extend_from_slice(&cell);
    }

    /// Writes text or bytes: tag `short` with a one-byte length, or the next tag with four bytes.
    fn run(&mut self, short: u8, payload: &[u8]) -> Result<()> {
        if let Ok(length) = u8::try_from(payload.len()) {
            self.bytes.extend_from_slice(&[short, length]);
        } else {
            let length = u32::try_from(payload.len()).map_err(|_| too_large())?;
            self.bytes.push(short + 1);
            self.bytes.extend_from_slice(&length.to_le_bytes());
        }
        self.bytes.extend_from_slice(payload);
        Ok(())
    }
}

fn too_large() -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: "a result larger than 4 GiB".to_owned(),
        reason: "ask for it in parts, with LIMIT".to_owned(),
    })
}
