//! What ends a scenario early: what a server should have answered and did not, or that it has nothing of the kind.

use serde_json::Value;

/// Why a scenario did not come to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The server answered otherwise.
    Failed(String),
    /// There is nothing to try it on.
    Skipped(String),
}

/// How a scenario goes.
pub(crate) type Told<T = ()> = Result<T, Ended>;

/// It does not apply, because of this.
pub(crate) fn skip<T>(why: &str) -> Told<T> {
    Err(Ended::Skipped(why.to_owned()))
}

/// It failed, because of this.
pub(crate) fn fail<T>(why: impl Into<String>) -> Told<T> {
    Err(Ended::Failed(why.into()))
}

/// Fails unless it holds.
pub(crate) fn hold(holds: bool, what: &str) -> Told {
    if holds { Ok(()) } else { fail(what) }
}

/// Fails unless the member of an answer is this.
pub(crate) fn is(answer: &Value, member: &str, expected: impl Into<Value>) -> Told {
    let expected = expected.into();
    let found = &answer[member];
    if *found == expected {
        return Ok(());
    }
    fail(format!("`{member}` is {found} and should be {expected}"))
}

/// Fails unless these are equal.
#[expect(clippy::needless_pass_by_value, reason = "what is compared is often a number")]
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Told {
    if found == expected {
        return Ok(());
    }
    fail(format!("{what}: {found:?}, and should be {expected:?}"))
}

/// The member of an answer as text.
pub(crate) fn text<'a>(answer: &'a Value, member: &str) -> Told<&'a str> {
    match answer[member].as_str() {
        Some(text) => Ok(text),
        None => fail(format!("`{member}` is {} and should be text", answer[member])),
    }
}

/// The member of an answer as a whole number.
pub(crate) fn number(answer: &Value, member: &str) -> Told<i64> {
    match answer[member].as_i64() {
        Some(number) => Ok(number),
        None => fail(format!("`{member}` is {} and should be a whole number", answer[member])),
    }
}

/// The member of an answer as a list, which is never null.
pub(crate) fn list<'a>(answer: &'a Value, member: &str) -> Told<&'a [Value]> {
    match answer[member].as_array() {
        Some(list) => Ok(list),
        None => fail(format!("`{member}` is {} and should be a list", answer[member])),
    }
}

/// The member of an answer as an instant of RFC 3339, in microseconds.
pub(crate) fn instant(answer: &Value, member: &str) -> Told<i64> {
    let text = text(answer, member)?;
    match rejoin_protocol::time::parse(text) {
        Some(micros) if text.contains('T') => Ok(micros),
        _ => fail(format!("`{member}` is {text:?} and should be an instant of RFC 3339")),
    }
}
