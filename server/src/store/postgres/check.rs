//! Runs the operator's queries, which only read: action checks, which must return true, and those of
//! streams. Within a write transaction, the tables that a check reads are locked against other writers.

use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::BytesMut;
use rejoin_protocol::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::connection::{Connection, Sql};
use super::error::log_text;
use crate::error::Fault;
use crate::model::PlanStep;
use crate::store::Truths;

/// NULL of any parameter type.
#[derive(Debug)]
struct Nothing;

impl ToSql for Nothing {
    fn to_sql(
        &self,
        _: &Type,
        _: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A value of any parameter type, which PostgreSQL reads as text.
#[derive(Debug)]
struct AsText {
    text: String,
    /// Known once the value was sent.
    kind: OnceLock<Type>,
}

impl AsText {
    fn new(value: &Value) -> Self {
        Self { text: value.to_id().unwrap_or_default(), kind: OnceLock::new() }
    }

    /// The one text that PostgreSQL writes for this value: it reads several for a UUID or an integer, and
    /// a bucket has the text of a column.
    fn canonical(&self) -> String {
        let canonical = match self.kind.get() {
            Some(&Type::UUID) => Uuid::try_parse(&self.text).ok().map(|id| id.to_string()),
            Some(&(Type::INT2 | Type::INT4 | Type::INT8)) => {
                self.text.trim().parse().ok().map(|number: i64| number.to_string())
            }
            _ => None,
        };
        canonical.unwrap_or_else(|| self.text.clone())
    }
}

impl ToSql for AsText {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let _ = self.kind.set(kind.clone());
        out.extend_from_slice(self.text.as_bytes());
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

/// A parsed query.
pub(super) struct ParsedQuery {
    /// The query with `$1` for the first name, `$2` for the second, and so on.
    pub(super) text: String,
    /// The names of its parameters, each once.
    pub(super) names: Vec<String>,
    /// Words that may be table names.
    words: Vec<String>,
}

/// Whether the query returns true in its first row. `locks`: locks the tables that it names against
/// other writers until the transaction ends.
pub(super) fn holds(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
    locks: bool,
) -> Result<bool, Fault> {
    let asked = take_apart(sql).map_err(Fault::Internal)?;
    if locks {
        lock(connection, &asked.words)?;
    }
    let values = values_of(&asked, values);
    let types: Vec<Type> = values.iter().map(type_of).collect();
    let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(parameter).collect();
    // Statements are cached by text, and the types of the parameters depend on the values.
    let names: Vec<&str> = types.iter().map(Type::name).collect();
    let text = format!("{} LIMIT 1 /* {} */", wrapped(&asked.text), names.join(", "));
    let rows = connection.typed(Sql { text: &text, types: &types }, &params)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// What the query returns in its first two rows. The types of its parameters follow from its text. The
/// transaction goes on if it fails.
pub(super) fn truths(
    connection: &Connection,
    sql: &str,
    values: &[(&str, Value)],
) -> Result<Truths, tokio_postgres::Error> {
    // A start refuses a query that cannot be taken apart, or that has other parameters.
    let Ok(asked) = take_apart(sql) else { return Ok(Truths::default()) };
    let given: Vec<AsText> = values.iter().map(|(_, value)| AsText::new(value)).collect();
    let place = |name: &String| values.iter().position(|(other, _)| other == name);
    let params: Vec<&(dyn ToSql + Sync)> = asked
        .names
        .iter()
        .map(|name| place(name).map_or(&Nothing as &(dyn ToSql + Sync), |at| &given[at]))
        .collect();
    let text = format!("{} LIMIT 2", wrapped(&asked.text));
    let rows = connection.all_guarded(&[(Sql { text: &text, types: &[] }, &params)])?;
    let rows = rows.into_iter().flatten().map(|row| row.get(0)).collect();
    Ok(Truths { rows, texts: given.iter().map(AsText::canonical).collect() })
}

/// The value of each parameter.
fn values_of(asked: &ParsedQuery, values: &[(&str, Value)]) -> Vec<Value> {
    let value = |name: &String| {
        let found = values.iter().find(|(other, _)| other == name);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    asked.names.iter().map(value).collect()
}

/// The names of its parameters, or why the query cannot be used.
pub(super) fn parameters_of(connection: &Connection, sql: &str) -> Result<Vec<String>, String> {
    let asked = take_apart(sql)?;
    let words = |error: tokio_postgres::Error| log_text(&error);
    connection.batch("SAVEPOINT rejoin_check").map_err(words)?;
    let prepared = connection.can_prepare(&wrapped(&asked.text));
    connection.batch("ROLLBACK TO rejoin_check; RELEASE rejoin_check").map_err(words)?;
    prepared.map_err(words)?;
    Ok(asked.names)
}

/// The steps in which PostgreSQL runs the query, for any values.
pub(super) fn plan(
    connection: &Connection,
    sql: &str,
) -> Result<Vec<PlanStep>, tokio_postgres::Error> {
    // A start refuses a query that cannot be taken apart.
    let Ok(asked) = take_apart(sql) else { return Ok(Vec::new()) };
    // A small table is scanned although it has an index.
    connection.batch(
        "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan",
    )?;
    let nulls = vec!["NULL"; asked.names.len()].join(", ");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explained =
        connection.batch(&format!("PREPARE rejoin_plan AS {}", asked.text)).and_then(|()| {
            let steps = format!("EXPLAIN (COSTS OFF) EXECUTE rejoin_plan{values}");
            let steps = connection.rows(&steps, &[]);
            connection.batch("DEALLOCATE rejoin_plan").and(steps)
        });
    connection.roll_back()?;
    let step = |row: &Row| {
        let text = row.get::<_, String>(0);
        PlanStep { is_scan: text.contains("Seq Scan"), text }
    };
    Ok(explained?.iter().map(step).collect())
}

/// Wraps the query so that it can be neither a second statement nor a write. True is a number other
/// than 0, or `true`.
fn wrapped(sql: &str) -> String {
    format!(
        "SELECT coalesce((SELECT CASE json_typeof(cell.value) WHEN 'boolean' THEN cell.value::text = 'true' \
         WHEN 'number' THEN cell.value::text::numeric <> 0 END FROM json_each(row_to_json(rejoin_asked)) AS cell LIMIT 1), \
         false) FROM ({sql}\n) AS rejoin_asked"
    )
}

fn lock(connection: &Connection, words: &[String]) -> Result<(), Fault> {
    let select = "SELECT DISTINCT c.oid::regclass::text FROM unnest($1::text[]) AS word
                  JOIN pg_class AS c ON c.oid = to_regclass(word) WHERE c.relkind IN ('r', 'p') ORDER BY 1";
    for row in connection.rows(select, &[&words])? {
        let table: String = row.get(0);
        connection.batch(&format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))?;
    }
    Ok(())
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Real(_) => Type::FLOAT8,
        Value::Text(_) => Type::TEXT,
        Value::Blob(_) => Type::BYTEA,
    }
}

fn parameter(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Null => &Nothing,
        Value::Integer(number) => number,
        Value::Real(number) => number,
        Value::Text(text) => text,
        Value::Blob(bytes) => bytes,
    }
}

/// Finds names after a colon, outside of quotes and comments, and skips `::`.
pub(super) fn take_apart(sql: &str) -> Result<ParsedQuery, String> {
    let mut asked = ParsedQuery { text: String::new(), names: Vec::new(), words: Vec::new() };
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let begins =
            |text: &str| text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        let length = match first {
            '\'' | '"' => quoted_length(rest),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            ':' if rest.starts_with("::") => 2,
            ':' if begins(&rest[1..]) => {
                let name: String = rest[1..].chars().take_while(|c| is_word(*c)).collect();
                rest = &rest[1 + name.len()..];
                let number = asked.names.iter().position(|known| *known == name);
                let number = number.unwrap_or_else(|| {
                    asked.names.push(name);
                    asked.names.len() - 1
                });
                let _ = write!(asked.text, "${}", number + 1);
                continue;
            }
            '$' => return Err(String::from("a parameter has no name; write :name")),
            c if c.is_alphabetic() || c == '_' => {
                rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (word, after) = rest.split_at(length.min(rest.len()));
        if begins(word) || first == '"' {
            let is_plain =
                word.matches('.').count() < 2 && !word.ends_with('.') && !word.contains("..");
            asked.words.extend(is_plain.then(|| word.to_owned()));
        }
        asked.text.push_str(word);
        rest = after;
    }
    if asked.text.trim().is_empty() {
        return Err(String::from("a check is one query that only reads"));
    }
    Ok(asked)
}

/// The length of the quoted word at the start of `text`; a doubled quote does not end it.
fn quoted_length(text: &str) -> usize {
    let quote = if text.starts_with('"') { '"' } else { '\'' };
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
                continue;
            }
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn parameters_are_found_outside_quotes_and_casts() {
        let sql = "SELECT ':no', \":no\" FROM app.tasks AS t -- :no\n WHERE id = :id::uuid AND n = :n /* :no */ AND o = :id";
        let asked = take_apart(sql).unwrap();
        assert_eq!(asked.names, ["id", "n"]);
        assert!(asked.text.contains("id = $1::uuid AND n = $2"), "{}", asked.text);
        assert!(asked.text.ends_with("o = $1"), "{}", asked.text);
        assert!(asked.words.iter().any(|word| word == "app.tasks"));
        assert!(take_apart("SELECT $1").is_err() && take_apart("").is_err());
    }
}
