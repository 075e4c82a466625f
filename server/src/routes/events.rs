//! `GET /sync/events`: the stream of wake-ups.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};

use super::{asks_for_extensions, door, refused};
use crate::Shared;
use crate::admission::Endpoint;
use crate::error::Fault;
use crate::events::PING;

pub(super) async fn events(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let extended = asks_for_extensions(request.headers());
    let from = (request.headers(), request.extensions());
    let entered = door::enter(&shared, from, extended, Endpoint::Events).await;
    let (caller, expires) = match entered {
        Ok(admitted) => admitted,
        Err(fault) => return refused(&shared, &fault, extended, "listen"),
    };
    let asking = Arc::clone(&shared);
    let epoch = tokio::task::spawn_blocking(move || asking.engine.epoch())
        .await
        .unwrap_or_else(|error| Err(Fault::Internal(error.to_string())));
    let epoch = match epoch {
        Ok(epoch) => epoch,
        Err(fault) => return refused(&shared, &fault, extended, "listen"),
    };
    let lives = expires.map(|end| {
        let now = shared.engine.clock.now() / 1_000_000;
        Duration::from_secs(u64::try_from(end - now).unwrap_or(0))
    });
    let stream = shared.hub.listen(caller.user, epoch, lives);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(PING).text("ping")).into_response()
}
