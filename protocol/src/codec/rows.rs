//! Streaming codec for pages of rows as arrays of cells.
//!
//! A JSON reader has validated the text of a [`RawValue`], so one scan finds the ends of the cells.
//! On invalid text the scan returns an error and never panics.

use serde_json::value::RawValue;

use super::value::{CodecError, cell, encode, is_bare, is_textual, refuse, text_as};
use crate::{ColumnKind, Value};

/// Reads `[[cell, ...], ...]` row by row, holding one row at a time; returns the number of rows.
///
/// Every row must have one cell per kind. Stops at the first error. The callback may take the
/// cells.
pub fn each_row<E>(
    rows: &RawValue,
    kinds: &[ColumnKind],
    mut each: impl FnMut(&mut Vec<Value>) -> Result<(), E>,
) -> Result<usize, RowError<E>> {
    let mut text = Scanner { text: rows.get(), at: 0 };
    let mut cells = Vec::with_capacity(kinds.len());
    let mut count = 0;
    text.expect(b'[').map_err(RowError::Decode)?;
    if !text.take(b']') {
        loop {
            row(&mut text, kinds, &mut cells).map_err(|error| {
                RowError::Decode(CodecError { why: format!("row {count}: {error}") })
            })?;
            each(&mut cells).map_err(RowError::Each)?;
            count += 1;
            if text.take(b']') {
                break;
            }
            text.expect(b',').map_err(RowError::Decode)?;
        }
    }
    text.end().map_err(RowError::Decode)?;
    Ok(count)
}

/// Why [`each_row`] stopped.
#[derive(Debug)]
pub enum RowError<E> {
    /// The text is not an array of rows of these kinds.
    Decode(CodecError),
    /// The callback failed.
    Each(E),
}

fn row(
    text: &mut Scanner<'_>,
    kinds: &[ColumnKind],
    cells: &mut Vec<Value>,
) -> Result<(), CodecError> {
    cells.resize(kinds.len(), Value::Null);
    text.expect(b'[')?;
    for (at, kind) in kinds.iter().enumerate() {
        if at > 0 && !text.take(b',') {
            return refuse(format!("{at} cells where {} are expected", kinds.len()));
        }
        read_cell(text, *kind, &mut cells[at])
            .map_err(|error| CodecError { why: format!("cell {at}: {error}") })?;
    }
    if text.take(b']') {
        return Ok(());
    }
    refuse(format!("more than {} cells", kinds.len()))
}

fn read_cell(text: &mut Scanner<'_>, kind: ColumnKind, into: &mut Value) -> Result<(), CodecError> {
    match (text.bare_string(), into) {
        // Reuses the string of the previous row, to avoid an allocation.
        (Some(bare), Value::Text(old)) if is_textual(kind) => {
            old.clear();
            old.push_str(bare);
        }
        (Some(bare), into) => *into = text_as(bare, kind)?,
        (None, into) => *into = cell(text.token()?, kind)?,
    }
    Ok(())
}

/// Finds the ends of tokens. Its position is always a character boundary: single steps are over
/// ASCII.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), CodecError> {
        if self.take(byte) {
            return Ok(());
        }
        refuse(format!("no {:?} at byte {}", char::from(byte), self.at))
    }

    fn end(&mut self) -> Result<(), CodecError> {
        if self.peek().is_none() { Ok(()) } else { refuse("text after the rows") }
    }

    /// The next value if it is a string without escapes, without its quotes.
    fn bare_string(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let end = start + bare_length(rest);
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// The next value, complete.
    fn token(&mut self) -> Result<&'a str, CodecError> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => self.skip_string()?,
            Some(b'{' | b'[') => self.skip_nested()?,
            _ => {
                let rest = &self.text.as_bytes()[start..];
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        match self.text.get(start..self.at) {
            Some(token) if !token.is_empty() => Ok(token),
            _ => refuse("no cell"),
        }
    }

    fn skip_string(&mut self) -> Result<(), CodecError> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        refuse("a string without an end")
    }

    fn skip_nested(&mut self) -> Result<(), CodecError> {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        refuse("an array or object without an end")
    }
}

/// Length of the prefix without escapes; tests sixteen bytes at a time.
fn bare_length(bytes: &[u8]) -> usize {
    let all_bare = |chunk: &[u8]| chunk.iter().fold(true, |bare, byte| bare & is_bare(*byte));
    let whole = 16 * bytes.chunks_exact(16).take_while(|chunk| all_bare(chunk)).count();
    let rest = &bytes[whole..];
    whole + rest.iter().position(|byte| !is_bare(*byte)).unwrap_or(rest.len())
}

/// Writes `[[cell, ...], ...]` row by row, for [`crate::wire::RowSet`].
#[derive(Debug)]
pub struct RowsWriter {
    text: String,
}

impl Default for RowsWriter {
    fn default() -> Self {
        Self { text: String::from("[") }
    }
}

impl RowsWriter {
    /// Adds a row.
    ///
    /// # Errors
    /// The index and error of the first cell that [`encode`] refuses; the row is not added.
    pub fn push<'a>(
        &mut self,
        cells: impl IntoIterator<Item = (&'a Value, ColumnKind)>,
    ) -> Result<(), (usize, CodecError)> {
        let before = self.text.len();
        self.text.push_str(if before == 1 { "[" } else { ",[" });
        for (at, (value, kind)) in cells.into_iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            if let Err(error) = encode(value, kind, &mut self.text) {
                self.text.truncate(before);
                return Err((at, error));
            }
        }
        self.text.push(']');
        Ok(())
    }

    /// The number of bytes so far, to limit the page size.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// The rows.
    ///
    /// # Errors
    /// Never for rows of [`RowsWriter::push`]; the type of raw JSON requires a check.
    pub fn finish(mut self) -> Result<Box<RawValue>, CodecError> {
        self.text.push(']');
        RawValue::from_string(self.text).map_err(|error| CodecError { why: error.to_string() })
    }
}
