//! TypeScript: interfaces by the names of the columns, an object of functions for each table that return a `Statement`, and
//! functions for actions and streams.
//!
//! A query returns booleans as 0 and 1, and every integer as a bigint in the mode `'bigint'`.
//! `fromRow` returns the types of the interface in each mode.

use std::fmt::Write as _;

use anyhow::Result;
use rejoin_core::{Parameter, ParameterType};
use rejoin_protocol::ColumnKind;

use super::HEADER;
use super::model::{Action, Column, Model, Operation, Stream, Table};
use super::names::{Case, Names, commented};

/// Reserved words of TypeScript modules, and names that the file imports.
const RESERVED: &str = "\
    arguments await break case catch class const continue debugger default delete do else enum \
    eval export extends false finally for function if implements import in instanceof interface \
    let new null package private protected public return static super switch this throw true \
    try typeof undefined var void while with yield client real row";

pub(super) fn file(model: &Model) -> Result<String> {
    let names = || model.tables.iter().map(|table| table.name.as_str());
    let types = Names::of(names(), Case::UpperCamel, "Row", "")?;
    let actions = model.actions.iter().map(|action| action.name.as_str());
    let streams = model.streams.iter().map(|stream| stream.call.as_str());
    // Tables, actions and streams are values of one scope.
    let values = names().chain(actions).chain(streams);
    let values = Names::of(values, Case::LowerCamel, "", RESERVED)?;
    let mut body = String::new();
    for one in &model.tables {
        table(&mut body, one, types.get(&one.name), values.get(&one.name))?;
    }
    for one in &model.actions {
        action(&mut body, one, values.get(&one.name))?;
    }
    for one in &model.streams {
        stream(&mut body, one, values.get(&one.call))?;
    }
    let imports = [
        ("JsonParam", "type JsonParam"),
        ("Performed", "type Performed"),
        ("real(", "real"),
        ("RejoinClient", "type RejoinClient"),
        (" Row)", "type Row"),
        ("Statement", "type Statement"),
        ("StreamSubscription", "type StreamSubscription"),
        ("SubscribeOptions", "type SubscribeOptions"),
    ];
    let imports: Vec<&str> =
        imports.into_iter().filter(|(word, _)| body.contains(word)).map(|(_, name)| name).collect();
    let imports = imports.join(", ");
    Ok(format!("// {HEADER}\n\nimport {{ {imports} }} from '@rejoin/react-native';\n{body}"))
}

fn table(out: &mut String, table: &Table, type_name: &str, value: &str) -> Result<()> {
    write!(
        out,
        "\n/** A row of the table `{}`. */\nexport interface {type_name} {{\n",
        commented(&table.name)
    )?;
    for column in &table.columns {
        let mark = if column.is_nullable { "?" } else { "" };
        writeln!(out, "  {}{mark}: {};", key(&column.name), type_of(column))?;
    }
    write!(
        out,
        "}}\n\n/** The table `{}`. */\nexport const {value} = {{\n  name: {},\n\n  \
         /** A row of `SELECT *` with its types. */\n  fromRow(row: Row): {type_name} {{\n",
        commented(&table.name),
        literal(&table.name)
    )?;
    let converted: Vec<(&Column, &str)> = table
        .columns
        .iter()
        .filter_map(|column| Some((column, conversion(column.kind)?)))
        .collect();
    if converted.is_empty() {
        writeln!(out, "    return row as unknown as {type_name};")?;
    } else {
        out.push_str("    return {\n      ...row,\n");
        for (column, to) in converted {
            let (key, cell) = (key(&column.name), member("row", &column.name));
            let of = if column.is_nullable {
                format!("{cell} == null ? null : {to}({cell})")
            } else {
                format!("{to}({cell})")
            };
            writeln!(out, "      {key}: {of},")?;
        }
        writeln!(out, "    }} as unknown as {type_name};")?;
    }
    out.push_str("  },\n");
    for one in table.operations() {
        operation(out, &one, type_name)?;
    }
    out.push_str("};\n");
    Ok(())
}

fn operation(out: &mut String, operation: &Operation<'_>, type_name: &str) -> Result<()> {
    let Operation { name, effect, sql, values } = operation;
    let (head, values) = match (*name, values.as_slice()) {
        ("delete", [key]) => (format!("key: {}", type_of(key)), vec![String::from("key")]),
        (_, columns) => {
            let values = columns.iter().map(|column| parameter_of(column));
            (format!("row: {type_name}"), values.collect())
        }
    };
    write!(
        out,
        "\n  /** The statement that {effect}. */\n  {name}({head}): Statement {{\n    return {{\n      \
         sql: {},\n      params: [\n",
        literal(sql)
    )?;
    for value in values {
        writeln!(out, "        {value},")?;
    }
    out.push_str("      ],\n    };\n  },\n");
    Ok(())
}

fn action(out: &mut String, action: &Action, name: &str) -> Result<()> {
    let given = action.parameters.iter().map(|parameter| {
        let mark = if parameter.optional { "?" } else { "" };
        format!("    {}{mark}: {};\n", key(&parameter.name), parameter_type(parameter))
    });
    let given = given.collect::<Vec<_>>().concat();
    let text = literal(&action.name);
    if given.is_empty() {
        write!(
            out,
            "\n/** Performs the action `{}`. */\nexport function {name}(client: RejoinClient): \
             Promise<Performed> {{\n  return client.perform({text});\n}}\n",
            commented(&action.name)
        )?;
    } else {
        write!(
            out,
            "\n/** Performs the action `{}`. */\nexport function {name}(\n  client: RejoinClient,\n  \
             args: {{\n{given}  }},\n): Promise<Performed> {{\n  return client.perform({text}, args);\n}}\n",
            commented(&action.name)
        )?;
    }
    Ok(())
}

fn stream(out: &mut String, stream: &Stream, name: &str) -> Result<()> {
    let mut given = String::new();
    for parameter in &stream.parameters {
        writeln!(given, "    {}: {};", key(&parameter.name), parameter_type(parameter))?;
    }
    let (head, parameters) = if given.is_empty() {
        (String::new(), "{}")
    } else {
        (format!("  parameters: {{\n{given}  }},\n"), "parameters")
    };
    write!(
        out,
        "\n/** Subscribes to the stream `{}`. */\nexport function {name}(\n  client: RejoinClient,\n{head}  \
         options?: SubscribeOptions,\n): Promise<StreamSubscription> {{\n  \
         return client.sync.subscribe({}, {parameters}, options);\n}}\n",
        commented(&stream.name),
        literal(&stream.name)
    )?;
    Ok(())
}

/// The function that converts a value as a query returns it to the column's type.
fn conversion(kind: ColumnKind) -> Option<&'static str> {
    match kind {
        ColumnKind::Boolean => Some("Boolean"),
        ColumnKind::Int => Some("Number"),
        _ => None,
    }
}

/// The parameter of a column: a whole number in a column of doubles stays a double.
fn parameter_of(column: &Column) -> String {
    let cell = member("row", &column.name);
    match (column.kind, column.is_nullable) {
        (ColumnKind::Float, true) => format!("{cell} == null ? null : real({cell})"),
        (ColumnKind::Float, false) => format!("real({cell})"),
        (_, true) => format!("{cell} ?? null"),
        (_, false) => cell,
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// A member's name in a type or a literal.
fn key(name: &str) -> String {
    if is_identifier(name) { name.to_owned() } else { literal(name) }
}

fn member(of: &str, name: &str) -> String {
    if is_identifier(name) { format!("{of}.{name}") } else { format!("{of}[{}]", literal(name)) }
}

/// A literal in single quotes, unless it contains one.
fn literal(text: &str) -> String {
    if text.contains(['\'', '\\']) {
        return super::names::literal(text);
    }
    format!("'{text}'")
}

fn type_of(column: &Column) -> String {
    let of = match column.kind {
        ColumnKind::Int | ColumnKind::Float => "number",
        ColumnKind::Int64 => "number | bigint",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Bytes => "Uint8Array",
        _ => "string",
    };
    if column.is_nullable { format!("{of} | null") } else { of.to_owned() }
}

fn parameter_type(parameter: &Parameter) -> String {
    let of = match parameter.kind {
        ParameterType::Integer => "number | bigint",
        ParameterType::Real => "number",
        ParameterType::Boolean => "boolean",
        ParameterType::Json => "JsonParam",
        ParameterType::Blob => "Uint8Array",
        ParameterType::Text | ParameterType::Time => "string",
    };
    if parameter.optional { format!("{of} | null") } else { of.to_owned() }
}
