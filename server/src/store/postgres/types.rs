//! PostgreSQL types: which are synced, and how their cells are read and written.
//!
//! The database's own input and output functions convert between values and text, so no value
//! passes through a float or another parser. Integers, booleans, instants (when read) and bytes use
//! the binary form.

use std::fmt::Write as _;

use rejoin_protocol::{Value, time};
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::instants::Instant;

/// How a cell is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As text.
    Text,
    /// A UUID, as text in canonical form.
    Uuid,
    /// As a 64-bit integer.
    Integer,
    /// As the shortest text of a double.
    Real,
    /// `true` or `false`.
    Truth,
    /// An instant, in canonical form if it has one.
    Instant,
    /// An array as JSON; `of_json`: its elements are JSON.
    Array { of_json: bool },
    /// As bytes.
    Bytes,
}

/// How an owner column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OwnerForm {
    /// By bytes, as text.
    Text,
    /// As a UUID.
    Uuid,
    /// As an integer.
    Integer,
    /// As text, after a cast.
    #[default]
    Other,
}

/// A type as it is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    /// The type name in the manifest.
    pub(super) logical: &'static str,
    pub(super) form: Form,
    /// The type that text is cast to before assignment; without a length, which would truncate
    /// silently.
    pub(super) cast: String,
    /// How the column is compared as an owner.
    pub(super) owner: OwnerForm,
}

/// A base type from the catalogue, with domains resolved.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// `pg_type.typname`.
    pub(super) name: String,
    /// Whether it is built into PostgreSQL.
    pub(super) built_in: bool,
    /// `pg_type.typtype`: `b`, `e`, `c`, ...
    pub(super) class: String,
    /// The full name without a length, quoted where needed.
    pub(super) whole: String,
    /// Whether its collation is deterministic.
    pub(super) deterministic: bool,
}

/// How a type is synced; `None` if it is not.
pub(super) fn of(described: &Described, element: Option<&Described>) -> Option<Type> {
    if let Some(element) = element {
        of(element, None)?;
        let of_json = element.built_in && matches!(element.name.as_str(), "json" | "jsonb");
        let cast = match element.name.as_str() {
            "bpchar" => String::from("bpchar[]"),
            _ => described.whole.clone(),
        };
        return Some(Type {
            logical: "json",
            form: Form::Array { of_json },
            cast,
            owner: OwnerForm::Other,
        });
    }
    if described.class == "e" {
        return Some(plain("string", Form::Text, &described.whole, OwnerForm::Other));
    }
    if described.name == "citext" {
        return Some(plain("string", Form::Text, &described.whole, OwnerForm::Other));
    }
    if !described.built_in {
        return None;
    }
    let text = if described.deterministic { OwnerForm::Text } else { OwnerForm::Other };
    let (logical, form, cast, owner) = match described.name.as_str() {
        "text" | "varchar" => ("string", Form::Text, "text", text),
        "bpchar" => ("string", Form::Text, "bpchar", OwnerForm::Other),
        "uuid" => ("string", Form::Uuid, "uuid", OwnerForm::Uuid),
        "interval" => ("string", Form::Text, "interval", OwnerForm::Other),
        "int2" => ("int", Form::Integer, "smallint", OwnerForm::Integer),
        "int4" => ("int", Form::Integer, "integer", OwnerForm::Integer),
        "int8" => ("int64", Form::Integer, "bigint", OwnerForm::Integer),
        "float4" => ("float", Form::Real, "real", OwnerForm::Other),
        "float8" => ("float", Form::Real, "double precision", OwnerForm::Other),
        // The manifest uses `float` for exact decimals too; the declared type distinguishes them.
        "numeric" => ("float", Form::Text, "numeric", OwnerForm::Other),
        "bool" => ("boolean", Form::Truth, "boolean", OwnerForm::Other),
        "timestamptz" => ("datetime", Form::Instant, "timestamptz", OwnerForm::Other),
        "timestamp" => ("datetime", Form::Instant, "timestamp", OwnerForm::Other),
        "date" => ("date", Form::Text, "date", OwnerForm::Other),
        "time" => ("time", Form::Text, "time", OwnerForm::Other),
        "timetz" => ("time", Form::Text, "timetz", OwnerForm::Other),
        "json" => ("json", Form::Text, "json", OwnerForm::Other),
        "jsonb" => ("json", Form::Text, "jsonb", OwnerForm::Other),
        "bytea" => ("bytes", Form::Bytes, "bytea", OwnerForm::Other),
        _ => return None,
    };
    Some(plain(logical, form, cast, owner))
}

fn plain(logical: &'static str, form: Form, cast: &str, owner: OwnerForm) -> Type {
    Type { logical, form, cast: cast.to_owned(), owner }
}

/// Whether the database can store the text.
pub(super) fn is_text(text: &str) -> bool {
    !text.contains('\0')
}

/// Whether the text is a UUID in canonical form.
pub(super) fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.as_hyphenated().to_string() == text)
}

/// The expression that reads a cell.
pub(super) fn reading(of: &Type, cell: &str) -> String {
    match of.form {
        Form::Integer => format!("{cell}::bigint"),
        Form::Bytes => format!("{cell}::bytea"),
        Form::Truth => format!("{cell}::boolean"),
        Form::Instant => format!("{cell}::{}", of.cast),
        Form::Array { .. } => format!("array_to_json({cell})::text"),
        Form::Text | Form::Uuid | Form::Real => format!("{cell}::text"),
    }
}

/// The type in which a cell of this form is sent.
pub(super) fn carrier(form: Form) -> &'static str {
    if form == Form::Bytes { "bytea" } else { "text" }
}

/// The expression that writes the parameter of this number.
pub(super) fn writing(of: &Type, number: usize) -> String {
    writing_carried(of, &format!("${number}::{}", carrier(of.form)))
}

/// The expression that writes a value sent as its [`carrier`].
pub(super) fn writing_carried(of: &Type, carried: &str) -> String {
    match of.form {
        Form::Bytes => carried.to_owned(),
        _ if of.cast == "text" => carried.to_owned(),
        _ => format!("{carried}::{}", of.cast),
    }
}

/// The cell at this place of a row.
pub(super) fn read(form: Form, row: &Row, at: usize) -> Result<Value, tokio_postgres::Error> {
    Ok(match form {
        Form::Integer => row.try_get::<_, Option<i64>>(at)?.into(),
        Form::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.into(),
        Form::Truth => row.try_get::<_, Option<bool>>(at)?.into(),
        Form::Instant => row.try_get::<_, Option<Instant>>(at)?.map(Instant::text).into(),
        _ => match row.try_get::<_, Option<String>>(at)? {
            Some(text) => of_text(form, text),
            None => Value::Null,
        },
    })
}

fn of_text(form: Form, text: String) -> Value {
    match form {
        Form::Real => text.parse().map_or_else(|_| Value::Text(text.clone()), Value::Real),
        _ => Value::Text(text),
    }
}

/// A parameter: text to be parsed by the database, or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parameter {
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Parameter {
    /// The parameter for the driver.
    pub(super) fn as_sql(&self) -> &(dyn tokio_postgres::types::ToSql + Sync) {
        match self {
            Self::Text(text) => text,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The value as a parameter of this form.
pub(super) fn parameter(form: Form, value: &Value) -> Parameter {
    if form == Form::Bytes {
        return Parameter::Bytes(match value {
            Value::Null => None,
            Value::Blob(bytes) => Some(bytes.clone()),
            Value::Text(text) => Some(text.clone().into_bytes()),
            Value::Integer(number) => Some(number.to_string().into_bytes()),
            Value::Real(number) => Some(number.to_string().into_bytes()),
        });
    }
    Parameter::Text(match (value, form) {
        (Value::Null, _) => None,
        (Value::Integer(0), Form::Truth) => Some(String::from("false")),
        (Value::Integer(1), Form::Truth) => Some(String::from("true")),
        (Value::Integer(number), _) => Some(number.to_string()),
        // The shortest text that parses to this double.
        (Value::Real(number), _) => Some(number.to_string()),
        (Value::Blob(bytes), _) => Some(String::from_utf8_lossy(bytes).into_owned()),
        (Value::Text(text), Form::Instant) => {
            // A column without a time zone would ignore the zone in the text.
            Some(time::parse(text).map_or_else(|| text.clone(), time::format))
        }
        (Value::Text(text), Form::Array { of_json }) => {
            Some(array(text, of_json).unwrap_or_else(|| text.clone()))
        }
        (Value::Text(text), _) => Some(text.clone()),
    })
}

/// A JSON array in PostgreSQL's array syntax; `None` if it is not a JSON array.
fn array(json: &str, of_json: bool) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let mut text = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let raw = item.get().trim();
        match raw.as_bytes().first()? {
            b'n' => text.push_str("NULL"),
            b'[' if !of_json => text.push_str(&array(raw, of_json)?),
            b'"' if !of_json => push_quoted(&serde_json::from_str::<String>(raw).ok()?, &mut text),
            _ => push_quoted(raw, &mut text),
        }
    }
    text.push('}');
    Some(text)
}

fn push_quoted(word: &str, text: &mut String) {
    let _ = write!(text, "\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::Value;

    use super::{Form, Parameter, array, parameter};

    #[test]
    fn json_array_becomes_array_text() {
        let table = [
            ("[]", false, Some("{}")),
            ("[1, 2.50, null]", false, Some(r#"{"1","2.50",NULL}"#)),
            (
                r#"["a", "b\"c", "d\\e", "NULL", ""]"#,
                false,
                Some(r#"{"a","b\"c","d\\e","NULL",""}"#),
            ),
            ("[[1, 2], [3, 4]]", false, Some(r#"{{"1","2"},{"3","4"}}"#)),
            (r#"[{"a": [1]}, "x"]"#, true, Some(r#"{"{\"a\": [1]}","\"x\""}"#)),
            (r#"{"a": 1}"#, false, None),
            ("7", false, None),
        ];
        for (json, of_json, expected) in table {
            assert_eq!(array(json, of_json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn time_zone_is_applied_for_columns_without_one() {
        let value = Value::from("2026-11-20T10:00:00+02:00");
        let expected = Parameter::Text(Some(String::from("2026-11-20T08:00:00.000000Z")));
        assert_eq!(parameter(Form::Instant, &value), expected);
    }
}
