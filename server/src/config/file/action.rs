//! Actions in the TOML file.

use rejoin_protocol::argument::{Parameter, ParameterType};

use super::super::reader::{ConfigReader, TableMembers};
use super::super::{ActionConfig, Check};

/// Reads an action; `None` if it has no name.
pub(super) fn read(
    reader: &mut ConfigReader<'_>,
    mut members: TableMembers,
) -> Option<ActionConfig> {
    let Some(name) = reader.text(&mut members, "name") else {
        reader.problem(&format!("{}.name", members.place), "missing: name the action");
        return None;
    };
    let mut members = reader.rename(members, format!("actions.{name}"));
    let mut action = ActionConfig::new(name);
    action.version = reader.number(&mut members, "version");
    for parameter in reader.tables(&mut members, "parameters") {
        action.parameters.extend(read_parameter(reader, parameter));
    }
    for check in reader.tables(&mut members, "checks") {
        action.checks.extend(read_check(reader, check));
    }
    reader.leftover(&members);
    Some(action)
}

pub(super) fn read_parameter(
    reader: &mut ConfigReader<'_>,
    mut members: TableMembers,
) -> Option<Parameter> {
    let (name, kind) = (reader.text(&mut members, "name"), reader.text(&mut members, "type"));
    let optional = reader.truth(&mut members, "optional").unwrap_or(false);
    let place = members.place.clone();
    reader.leftover(&members);
    if name.is_none() {
        reader.problem(&format!("{place}.name"), "missing: name the parameter");
    }
    let kind = kind.as_deref().and_then(kind_of);
    if kind.is_none() {
        let why = "text, integer, real, boolean, time, blob or json";
        reader.problem(&format!("{place}.type"), why);
    }
    Some(Parameter { name: name?, kind: kind?, optional })
}

fn kind_of(word: &str) -> Option<ParameterType> {
    Some(match word {
        "text" => ParameterType::Text,
        "integer" => ParameterType::Integer,
        "real" => ParameterType::Real,
        "boolean" => ParameterType::Boolean,
        "time" => ParameterType::Time,
        "blob" => ParameterType::Blob,
        "json" => ParameterType::Json,
        _ => return None,
    })
}

fn read_check(reader: &mut ConfigReader<'_>, mut members: TableMembers) -> Option<Check> {
    let (sql, message) = (reader.text(&mut members, "sql"), reader.text(&mut members, "message"));
    let place = members.place.clone();
    reader.leftover(&members);
    for (name, found) in [("sql", &sql), ("message", &message)] {
        if found.is_none() {
            reader.problem(&format!("{place}.{name}"), "missing");
        }
    }
    Some(Check { sql: sql?, message: message? })
}
