//! One cell of a row buffer: its tags and its conversion to Rust types.

use super::layout::{damaged, number_at};
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

/// The tag of a cell. Integers use the narrowest width, lengths up to 255 one byte.
pub(super) mod tag {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const INT8: u8 = 1;
    pub(crate) const INT16: u8 = 2;
    pub(crate) const INT32: u8 = 3;
    pub(crate) const INT64: u8 = 4;
    pub(crate) const REAL: u8 = 5;
    pub(crate) const TEXT8: u8 = 6;
    pub(crate) const TEXT32: u8 = 7;
    pub(crate) const BLOB8: u8 = 8;
    pub(crate) const BLOB32: u8 = 9;
    pub(crate) const FALSE: u8 = 10;
    pub(crate) const TRUE: u8 = 11;
}

/// A cell, borrowed from its row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer; 0 or 1 for a boolean.
    Integer(i64),
    /// A double; the sign of zero is kept.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The cell as an owned value.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(number),
            Self::Real(number) => Value::Real(number),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }

    /// Reads the cell at the start of `bytes`; returns it and the remaining bytes.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let (&tag, rest) = bytes.split_first().ok_or_else(cut)?;
        let (payload, after) = rest.split_at_checked(width(tag, rest)?).ok_or_else(cut)?;
        let cell = match tag {
            tag::NULL => Self::Null,
            tag::FALSE => Self::Integer(0),
            tag::TRUE => Self::Integer(1),
            tag::INT8 => Self::Integer(i64::from(i8::from_le_bytes(fixed(payload)?))),
            tag::INT16 => Self::Integer(i64::from(i16::from_le_bytes(fixed(payload)?))),
            tag::INT32 => Self::Integer(i64::from(i32::from_le_bytes(fixed(payload)?))),
            tag::INT64 => Self::Integer(i64::from_le_bytes(fixed(payload)?)),
            tag::REAL => Self::Real(f64::from_le_bytes(fixed(payload)?)),
            tag::TEXT8 => Self::Text(text(&payload[1..])?),
            tag::TEXT32 => Self::Text(text(&payload[4..])?),
            tag::BLOB8 => Self::Blob(&payload[1..]),
            _ => Self::Blob(&payload[4..]),
        };
        Ok((cell, after))
    }

    /// The bytes after the cell at the start of `bytes`.
    pub(super) fn skip(bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (&tag, rest) = bytes.split_first().ok_or_else(cut)?;
        rest.get(width(tag, rest)?..).ok_or_else(cut)
    }

    fn is(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "an integer",
            Self::Real(_) => "a real number",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }

    fn not(self, wanted: &str) -> String {
        format!("it is {}, not {wanted}", self.is())
    }
}

/// The number of bytes after a tag, including the length.
fn width(tag: u8, rest: &[u8]) -> Result<usize> {
    Ok(match tag {
        tag::NULL | tag::FALSE | tag::TRUE => 0,
        tag::INT8 => 1,
        tag::INT16 => 2,
        tag::INT32 => 4,
        tag::INT64 | tag::REAL => 8,
        tag::TEXT8 | tag::BLOB8 => 1 + usize::from(*rest.first().ok_or_else(cut)?),
        tag::TEXT32 | tag::BLOB32 => {
            number_at(rest, 0).and_then(|length| length.checked_add(4)).ok_or_else(cut)?
        }
        _ => return Err(damaged("a cell has an unknown tag")),
    })
}

fn fixed<const N: usize>(payload: &[u8]) -> Result<[u8; N]> {
    payload.try_into().map_err(|_| cut())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| {
        Error::InvalidInput(InputFault::Refused {
            what: "reading a text".to_owned(),
            reason: "it is not UTF-8; cast it to BLOB in the query".to_owned(),
        })
    })
}

fn cut() -> Error {
    damaged("a cell is cut")
}

/// A type that a cell can be converted to.
pub trait FromCell<'a>: Sized {
    /// Converts `cell`; the error is a fragment such as "it is text, not an integer".
    fn from_cell(cell: Cell<'a>) -> Result<Self, String>;
}

/// Identifies a column: its number from 0, or its name.
pub trait ColumnIndex {
    /// The column's number in `columns`.
    fn number(self, columns: &[String]) -> Result<usize>;
}

impl ColumnIndex for usize {
    fn number(self, columns: &[String]) -> Result<usize> {
        if self < columns.len() {
            return Ok(self);
        }
        Err(Error::InvalidInput(InputFault::Refused {
            what: format!("reading column {self}"),
            reason: format!("the result has {} columns", columns.len()),
        }))
    }
}

impl ColumnIndex for &str {
    fn number(self, columns: &[String]) -> Result<usize> {
        columns.iter().position(|name| name == self).ok_or_else(|| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("reading column {self}"),
                reason: format!("the result has the columns {}", columns.join(", ")),
            })
        })
    }
}

impl<'a> FromCell<'a> for Cell<'a> {
    fn from_cell(cell: Cell<'a>) -> Result<Self, String> {
        Ok(cell)
    }
}

impl FromCell<'_> for Value {
    fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
        Ok(cell.to_value())
    }
}

impl<'a, T: FromCell<'a>> FromCell<'a> for Option<T> {
    fn from_cell(cell: Cell<'a>) -> Result<Self, String> {
        if cell == Cell::Null { Ok(None) } else { T::from_cell(cell).map(Some) }
    }
}

impl FromCell<'_> for i64 {
    fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
        match cell {
            Cell::Integer(number) => Ok(number),
            other => Err(other.not("an integer")),
        }
    }
}

macro_rules! narrower {
    ($($type:ty),+) => {$(
        impl FromCell<'_> for $type {
            fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
                let number = i64::from_cell(cell)?;
                number.try_into().map_err(|_| format!("{number} does not fit {}", stringify!($type)))
            }
        }
    )+};
}
narrower!(i8, i16, i32, u8, u16, u32, u64, usize);

impl FromCell<'_> for bool {
    fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
        match cell {
            Cell::Integer(0) => Ok(false),
            Cell::Integer(1) => Ok(true),
            Cell::Integer(number) => Err(format!("{number} is neither 0 nor 1")),
            other => Err(other.not("a truth value")),
        }
    }
}

/// A floating-point type: an integer converts only if exact (`sum(x)` of integers is an integer), a
/// real number to the nearest one.
macro_rules! floating {
    ($($type:ty),+) => {$(
        impl FromCell<'_> for $type {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Verified below.
            fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
                match cell {
                    Cell::Real(number) => {
                        let nearest = number as Self;
                        let fits = nearest.is_finite() || !number.is_finite();
                        fits.then_some(nearest).ok_or_else(|| format!("{number:?} does not fit {}", stringify!($type)))
                    }
                    Cell::Integer(number) => {
                        let nearest = number as Self;
                        // In 128 bits, because the largest integers round to 2^63.
                        let same = nearest as i128 == i128::from(number);
                        same.then_some(nearest).ok_or_else(|| format!("{number} does not fit {}", stringify!($type)))
                    }
                    other => Err(other.not("a real number")),
                }
            }
        }
    )+};
}
floating!(f32, f64);

impl<'a> FromCell<'a> for &'a str {
    fn from_cell(cell: Cell<'a>) -> Result<Self, String> {
        match cell {
            Cell::Text(text) => Ok(text),
            other => Err(other.not("text")),
        }
    }
}

impl FromCell<'_> for String {
    fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
        <&str>::from_cell(cell).map(str::to_owned)
    }
}

impl<'a> FromCell<'a> for &'a [u8] {
    fn from_cell(cell: Cell<'a>) -> Result<Self, String> {
        match cell {
            Cell::Blob(bytes) => Ok(bytes),
            other => Err(other.not("bytes")),
        }
    }
}

impl FromCell<'_> for Vec<u8> {
    fn from_cell(cell: Cell<'_>) -> Result<Self, String> {
        <&[u8]>::from_cell(cell).map(<[u8]>::to_vec)
    }
}
