//! Swift: `Decodable` structs with functions that return a `Statement`, and extensions of `RejoinClient` for actions.

use std::fmt::Write as _;

use anyhow::Result;
use rejoin_core::{Parameter, ParameterType};
use rejoin_protocol::ColumnKind;

use super::HEADER;
use super::model::{Action, Column, Model, Operation, Stream, Table};
use super::names::{Case, Names, literal};

/// Keywords of Swift that cannot be a name without backticks, and names that a generated type has.
const RESERVED: &str = "\
    associatedtype class deinit enum extension fileprivate func import init inout internal let \
    open operator private precedencegroup protocol public rethrows static struct subscript \
    typealias var break case catch continue default defer do else fallthrough for guard if in \
    repeat return throw switch where while Any as await false is nil self Self super true try \
    Type insert update delete table hashValue";

/// The longest list on one line.
const LINE: usize = 100;

pub(super) fn file(model: &Model) -> Result<String> {
    let names = model.tables.iter().map(|table| table.name.as_str());
    let types = Names::of(names, Case::UpperCamel, "Row", "")?;
    let calls = model.actions.iter().map(|action| action.name.as_str());
    let calls = Names::of(calls, Case::LowerCamel, "", RESERVED)?;
    let mut out = format!("// {HEADER}\n\nimport Foundation\nimport Rejoin\n");
    for one in &model.tables {
        table(&mut out, one, types.get(&one.name))?;
    }
    if !model.actions.is_empty() {
        out.push_str("\nextension RejoinClient {\n");
        let actions: Vec<String> = model
            .actions
            .iter()
            .map(|one| action(one, calls.get(&one.name)))
            .collect::<Result<_>>()?;
        out.push_str(&actions.join("\n"));
        out.push_str("}\n");
    }
    if !model.streams.is_empty() {
        let calls = model.streams.iter().map(|stream| stream.call.as_str());
        let calls = Names::of(calls, Case::LowerCamel, "", RESERVED)?;
        let streams = model.streams.iter().map(|one| stream(one, calls.get(&one.call)));
        let streams = streams.collect::<Result<Vec<String>>>()?.join("\n");
        write!(out, "\nextension SyncHandle {{\n{streams}}}\n")?;
    }
    Ok(out)
}

fn table(out: &mut String, table: &Table, type_name: &str) -> Result<()> {
    let columns = table.columns.iter().map(|column| column.name.as_str());
    let fields = Names::of(columns, Case::LowerCamel, "", RESERVED)?;
    let field = |column: &Column| fields.get(&column.name).to_owned();
    write!(
        out,
        "\n/// A row of the table `{}`.\npublic struct {type_name}: Decodable, Sendable, Hashable {{\n    \
         /// The name of the table.\n    public static let table = {}\n\n",
        table.name,
        literal(&table.name)
    )?;
    for column in &table.columns {
        let (name, of) = (field(column), type_of(column));
        writeln!(out, "    /// The column `{}`.\n    public var {name}: {of}", column.name)?;
    }
    out.push_str("\n    private enum CodingKeys: String, CodingKey {\n");
    for column in &table.columns {
        let name = field(column);
        if name == column.name {
            writeln!(out, "        case {name}")?;
        } else {
            writeln!(out, "        case {name} = {}", literal(&column.name))?;
        }
    }
    out.push_str("    }\n\n    public init(\n");
    let parameters: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let default = if column.is_nullable { " = nil" } else { "" };
            format!("        {}: {}{default}", field(column), type_of(column))
        })
        .collect();
    write!(out, "{}\n    ) {{\n", parameters.join(",\n"))?;
    for column in &table.columns {
        let name = field(column);
        writeln!(out, "        self.{name} = {name}")?;
    }
    out.push_str("    }\n");
    for one in table.operations() {
        operation(out, &one, &fields)?;
    }
    out.push_str("}\n");
    Ok(())
}

fn operation(out: &mut String, operation: &Operation<'_>, fields: &Names) -> Result<()> {
    let Operation { name, effect, sql, values } = operation;
    let head = match (*name, values.as_slice()) {
        ("delete", [key]) => {
            format!("static func delete({}: {})", fields.get(&key.name), type_of(key))
        }
        _ => format!("func {name}()"),
    };
    let values: Vec<&str> = values.iter().map(|column| fields.get(&column.name)).collect();
    write!(
        out,
        "\n    /// The statement that {effect}.\n    public {head} -> Statement {{\n        \
         Statement(\n            {},\n            {})\n    }}\n",
        literal(sql),
        list(&values)
    )?;
    Ok(())
}

/// A literal of an array or a dictionary: an item per line if it does not fit on one.
fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    let line = items.join(", ");
    if line.len() <= LINE {
        return format!("[{line}]");
    }
    let lines = items.iter().map(|item| format!("                {item},\n"));
    format!("[\n{}            ]", lines.collect::<Vec<_>>().concat())
}

fn action(action: &Action, name: &str) -> Result<String> {
    let parameters = action.parameters.iter().map(|parameter| parameter.name.as_str());
    // A parameter of the name `perform` would hide the function.
    let reserved = format!("{RESERVED} perform");
    let names = Names::of(parameters, Case::LowerCamel, "", &reserved)?;
    let title = literal(&action.name);
    let (head, body) = if action.parameters.is_empty() {
        (String::new(), format!("perform({title})"))
    } else {
        let parameters = action.parameters.iter().map(|parameter| {
            let default = if parameter.optional { " = nil" } else { "" };
            let name = names.get(&parameter.name);
            format!("        {name}: {}{default}", parameter_type(parameter))
        });
        let arguments = action.parameters.iter().map(|parameter| {
            format!("{}: {}", literal(&parameter.name), names.get(&parameter.name))
        });
        let head = format!("\n{}\n    ", parameters.collect::<Vec<_>>().join(",\n"));
        let arguments = list(&arguments.collect::<Vec<_>>());
        let arguments = format!("{title},\n            {arguments} as ActionArguments");
        (head, format!("perform(\n            {arguments})"))
    };
    Ok(format!(
        "    /// Performs the action `{}`.\n    @discardableResult\n    \
         public func {name}({head}) async throws -> Performed {{\n        \
         try await {body}\n    }}\n",
        action.name
    ))
}

fn stream(stream: &Stream, name: &str) -> Result<String> {
    let parameters = stream.parameters.iter().map(|parameter| parameter.name.as_str());
    // A parameter of the name `subscribe` would hide the function.
    let reserved = format!("{RESERVED} subscribe ttl priority");
    let names = Names::of(parameters, Case::LowerCamel, "", &reserved)?;
    let mut head = String::new();
    let mut pairs = Vec::new();
    for parameter in &stream.parameters {
        let name = names.get(&parameter.name);
        writeln!(head, "        {name}: {},", parameter_type(parameter))?;
        pairs.push(format!("{}: {name}", literal(&parameter.name)));
    }
    let pairs = if pairs.is_empty() { String::from("[:]") } else { list(&pairs) };
    Ok(format!(
        "    /// Subscribes to the stream `{}`.\n    public func {name}(\n{head}        \
         ttl: Duration? = nil,\n        priority: UInt8? = nil\n    ) async throws -> StreamSubscription {{\n        \
         try await subscribe(\n            {},\n            {pairs},\n            ttl: ttl,\n            \
         priority: priority)\n    }}\n",
        stream.name,
        literal(&stream.name)
    ))
}

fn type_of(column: &Column) -> String {
    let of = match column.kind {
        ColumnKind::Int | ColumnKind::Int64 => "Int64",
        ColumnKind::Float => "Double",
        ColumnKind::Boolean => "Bool",
        ColumnKind::Bytes => "Data",
        _ => "String",
    };
    if column.is_nullable { format!("{of}?") } else { of.to_owned() }
}

fn parameter_type(parameter: &Parameter) -> String {
    let of = match parameter.kind {
        ParameterType::Integer => "Int64",
        ParameterType::Real => "Double",
        ParameterType::Boolean => "Bool",
        ParameterType::Json => "any Encodable & Sendable",
        ParameterType::Blob => "Data",
        ParameterType::Text | ParameterType::Time => "String",
    };
    match (parameter.optional, parameter.kind) {
        (false, _) => of.to_owned(),
        (true, ParameterType::Json) => format!("({of})?"),
        (true, _) => format!("{of}?"),
    }
}
