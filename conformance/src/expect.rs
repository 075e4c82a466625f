//! Assertions of the scenarios. A failed assertion ends the scenario early.

use serde_json::Value;

/// Why a scenario ended early.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The response differs from the expected one.
    Failed(String),
    /// The server has nothing to test this with.
    Skipped(String),
}

/// Result of a scenario step.
pub(crate) type ScenarioResult<T = ()> = Result<T, Ended>;

/// Ends the scenario as not applicable.
pub(crate) fn skip<T>(why: &str) -> ScenarioResult<T> {
    Err(Ended::Skipped(why.to_owned()))
}

/// Ends the scenario as failed.
pub(crate) fn fail<T>(why: impl Into<String>) -> ScenarioResult<T> {
    Err(Ended::Failed(why.into()))
}

/// Fails unless the condition is true.
pub(crate) fn hold(holds: bool, what: &str) -> ScenarioResult {
    if holds { Ok(()) } else { fail(what) }
}

/// Fails unless the member has this value.
pub(crate) fn is(answer: &Value, member: &str, expected: impl Into<Value>) -> ScenarioResult {
    let expected = expected.into();
    let found = &answer[member];
    if *found == expected {
        return Ok(());
    }
    fail(format!("`{member}` is {found} and should be {expected}"))
}

/// Fails unless the values are equal.
#[expect(clippy::needless_pass_by_value, reason = "what is compared is often a number")]
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> ScenarioResult {
    if found == expected {
        return Ok(());
    }
    fail(format!("{what}: {found:?}, and should be {expected:?}"))
}

/// The member as text.
pub(crate) fn text<'a>(answer: &'a Value, member: &str) -> ScenarioResult<&'a str> {
    match answer[member].as_str() {
        Some(text) => Ok(text),
        None => fail(format!("`{member}` is {} and should be text", answer[member])),
    }
}

/// The member as an integer.
pub(crate) fn number(answer: &Value, member: &str) -> ScenarioResult<i64> {
    match answer[member].as_i64() {
        Some(number) => Ok(number),
        None => fail(format!("`{member}` is {} and should be a whole number", answer[member])),
    }
}

/// The member as a list; null is not accepted.
pub(crate) fn list<'a>(answer: &'a Value, member: &str) -> ScenarioResult<&'a [Value]> {
    match answer[member].as_array() {
        Some(list) => Ok(list),
        None => fail(format!("`{member}` is {} and should be a list", answer[member])),
    }
}

/// The member as an RFC 3339 timestamp, in microseconds.
pub(crate) fn instant(answer: &Value, member: &str) -> ScenarioResult<i64> {
    let text = text(answer, member)?;
    match rejoin_protocol::time::parse(text) {
        Some(micros) if text.contains('T') => Ok(micros),
        _ => fail(format!("`{member}` is {text:?} and should be an instant of RFC 3339")),
    }
}
