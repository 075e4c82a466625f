//! The column types that v0.1.2 supports: the type name in the database and the logical type for
//! clients.

/// How values of a column are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `boolean`.
    Boolean,
    /// Integers in this range.
    Integer(i64, i64),
    /// `real`, `double precision`.
    Real,
    /// Decimals, with total and fractional digits if the type specifies them.
    Numeric(Option<(usize, usize)>),
    /// Text, and other values stored as they are.
    Text,
    /// `uuid`.
    Uuid,
    /// An enum with these labels.
    Enum(Vec<String>),
    /// `json`, `jsonb`.
    Json,
    /// Arrays of text.
    TextArray,
    /// `bytea`.
    Bytes,
    /// `date`.
    Day,
    /// `time`.
    Clock,
    /// `timestamp`, with or without a zone.
    Instant,
}

/// The kind and the logical type of a type name; `None` if v0.1.2 does not support it.
pub(crate) fn known(db_type: &str) -> Option<(Kind, &'static str)> {
    let (name, arguments) = match db_type.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
        None => (db_type, None),
    };
    if name.ends_with("[]") {
        return Some((Kind::TextArray, "json"));
    }
    let sized = matches!(
        name,
        "numeric" | "decimal" | "varchar" | "character varying" | "char" | "character"
    );
    if arguments.is_some() && !sized {
        return None;
    }
    Some(match name {
        "boolean" => (Kind::Boolean, "boolean"),
        "smallint" => (Kind::Integer(i64::from(i16::MIN), i64::from(i16::MAX)), "int"),
        "integer" | "int" | "serial" => {
            (Kind::Integer(i64::from(i32::MIN), i64::from(i32::MAX)), "int")
        }
        "bigint" | "bigserial" => (Kind::Integer(i64::MIN, i64::MAX), "int64"),
        "real" | "double precision" => (Kind::Real, "float"),
        "numeric" | "decimal" => (Kind::Numeric(arguments.map(digits)), "float"),
        "text" | "varchar" | "character varying" | "char" | "character" | "interval" => {
            (Kind::Text, "string")
        }
        "uuid" => (Kind::Uuid, "string"),
        "json" | "jsonb" => (Kind::Json, "json"),
        "bytea" => (Kind::Bytes, "bytes"),
        "date" => (Kind::Day, "date"),
        "time without time zone" | "time with time zone" => (Kind::Clock, "time"),
        "timestamp with time zone" | "timestamp without time zone" => (Kind::Instant, "datetime"),
        _ => return None,
    })
}

/// Parses `10,2` into total and fractional digits.
fn digits(arguments: &str) -> (usize, usize) {
    let mut parts = arguments.split(',').map(|part| part.trim().parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
