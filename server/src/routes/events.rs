//! `GET /sync/events`: the stream of wake-ups.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use rejoin_protocol::wire::event::EventsAsk;
use rejoin_protocol::wire::{ErrorBody, code};

use super::{asks_for_extensions, door, refused};
use crate::Shared;
use crate::admission::Endpoint;
use crate::error::{Fault, Refusal};
use crate::events::{LONGEST_PING, PING, TooMany};

/// Seconds after which a client should retry a refused stream.
const RETRY_AFTER: u64 = 60;

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<EventsAsk>, QueryRejection>,
    request: Request,
) -> Response {
    let extended = asks_for_extensions(request.headers());
    let from = (request.headers(), request.extensions());
    let entered = door::enter(&shared, from, extended, Endpoint::Events).await;
    let (caller, expires) = match entered {
        Ok(admitted) => admitted,
        Err(fault) => return refused(&shared, &fault, extended, "listen"),
    };
    let ping = match query {
        Ok(Query(EventsAsk { ping })) => ping.map_or(PING, Duration::from_secs),
        Err(rejection) => {
            let fault = Refusal::invalid(rejection.body_text()).into();
            return refused(&shared, &fault, extended, "listen");
        }
    };
    let ping = ping.clamp(PING, LONGEST_PING);
    let epoch = match shared.hub.epoch().await {
        Ok(epoch) => epoch,
        Err(fault) => return refused(&shared, &fault, extended, "listen"),
    };
    let lives = expires.map(|end| {
        let now = shared.engine.clock.now() / 1_000_000;
        Duration::from_secs(u64::try_from(end.saturating_sub(now)).unwrap_or(0))
    });
    let most = usize::try_from(shared.engine.limits.streams_per_user).unwrap_or(usize::MAX);
    let stream = match shared.hub.listen(caller, epoch, lives, most) {
        Ok(stream) => stream,
        Err(why) => return refused(&shared, &too_many(&shared, why), extended, "listen"),
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ping).text("ping")).into_response()
}

/// 429 for the user's limit of streams, 503 for the server's.
fn too_many(shared: &Shared, why: TooMany) -> Fault {
    if let Some(count) = shared.hub.logs.count("refused") {
        let limits = "limits.streams_per_user, limits.connections";
        tracing::warn!(count, last = ?why, limits, "refused event streams");
    }
    let (status, code, message) = match why {
        TooMany::OfUser => {
            (429, code::TOO_MANY_STREAMS, "too many event streams of this user are open: close one")
        }
        TooMany::AtServer => (503, code::UNAVAILABLE, "too many event streams are open: poll"),
    };
    let body = ErrorBody { retry_after: Some(RETRY_AFTER), ..ErrorBody::default() };
    Refusal { retryable: true, body, ..Refusal::new(status, code, message) }.into()
}
