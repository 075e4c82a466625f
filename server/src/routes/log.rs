//! The requests of the log model. Only Rejoin peers send them: errors have a code and say whether a
//! retry may succeed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use rejoin_log::message::{Correct, DeviceRequest, Fetch, Publish, SnapshotRequest};

use super::exchange::{Kind, post};
use crate::Shared;
use crate::admission::Endpoint;

const PUBLISH: Kind =
    (Endpoint::LogPublish, &["client_id", "stamp", "number", "offers"], "publish entries");
const FETCH: Kind =
    (Endpoint::LogFetch, &["client_id", "stamp", "cursor", "limit"], "fetch entries");
const SNAPSHOT: Kind = (Endpoint::LogSnapshot, &["client_id", "limit"], "snapshot of the log");
const CORRECT: Kind =
    (Endpoint::LogCorrect, &["client_id", "stamp", "referee", "corrections"], "correct entries");

pub(super) async fn publish(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let hub = Arc::clone(&shared.hub);
    post(shared, request, PUBLISH, move |engine, caller, asked: &DeviceRequest<Publish>| {
        let (answer, touched) = engine.publish(caller, asked)?;
        hub.log_moved(&touched);
        Ok(answer)
    })
    .await
}

pub(super) async fn fetch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    post(shared, request, FETCH, |engine, caller, asked: &DeviceRequest<Fetch>| {
        engine.fetch(caller, asked)
    })
    .await
}

pub(super) async fn snapshot(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    post(shared, request, SNAPSHOT, |engine, caller, asked: &DeviceRequest<SnapshotRequest>| {
        engine.log_snapshot(caller, asked)
    })
    .await
}

pub(super) async fn correct(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let hub = Arc::clone(&shared.hub);
    post(shared, request, CORRECT, move |engine, caller, asked: &DeviceRequest<Correct>| {
        let (answer, touched) = engine.correct(caller, asked)?;
        hub.log_moved(&touched);
        Ok(answer)
    })
    .await
}
