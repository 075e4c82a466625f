//! Actions as data: parameters, preconditions and statements in JSON, the same for every language
//! and device.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::context::{Action, Context};
use super::identity::Identity;
use super::token::{Token, tokens};
use super::{Arguments, Parameter};
use crate::error::Result;
use crate::row_buffer::{Cell, Row};
use crate::value::Value;

/// Parameter names with values of the run.
const TIME: &str = "time";
const MUTATION: &str = "mutation";

/// The JSON form of a declared action.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    #[serde(default = "one")]
    version: i64,
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    ids: BTreeMap<String, IdForm>,
    #[serde(default)]
    upgrades: BTreeMap<i64, Upgrade>,
    #[serde(default)]
    preconditions: Vec<PreconditionForm>,
    statements: Vec<String>,
    #[serde(default)]
    result: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdForm {
    table: String,
    identity: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreconditionForm {
    sql: String,
    message: String,
}

/// Converts arguments of an older version of an action to those of a newer one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// New names by old names.
    pub rename: BTreeMap<String, String>,
    /// Values for missing arguments.
    pub set: Map<String, Json>,
    /// Arguments to remove, before the renaming.
    pub drop: Vec<String>,
}

impl Upgrade {
    /// The arguments of the newer version.
    pub fn apply(&self, arguments: Map<String, Json>) -> Map<String, Json> {
        let Self { rename, set, drop } = self;
        let kept = arguments.into_iter().filter(|(name, _)| !drop.contains(name));
        let renamed = kept.map(|(name, value)| (rename.get(&name).cloned().unwrap_or(name), value));
        let mut arguments: Map<String, Json> = renamed.collect();
        for (name, value) in set {
            arguments.entry(name).or_insert_with(|| value.clone());
        }
        arguments
    }
}

fn one() -> i64 {
    1
}

/// An action that is data.
#[derive(Debug)]
pub(super) struct Declared {
    name: String,
    version: i64,
    parameters: Vec<Parameter>,
    /// By name: the table of the row, and the parameters that identify it.
    ids: Vec<(String, String, Vec<String>)>,
    upgrades: BTreeMap<i64, Upgrade>,
    preconditions: Vec<(Sql, String)>,
    statements: Vec<Sql>,
    result: Option<Sql>,
}

/// A statement with the names of its parameters, in the order of their numbers.
#[derive(Debug)]
struct Sql {
    text: String,
    names: Vec<String>,
}

impl Declared {
    /// Parses a declaration, and checks what needs no database; returns all problems.
    pub(super) fn parse(json: &str) -> std::result::Result<Self, Vec<String>> {
        let form: Form = serde_json::from_str(json)
            .map_err(|error| vec![format!("a declared action cannot be read: {error}")])?;
        let mut problems = Vec::new();
        let declared = form.checked(&mut problems);
        if problems.is_empty() {
            return Ok(declared);
        }
        let of = |problem| format!("action {}: {problem}", declared.name);
        Err(problems.into_iter().map(of).collect())
    }

    /// Every statement, with a description of its place.
    pub(super) fn statements(&self) -> impl Iterator<Item = (String, &str)> {
        let numbered = |what: &'static str| move |at: usize| format!("{what} {}", at + 1);
        let (first, second) = (numbered("precondition"), numbered("statement"));
        let preconditions = self.preconditions.iter().map(|(sql, _)| sql).enumerate();
        let statements = self.statements.iter().enumerate();
        (preconditions.map(move |(at, sql)| (first(at), sql.text.as_str())))
            .chain(statements.map(move |(at, sql)| (second(at), sql.text.as_str())))
            .chain(self.result.iter().map(|sql| (String::from("result"), sql.text.as_str())))
    }
}

impl Form {
    fn checked(self, problems: &mut Vec<String>) -> Declared {
        let known = self.parameters.iter().map(|parameter| parameter.name.as_str());
        let ids = self.ids.keys().map(String::as_str);
        let mut names: Vec<&str> = known.chain([TIME, MUTATION]).collect();
        for (id, IdForm { identity, .. }) in &self.ids {
            if names.contains(&id.as_str()) {
                problems.push(format!("the id {id} has the name of a parameter"));
            }
            for name in identity.iter().filter(|name| !names.contains(&name.as_str())) {
                problems.push(format!("the id {id}: {name} is no parameter"));
            }
        }
        for parameter in self.parameters.iter().filter(|one| [TIME, MUTATION].contains(&&*one.name))
        {
            problems.push(format!("the parameter {} has a reserved name", parameter.name));
        }
        names.extend(ids);
        if self.statements.is_empty() {
            problems.push(String::from("it has no statement"));
        }
        let mut sql = |what: String, text: String| {
            let of = |problem| format!("{what}: {problem}");
            let (sql, found) = Sql::parse(text, &names);
            problems.extend(found.into_iter().map(of));
            sql
        };
        let preconditions =
            self.preconditions.into_iter().enumerate().map(|(at, form)| {
                (sql(format!("precondition {}", at + 1), form.sql), form.message)
            });
        let preconditions = preconditions.collect();
        let statements = self.statements.into_iter().enumerate();
        let statements = statements.map(|(at, text)| sql(format!("statement {}", at + 1), text));
        let statements = statements.collect();
        let result = self.result.map(|text| sql(String::from("result"), text));
        let ids = self.ids.into_iter().map(|(name, id)| (name, id.table, id.identity)).collect();
        let (name, version, parameters) = (self.name, self.version, self.parameters);
        let upgrades = self.upgrades;
        for old in upgrades.keys().filter(|old| **old >= version) {
            problems.push(format!("it upgrades version {old}, but its version is {version}"));
        }
        Declared { name, version, parameters, ids, upgrades, preconditions, statements, result }
    }
}

impl Sql {
    fn parse(text: String, known: &[&str]) -> (Self, Vec<String>) {
        let (mut names, mut problems): (Vec<String>, Vec<String>) = Default::default();
        for token in tokens(&text) {
            let Token::Parameter(parameter) = token else { continue };
            let name = parameter.strip_prefix(':').filter(|name| !name.is_empty());
            match name {
                None => problems.push(format!("{parameter} is no parameter by name; write :name")),
                Some(name) if !known.contains(&name) => {
                    problems.push(format!("{parameter} is no parameter"));
                }
                Some(name) if names.iter().any(|other| other == name) => {}
                Some(name) => names.push(name.to_owned()),
            }
        }
        (Self { text, names }, problems)
    }
}

impl Action for Declared {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    fn upgrade(&self, version: i64, arguments: Map<String, Json>) -> Option<Map<String, Json>> {
        Some(self.upgrades.get(&version)?.apply(arguments))
    }

    fn run(&self, context: &mut Context<'_, '_>, arguments: &Arguments) -> Result<Json> {
        let mut ids: Vec<(&str, Value)> = Vec::new();
        for (name, table, identity) in &self.ids {
            let row: Map<String, Json> =
                identity.iter().map(|name| (name.clone(), arguments.json(name).clone())).collect();
            let by = Identity::Columns(identity.clone());
            ids.push((name, context.id_by(&by, table, &row)?.into()));
        }
        let params = |sql: &Sql, context: &Context<'_, '_>| -> Vec<Value> {
            let value = |name: &String| match name.as_str() {
                TIME => context.time().into(),
                MUTATION => context.mutation().to_string().into(),
                name => {
                    let id = ids.iter().find(|(id, _)| *id == name);
                    id.map_or_else(|| arguments.value(name), |(_, id)| id.clone())
                }
            };
            sql.names.iter().map(value).collect()
        };
        for (sql, message) in &self.preconditions {
            let given = params(sql, context);
            let holds = context.first(&sql.text, &given)?;
            if !holds.is_some_and(|value| is_true(&value)) {
                return Err(context.refuse(message));
            }
        }
        for sql in &self.statements {
            let given = params(sql, context);
            context.execute(&sql.text, given)?;
        }
        let Some(sql) = &self.result else { return Ok(Json::Null) };
        let given = params(sql, context);
        let row = context.show(&sql.text, &given)?;
        row.map_or(Ok(Json::Null), |row| object(&row))
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Integer(number) => *number != 0,
        Value::Real(number) => *number != 0.0,
        Value::Null | Value::Text(_) | Value::Blob(_) => false,
    }
}

/// A row as a JSON object; bytes as base64.
fn object(row: &Row<'_>) -> Result<Json> {
    let mut members = Map::new();
    for (name, cell) in row.columns().iter().zip(row.cells()) {
        let json = match cell? {
            Cell::Null => Json::Null,
            Cell::Integer(number) => number.into(),
            Cell::Real(number) => number.into(),
            Cell::Text(text) => text.into(),
            Cell::Blob(bytes) => STANDARD.encode(bytes).into(),
        };
        members.insert(name.clone(), json);
    }
    Ok(Json::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_declaration_lists_every_problem() {
        let json = r#"{"name": "take", "parameters": [{"name": "id", "type": "text"}, {"name": "time", "type": "text"}],
            "ids": {"id": {"table": "t", "identity": ["shelf"]}},
            "preconditions": [{"sql": "SELECT ?", "message": "no"}],
            "statements": ["UPDATE t SET n = :n, m = ':o' WHERE id = :id -- :p"]}"#;
        assert_eq!(
            Declared::parse(json).unwrap_err(),
            [
                "action take: the id id has the name of a parameter",
                "action take: the id id: shelf is no parameter",
                "action take: the parameter time has a reserved name",
                "action take: precondition 1: ? is no parameter by name; write :name",
                "action take: statement 1: :n is no parameter",
            ]
        );
        let unknown = r#"{"name": "take", "statements": ["DELETE FROM t"], "precondition": []}"#;
        assert!(Declared::parse(unknown).unwrap_err()[0].contains("precondition"));
        let empty = r#"{"name": "take", "statements": []}"#;
        assert_eq!(Declared::parse(empty).unwrap_err(), ["action take: it has no statement"]);
    }

    #[test]
    fn parameters_are_numbered_like_sqlite() {
        let (sql, problems) = Sql::parse(":b, :a, :b".to_owned(), &["a", "b"]);
        assert_eq!((sql.names, problems.len()), (vec!["b".to_owned(), "a".to_owned()], 0));
    }
}
