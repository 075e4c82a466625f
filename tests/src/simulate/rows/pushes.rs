//! The content of a push and of its response, and what the push overwrote.

use std::ops::Range;

use rejoin_core::sync::session::Response;
use rejoin_protocol::wire::push::{Group, PushResponse, Verdict};
use serde_json::Value as Json;

use super::history::{Name, Rows};

/// A push that the server has answered.
#[derive(Debug)]
pub(super) struct AnsweredPush {
    pub(super) user: String,
    pub(super) groups: Vec<PushedGroup>,
    /// The rows before it.
    pub(super) before: Rows,
    /// Its changes, by their positions in the history.
    pub(super) changes: Range<usize>,
    /// The server's clock.
    pub(super) now: i64,
}

/// A group of a push.
#[derive(Debug)]
pub(super) struct PushedGroup {
    pub(super) group: Group,
    pub(super) accepted: bool,
    /// Whether it was accepted just now: a copy of a file may repeat it after changes of the other
    /// copy.
    pub(super) fresh: bool,
    pub(super) verdict: Option<Verdict>,
}

/// A cell that a device's push overwrote.
#[derive(Debug, Clone)]
pub(super) struct OverwrittenCell {
    pub(super) name: Name,
    pub(super) column: String,
    pub(super) was: String,
    /// Whether it was sent with `force`.
    pub(super) forced: bool,
    pub(super) old_only: bool,
}

/// The verdicts of a response.
pub(super) fn verdicts_of(answer: Option<&Response>) -> Vec<Verdict> {
    let answer = answer.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let ours = answer.and_then(|answer: PushResponse| answer.rejoin);
    ours.map(|ours| ours.verdicts).unwrap_or_default()
}

/// The members of an object as text; NULL is `None`.
pub(super) fn cells(object: Option<&str>) -> Vec<(String, Option<String>)> {
    let object: Json = serde_json::from_str(object.unwrap_or("{}")).unwrap_or_default();
    let Json::Object(members) = object else { return Vec::new() };
    let text = |value: Json| match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    members.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// Whether a row belongs to another user; a part belongs to its item's owner.
pub(super) fn is_of_another(rows: &Rows, name: &Name, user: &str) -> bool {
    let row = rows.get(name);
    let item = row.and_then(|row| row.get("item_id")).filter(|_| name.0 == "parts");
    let item = item.map(|id| rows.get(&("items".to_owned(), id.clone())));
    let owner = item.unwrap_or(row).and_then(|row| row.get("user_id"));
    owner.is_some_and(|owner| owner != user)
}
