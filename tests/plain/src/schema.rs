//! The schema: tables and columns as listed by `GET /sync/schema`, their hash, and the version
//! stored for a hash.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::table::{Column, Table};

/// The database has an unsupported type; every endpoint responds with 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsupported;

/// The metadata of a table, shared by both lists.
#[derive(Debug, Serialize)]
pub(crate) struct Bucketing {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_by_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_prefix: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    global_when_bucket_null: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_global_read: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct SchemaTable {
    table_name: String,
    push_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_fk_col: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
    updated_at_column: &'static str,
    deleted_at_column: &'static str,
    primary_key: [&'static str; 1],
    #[serde(flatten)]
    bucketing: Bucketing,
    columns: Vec<SchemaColumn>,
}

#[derive(Debug, Serialize)]
struct SchemaColumn {
    name: String,
    db_type: String,
    logical_type: &'static str,
    nullable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_sql: Option<String>,
    default_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlite_default_sql: Option<String>,
    is_primary_key: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct TableMeta {
    table_name: String,
    push_policy: &'static str,
    dependencies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_fk_col: Option<String>,
    updated_at_column: &'static str,
    deleted_at_column: &'static str,
    #[serde(flatten)]
    bucketing: Bucketing,
}

/// All tables by name, as in the schema.
pub(crate) fn schema(tables: &[Table]) -> Result<Vec<SchemaTable>, Unsupported> {
    let mut listed = Vec::new();
    for table in sorted(tables) {
        let columns = table.columns.iter().map(|column| schema_column(table, column));
        listed.push(SchemaTable {
            table_name: table.name.clone(),
            push_policy: policy(table),
            parent_table: table.parent.as_ref().map(|(parent, _)| parent.clone()),
            parent_fk_col: table.parent.as_ref().map(|(_, column)| column.clone()),
            dependencies: dependencies(table),
            updated_at_column: "updated_at",
            deleted_at_column: "deleted_at",
            primary_key: ["id"],
            bucketing: bucketing(table),
            columns: columns.collect::<Result<_, _>>()?,
        });
    }
    Ok(listed)
}

/// All tables by name, as in the shorter list.
pub(crate) fn metadata(tables: &[Table]) -> Vec<TableMeta> {
    let listed = sorted(tables).into_iter().map(|table| TableMeta {
        table_name: table.name.clone(),
        push_policy: policy(table),
        dependencies: dependencies(table),
        parent_table: table.parent.as_ref().map(|(parent, _)| parent.clone()),
        parent_fk_col: table.parent.as_ref().map(|(_, column)| column.clone()),
        updated_at_column: "updated_at",
        deleted_at_column: "deleted_at",
        bucketing: bucketing(table),
    });
    listed.collect()
}

/// The hash of the schema as encoded by Go.
pub(crate) fn hash(tables: &[SchemaTable]) -> String {
    #[derive(Serialize)]
    struct Tables<'a> {
        tables: &'a [SchemaTable],
    }
    let mut text = serde_json::to_string(&Tables { tables }).unwrap_or_default();
    for (plain, escaped) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        text = text.replace(plain, escaped);
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sorted(tables: &[Table]) -> Vec<&Table> {
    let mut sorted: Vec<_> = tables.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    sorted
}

fn policy(table: &Table) -> &'static str {
    if table.pushable() { "owner_only" } else { "disabled" }
}

fn dependencies(table: &Table) -> Vec<String> {
    table.parent.iter().map(|(parent, _)| parent.clone()).collect()
}

fn bucketing(table: &Table) -> Bucketing {
    Bucketing {
        bucket_by_column: table.bucket_by.clone(),
        bucket_prefix: table.bucket_prefix.clone(),
        global_when_bucket_null: table.global_read,
        allow_global_read: table.global_read,
    }
}

fn schema_column(table: &Table, column: &Column) -> Result<SchemaColumn, Unsupported> {
    let portable = column.default_sql.as_deref().and_then(portable);
    let default_kind = match (&column.default_sql, &portable) {
        (None, _) => "none",
        (Some(_), Some(_)) => "portable",
        (Some(_), None) => "server_only",
    };
    let stuck = default_kind == "server_only"
        && table.pushable()
        && !column.nullable
        && !column.key
        && !table.is_protected(&column.name);
    match column.logical_type {
        Some(logical_type) if !stuck => Ok(SchemaColumn {
            name: column.name.clone(),
            db_type: column.db_type.clone(),
            logical_type,
            nullable: column.nullable,
            default_sql: column.default_sql.clone(),
            default_kind,
            sqlite_default_sql: portable,
            is_primary_key: column.key,
        }),
        _ => Err(Unsupported),
    }
}

/// The default as SQLite syntax, if SQLite can express it.
fn portable(sql: &str) -> Option<String> {
    let cast = sql.rfind("::").filter(|place| !sql[*place..].contains(['\'', '(']));
    let literal = cast.map_or(sql, |place| &sql[..place]).trim();
    let quoted = literal.len() > 1 && literal.starts_with('\'') && literal.ends_with('\'');
    match literal.to_lowercase().as_str() {
        "null" => Some("NULL".to_owned()),
        "true" => Some("1".to_owned()),
        "false" => Some("0".to_owned()),
        "now()" | "current_timestamp" | "transaction_timestamp()" | "statement_timestamp()" => {
            Some("CURRENT_TIMESTAMP".to_owned())
        }
        "current_date" => Some("CURRENT_DATE".to_owned()),
        "current_time" => Some("CURRENT_TIME".to_owned()),
        _ if quoted || literal.parse::<f64>().is_ok() => Some(literal.to_owned()),
        _ => None,
    }
}
