//! Reading a request: size, JSON, the members that must be there, the typed request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use rejoin_protocol::wire::code;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Fault, Refusal};

/// The names of an object's members; what they hold is passed over.
pub(super) type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// The bytes of a body, decompressed; more than `limit` is refused before it is all read.
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

/// The names of a JSON object's members, or the refusal of what is no object.
pub(super) fn members(bytes: &[u8]) -> Result<Members<'_>, Fault> {
    serde_json::from_slice(bytes).map_err(|_| Refusal::invalid("invalid request body").into())
}

/// The typed request. The members `required` must be there, whatever they hold, in this order.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    members: &Members<'_>,
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
    async fn body_that_stalls_is_given_up() {
        let begun = tokio::time::Instant::now();
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let fault = read(stalled, 1_000).await.unwrap_err();
        assert!(matches!(fault, Fault::Transient(_)), "{fault}");
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
