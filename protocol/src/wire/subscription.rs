//! The header [`SUBSCRIPTIONS_HEADER`](crate::SUBSCRIPTIONS_HEADER): the streams to which a device subscribes.
//!
//! A device sends it with each request to a server with the capability `streams`, so the server keeps no
//! state about it. The server decides at each request which of them the user may read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ascii;
use crate::limits;

/// One subscription: the rows of one bucket of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// The stream's name in the server's configuration.
    pub stream: String,
    /// The value of each parameter as text: an integer in decimal digits, a UUID with hyphens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Lower ones are loaded first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference.
fn is_zero(priority: &u8) -> bool {
    *priority == 0
}

/// What a pull says about one subscription of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SubscriptionState {
    /// After this page the device has all its rows.
    Current,
    /// More pages follow.
    Loading,
    /// It brings no rows.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for developers.
        message: String,
    },
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The server has no stream of this name.
    UnknownStream,
    /// A parameter is missing, unknown, or no value of its type.
    InvalidParameter,
    /// The user may not read these rows.
    Forbidden,
    /// The server's query for the right failed or returned several rows.
    QueryFailed,
    /// A reason of a later release.
    #[serde(other)]
    Unknown,
}

/// The header for these subscriptions; `None` if it would be longer than [`limits::SUBSCRIPTIONS`].
pub fn header(subscriptions: &[Subscription]) -> Option<String> {
    let header = ascii(&serde_json::to_string(subscriptions).ok()?);
    (header.len() <= limits::SUBSCRIPTIONS).then_some(header)
}

/// The subscriptions of a header; `None` if it is none, or too long.
pub fn parse(header: &str) -> Option<Vec<Subscription>> {
    if header.len() > limits::SUBSCRIPTIONS {
        return None;
    }
    serde_json::from_str(header).ok()
}

#[cfg(test)]
mod tests {
    use super::{RefusalCode, Subscription, SubscriptionState, header, parse};

    fn project(value: &str) -> Subscription {
        let parameters = [("project".to_owned(), value.to_owned())].into();
        Subscription { stream: "project".to_owned(), parameters, priority: 1 }
    }

    #[test]
    fn header_is_ascii_and_reads_as_it_was_written() {
        let two = [project("42"), Subscription { priority: 0, ..project("\u{f6}\u{1f600}\"\n") }];
        let text = header(&two).unwrap();
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        assert_eq!(parse(&text).unwrap(), two);
        let first = r#"[{"stream":"project","parameters":{"project":"42"},"priority":1}]"#;
        assert_eq!(header(&two[..1]).as_deref(), Some(first));
    }

    #[test]
    fn too_many_subscriptions_are_no_header() {
        let many = vec![project(&"x".repeat(100)); 50];
        assert_eq!(header(&many), None);
        assert_eq!(parse(&serde_json::to_string(&many).unwrap()), None);
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn reason_of_a_later_release_is_read() {
        let text = r#"{"state":"refused","code":"quota","message":"m"}"#;
        let state: SubscriptionState = serde_json::from_str(text).unwrap();
        let message = "m".to_owned();
        assert_eq!(state, SubscriptionState::Refused { code: RefusalCode::Unknown, message });
    }
}
