//! Validation of responses before anything is applied: sent by a sync server, for this schema, this
//! request and this epoch.
//!
//! Proxies, gateways, caches and captive portals also send statuses and bodies. A response that is
//! not in the format of a sync server is a transport fault: the request counts as unanswered, and
//! nothing is rejected or parked because of it.

use rejoin_protocol::time;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::PushResponse;
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_protocol::wire::{ErrorBody, code};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value as Json};

use crate::engine::Engine;
use crate::error::{Error, Result, SyncFault};
use crate::sync::request::Response;

/// The server's time of a push response, in milliseconds since 1970; `None` if invalid.
pub(crate) fn server_ms(answer: &PushResponse) -> Option<i64> {
    time::parse(&answer.server_time).map(|micros| micros / 1000)
}

/// The next step that a response requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Continue.
    Onward,
    /// The schema differs: fetch it, and repeat the request.
    Schema,
    /// The server does not know this device, or its log has another epoch: register.
    Register,
    /// The request was too large for the server, or for a proxy ([`is_too_large`]).
    Smaller,
}

/// The identification of a response.
#[derive(Debug)]
pub(crate) struct Stamp<'a> {
    pub(crate) schema_version: i64,
    pub(crate) schema_hash: &'a str,
    /// Request number and epoch of the `rejoin` member, which a Rejoin server always sends.
    pub(crate) rejoin: Option<(i64, &'a str)>,
}

/// A response with a stamp.
pub(crate) trait Stamped {
    fn stamp(&self) -> Stamp<'_>;
}

/// Implements `Stamped` for a v0.1.2 message with extensions.
macro_rules! stamped {
    ($($message:ty),+) => {$(
        impl Stamped for $message {
            fn stamp(&self) -> Stamp<'_> {
                Stamp {
                    schema_version: self.schema_version,
                    schema_hash: &self.schema_hash,
                    rejoin: self.rejoin.as_ref().map(|ours| (ours.request, ours.epoch.as_str())),
                }
            }
        }
    )+};
}

stamped!(PushResponse, PullResponse, SnapshotResponse);

/// Parses the body of a 200.
///
/// # Errors
/// `Offline` for a body that is not JSON (a page, a truncated body); `Protocol` for other JSON.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => {
            Error::Sync(SyncFault::Protocol(format!("{error}; it begins with {}", start_of(body))))
        }
        Category::Io | Category::Syntax | Category::Eof => Error::Sync(SyncFault::Offline(
            format!("the answer is not the sync server's JSON: {error}"),
        )),
    })
}

/// The error of a response other than 200, if a sync server sent it: an object with `code`, as from
/// a Rejoin server, or only with members of v0.1.2. `None` for errors of proxies and gateways.
pub(crate) fn error_of(body: &[u8]) -> Option<ErrorBody> {
    let members: Map<String, Json> = serde_json::from_slice(body).ok()?;
    let error: ErrorBody = serde_json::from_slice(body).ok()?;
    let plain = |name: &String| matches!(name.as_str(), "error" | "retry_after");
    let is_plain = error.error.is_some() && members.keys().all(plain);
    (error.code.is_some() || is_plain).then_some(error)
}

/// Whether the sync server itself reports a too large request. Only then was nothing evaluated, and
/// only then may a single mutation be parked; after a proxy's 413 the next request is smaller.
pub(crate) fn is_too_large(response: &Response) -> bool {
    error_of(&response.body).is_some_and(|body| body.code.as_deref() == Some(code::TOO_LARGE))
}

/// The error for a response that is not from a sync server: as if there were none.
pub(crate) fn foreign(response: &Response) -> Error {
    let start = start_of(&response.body);
    Error::Sync(SyncFault::Offline(format!(
        "expected the sync server's JSON, got status {} with {start} (a proxy or a captive portal?)",
        response.status
    )))
}

/// The error for a too large request that cannot be made smaller.
pub(crate) fn cannot_be_smaller(response: &Response) -> Error {
    if !is_too_large(response) {
        return foreign(response);
    }
    Error::Sync(SyncFault::Server {
        status: response.status,
        code: code::TOO_LARGE.to_owned(),
        message: "the server takes less than this device must send".to_owned(),
        retryable: false,
    })
}

fn start_of(body: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&body[..body.len().min(80)]))
}

/// Whether the response may be applied; anything but `Onward` discards all of it.
pub(crate) fn check(engine: &Engine, request: i64, answer: &impl Stamped) -> Result<NextStep> {
    let stamp = answer.stamp();
    if !is_of_schema(engine, stamp.schema_version, stamp.schema_hash) {
        return Ok(NextStep::Schema);
    }
    let Some((number, epoch)) = stamp.rejoin else {
        return Ok(NextStep::Register); // It supported the extensions at register, and now does not.
    };
    if number != request {
        return Err(
            SyncFault::Protocol(format!("answer to request {number}, not to {request}")).into()
        );
    }
    let stored = engine.meta(super::fact::EPOCH)?;
    Ok(if stored.as_deref() == Some(epoch) { NextStep::Onward } else { NextStep::Register })
}

/// Version and hash of the server's schema, from a 200 or an error.
pub(crate) fn schema_named(response: &Response) -> Option<(i64, String)> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(alias = "server_schema_version")]
        schema_version: i64,
        #[serde(alias = "server_schema_hash")]
        schema_hash: String,
    }
    let named: Named = serde_json::from_slice(&response.body).ok()?;
    Some((named.schema_version, named.schema_hash))
}

/// Whether a response uses the device's schema.
pub(crate) fn is_of_schema(engine: &Engine, version: i64, hash: &str) -> bool {
    let ours = engine.schema.manifest.as_ref();
    ours.is_some_and(|ours| ours.schema_version == version && ours.schema_hash == hash)
}

/// The meaning of a response other than 200: a next step, or the error that ends the pass.
pub(crate) fn refusal(response: &Response) -> Result<NextStep> {
    let Some(body) = error_of(&response.body) else {
        // A 413 of a server or proxy requires a smaller request.
        return if response.status == 413 { Ok(NextStep::Smaller) } else { Err(foreign(response)) };
    };
    let code = body.code.clone().unwrap_or_default();
    let message = body.message.or(body.error).unwrap_or_default();
    match (response.status, code.as_str()) {
        (401, _) => Err(Error::Sync(SyncFault::Unauthorized)),
        (426, _) => Err(Error::Sync(SyncFault::UpgradeRequired(message))),
        (_, code::SCHEMA_MISMATCH) => Ok(NextStep::Schema),
        (409, _) if body.server_schema_hash.is_some() => Ok(NextStep::Schema),
        (_, code::NOT_REGISTERED | code::EPOCH | code::CLIENT_REPLACED) => Ok(NextStep::Register),
        (413, _) | (400..=499, code::TOO_LARGE) => Ok(NextStep::Smaller),
        (status, _) => Err(Error::Sync(SyncFault::Server {
            status,
            code,
            message,
            retryable: body.retryable.unwrap_or(status == 408 || status == 429 || status >= 500),
        })),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The next step or the error, as text.
    fn outcome(status: u16, body: &'static str) -> String {
        let response =
            Response { status, body: Bytes::from_static(body.as_bytes()), ..Response::default() };
        match refusal(&response) {
            Ok(turn) => format!("{turn:?}"),
            Err(Error::Sync(SyncFault::Server { code, retryable, .. })) => {
                format!("server {code} {retryable}")
            }
            Err(Error::Sync(SyncFault::Unauthorized)) => "auth".to_owned(),
            Err(Error::Sync(SyncFault::UpgradeRequired(message))) => format!("upgrade {message}"),
            Err(Error::Sync(SyncFault::Offline(_))) => "offline".to_owned(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn refusal_has_its_documented_meaning() {
        let table = [
            (401, r#"{"error":"invalid token"}"#, "auth"),
            (426, r#"{"error":"1.2.0 or newer"}"#, "upgrade 1.2.0 or newer"),
            (409, r#"{"code":"schema_mismatch"}"#, "Schema"),
            (
                409,
                r#"{"code":"c","message":"m","server_schema_version":2,"server_schema_hash":"h"}"#,
                "Schema",
            ),
            (404, r#"{"code":"not_registered"}"#, "Register"),
            (409, r#"{"code":"epoch","epoch":"e"}"#, "Register"),
            (409, r#"{"code":"client_replaced"}"#, "Register"),
            (413, "<html>too large</html>", "Smaller"),
            (400, r#"{"code":"too_large"}"#, "Smaller"),
            (400, r#"{"code":"invalid_request"}"#, "server invalid_request false"),
            (403, r#"{"code":"client_stale","retryable":false}"#, "server client_stale false"),
            (404, r#"{"error":"no such client"}"#, "server  false"),
            (429, r#"{"error":"Too Many Requests","retry_after":1}"#, "server  true"),
            (500, r#"{"error":"failed to pull changes"}"#, "server  true"),
            (503, r#"{"code":"unavailable","retryable":true}"#, "server unavailable true"),
            (500, r#"{"code":"internal","retryable":false}"#, "server internal false"),
        ];
        for (status, body, meaning) in table {
            assert_eq!(outcome(status, body), meaning, "{status} {body}");
        }
    }

    #[test]
    fn error_that_is_not_of_a_sync_server_is_a_transport_fault() {
        let bodies = [
            "",
            "{}",
            "[]",
            "404 page not found",
            "<html>please sign in</html>",
            r#"{"message":"Forbidden"}"#,
            r#"{"code":404,"message":"no route"}"#,
            r#"{"error":{"code":500,"message":"backend"}}"#,
            r#"{"status":500,"error":"Internal Server Error","path":"/sync/push"}"#,
            r#"{"error":"cut in h"#,
        ];
        for status in [204, 301, 400, 401, 403, 404, 407, 409, 426, 429, 500, 502, 503, 511] {
            for body in bodies {
                assert_eq!(outcome(status, body), "offline", "{status} {body}");
            }
        }
        for body in bodies {
            let response = Response { status: 413, body: body.into(), ..Response::default() };
            assert_eq!(refusal(&response).unwrap(), NextStep::Smaller, "{body}");
            assert!(!is_too_large(&response), "{body}");
        }
    }

    #[test]
    fn html_and_truncated_bodies_are_offline() {
        for body in ["<html>captive portal</html>", r#"{"changes":[],"dele"#, ""] {
            let read: Result<PullResponse> = read(body.as_bytes());
            assert!(matches!(read, Err(Error::Sync(SyncFault::Offline(_)))), "{body}");
        }
        let read: Result<PullResponse> = read(b"[]");
        assert!(matches!(read, Err(Error::Sync(SyncFault::Protocol(_)))));
    }
}
