//! An inspection as readable text: one line per written row, followed by its columns.

use std::fmt::Write as _;

use jiff::Timestamp;
use rejoin_core::{
    AcceptedMutation, ColumnValues, ConflictedRow, Inspection, MutationState, PatchKind,
    PendingColumn, PendingMutation, PendingRow, Value,
};

/// Maximum number of characters shown of a value.
const SHOWN: usize = 60;

/// The whole text.
pub(crate) fn inspection(found: &Inspection) -> String {
    let mut out = String::new();
    let write = |out: &mut String| {
        head(out, found)?;
        tables(out, found)?;
        let parked = |one: &&PendingMutation| one.state == MutationState::Parked;
        let (parked, waiting): (Vec<_>, Vec<_>) = found.queue.iter().partition(parked);
        section(out, "pending", &waiting, |out, one| pending(out, one))?;
        section(out, "parked", &parked, |out, one| pending(out, one))?;
        section(out, "history", &found.history, accepted)
    };
    // Writing to a string does not fail.
    let _: std::fmt::Result = write(&mut out);
    out
}

fn head(out: &mut String, found: &Inspection) -> std::fmt::Result {
    let counts = found.counts;
    writeln!(out, "{}: format {}", found.path.display(), found.format)?;
    writeln!(
        out,
        "first sync: {}; {} pending, {} sent, {} uncertain, {} parked, {} in the history",
        word(&found.first_sync),
        counts.pending,
        counts.sent,
        counts.uncertain,
        counts.parked,
        found.history.len()
    )?;
    for (name, value) in &found.facts {
        writeln!(out, "  {name}: {}", cut(value))?;
    }
    Ok(())
}

fn tables(out: &mut String, found: &Inspection) -> std::fmt::Result {
    writeln!(out, "\ntables")?;
    let names = found.tables.iter().map(|table| table.name.chars().count());
    let width = names.chain([4]).max().unwrap_or(4);
    writeln!(out, "  {:width$}  {:>9}  {:>9}  digest of the base", "name", "rows", "base")?;
    for table in &found.tables {
        let mark = if table.writable { "" } else { "  read only" };
        let (name, rows, base) = (&table.name, table.rows, table.base_rows);
        writeln!(out, "  {name:width$}  {rows:>9}  {base:>9}  {}{mark}", table.digest)?;
    }
    Ok(())
}

fn section<T>(
    out: &mut String,
    name: &str,
    all: &[T],
    each: impl Fn(&mut String, &T) -> std::fmt::Result,
) -> std::fmt::Result {
    writeln!(out, "\n{name}{}", if all.is_empty() { ": none" } else { "" })?;
    all.iter().try_for_each(|one| each(out, one))
}

fn pending(out: &mut String, one: &PendingMutation) -> std::fmt::Result {
    let by = one.action.as_ref().map(|action| format!("  by {action}")).unwrap_or_default();
    let (state, written) = (word(&one.state), time(one.written_ms));
    writeln!(out, "  #{} {}  {state}  {written}  attempt {}{by}", one.seq.0, one.id, one.attempt)?;
    if let Some(reason) = &one.reason {
        let because = one.because_of.map(|id| format!(" because of {id}")).unwrap_or_default();
        writeln!(out, "    reason: {}{because}", word(reason))?;
    }
    if let Some(detail) = &one.detail {
        let (code, message) = (detail.code.as_deref(), detail.message.as_deref());
        let parts = [code, message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        writeln!(out, "    detail: {}", harmless(parts.chars()))?;
        detail.rows.iter().try_for_each(|row| conflict(out, row))?;
    }
    rows(out, &one.rows)
}

/// Both values of each column in conflict.
fn conflict(out: &mut String, row: &ConflictedRow) -> std::fmt::Result {
    let value = |found: &Option<ColumnValues>, column: &str| match found {
        Some(values) => values.get(column).map_or_else(|| String::from("NULL"), cell),
        None => String::from("no row"),
    };
    let column = |name: &String| {
        let (mine, theirs) = (value(&row.mine, name), value(&row.theirs, name));
        format!("{name}: mine {mine}, theirs {theirs}")
    };
    let columns: Vec<String> = row.columns.iter().map(column).collect();
    let about =
        if columns.is_empty() { String::from("deleted or created") } else { columns.join("; ") };
    writeln!(out, "    conflict in {} {}  {about}", row.table, cell(&row.key))
}

fn accepted(out: &mut String, one: &AcceptedMutation) -> std::fmt::Result {
    let by = one.action.as_ref().map(|action| format!("  by {action}")).unwrap_or_default();
    let (written, accepted) = (time(one.written_ms), time(one.accepted_ms));
    writeln!(out, "  #{} {}  {written}  accepted {accepted}{by}", one.seq.0, one.id)?;
    rows(out, &one.rows)
}

fn rows(out: &mut String, rows: &[PendingRow]) -> std::fmt::Result {
    for row in rows {
        let columns: Vec<String> = row.columns.iter().map(|one| change(one, row)).collect();
        let (operation, key) = (word(&row.operation), cell(&row.key));
        writeln!(out, "    {operation} {} {key}  {}", row.table, columns.join(", "))?;
    }
    Ok(())
}

fn change(column: &PendingColumn, row: &PendingRow) -> String {
    let PendingColumn { name, old, new } = column;
    match row.operation {
        PatchKind::Insert => format!("{name}: {}", cell(new)),
        PatchKind::Update => format!("{name}: {} -> {}", cell(old), cell(new)),
        PatchKind::Delete => format!("{name}: {}", cell(old)),
    }
}

/// The value in SQL syntax, truncated if long.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::from("NULL"),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{}'", cut(text).replace('\'', "''")),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Removes control characters, which terminals would interpret: rows may contain any text.
fn harmless(text: impl Iterator<Item = char>) -> String {
    text.map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

fn cut(text: &str) -> String {
    let mut shown = harmless(text.chars().take(SHOWN));
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

fn word(variant: &impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shown_as_sql_without_control_characters() {
        let long = "x".repeat(SHOWN + 1);
        let table: [(Value, String); 7] = [
            (Value::Null, "NULL".into()),
            (i64::MIN.into(), "-9223372036854775808".into()),
            (1.0.into(), "1.0".into()),
            ("it's".into(), "'it''s'".into()),
            ("\u{1b}[2J\n".into(), "'\u{fffd}[2J\u{fffd}'".into()),
            (Value::Blob(vec![0, 1]), "2 bytes".into()),
            (long.as_str().into(), format!("'{}...'", "x".repeat(SHOWN))),
        ];
        for (value, expected) in table {
            assert_eq!(cell(&value), expected);
        }
    }

    #[test]
    fn out_of_range_time_is_shown_as_a_number() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
    }
}
