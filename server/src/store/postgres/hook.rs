//! SQL statements of hooks, in the push transaction. Each runs in its own savepoint, so that a
//! failed statement does not abort the transaction.
//!
//! Values are sent as text; the database converts them to the types that the statement expects.

use std::error::Error as StdError;
use std::fmt::Write as _;

use bytes::BytesMut;
use rejoin_protocol::{Value, time};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, Row};

use super::check::{ParsedQuery, take_apart};
use super::connection::Connection;
use super::error::{is_of_names, is_of_value, is_transient, log_text};
use crate::hooks::SqlError;

/// Microseconds from 1970 to 2000, the epoch of PostgreSQL.
const ITS_FIRST: i64 = 946_684_800_000_000;

type Boxed = Box<dyn StdError + Sync + Send>;

/// Runs a statement without result; returns the number of affected rows.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<u64, Failed> {
    let (asked, values) = given(sql, values)?;
    let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    connection.guarded(&asked.text, &params).map_err(|error| failed(connection, &asked, error))
}

/// Runs a query; returns its rows.
pub(super) fn query(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<Vec<Vec<Value>>, Failed> {
    let (asked, values) = given(sql, values)?;
    let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    connection.batch("SAVEPOINT rejoin_hook")?;
    let found = connection.rows(&asked.text, &params).and_then(|rows| read(&rows));
    match found {
        Ok(found) => {
            connection.batch("RELEASE rejoin_hook")?;
            Ok(found)
        }
        Err(error) => {
            connection.batch("ROLLBACK TO rejoin_hook; RELEASE rejoin_hook")?;
            Err(failed(connection, &asked, error))
        }
    }
}

/// A value that does not fit may fit the type that a migration has given to its column: the statement
/// is prepared again.
fn failed(connection: &Connection, asked: &ParsedQuery, error: Error) -> Failed {
    if is_of_value(&error) {
        connection.forget(&asked.text);
    }
    error.into()
}

/// Why a statement failed, before it is reported.
pub(super) enum Failed {
    Refused(String),
    Database(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failed> for SqlError {
    fn from(failed: Failed) -> Self {
        let error = match failed {
            Failed::Refused(why) => return Self::Refused(why),
            Failed::Database(error) => error,
        };
        let state = error.code().map_or("", |state| state.code());
        match state.get(..2).unwrap_or_default() {
            _ if error.is_closed() || is_of_names(&error) => Self::Over(log_text(&error)),
            // Here an unknown name is an error of the hook, not a table that changed under the
            // statement.
            "42" => Self::Failed(log_text(&error)),
            _ if is_transient(&error) => Self::Moment(log_text(&error)),
            "22" | "23" | "44" | "P0" => Self::Rule(log_text(&error)),
            _ => Self::Failed(log_text(&error)),
        }
    }
}

/// The statement with numbers for names, and their values.
fn given<'v>(
    sql: &str,
    values: &'v [(&str, Value)],
) -> Result<(ParsedQuery, Vec<Given<'v>>), Failed> {
    let asked = take_apart(sql).map_err(Failed::Refused)?;
    let value = |name: &String| {
        let found = values.iter().find(|(other, _)| other == name);
        let missing = || Failed::Refused(format!("no value is given for :{name}"));
        found.map(|(_, value)| Given(value)).ok_or_else(missing)
    };
    let given = asked.names.iter().map(value).collect::<Result<_, _>>()?;
    Ok((asked, given))
}

/// A value as text, for any parameter type.
#[derive(Debug)]
struct Given<'a>(&'a Value);

impl ToSql for Given<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(number) => write!(out, "{number}")?,
            // The shortest text that parses to this double.
            Value::Real(number) => write!(out, "{number}")?,
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Blob(bytes) => {
                out.extend_from_slice(b"\\x");
                for byte in bytes {
                    write!(out, "{byte:02x}")?;
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn read(rows: &[Row]) -> Result<Vec<Vec<Value>>, Error> {
    let cells = |row: &Row| {
        (0..row.len()).map(|at| row.try_get::<_, Cell>(at).map(|cell| cell.0)).collect()
    };
    rows.iter().map(cells).collect()
}

/// A cell of a result, for types with an unambiguous value.
struct Cell(Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Boxed> {
        let text = |raw: &[u8]| Ok::<_, Boxed>(Value::from(std::str::from_utf8(raw)?));
        Ok(Self(match of.kind() {
            Kind::Domain(inner) => return Self::from_sql(inner, raw),
            Kind::Enum(_) => text(raw)?,
            _ => match *of {
                Type::BOOL => Value::from(bool::from_sql(of, raw)?),
                Type::INT2 => Value::from(i32::from(i16::from_sql(of, raw)?)),
                Type::INT4 => Value::from(i32::from_sql(of, raw)?),
                Type::INT8 => Value::from(i64::from_sql(of, raw)?),
                Type::FLOAT4 => Value::from(f64::from(f32::from_sql(of, raw)?)),
                Type::FLOAT8 => Value::from(f64::from_sql(of, raw)?),
                Type::BYTEA => Value::from(raw.to_vec()),
                Type::UUID => Value::from(uuid::Uuid::from_slice(raw)?.hyphenated().to_string()),
                Type::TIMESTAMP | Type::TIMESTAMPTZ => instant(raw)?,
                // The first byte is the version of the format.
                Type::JSONB => text(raw.get(1..).unwrap_or_default())?,
                Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => text(raw)?,
                _ if of.name() == "citext" => text(raw)?,
                _ => return Err(format!("a column is {of}: cast it to text").into()),
            },
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Boxed> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn instant(raw: &[u8]) -> Result<Value, Boxed> {
    let micros = i64::from_be_bytes(raw.try_into()?);
    let since_1970 = micros.checked_add(ITS_FIRST).filter(|_| micros != i64::MIN);
    let since_1970 = since_1970.ok_or("an instant has no end: cast it to text")?;
    Ok(Value::from(time::format(since_1970)))
}
