//! Column kinds: the manifest's logical type, refined by the database type.

/// The kind of a column. It determines the SQLite storage class, the wire format and equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Text, compared by bytes.
    String,
    /// A 32-bit integer on the server; 64 bits here.
    Int,
    /// A 64-bit integer, exact to the last bit.
    Int64,
    /// A double.
    Float,
    /// An exact decimal, stored as digits in TEXT (manifest type `float`, database type `numeric`).
    Numeric,
    /// A truth value: 0 or 1 in SQLite, true or false on the wire.
    Boolean,
    /// An instant with microseconds.
    Datetime,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// A time of day.
    Time,
    /// JSON text.
    Json,
    /// An array of the server, stored as JSON text.
    Array,
    /// Bytes; base64 on the wire.
    Bytes,
}

impl ColumnKind {
    /// The kind of a manifest's `logical_type` and `db_type`; `None` for an unknown logical type.
    pub fn of(logical_type: &str, db_type: &str) -> Option<Self> {
        let db_type = db_type.trim().to_ascii_lowercase();
        Some(match logical_type {
            "string" => Self::String,
            "int" => Self::Int,
            "int64" => Self::Int64,
            "float" if db_type.starts_with("numeric") || db_type.starts_with("decimal") => {
                Self::Numeric
            }
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "datetime" => Self::Datetime,
            "date" => Self::Date,
            "time" => Self::Time,
            "json" if db_type.ends_with("[]") => Self::Array,
            "json" => Self::Json,
            "bytes" => Self::Bytes,
            _ => return None,
        })
    }

    /// The declared type of the column in the device's table: BOOLEAN for a boolean, whose values are
    /// integers, so that the columns of a result show it.
    pub fn declared_type(self) -> &'static str {
        if self == Self::Boolean { "BOOLEAN" } else { self.sqlite_type() }
    }

    /// The type of the column's values on the device.
    pub fn sqlite_type(self) -> &'static str {
        match self {
            Self::Int | Self::Int64 | Self::Boolean => "INTEGER",
            Self::Float => "REAL",
            Self::Bytes => "BLOB",
            Self::String
            | Self::Numeric
            | Self::Datetime
            | Self::Date
            | Self::Time
            | Self::Json
            | Self::Array => "TEXT",
        }
    }
}
