//! Reads a request: size limit, JSON, required members, typed request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use rejoin_protocol::wire::code;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Fault, Refusal};

/// The members of an object, with unparsed values.
pub(super) type JsonMembers<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Timeout for receiving a body.
const PATIENCE: Duration = Duration::from_mins(1);

/// The bytes that a body may have at most: what its header says, unless it is compressed.
pub(super) fn most_bytes(headers: &HeaderMap, limit: usize) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let said = length.filter(|_| !headers.contains_key(CONTENT_ENCODING));
    said.unwrap_or(limit).min(limit)
}

/// The bytes of a body, decompressed; a body larger than `limit` is refused before it is read
/// completely.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Fault> {
    let Ok(read) = tokio::time::timeout(PATIENCE, to_bytes(body, limit)).await else {
        return Err(Fault::Transient(String::from("a body did not arrive within a minute")));
    };
    read.map_err(|error| {
        if is_length(&error) {
            let message = format!("the body is larger than {limit} bytes: send less at once");
            Refusal::new(413, code::TOO_LARGE, message).into()
        } else {
            Refusal::invalid("invalid request body").into()
        }
    })
}

fn is_length(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

/// The members of a JSON object, or a refusal if it is not an object.
pub(super) fn members(bytes: &[u8]) -> Result<JsonMembers<'_>, Fault> {
    serde_json::from_slice(bytes).map_err(|_| Refusal::invalid("invalid request body").into())
}

/// The typed request. The `required` members are checked for presence, in this order.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    members: &JsonMembers<'_>,
    required: &[&str],
) -> Result<T, Fault> {
    if let Some(missing) = required.iter().find(|name| !members.contains_key(**name)) {
        return Err(Refusal::invalid(format!("{missing} is required")).into());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        tracing::debug!(%error, "body refused");
        Refusal::invalid("invalid request body").into()
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stalled_body_times_out() {
        let begun = tokio::time::Instant::now();
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let fault = read(stalled, 1_000).await.unwrap_err();
        assert!(matches!(fault, Fault::Transient(_)), "{fault}");
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
