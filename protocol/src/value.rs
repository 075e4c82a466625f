//! One cell: the five storage classes of SQLite, exactly.

/// A value as SQLite stores it. Integers keep all 64 bits; nothing goes through floating point.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// SQL NULL, which is a value and not "absent".
    #[default]
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// UTF-8 text without NUL.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A key in wire format: text unchanged, an integer as digits; other classes cannot be keys.
    pub fn to_id(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Integer(i64::from(truth))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(feature = "rusqlite")]
mod sqlite {
    use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

    use super::Value;

    impl ToSql for Value {
        fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
            Ok(ToSqlOutput::Borrowed(match self {
                Self::Null => ValueRef::Null,
                Self::Integer(number) => ValueRef::Integer(*number),
                Self::Real(number) => ValueRef::Real(*number),
                Self::Text(text) => ValueRef::Text(text.as_bytes()),
                Self::Blob(bytes) => ValueRef::Blob(bytes),
            }))
        }
    }

    impl FromSql for Value {
        fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
            Ok(match value {
                ValueRef::Null => Self::Null,
                ValueRef::Integer(number) => Self::Integer(number),
                ValueRef::Real(number) => Self::Real(number),
                ValueRef::Text(text) => Self::Text(
                    std::str::from_utf8(text)
                        .map_err(|error| FromSqlError::Other(Box::new(error)))?
                        .to_owned(),
                ),
                ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
            })
        }
    }
}

#[cfg(all(test, feature = "rusqlite"))]
mod tests {
    use rusqlite::types::{FromSql, ToSql, ToSqlOutput, ValueRef};

    use super::Value;

    #[test]
    fn storage_class_survives_binding_and_reading() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Real(5e-324),
            Value::Real(f64::INFINITY),
            Value::from(""),
            Value::from("B\u{e4}ckerei \u{1f35e}"),
            Value::Blob(Vec::new()),
            Value::Blob((0..=255).collect()),
        ];
        for value in values {
            let Ok(ToSqlOutput::Borrowed(bound)) = value.to_sql() else {
                panic!("{value:?} is bound as something else");
            };
            assert_eq!(Value::column_result(bound).ok(), Some(value.clone()));
        }
    }

    #[test]
    fn non_utf8_text_is_an_error() {
        assert!(Value::column_result(ValueRef::Text(&[0xff])).is_err());
    }
}
