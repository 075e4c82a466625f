//! Kotlin: serializable data classes with functions that return a `Statement`, and extensions of `RejoinClient` for actions and of
//! `SyncHandle` for streams.

use std::fmt::Write as _;

use anyhow::Result;
use rejoin_core::{Parameter, ParameterType};
use rejoin_protocol::ColumnKind;

use super::HEADER;
use super::model::{Action, Column, Model, Operation, Stream, Table};
use super::names::{Case, Names, commented};

/// Hard keywords of Kotlin, which a name cannot be, and names that a generated class has.
const RESERVED: &str = "\
    as break class continue do else false for fun if in interface is null object package return \
    super this throw true try typealias typeof val var when while insert update delete";

pub(super) fn file(model: &Model, package: &str) -> Result<String> {
    let names = model.tables.iter().map(|table| table.name.as_str());
    let types = Names::of(names, Case::UpperCamel, "Row", "")?;
    let calls = model.actions.iter().map(|action| action.name.as_str());
    let calls = Names::of(calls, Case::LowerCamel, "", RESERVED)?;
    let streams = model.streams.iter().map(|stream| stream.call.as_str());
    let streams = Names::of(streams, Case::LowerCamel, "", RESERVED)?;
    let mut body = String::new();
    for one in &model.tables {
        table(&mut body, one, types.get(&one.name))?;
    }
    for one in &model.actions {
        action(&mut body, one, calls.get(&one.name))?;
    }
    for one in &model.streams {
        stream(&mut body, one, streams.get(&one.call))?;
    }
    let mut out = format!("// {HEADER}\npackage {package}\n\n");
    for (word, import) in [
        ("Performed", "dev.rejoin.Performed"),
        ("RejoinClient", "dev.rejoin.RejoinClient"),
        ("Statement(", "dev.rejoin.Statement"),
        ("StreamSubscription", "dev.rejoin.StreamSubscription"),
        ("SyncHandle", "dev.rejoin.SyncHandle"),
        ("perform(", "dev.rejoin.perform"),
        ("@SerialName", "kotlinx.serialization.SerialName"),
        ("@Serializable", "kotlinx.serialization.Serializable"),
        ("JsonElement", "kotlinx.serialization.json.JsonElement"),
        (": Duration?", "kotlin.time.Duration"),
    ] {
        if body.contains(word) {
            writeln!(out, "import {import}")?;
        }
    }
    Ok(out + &body)
}

fn table(out: &mut String, table: &Table, type_name: &str) -> Result<()> {
    let columns = table.columns.iter().map(|column| column.name.as_str());
    let fields = Names::of(columns, Case::LowerCamel, "", RESERVED)?;
    write!(
        out,
        "\n/** A row of the table `{}`. */\n@Serializable\npublic data class {type_name}(\n",
        commented(&table.name)
    )?;
    for column in &table.columns {
        let field = fields.get(&column.name);
        let alias = if field == column.name {
            String::new()
        } else {
            format!("@SerialName({}) ", literal(&column.name))
        };
        let default = if column.is_nullable { " = null" } else { "" };
        writeln!(out, "    {alias}public val {field}: {}{default},", type_of(column))?;
    }
    out.push_str(") {\n");
    let (of_key, of_row): (Vec<_>, Vec<_>) =
        table.operations().into_iter().partition(|one| one.name == "delete");
    for one in &of_row {
        operation(out, "    ", one, &fields)?;
        out.push('\n');
    }
    if table.columns.iter().any(is_bytes) {
        equality(out, table, type_name, &fields)?;
    }
    let name = literal(&table.name);
    write!(
        out,
        "    public companion object {{\n        /** The name of the table. */\n        \
         public const val TABLE: String = {name}\n"
    )?;
    for one in &of_key {
        out.push('\n');
        operation(out, "        ", one, &fields)?;
    }
    out.push_str("    }\n}\n");
    Ok(())
}

/// A data class compares arrays by identity; a row is equal if its bytes are.
fn equality(out: &mut String, table: &Table, type_name: &str, fields: &Names) -> Result<()> {
    write!(
        out,
        "    override fun equals(other: Any?): Boolean = other is {type_name} && values() == other.values()\n\n    \
         override fun hashCode(): Int = values().hashCode()\n\n    \
         private fun values(): List<Any?> =\n        listOf(\n"
    )?;
    for column in &table.columns {
        let as_list = match (is_bytes(column), column.is_nullable) {
            (false, _) => "",
            (true, false) => ".asList()",
            (true, true) => "?.asList()",
        };
        writeln!(out, "            {}{as_list},", fields.get(&column.name))?;
    }
    out.push_str("        )\n\n");
    Ok(())
}

fn is_bytes(column: &Column) -> bool {
    column.kind == ColumnKind::Bytes
}

fn operation(
    out: &mut String,
    indent: &str,
    operation: &Operation<'_>,
    fields: &Names,
) -> Result<()> {
    let Operation { name, effect, sql, values } = operation;
    let head = match (*name, values.as_slice()) {
        ("delete", [key]) => format!("{}: {}", fields.get(&key.name), type_of(key)),
        _ => String::new(),
    };
    write!(
        out,
        "{indent}/** The statement that {effect}. */\n{indent}public fun {name}({head}): Statement =\n\
         {indent}    Statement(\n{indent}        {},\n",
        literal(sql)
    )?;
    for value in values {
        writeln!(out, "{indent}        {},", fields.get(&value.name))?;
    }
    writeln!(out, "{indent}    )")?;
    Ok(())
}

fn action(out: &mut String, action: &Action, name: &str) -> Result<()> {
    let parameters = action.parameters.iter().map(|parameter| parameter.name.as_str());
    let names = Names::of(parameters, Case::LowerCamel, "", RESERVED)?;
    let list = |item: &dyn Fn(&Parameter) -> String| -> String {
        let lines = action.parameters.iter().map(|one| format!("    {},\n", item(one)));
        lines.collect::<Vec<_>>().concat()
    };
    let head = list(&|parameter| {
        let default = if parameter.optional { " = null" } else { "" };
        format!("{}: {}{default}", names.get(&parameter.name), parameter_type(parameter))
    });
    let head = if head.is_empty() { head } else { format!("\n{head}") };
    let arguments = list(&|parameter| {
        format!("    {} to {}", literal(&parameter.name), names.get(&parameter.name))
    });
    write!(
        out,
        "\n/** Performs the action `{}`. */\npublic suspend fun RejoinClient.{name}({head}): Performed =\n    \
         perform(\n        {},\n{arguments}    )\n",
        commented(&action.name),
        literal(&action.name)
    )?;
    Ok(())
}

fn stream(out: &mut String, stream: &Stream, name: &str) -> Result<()> {
    let parameters = stream.parameters.iter().map(|parameter| parameter.name.as_str());
    let reserved = format!("{RESERVED} ttl priority");
    let names = Names::of(parameters, Case::LowerCamel, "", &reserved)?;
    let (mut head, mut pairs) = (String::new(), Vec::new());
    for parameter in &stream.parameters {
        let name = names.get(&parameter.name);
        writeln!(head, "    {name}: {},", parameter_type(parameter))?;
        pairs.push(format!("{} to {name}", literal(&parameter.name)));
    }
    let pairs = match pairs.as_slice() {
        [] => String::from("emptyMap()"),
        pairs => format!("mapOf({})", pairs.join(", ")),
    };
    write!(
        out,
        "\n/** Subscribes to the stream `{}`. */\npublic suspend fun SyncHandle.{name}(\n{head}    \
         ttl: Duration? = null,\n    priority: Int? = null,\n): StreamSubscription =\n    \
         subscribe(\n        {},\n        {pairs},\n        ttl,\n        priority,\n    )\n",
        commented(&stream.name),
        literal(&stream.name)
    )?;
    Ok(())
}

/// A literal of text; `$` would begin a template.
fn literal(text: &str) -> String {
    super::names::literal(text).replace('$', "\\$")
}

fn type_of(column: &Column) -> String {
    let of = match column.kind {
        ColumnKind::Int | ColumnKind::Int64 => "Long",
        ColumnKind::Float => "Double",
        ColumnKind::Boolean => "Boolean",
        ColumnKind::Bytes => "ByteArray",
        _ => "String",
    };
    if column.is_nullable { format!("{of}?") } else { of.to_owned() }
}

fn parameter_type(parameter: &Parameter) -> String {
    let of = match parameter.kind {
        ParameterType::Integer => "Long",
        ParameterType::Real => "Double",
        ParameterType::Boolean => "Boolean",
        ParameterType::Json => "JsonElement",
        ParameterType::Blob => "ByteArray",
        ParameterType::Text | ParameterType::Time => "String",
    };
    if parameter.optional { format!("{of}?") } else { of.to_owned() }
}
