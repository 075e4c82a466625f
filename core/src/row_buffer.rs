//! Query results as one block of bytes, decoded on access (`docs/row-buffer.md`).
//!
//! Queries return a [`RowBuffer`], watches deliver it, and other languages read it: column names,
//! rows, and the start of each row. Building one copies each cell once and allocates nothing per
//! row. Two results are equal if and only if their bytes are. Damaged bytes cause errors, never a
//! panic.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, InputFault, Result};

mod cell;
mod decode;
mod encode;
mod layout;

pub use cell::{Cell, ColumnIndex, FromCell};
pub use encode::Encoder;
pub use layout::MAGIC;
use layout::{HEADER, damaged, number_at};

/// The rows of a result. A clone shares the bytes.
///
/// ```
/// use rejoin_core::row_buffer::{Encoder, RowBuffer};
/// use rejoin_core::value::Value;
///
/// let mut encoder = Encoder::new(["id", "title"]);
/// encoder.row(&[Value::from("a"), Value::from("buy milk")])?;
/// let rows = encoder.finish()?;
/// let same = RowBuffer::from_bytes(rows.as_bytes().clone())?;
/// for row in &same {
///     assert_eq!(row.get::<&str>("title")?, "buy milk");
/// }
/// # Ok::<(), rejoin_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RowBuffer {
    inner: Arc<Inner>,
}

struct Inner {
    bytes: Bytes,
    columns: Vec<String>,
    rows: usize,
    /// The range of the cells in `bytes`; the row index follows.
    body: std::ops::Range<usize>,
}

/// A row of a [`RowBuffer`]; its cells are decoded on access.
#[derive(Clone)]
pub struct Row<'a> {
    buffer: Holder<'a>,
    number: usize,
}

#[derive(Clone)]
enum Holder<'a> {
    Borrowed(&'a RowBuffer),
    Owned(RowBuffer),
}

impl RowBuffer {
    /// Reads the header of `bytes`; cells are checked on access.
    ///
    /// # Errors
    /// [`Error::Internal`] if these are not the complete bytes of a row buffer.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let header = bytes.get(..HEADER).ok_or_else(|| damaged("shorter than its header"))?;
        if header[..4] != MAGIC {
            return Err(damaged("does not begin with RJB1"));
        }
        let number = |at: usize| number_at(&bytes, at).unwrap_or(0);
        let (columns, rows) = (number(4), number(8));
        let names_end = HEADER.saturating_add(number(12));
        let body = names_end..names_end.saturating_add(number(16));
        let end = rows.checked_mul(4).and_then(|index| body.end.checked_add(index));
        if end != Some(bytes.len()) {
            return Err(damaged("its lengths do not add up"));
        }
        let columns = names(&bytes[HEADER..names_end], columns)?;
        Ok(Self { inner: Arc::new(Inner { bytes, columns, rows, body }) })
    }

    /// The names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.inner.columns
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.inner.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.inner.rows == 0
    }

    /// The row with this number, from 0.
    pub fn row(&self, number: usize) -> Option<Row<'_>> {
        (number < self.len()).then_some(Row { buffer: Holder::Borrowed(self), number })
    }

    /// The first row, owning its buffer.
    pub fn into_first(self) -> Option<Row<'static>> {
        (!self.is_empty()).then_some(Row { buffer: Holder::Owned(self), number: 0 })
    }

    /// The rows, in order.
    pub fn iter(&self) -> Rows<'_> {
        Rows { buffer: self, next: 0 }
    }

    /// The bytes, as passed to other languages.
    pub fn as_bytes(&self) -> &Bytes {
        &self.inner.bytes
    }

    /// The start of a row; past the end if the index is damaged.
    fn start_of(&self, row: usize) -> usize {
        let inner = &self.inner;
        number_at(&inner.bytes, inner.body.end + 4 * row)
            .map_or(usize::MAX, |offset| inner.body.start.saturating_add(offset))
    }

    /// The bytes of the cells from this row on.
    fn cells_from(&self, row: usize) -> &[u8] {
        self.inner.bytes.get(self.start_of(row)..self.inner.body.end).unwrap_or(&[])
    }
}

impl PartialEq for RowBuffer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.bytes == other.inner.bytes
    }
}

impl Eq for RowBuffer {}

impl fmt::Debug for RowBuffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RowBuffer")
            .field("columns", &self.columns())
            .field("rows", &self.len())
            .field("bytes", &self.inner.bytes.len())
            .finish()
    }
}

impl<'a> IntoIterator for &'a RowBuffer {
    type Item = Row<'a>;
    type IntoIter = Rows<'a>;

    fn into_iter(self) -> Rows<'a> {
        self.iter()
    }
}

/// The rows of a buffer, in order.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    buffer: &'a RowBuffer,
    next: usize,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let row = self.buffer.row(self.next)?;
        self.next += 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.buffer.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Rows<'_> {}

impl Row<'_> {
    /// A cell as a Rust value, by the column's number or name.
    ///
    /// # Errors
    /// [`InputFault::Refused`] if the column does not exist or has another type; the message names both.
    pub fn get<'r, T: FromCell<'r>>(&'r self, column: impl ColumnIndex) -> Result<T> {
        let number = column.number(self.columns())?;
        T::from_cell(self.cell(number)?).map_err(|why| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("reading column {}", self.columns()[number]),
                reason: why,
            })
        })
    }

    /// A cell as it is stored.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn cell(&self, column: impl ColumnIndex) -> Result<Cell<'_>> {
        Ok(Cell::read(self.cell_bytes(column)?)?.0)
    }

    /// The encoded cell with its tag: equal if and only if the cell is.
    pub(crate) fn cell_bytes(&self, column: impl ColumnIndex) -> Result<&[u8]> {
        let number = column.number(self.columns())?;
        // Cells have no index: rows are narrow, and skipping a cell only reads its tag.
        let mut rest = self.buffer().cells_from(self.number);
        for _ in 0..number {
            rest = Cell::skip(rest)?;
        }
        let after = Cell::skip(rest)?;
        Ok(&rest[..rest.len() - after.len()])
    }

    /// All cells, in order; stops at the first damaged one.
    pub fn cells(&self) -> impl Iterator<Item = Result<Cell<'_>>> {
        let mut rest = self.buffer().cells_from(self.number);
        let mut left = self.columns().len();
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let read = Cell::read(rest).map(|(cell, after)| {
                rest = after;
                cell
            });
            if read.is_err() {
                left = 0;
            }
            Some(read)
        })
    }

    /// The names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        self.buffer().columns()
    }

    /// The encoded row: equal if and only if all cells are.
    pub(crate) fn bytes(&self) -> &[u8] {
        let cells = self.buffer().cells_from(self.number);
        if self.number + 1 == self.buffer().len() {
            return cells;
        }
        let start = self.buffer().start_of(self.number);
        let length = self.buffer().start_of(self.number + 1).saturating_sub(start);
        cells.get(..length).unwrap_or(cells)
    }

    fn buffer(&self) -> &RowBuffer {
        match &self.buffer {
            Holder::Borrowed(buffer) => buffer,
            Holder::Owned(buffer) => buffer,
        }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.columns().iter().zip(self.cells())).finish()
    }
}

fn names(mut bytes: &[u8], count: usize) -> Result<Vec<String>> {
    // Each name takes at least four bytes, which bounds the memory for a damaged count.
    if count > bytes.len() / 4 {
        return Err(damaged("more columns than names"));
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number_at(bytes, 0).ok_or_else(|| damaged("a name is cut"))?;
        let end = length.checked_add(4).ok_or_else(|| damaged("a name is cut"))?;
        let name = bytes.get(4..end).ok_or_else(|| damaged("a name is cut"))?;
        let name = std::str::from_utf8(name).map_err(|_| damaged("a name is not UTF-8"))?;
        names.push(name.to_owned());
        bytes = &bytes[end..];
    }
    if bytes.is_empty() { Ok(names) } else { Err(damaged("something follows the names")) }
}

#[cfg(test)]
mod tests;
