//! Access as SQL: the predicate of who sees a row, and the expression of its bucket for the triggers.
//!
//! One place, so that what a page shows, what a push may touch and what the log names cannot drift apart.

use rejoin_protocol::ColumnKind;

use crate::model::{Access, BucketColumn, GLOBAL, Schema, Table};

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column of a row that SQL calls `alias`.
pub(super) fn cell(table: &Table, alias: &str, at: usize) -> String {
    let name = table.columns.get(at).map_or("", |column| column.name.as_str());
    format!("{alias}.{}", quoted(name))
}

/// Whether the row `alias` is seen by the owners in the JSON array `:{who}_owners`, everybody's rows if `:{who}_global` is 1,
/// and rows that name a bucket of `:{who}_buckets`.
pub(super) fn seen(schema: &Schema, table: &Table, alias: &str, who: &str) -> String {
    let owned = owned(schema, table, alias, who);
    match &table.bucket {
        Some(bucket) => format!("({owned} OR {})", in_bucket(table, alias, who, bucket)),
        None => owned,
    }
}

fn owned(schema: &Schema, table: &Table, alias: &str, who: &str) -> String {
    match table.access {
        Access::Nobody => String::from("0"),
        Access::Global => format!(":{who}_global"),
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let own = format!(
                "{} IN (SELECT value FROM json_each(:{who}_owners))",
                by_bytes(table, alias, column)
            );
            if global { format!("({own} OR ({owner} IS NULL AND :{who}_global))") } else { own }
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return String::from("0") };
            let next = format!("{alias}p");
            format!(
                "EXISTS (SELECT 1 FROM {} AS {next} WHERE {} = {} AND {})",
                quoted(&above.name),
                cell(above, &next, above.key),
                cell(table, alias, column),
                seen(schema, above, &next, who)
            )
        }
    }
}

/// User ids and buckets differ by case, whatever the column's collation thinks.
fn by_bytes(table: &Table, alias: &str, column: usize) -> String {
    let value = cell(table, alias, column);
    let is_text = table.columns.get(column).is_some_and(|c| c.kind == ColumnKind::String);
    let text = if is_text { value } else { format!("CAST({value} AS TEXT)") };
    format!("{text} COLLATE BINARY")
}

fn in_bucket(table: &Table, alias: &str, who: &str, bucket: &BucketColumn) -> String {
    let length = bucket.prefix.chars().count();
    let named = format!(
        "{} IN (SELECT substr(value, {}) FROM json_each(:{who}_buckets) \
         WHERE substr(value, 1, {length}) = {} AND length(value) > {length})",
        by_bytes(table, alias, bucket.column),
        length + 1,
        literal(&bucket.prefix),
    );
    if bucket.global {
        let value = cell(table, alias, bucket.column);
        return format!("({named} OR (nullif({value}, '') IS NULL AND :{who}_global))");
    }
    named
}

/// The buckets of the row `alias`, an expression each; NULL where it is in none.
pub(super) fn buckets(schema: &Schema, table: &Table, alias: &str) -> Vec<String> {
    let mut all = match table.access {
        Access::Nobody => Vec::new(),
        Access::Global => vec![literal(GLOBAL)],
        Access::Owner { column, global } => {
            let owner = cell(table, alias, column);
            let nobody = if global { "'global'" } else { "NULL" };
            vec![format!("CASE WHEN {owner} IS NULL THEN {nobody} ELSE 'user:' || {owner} END")]
        }
        Access::Chain { column, parent } => {
            let Some(above) = schema.tables.get(parent) else { return Vec::new() };
            let next = format!("{}p", alias.to_ascii_lowercase());
            let of = |bucket: String| {
                format!(
                    "(SELECT {bucket} FROM {} AS {next} WHERE {} = {})",
                    quoted(&above.name),
                    cell(above, &next, above.key),
                    cell(table, alias, column)
                )
            };
            buckets(schema, above, &next).into_iter().map(of).collect()
        }
    };
    all.extend(table.bucket.as_ref().map(|bucket| {
        let value = cell(table, alias, bucket.column);
        let nobody = if bucket.global { "'global'" } else { "NULL" };
        let prefix = literal(&bucket.prefix);
        format!("CASE WHEN nullif({value}, '') IS NULL THEN {nobody} ELSE {prefix} || {value} END")
    }));
    all
}
