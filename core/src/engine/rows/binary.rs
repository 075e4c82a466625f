//! Binary encoding of the queue: variable-length integers, values, keys.
//!
//! Pure. A [`BinaryReader`] reads back exactly what a [`BinaryWriter`] wrote; anything else is [`Malformed`],
//! never a panic and never a large allocation. Integers are zigzag varints, so that small ones take
//! a byte and `i64::MIN` ten.

use crate::engine::rows::patch::RowKey;
use crate::error::StorageFault;
use crate::ids::TableNumber;
use crate::value::Value;

/// Bytes that no release of this engine writes: the file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for crate::Error {
    fn from(malformed: Malformed) -> Self {
        StorageFault::Corrupt(malformed.to_string()).into()
    }
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// Bytes of memory that a cleared writer keeps.
pub(crate) const KEPT: usize = 1 << 20;

/// Appends to a buffer.
#[derive(Debug, Default)]
pub struct BinaryWriter {
    bytes: Vec<u8>,
}

impl BinaryWriter {
    /// An empty writer with room for a small mutation.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(128) }
    }

    /// An empty writer with room for `bytes` bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// The written bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes one byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Writes an unsigned number.
    pub fn unsigned(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    /// Writes a signed number.
    pub fn signed(&mut self, number: i64) {
        self.unsigned(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Writes a length.
    pub fn length(&mut self, length: usize) {
        self.unsigned(length as u64);
    }

    /// Writes bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes a value with its storage class.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Integer(number) => self.integer(*number),
            Value::Real(number) => self.real(*number),
            Value::Text(text) => self.text(text.as_bytes()),
            Value::Blob(bytes) => self.blob(bytes),
        }
    }

    /// Writes NULL.
    pub fn null(&mut self) {
        self.byte(NULL);
    }

    /// Writes an integer as a value.
    pub fn integer(&mut self, number: i64) {
        self.byte(INTEGER);
        self.signed(number);
    }

    /// Writes a double, exactly.
    pub fn real(&mut self, number: f64) {
        self.byte(REAL);
        self.bytes.extend_from_slice(&number.to_bits().to_le_bytes());
    }

    /// Writes text, which must be UTF-8.
    pub fn text(&mut self, text: &[u8]) {
        self.byte(TEXT);
        self.bytes(text);
    }

    /// Writes a blob.
    pub fn blob(&mut self, bytes: &[u8]) {
        self.byte(BLOB);
        self.bytes(bytes);
    }

    /// Writes bytes that another writer has encoded.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes written so far.
    pub fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Truncates the buffer to `length`.
    pub fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Clears the buffer. Its memory is kept for reuse, up to 1 MiB.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }

    /// Overwrites the bytes at `at`.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes the table and key of a row.
    pub fn row(&mut self, row: &RowKey) {
        self.unsigned(u64::from(row.table.0));
        self.value(&row.key);
    }
}

/// Reads what a [`BinaryWriter`] wrote.
#[derive(Debug, Clone)]
pub struct BinaryReader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> BinaryReader<'a> {
    /// A reader over `bytes`; `what` names them in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    /// The error for these bytes.
    pub fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    /// The unread bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Fails unless all was read.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.bytes.split_first().ok_or(Malformed(self.what))?;
        self.bytes = rest;
        Ok(*first)
    }

    /// Reads an unsigned number.
    pub fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(self.malformed());
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.malformed())
    }

    /// Reads a number of 32 bits.
    pub fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.unsigned()?).map_err(|_| self.malformed())
    }

    /// Reads a signed number.
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.unsigned()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Reads the number of items that follow, each at least one byte long.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| self.malformed())?;
        if length > self.bytes.len() {
            return Err(self.malformed());
        }
        Ok(length)
    }

    /// Reads bytes with their length.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Malformed(self.what))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Reads a value.
    pub fn value(&mut self) -> Result<Value, Malformed> {
        Ok(match self.byte()? {
            NULL => Value::Null,
            INTEGER => Value::Integer(self.signed()?),
            REAL => {
                let bits = self.take(8)?.try_into().map_err(|_| self.malformed())?;
                Value::Real(f64::from_bits(u64::from_le_bytes(bits)))
            }
            TEXT => {
                let text = std::str::from_utf8(self.bytes()?).map_err(|_| self.malformed())?;
                Value::Text(text.to_owned())
            }
            BLOB => Value::Blob(self.bytes()?.to_vec()),
            _ => return Err(self.malformed()),
        })
    }

    /// Skips a value.
    pub fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.byte()? {
            NULL => {}
            INTEGER => {
                self.unsigned()?;
            }
            REAL => {
                self.take(8)?;
            }
            TEXT | BLOB => {
                self.bytes()?;
            }
            _ => return Err(self.malformed()),
        }
        Ok(())
    }

    /// Reads the table and key of a row.
    pub fn row(&mut self) -> Result<RowKey, Malformed> {
        Ok(RowKey { table: TableNumber(self.small()?), key: self.value()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_storage_class_survive_encoding() {
        let values = [
            Value::Null,
            Value::Integer(0),
            Value::Integer(-1),
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Real(-0.0),
            Value::Real(f64::MIN_POSITIVE),
            Value::Text(String::new()),
            Value::Text("z\u{fc}rich".to_owned()),
            Value::Blob(vec![]),
            Value::Blob(vec![0, 255, 128]),
        ];
        let mut writer = BinaryWriter::new();
        for value in &values {
            writer.value(value);
        }
        let bytes = writer.finish();
        let mut reader = BinaryReader::new(&bytes, "test");
        for value in &values {
            let read = reader.value().unwrap();
            assert_eq!(format!("{value:?}"), format!("{read:?}"));
        }
        reader.end().unwrap();
        let mut reader = BinaryReader::new(&bytes, "test");
        for _ in &values {
            reader.skip_value().unwrap();
        }
        reader.end().unwrap();
    }
}
