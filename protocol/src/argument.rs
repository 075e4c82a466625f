//! Parameters of actions, and validation of arguments before an action runs. The device and a
//! server with action checks use the same rules.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::Value;
use crate::time;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text without NUL.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number, including whole numbers.
    Real,
    /// `true` or `false`; 1 or 0 in SQL.
    Boolean,
    /// An instant, RFC 3339; in SQL in the form of all columns.
    Time,
    /// Bytes, base64.
    Blob,
    /// Any JSON; its text in SQL.
    Json,
}

/// A parameter of an action.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Whether it may be missing or null: NULL in SQL.
    #[serde(default)]
    pub optional: bool,
}

impl Parameter {
    /// A required parameter.
    pub fn new(name: &str, kind: ParameterType) -> Self {
        Self { name: name.to_owned(), kind, optional: false }
    }

    /// An optional parameter.
    pub fn optional(name: &str, kind: ParameterType) -> Self {
        Self { optional: true, ..Self::new(name, kind) }
    }
}

/// The validated arguments of one run, by parameter name.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    parameters: Arc<[Parameter]>,
    /// The arguments as passed.
    given: Json,
    /// The SQL value of each parameter.
    values: Vec<Value>,
}

impl Arguments {
    /// An argument as a SQL value; NULL if missing.
    pub fn value(&self, name: &str) -> Value {
        self.named(name).cloned().unwrap_or_default()
    }

    /// An argument as passed; null if missing.
    pub fn json(&self, name: &str) -> &Json {
        self.given.get(name).unwrap_or(&Json::Null)
    }

    /// The text of an argument, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.named(name)?.as_text()
    }

    /// The integer of an argument, if it is one; 1 or 0 for a boolean.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.named(name)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// All arguments as passed, as one JSON object.
    pub fn to_json(&self) -> String {
        self.given.to_string()
    }

    fn named(&self, name: &str) -> Option<&Value> {
        let at = self.parameters.iter().position(|parameter| parameter.name == name)?;
        self.values.get(at)
    }
}

/// Validates arguments: an object, or null for none.
///
/// # Errors
/// All problems by parameter name: missing, of another type, or unknown.
pub fn check(parameters: &Arc<[Parameter]>, given: Json) -> Result<Arguments, Vec<String>> {
    let mut members = match given {
        Json::Object(members) => members,
        Json::Null => Map::new(),
        _ => return Err(vec![String::from("the arguments are no JSON object")]),
    };
    let mut values = Vec::with_capacity(parameters.len());
    let mut problems = Vec::new();
    for Parameter { name, kind, optional } in parameters.iter() {
        let checked = match members.get(name).filter(|value| !value.is_null()) {
            None if *optional => Ok(Value::Null),
            None => Err("is missing"),
            Some(json) => value(*kind, json),
        };
        values.push(checked.unwrap_or_else(|why| {
            problems.push(format!("{name} {why}"));
            Value::Null
        }));
    }
    let unknown = members.keys().filter(|name| parameters.iter().all(|one| one.name != **name));
    problems.extend(unknown.map(|name| format!("{name} is no parameter")));
    if !problems.is_empty() {
        return Err(problems);
    }
    members.retain(|_, value| !value.is_null());
    Ok(Arguments { parameters: Arc::clone(parameters), given: Json::Object(members), values })
}

fn value(kind: ParameterType, json: &Json) -> Result<Value, &'static str> {
    let text = |why: &'static str| json.as_str().ok_or(why);
    Ok(match kind {
        ParameterType::Text => {
            let text = text("is no text")?;
            if text.contains('\0') {
                return Err("has a NUL in it");
            }
            text.into()
        }
        ParameterType::Integer => json.as_i64().ok_or("is no integer of 64 bits")?.into(),
        ParameterType::Real => json.as_f64().ok_or("is no number")?.into(),
        ParameterType::Boolean => json.as_bool().ok_or("is neither true nor false")?.into(),
        ParameterType::Time => {
            let instant = time::parse(text("is no text")?).ok_or("is no instant of RFC 3339")?;
            time::format(instant).into()
        }
        ParameterType::Blob => {
            let bytes = STANDARD.decode(text("is no text")?).map_err(|_| "is no base64")?;
            bytes.into()
        }
        ParameterType::Json => json.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn argument_of_wrong_type_is_rejected_by_name() {
        use ParameterType as T;
        let table = [
            (T::Text, json!("x"), Ok("x".into())),
            (T::Text, json!(1), Err("is no text")),
            (T::Text, json!("a\0"), Err("has a NUL in it")),
            (T::Integer, json!(i64::MIN), Ok(i64::MIN.into())),
            (T::Integer, json!(1.5), Err("is no integer of 64 bits")),
            (T::Integer, json!(u64::MAX), Err("is no integer of 64 bits")),
            (T::Real, json!(2), Ok(2.0.into())),
            (T::Real, json!("2"), Err("is no number")),
            (T::Boolean, json!(true), Ok(1.into())),
            (T::Boolean, json!(1), Err("is neither true nor false")),
            (T::Time, json!("2026-01-02T03:04:05Z"), Ok("2026-01-02T03:04:05.000000Z".into())),
            (T::Time, json!("tomorrow"), Err("is no instant of RFC 3339")),
            (T::Blob, json!("AP8="), Ok(Value::Blob(vec![0, 255]))),
            (T::Blob, json!("?"), Err("is no base64")),
            (T::Json, json!({"a": [1]}), Ok("{\"a\":[1]}".into())),
        ];
        for (kind, json, expected) in table {
            assert_eq!(value(kind, &json), expected, "{kind:?} {json}");
        }
    }

    #[test]
    fn check_reports_all_problems_and_omitted_is_null() {
        let parameters = Arc::from([
            Parameter::new("id", ParameterType::Text),
            Parameter::new("n", ParameterType::Integer),
            Parameter::optional("note", ParameterType::Text),
        ]);
        let problems = check(&parameters, json!({"n": "two", "m": 1})).unwrap_err();
        assert_eq!(problems, ["id is missing", "n is no integer of 64 bits", "m is no parameter"]);
        assert_eq!(check(&parameters, json!([])).unwrap_err().len(), 1);
        let arguments = check(&parameters, json!({"id": "a", "n": 2, "note": null})).unwrap();
        assert_eq!((arguments.text("id"), arguments.integer("n")), (Some("a"), Some(2)));
        assert_eq!((arguments.value("note"), arguments.json("note")), (Value::Null, &Json::Null));
        assert_eq!(arguments.to_json(), r#"{"id":"a","n":2}"#);
        assert!(check(&Arc::default(), Json::Null).is_ok());
    }
}
