//! What every answer must be before anything of it is applied: of this schema (S4), of this request (O5), of this epoch.

use rejoin_protocol::time;
use rejoin_protocol::wire::push::PushResponse;
use rejoin_protocol::wire::{ErrorBody, code};
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::session::Response;

/// The time of a push answer by the server's clock, in milliseconds since 1970; `None` if it is no time.
pub(crate) fn server_ms(answer: &PushResponse) -> Option<i64> {
    time::parse(&answer.server_time).map(|micros| micros / 1000)
}

/// What an answer asks of the session, beside what it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Go on.
    Onward,
    /// The schema is not the server's: fetch it, and ask again.
    Schema,
    /// The server does not know this device, or its log has another life: register.
    Register,
    /// The request was too large for the server; nothing of it was looked at.
    Smaller,
}

/// What an answer says of itself.
#[derive(Debug)]
pub(crate) struct Stamp<'a> {
    pub(crate) schema_version: i64,
    pub(crate) schema_hash: &'a str,
    /// Number and epoch of the `rejoin` member, which a Rejoin server always answers.
    pub(crate) rejoin: Option<(i64, &'a str)>,
}

/// Reads a body of 200; anything else than the message (HTML, a cut body) is no answer.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        Error::Protocol(format!("{error}; it begins with {start:?}"))
    })
}

/// Whether the answer may be applied; anything but `Onward` abandons it whole.
pub(crate) fn check(engine: &Engine, request: i64, stamp: &Stamp<'_>) -> Result<Turn> {
    if !is_of_schema(engine, stamp.schema_version, stamp.schema_hash) {
        return Ok(Turn::Schema);
    }
    let Some((number, epoch)) = stamp.rejoin else {
        return Ok(Turn::Register); // It spoke our extensions when we registered, and now does not.
    };
    if number != request {
        return Err(Error::Protocol(format!("answer to request {number}, not to {request}")));
    }
    let known = engine.meta(super::fact::EPOCH)?;
    Ok(if known.as_deref() == Some(epoch) { Turn::Onward } else { Turn::Register })
}

/// Whether an answer is of the device's own schema (S4).
pub(crate) fn is_of_schema(engine: &Engine, version: i64, hash: &str) -> bool {
    let ours = engine.schema.manifest.as_ref();
    ours.is_some_and(|ours| ours.schema_version == version && ours.schema_hash == hash)
}

/// What an answer other than 200 means: a turn to take, or the error that ends the pass.
pub(crate) fn refusal(response: &Response) -> Result<Turn> {
    let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
    let word = body.code.clone().unwrap_or_default();
    let message = body.message.or(body.error).unwrap_or_default();
    match (response.status, word.as_str()) {
        (401, _) => Err(Error::NeedsAuth),
        (426, _) => Err(Error::UpgradeRequired(message)),
        (_, code::SCHEMA_MISMATCH) => Ok(Turn::Schema),
        (409, _) if body.server_schema_hash.is_some() => Ok(Turn::Schema),
        (_, code::NOT_REGISTERED | code::EPOCH | code::CLIENT_REPLACED) => Ok(Turn::Register),
        (413, _) | (400..=499, code::TOO_LARGE) => Ok(Turn::Smaller),
        (status, _) => Err(Error::Server {
            status,
            code: word,
            message,
            retryable: body.retryable.unwrap_or(status == 408 || status == 429 || status >= 500),
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The turn, or the word of the error.
    fn outcome(status: u16, body: &'static str) -> String {
        let response =
            Response { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) };
        match refusal(&response) {
            Ok(turn) => format!("{turn:?}"),
            Err(Error::Server { code, retryable, .. }) => format!("server {code} {retryable}"),
            Err(Error::NeedsAuth) => "auth".to_owned(),
            Err(Error::UpgradeRequired(message)) => format!("upgrade {message}"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_refusal_has_one_meaning() {
        let table = [
            (401, "{}", "auth"),
            (426, r#"{"error":"1.2.0 or newer"}"#, "upgrade 1.2.0 or newer"),
            (409, r#"{"code":"schema_mismatch"}"#, "Schema"),
            (
                409,
                r#"{"message":"m","server_schema_version":2,"server_schema_hash":"h"}"#,
                "Schema",
            ),
            (404, r#"{"code":"not_registered"}"#, "Register"),
            (409, r#"{"code":"epoch","epoch":"e"}"#, "Register"),
            (409, r#"{"code":"client_replaced"}"#, "Register"),
            (413, "<html>too large</html>", "Smaller"),
            (400, r#"{"code":"too_large"}"#, "Smaller"),
            (400, r#"{"code":"invalid_request"}"#, "server invalid_request false"),
            (403, r#"{"code":"client_stale","retryable":false}"#, "server client_stale false"),
            (404, "<html>not found</html>", "server  false"),
            (429, "{}", "server  true"),
            (500, "<html>oops</html>", "server  true"),
            (503, r#"{"code":"unavailable","retryable":true}"#, "server unavailable true"),
            (500, r#"{"code":"internal","retryable":false}"#, "server internal false"),
        ];
        for (status, body, meaning) in table {
            assert_eq!(outcome(status, body), meaning, "{status} {body}");
        }
    }

    #[test]
    fn html_and_a_cut_body_are_no_answers() {
        for body in ["<html>captive portal</html>", r#"{"changes":[],"dele"#, ""] {
            let read: Result<rejoin_protocol::wire::pull::PullResponse> = read(body.as_bytes());
            assert!(matches!(read, Err(Error::Protocol(_))), "{body}");
        }
    }
}
