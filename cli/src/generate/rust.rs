//! Rust: structs with `serde::Deserialize`, and functions that return a statement with its parameters.

use std::fmt::Write as _;

use anyhow::Result;
use rejoin_core::{Parameter, ParameterType};
use rejoin_protocol::ColumnKind;

use super::HEADER;
use super::model::{Action, Column, Model, Operation, Stream, Table};
use super::names::{Case, Names, literal};

/// Keywords of Rust, which a name cannot be.
const RESERVED: &str = "\
    abstract as async await become box break const continue crate do dyn else enum extern false \
    final fn for gen if impl in let loop macro match mod move mut override priv pub ref return \
    self static struct super trait true try type typeof unsafe unsized use virtual where while \
    yield client";

/// The longest line that rustfmt leaves.
const LINE_WIDTH: usize = 100;

/// The longest content of a list that rustfmt leaves on one line.
const LIST_WIDTH: usize = 60;

pub(super) fn file(model: &Model) -> Result<String> {
    let names = model.tables.iter().map(|table| table.name.as_str());
    let types = Names::of(names, Case::UpperCamel, "Row", "")?;
    let actions = model.actions.iter().map(|action| action.name.as_str());
    let streams = model.streams.iter().map(|stream| stream.call.as_str());
    // Actions and streams are functions of one scope.
    let calls = Names::of(actions.chain(streams), Case::Snake, "", RESERVED)?;
    let mut out = format!("//! {HEADER}\n");
    for one in &model.tables {
        table(&mut out, one, types.get(&one.name))?;
    }
    for one in &model.actions {
        action(&mut out, one, calls.get(&one.name))?;
    }
    for one in &model.streams {
        stream(&mut out, one, calls.get(&one.call))?;
    }
    Ok(out)
}

fn table(out: &mut String, table: &Table, type_name: &str) -> Result<()> {
    let columns = table.columns.iter().map(|column| column.name.as_str());
    let fields = Names::of(columns, Case::Snake, "", RESERVED)?;
    let name = &table.name;
    write!(
        out,
        "\n/// A row of the table `{name}`.\n#[derive(Debug, Clone, PartialEq, serde::Deserialize)]\n\
         pub struct {type_name} {{\n"
    )?;
    for column in &table.columns {
        let field = fields.get(&column.name);
        if field != column.name {
            writeln!(out, "    #[serde(rename = {})]", literal(&column.name))?;
        }
        writeln!(
            out,
            "    /// The column `{}`.\n    pub {field}: {},",
            column.name,
            type_of(column)
        )?;
    }
    write!(
        out,
        "}}\n\nimpl {type_name} {{\n    /// The name of the table.\n    \
         pub const TABLE: &'static str = {};\n",
        literal(name)
    )?;
    for one in table.operations() {
        operation(out, &one, &fields)?;
    }
    out.push_str("}\n");
    Ok(())
}

fn operation(out: &mut String, operation: &Operation<'_>, fields: &Names) -> Result<()> {
    let Operation { name, effect, sql, values } = operation;
    let (head, values): (String, Vec<String>) = match (*name, values.as_slice()) {
        ("delete", [key]) => {
            let field = fields.get(&key.name);
            (format!("{field}: {}", borrowed(key.kind)), vec![format!("{field}.into()")])
        }
        (_, columns) => {
            let value = |column: &&Column| {
                let clone = if is_copy(column.kind) { "" } else { ".clone()" };
                format!("self.{}{clone}.into()", fields.get(&column.name))
            };
            (String::from("&self"), columns.iter().map(value).collect())
        }
    };
    let list = list(&values, "        ");
    write!(
        out,
        "\n    /// The statement that {effect}.\n    \
         pub fn {name}({head}) -> (&'static str, Vec<rejoin_core::Value>) {{\n        \
         const SQL: &str = {};\n        let values = vec!{list};\n        (SQL, values)\n    }}\n",
        literal(sql)
    )?;
    Ok(())
}

/// A list in brackets as rustfmt leaves it.
fn list(items: &[String], indent: &str) -> String {
    let line = items.join(", ");
    if line.len() <= LIST_WIDTH {
        return format!("[{line}]");
    }
    let lines = items.iter().map(|item| format!("{indent}    {item},\n"));
    format!("[\n{}{indent}]", lines.collect::<Vec<_>>().concat())
}

/// The first line of a function that gets the client and these parameters.
fn head(name: &str, parameters: &[Parameter], names: &Names, returned: &str) -> String {
    let parameters = parameters
        .iter()
        .map(|parameter| format!("{}: {}", names.get(&parameter.name), parameter_type(parameter)));
    let client = String::from("client: &rejoin_core::Client");
    let parameters: Vec<String> = [client].into_iter().chain(parameters).collect();
    let head = |list: &str| format!("pub fn {name}({list}) -> {returned} {{\n");
    let line = head(&parameters.join(", "));
    if line.len() <= LINE_WIDTH + 1 {
        return line;
    }
    head(&format!("\n    {},\n", parameters.join(",\n    ")))
}

fn stream(out: &mut String, stream: &Stream, name: &str) -> Result<()> {
    let Stream { name: title, parameters, .. } = stream;
    let names = parameters.iter().map(|parameter| parameter.name.as_str());
    let names = Names::of(names, Case::Snake, "", RESERVED)?;
    let head = head(name, parameters, &names, "rejoin_core::Subscribe");
    write!(out, "\n/// Subscribes to the stream `{title}`.\n{head}")?;
    let title = literal(title);
    let pairs = parameters.iter().map(|parameter| {
        let value = names.get(&parameter.name);
        let text = if parameter.kind == ParameterType::Text { "to_owned" } else { "to_string" };
        format!("({}, {value}.{text}())", literal(&parameter.name))
    });
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() {
        writeln!(out, "    client.sync().subscribe({title}, ())\n}}")?;
        return Ok(());
    }
    let pairs = list(&pairs, "    ");
    writeln!(
        out,
        "    let parameters = {pairs};\n    client.sync().subscribe({title}, parameters)\n}}"
    )?;
    Ok(())
}

fn action(out: &mut String, action: &Action, name: &str) -> Result<()> {
    let parameters = action.parameters.iter().map(|parameter| parameter.name.as_str());
    let names = Names::of(parameters, Case::Snake, "", RESERVED)?;
    let returned = "rejoin_core::Task<rejoin_core::Performed>";
    let head = head(name, &action.parameters, &names, returned);
    write!(out, "\n/// Performs the action `{}`.\n{head}", action.name)?;
    if action.parameters.is_empty() {
        out.push_str("    let arguments = serde_json::json!({});\n");
    } else {
        out.push_str("    let arguments = serde_json::json!({\n");
        for parameter in &action.parameters {
            writeln!(out, "        {}: {},", literal(&parameter.name), names.get(&parameter.name))?;
        }
        out.push_str("    });\n");
    }
    writeln!(out, "    client.perform({}, arguments)\n}}", literal(&action.name))?;
    Ok(())
}

fn type_of(column: &Column) -> String {
    let of = match column.kind {
        ColumnKind::Int | ColumnKind::Int64 => "i64",
        ColumnKind::Float => "f64",
        ColumnKind::Boolean => "bool",
        ColumnKind::Bytes => "Vec<u8>",
        _ => "String",
    };
    if column.is_nullable { format!("Option<{of}>") } else { of.to_owned() }
}

fn is_copy(kind: ColumnKind) -> bool {
    use ColumnKind::{Boolean, Float, Int, Int64};
    matches!(kind, Int | Int64 | Float | Boolean)
}

fn borrowed(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Int | ColumnKind::Int64 => "i64",
        ColumnKind::Float => "f64",
        ColumnKind::Boolean => "bool",
        ColumnKind::Bytes => "&[u8]",
        _ => "&str",
    }
}

fn parameter_type(parameter: &Parameter) -> String {
    let of = match parameter.kind {
        ParameterType::Integer => "i64",
        ParameterType::Real => "f64",
        ParameterType::Boolean => "bool",
        ParameterType::Json => "serde_json::Value",
        // Bytes are base64 in arguments.
        ParameterType::Text | ParameterType::Time | ParameterType::Blob => "&str",
    };
    if parameter.optional { format!("Option<{of}>") } else { of.to_owned() }
}
