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

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
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

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

/// Fails above `i64::MAX`, the largest integer of SQLite.
impl TryFrom<u64> for Value {
    type Error = std::num::TryFromIntError;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        i64::try_from(number).map(Self::Integer)
    }
}

/// Fails above `i64::MAX`, the largest integer of SQLite.
impl TryFrom<usize> for Value {
    type Error = std::num::TryFromIntError;

    fn try_from(number: usize) -> Result<Self, Self::Error> {
        i64::try_from(number).map(Self::Integer)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// JSON by storage class, without a schema: `null`, a number without a point, a number with a point,
/// text, `{"bytes": base64}`. Infinities are `{"real": "inf"}` and `{"real": "-inf"}`.
mod json {
    use std::fmt;

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::de::{Error, MapAccess, Visitor};
    use serde::ser::SerializeMap as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Value;

    const BYTES: &str = "bytes";
    const REAL: &str = "real";

    impl Serialize for Value {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let tagged = |serializer: S, tag, text: &str| {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(tag, text)?;
                map.end()
            };
            match self {
                Self::Null => serializer.serialize_unit(),
                Self::Integer(number) => serializer.serialize_i64(*number),
                Self::Real(number) if number.is_finite() => serializer.serialize_f64(*number),
                // NaN does not occur: SQLite stores it as NULL.
                Self::Real(number) => {
                    tagged(serializer, REAL, if *number < 0.0 { "-inf" } else { "inf" })
                }
                Self::Text(text) => serializer.serialize_str(text),
                Self::Blob(bytes) => tagged(serializer, BYTES, &STANDARD.encode(bytes)),
            }
        }
    }

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Json)
        }
    }

    struct Json;

    impl<'de> Visitor<'de> for Json {
        type Value = Value;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("null, a number, text, or an object with \"bytes\" or \"real\"")
        }

        fn visit_unit<E: Error>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
            Ok(Value::Integer(number))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
            let number = i64::try_from(number);
            number.map(Value::Integer).map_err(|_| E::custom("an integer of more than 64 bits"))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
            Ok(Value::Real(number))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
            self.visit_string(text.to_owned())
        }

        fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
            if text.contains('\0') {
                return Err(E::custom("text with a NUL character; send it as bytes"));
            }
            Ok(Value::Text(text))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            let entry = map.next_entry::<String, String>()?;
            let value = match entry.as_ref().map(|(tag, text)| (tag.as_str(), text.as_str())) {
                Some((BYTES, text)) => STANDARD
                    .decode(text)
                    .map(Value::Blob)
                    .map_err(|_| Error::custom("no base64"))?,
                Some((REAL, "inf")) => Value::Real(f64::INFINITY),
                Some((REAL, "-inf")) => Value::Real(f64::NEG_INFINITY),
                _ => return Err(Error::custom("an object with neither \"bytes\" nor \"real\"")),
            };
            match map.next_key::<String>()? {
                None => Ok(value),
                Some(_) => Err(Error::custom("a value with two members")),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::Value;

        #[test]
        fn storage_class_survives_json() {
            let table = [
                (Value::Null, "null"),
                (Value::Integer(i64::MIN), "-9223372036854775808"),
                (Value::Integer(1), "1"),
                (Value::Real(1.0), "1.0"),
                (Value::Real(-0.0), "-0.0"),
                (Value::Real(0.1 + 0.2), "0.30000000000000004"),
                (Value::Real(f64::MIN_POSITIVE), "2.2250738585072014e-308"),
                (Value::Real(f64::INFINITY), r#"{"real":"inf"}"#),
                (Value::Real(f64::NEG_INFINITY), r#"{"real":"-inf"}"#),
                (Value::from("\u{1f600}\n"), "\"\u{1f600}\\n\""),
                (Value::from(""), r#""""#),
                (Value::Blob(vec![0, 255]), r#"{"bytes":"AP8="}"#),
                (Value::Blob(vec![]), r#"{"bytes":""}"#),
            ];
            for (value, json) in table {
                assert_eq!(serde_json::to_string(&value).unwrap(), json);
                let back: Value = serde_json::from_str(json).unwrap();
                assert_eq!(format!("{back:?}"), format!("{value:?}"), "bit by bit");
            }
        }

        #[test]
        fn any_double_survives_json() {
            let mut random = fastrand::Rng::with_seed(1);
            for _ in 0..100_000 {
                let number = f64::from_bits(random.u64(..));
                if number.is_nan() {
                    continue;
                }
                let json = serde_json::to_string(&Value::Real(number)).unwrap();
                let Value::Real(back) = serde_json::from_str(&json).unwrap() else {
                    panic!("{json} must be a real")
                };
                assert_eq!(back.to_bits(), number.to_bits(), "{json}");
            }
        }

        #[test]
        fn other_json_is_refused_with_a_reason() {
            let table = [
                ("true", "invalid type: boolean"),
                ("18446744073709551615", "more than 64 bits"),
                ("[]", "invalid type: sequence"),
                ("{}", "neither"),
                (r#"{"bytes":"AP8"}"#, "no base64"),
                (r#"{"real":"nan"}"#, "neither"),
                (r#"{"real":"inf","bytes":""}"#, "two members"),
                (r#""a\u0000b""#, "NUL"),
            ];
            for (json, reason) in table {
                let error = serde_json::from_str::<Value>(json).unwrap_err().to_string();
                assert!(error.contains(reason), "{json}: {error}");
            }
        }
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
    fn unsigned_number_above_the_largest_integer_is_refused() {
        assert_eq!(Value::try_from(7_usize), Ok(Value::Integer(7)));
        assert_eq!(Value::try_from(i64::MAX.unsigned_abs()), Ok(Value::Integer(i64::MAX)));
        assert!(Value::try_from(u64::MAX).is_err());
        assert_eq!(Value::from(&String::from("a")), Value::from("a"));
        assert_eq!(Value::from(&b"ab"[..]), Value::Blob(b"ab".to_vec()));
    }

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
