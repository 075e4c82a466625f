//! Values and statements at the FFI boundary.

use rejoin_core::{RowBuffer, Value};
use rejoin_ffi_bytes::FfiBytes;

use crate::error::{RejoinError, Result};

/// A value as SQLite stores it. Integers keep all 64 bits; nothing goes through floating point.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum SqlValue {
    /// NULL.
    Null,
    /// An integer.
    Integer {
        /// 64 bits, signed.
        value: i64,
    },
    /// A real number.
    Real {
        /// Double precision; SQLite stores NaN as NULL.
        value: f64,
    },
    /// Text.
    Text {
        /// Unicode without NUL characters.
        value: String,
    },
    /// Bytes.
    Blob {
        /// The bytes.
        value: FfiBytes,
    },
}

/// A statement with its parameters.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Statement {
    /// One SQL statement.
    pub sql: String,
    /// A value for each `?`, in order.
    #[uniffi(default = [])]
    pub params: Vec<SqlValue>,
}

impl From<SqlValue> for Value {
    fn from(value: SqlValue) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Integer { value } => Self::Integer(value),
            SqlValue::Real { value } => Self::Real(value),
            SqlValue::Text { value } => Self::Text(value),
            SqlValue::Blob { value } => Self::Blob(value.0.into()),
        }
    }
}

impl From<Value> for SqlValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer { value },
            Value::Real(value) => Self::Real { value },
            Value::Text(value) => Self::Text { value },
            Value::Blob(value) => Self::Blob { value: value.into() },
        }
    }
}

/// Parameters for the core.
pub(crate) fn values(params: Vec<SqlValue>) -> Vec<Value> {
    params.into_iter().map(Value::from).collect()
}

/// Statements for the core.
pub(crate) fn statements(statements: Vec<Statement>) -> Vec<(String, Vec<Value>)> {
    statements.into_iter().map(|statement| (statement.sql, values(statement.params))).collect()
}

/// Converts a count to 32 bits; real counts are far below the limit.
pub(crate) fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Converts a number of rows, which SQLite counts in 64 signed bits.
pub(crate) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The number of changed rows of each statement.
pub(crate) fn counts(rows: Vec<usize>) -> Vec<i64> {
    rows.into_iter().map(count).collect()
}

/// A result as bytes; UniFFI limits it to 31 bits.
pub(crate) fn bytes(rows: &RowBuffer) -> Result<FfiBytes> {
    let bytes = rows.as_bytes();
    crosses(bytes.len())?;
    Ok(FfiBytes(bytes.clone()))
}

fn crosses(length: usize) -> Result<()> {
    if i32::try_from(length).is_ok() {
        return Ok(());
    }
    let reason =
        format!("a result of {length} bytes is too large for one call; ask for it in parts");
    Err(RejoinError::InvalidInput { reason })
}

#[cfg(test)]
mod tests {
    use super::crosses;

    #[test]
    fn result_of_two_gigabytes_is_refused_with_a_remedy() {
        assert_eq!(crosses((1 << 31) - 1), Ok(()));
        let refusal = crosses(1 << 31).unwrap_err().to_string();
        assert!(refusal.contains("ask for it in parts"), "{refusal}");
    }
}
