//! Rows as the app's own types, by serde: structs and maps by the names of the columns, tuples by their order, a single value from
//! a single column.
//!
//! An integer decodes as a boolean if it is 0 or 1, bytes as a list of bytes, and JSON text as a list, map or struct, as
//! [`Client::insert`](crate::Client::insert) stores them. A value of another type is an error that names the column; nothing is
//! converted with a loss.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Cell, Row, RowBuffer};
use crate::error::{Error, InputFault, Result};

type Failed = serde::de::value::Error;

impl RowBuffer {
    /// All rows as values of `T`.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config, block_on};
    /// #[derive(serde::Deserialize)]
    /// struct Task { id: String, done: bool }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # block_on(async {
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).await?;
    /// let tasks: Vec<Task> = client.query("SELECT 't1' AS id, 1 AS done", ()).await?.decode()?;
    /// assert!(tasks[0].id == "t1" && tasks[0].done);
    /// let count: Vec<i64> = client.query("SELECT count(*) FROM sqlite_schema", ()).await?.decode()?;
    /// # Ok::<(), rejoin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`InputFault::Refused`] for a row that is no `T`; it names the column or the member.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        self.iter().map(|row| row.decode()).collect()
    }
}

impl Row<'_> {
    /// The row as a value of `T`. Errors as [`RowBuffer::decode`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(self).map_err(|why: Failed| {
            Error::InvalidInput(InputFault::Refused {
                what: format!("decoding a row as {}", std::any::type_name::<T>()),
                reason: why.to_string(),
            })
        })
    }

    fn named(&self) -> std::result::Result<Vec<(&str, Named<'_>)>, Failed> {
        let columns = self.columns().iter().map(String::as_str);
        let cells = columns.zip(self.cells());
        let named = cells.map(|(name, cell)| {
            let cell = cell.map_err(Failed::custom)?;
            Ok((name, Named { name, cell }))
        });
        named.collect()
    }

    fn only(&self) -> std::result::Result<Named<'_>, Failed> {
        let mut cells = self.named()?;
        if let (Some((_, cell)), true) = (cells.pop(), cells.is_empty()) {
            return Ok(cell);
        }
        let found = self.columns().len();
        Err(Failed::custom(format!("a single value needs one column, found {found}")))
    }
}

/// Structs take the columns by name, lists and tuples by order, all else is the value of the only column.
impl<'de> Deserializer<'de> for &Row<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        self.only()?.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.only()?.deserialize_bool(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.only()?.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        visitor.visit_map(MapDeserializer::new(self.named()?.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        let cells = self.named()?.into_iter().map(|(_, cell)| cell);
        visitor.visit_seq(SeqDeserializer::new(cells))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        let found = self.columns().len();
        if found != length {
            let message = format!("a tuple of {length} needs as many columns, found {found}");
            return Err(Failed::custom(message));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.deserialize_tuple(length, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct identifier ignored_any
    }
}

/// A cell and the name of its column.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    cell: Cell<'a>,
}

impl Named<'_> {
    fn of<T>(self, read: std::result::Result<T, Failed>) -> std::result::Result<T, Failed> {
        read.map_err(|why| Failed::custom(format!("column {}: {why}", self.name)))
    }

    /// Reads a list, map or struct, which are stored as JSON text.
    fn nested<'any, V: Visitor<'any>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        let Cell::Text(text) = self.cell else { return self.deserialize_any(visitor) };
        let mut json = serde_json::Deserializer::from_reader(text.as_bytes());
        let read = json.deserialize_any(visitor).and_then(|value| json.end().map(|()| value));
        self.of(read.map_err(Failed::custom))
    }
}

impl IntoDeserializer<'_, Failed> for Named<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Named<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        self.of(match self.cell {
            Cell::Null => visitor.visit_unit(),
            Cell::Integer(value) => visitor.visit_i64(value),
            Cell::Real(value) => visitor.visit_f64(value),
            Cell::Text(value) => visitor.visit_str(value),
            Cell::Blob(value) => visitor.visit_bytes(value),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        match self.cell {
            Cell::Integer(value @ (0 | 1)) => self.of(visitor.visit_bool(value == 1)),
            Cell::Integer(value) => {
                self.of(Err(Failed::invalid_value(Unexpected::Signed(value), &"0 or 1")))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        match self.cell {
            Cell::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        match self.cell {
            Cell::Text(text) => {
                let variant: serde::de::value::StrDeserializer<'_, Failed> =
                    text.into_deserializer();
                self.of(variant.deserialize_enum(name, variants, visitor))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        match self.cell {
            Cell::Blob(bytes) => {
                self.of(visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())))
            }
            _ => self.nested(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Failed> {
        self.nested(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Failed> {
        self.nested(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::Encoder;
    use super::*;
    use crate::value::Value;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Level {
        Low,
        High,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Task {
        id: String,
        done: bool,
        rank: Option<f64>,
        photo: Vec<u8>,
        level: Level,
    }

    fn buffer(columns: &[&str], cells: &[Value]) -> RowBuffer {
        let mut encoder = Encoder::new(columns.iter().copied());
        encoder.row(cells).unwrap();
        encoder.finish().unwrap()
    }

    fn task(done: i64) -> RowBuffer {
        let columns = ["rank", "level", "id", "done", "photo"];
        let cells = vec![
            Value::Null,
            Value::from("high"),
            Value::from("t1"),
            Value::from(done),
            Value::Blob(vec![1, 255]),
        ];
        buffer(&columns, &cells)
    }

    #[test]
    fn struct_takes_columns_by_name() {
        let expected = Task {
            id: "t1".into(),
            done: true,
            rank: None,
            photo: vec![1, 255],
            level: Level::High,
        };
        assert_eq!(task(1).decode::<Task>().unwrap(), [expected]);
        assert_ne!(Level::High, Level::Low);
    }

    #[test]
    fn value_of_another_type_names_its_column() {
        let error = task(2).decode::<Task>().unwrap_err().to_string();
        assert!(error.contains("column done") && error.contains("0 or 1"), "{error}");
        let error = buffer(&["id"], &[Value::from(7)]).decode::<Task>().unwrap_err();
        assert!(error.to_string().contains("column id"), "{error}");
        let error = buffer(&["x"], &[Value::Null]).decode::<Task>().unwrap_err().to_string();
        assert!(error.contains("missing field `id`"), "{error}");
    }

    #[test]
    fn tuple_takes_columns_by_order_and_value_the_only_one() {
        let two = buffer(&["a", "b"], &[Value::from(1), Value::from("x")]);
        assert_eq!(two.decode::<(bool, String)>().unwrap(), [(true, "x".to_owned())]);
        assert_eq!(buffer(&["a"], &[Value::Null]).decode::<Option<i64>>().unwrap(), [None]);
        assert_eq!(buffer(&["a"], &[Value::from(3)]).decode::<i64>().unwrap(), [3]);
        let error = two.decode::<(bool,)>().unwrap_err().to_string();
        assert!(error.contains("a tuple of 1 needs as many columns, found 2"), "{error}");
        let error = two.decode::<i64>().unwrap_err().to_string();
        assert!(error.contains("one column, found 2"), "{error}");
        let map = buffer(&["a"], &[Value::from(3)]).decode::<BTreeMap<String, i64>>().unwrap();
        assert_eq!(map, [BTreeMap::from([("a".to_owned(), 3)])]);
    }
}
