//! The tables, columns and actions of a schema, as the languages need them.

use anyhow::{Context as _, Result, bail};
use rejoin_core::{Manifest, Parameter};
use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{ColumnManifest, TableExtension, TableManifest};
use serde::Deserialize;

/// What is generated.
#[derive(Debug)]
pub(super) struct Model {
    /// Sorted by name.
    pub(super) tables: Vec<Table>,
    /// Sorted by name.
    pub(super) actions: Vec<Action>,
}

/// A table. Its row type has all columns; its statements write the columns that belong to the app.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Whether the app may write rows.
    pub(super) is_writable: bool,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    /// Whether a row on the device may hold NULL: also in a column that the server fills later.
    pub(super) is_nullable: bool,
    /// Whether the app writes it, not the server or an expression.
    pub(super) is_writable: bool,
    pub(super) is_key: bool,
}

/// A declared action.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
}

impl Model {
    /// The model of a schema and the texts of declared actions.
    pub(super) fn of(schema: &Manifest, actions: &[String]) -> Result<Self> {
        let tables = schema.tables.iter().map(Table::of).collect::<Result<Vec<_>>>()?;
        let actions = actions.iter().map(|text| {
            serde_json::from_str(text).with_context(|| format!("no declared action: {text}"))
        });
        let mut model = Self { tables, actions: actions.collect::<Result<Vec<_>>>()? };
        model.tables.sort_by(|left, right| left.name.cmp(&right.name));
        model.actions.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(model)
    }
}

impl Table {
    fn of(table: &TableManifest) -> Result<Self> {
        let name = &table.table_name;
        let standard = TableExtension::default();
        let extension = table.rejoin.as_ref().unwrap_or(&standard);
        let column = |column: &ColumnManifest| {
            let kind = ColumnKind::of(&column.logical_type, &column.db_type);
            let Some(kind) = kind else {
                bail!("{name}.{}: unknown type {:?}", column.name, column.logical_type);
            };
            let is_writable = is_writable(table, extension, &column.name);
            Ok(Column {
                name: column.name.clone(),
                kind,
                is_nullable: column.nullable || !is_writable,
                is_writable,
                is_key: table.primary_key.contains(&column.name),
            })
        };
        let columns = table.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        if columns.iter().filter(|column| column.is_key).count() != 1 {
            bail!("{name}: expected a key of one column, found {:?}", table.primary_key);
        }
        let is_writable = table.push_policy != "disabled";
        Ok(Self { name: name.clone(), columns, is_writable })
    }

    /// The columns of an insert: those that the app writes.
    pub(super) fn written(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_writable)
    }

    /// The columns that an update sets.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Column> {
        self.written().filter(|column| !column.is_key)
    }

    /// The key.
    pub(super) fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_key)
    }

    pub(super) fn insert_sql(&self) -> String {
        let names: Vec<String> = self.written().map(|column| quoted(&column.name)).collect();
        let marks = vec!["?"; names.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(&self.name), names.join(", "))
    }

    /// `None` if the key is the only column that the app writes.
    pub(super) fn update_sql(&self) -> Option<String> {
        let set: Vec<String> =
            self.changed().map(|column| format!("{} = ?", quoted(&column.name))).collect();
        let of = |set: String| {
            format!("UPDATE {} SET {set} WHERE {}", quoted(&self.name), self.by_key())
        };
        (!set.is_empty()).then(|| of(set.join(", ")))
    }

    pub(super) fn delete_sql(&self) -> String {
        format!("DELETE FROM {} WHERE {}", quoted(&self.name), self.by_key())
    }

    fn by_key(&self) -> String {
        let terms = self.key().map(|column| format!("{} = ?", quoted(&column.name)));
        terms.collect::<Vec<_>>().join(" AND ")
    }
}

/// The engine protects the same columns against the app's writes.
fn is_writable(table: &TableManifest, extension: &TableExtension, column: &str) -> bool {
    let is = |other: &str| other.eq_ignore_ascii_case(column);
    let is_servers = is(&table.updated_at_column)
        || is(&table.deleted_at_column)
        || is("created_at")
        || extension.owner_column.as_deref().is_some_and(is)
        || extension.protected.iter().any(|other| is(other));
    !is_servers && !extension.generated.iter().any(|generated| is(&generated.name))
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
