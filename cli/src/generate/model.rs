//! The tables, columns, streams and actions of a schema, as the languages need them.

use anyhow::{Result, bail};
use rejoin_core::{Manifest, Parameter, ParameterType};
use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::{ColumnManifest, StreamManifest, StreamParameter, TableManifest};
use serde::Deserialize;

/// What is generated.
#[derive(Debug)]
pub(super) struct Model {
    /// Sorted by name.
    pub(super) tables: Vec<Table>,
    /// Sorted by name.
    pub(super) actions: Vec<Action>,
    /// Sorted by name.
    pub(super) streams: Vec<Stream>,
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

/// A statement that a row type returns.
pub(super) struct Operation<'t> {
    /// `insert`, `update` or `delete`.
    pub(super) name: &'static str,
    /// What the statement does, for its comment.
    pub(super) effect: &'static str,
    pub(super) sql: String,
    /// The columns whose values are bound, in order. A delete needs only the key, all others need a row.
    pub(super) values: Vec<&'t Column>,
}

/// A declared action.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    /// The name of its function, before it has the style of a language.
    pub(super) call: String,
    pub(super) parameters: Vec<Parameter>,
}

impl Model {
    /// The model of a schema and of declared actions.
    pub(super) fn of(schema: &Manifest, actions: Vec<Action>) -> Result<Self> {
        let tables = schema.tables.iter().map(Table::of).collect::<Result<Vec<_>>>()?;
        let streams = schema.rejoin.iter().flat_map(|extension| &extension.streams);
        let streams = streams.map(Stream::of).collect::<Result<Vec<_>>>()?;
        let mut model = Self { tables, actions, streams };
        model.tables.sort_by(|left, right| left.name.cmp(&right.name));
        model.actions.sort_by(|left, right| left.name.cmp(&right.name));
        model.streams.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(model)
    }
}

impl Stream {
    fn of(stream: &StreamManifest) -> Result<Self> {
        let name = stream.name.clone();
        if !name.chars().any(char::is_alphanumeric) {
            bail!("the stream {name:?} has no letter or digit: rename it in the configuration");
        }
        let parameter = |StreamParameter { name: parameter, kind }: &StreamParameter| {
            let kind = match kind.as_str() {
                "text" => ParameterType::Text,
                "integer" => ParameterType::Integer,
                _ => bail!(
                    "the stream {name}: the parameter {parameter} has the unknown type {kind:?}"
                ),
            };
            Ok(Parameter::new(parameter, kind))
        };
        let parameters = stream.parameters.iter().map(parameter).collect::<Result<_>>()?;
        Ok(Self { call: format!("subscribe_{name}"), name, parameters })
    }
}

impl Table {
    fn of(table: &TableManifest) -> Result<Self> {
        let name = &table.table_name;
        let column = |column: &ColumnManifest| {
            let kind = ColumnKind::of(&column.logical_type, &column.db_type);
            let Some(kind) = kind else {
                bail!("{name}.{}: unknown type {:?}", column.name, column.logical_type);
            };
            let is_writable =
                !table.is_protected(&column.name) && !table.is_generated(&column.name);
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

    /// The statements of a row; none if the app may not write the table. An update needs a column beside the key.
    pub(super) fn operations(&self) -> Vec<Operation<'_>> {
        if !self.is_writable {
            return Vec::new();
        }
        let table = quoted(&self.name);
        let written: Vec<&Column> = self.columns.iter().filter(|one| one.is_writable).collect();
        let (key, mut set): (Vec<&Column>, Vec<&Column>) = self
            .columns
            .iter()
            .filter(|one| one.is_key || one.is_writable)
            .partition(|one| one.is_key);
        let names = |columns: &[&Column], form: fn(&str) -> String| {
            let names = columns.iter().map(|one| form(&quoted(&one.name)));
            names.collect::<Vec<_>>().join(", ")
        };
        let by_key = names(&key, |name| format!("{name} = ?"));
        let marks = vec!["?"; written.len()].join(", ");
        let columns = names(&written, str::to_owned);
        let mut operations = vec![Operation {
            name: "insert",
            effect: "inserts this row; the server fills its own columns",
            sql: format!("INSERT INTO {table} ({columns}) VALUES ({marks})"),
            values: written,
        }];
        if !set.is_empty() {
            let assigned = names(&set, |name| format!("{name} = ?"));
            set.extend(&key);
            operations.push(Operation {
                name: "update",
                effect: "writes this row's columns to the row of its key",
                sql: format!("UPDATE {table} SET {assigned} WHERE {by_key}"),
                values: set,
            });
        }
        operations.push(Operation {
            name: "delete",
            effect: "deletes the row of this key",
            sql: format!("DELETE FROM {table} WHERE {by_key}"),
            values: key,
        });
        operations
    }
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
