//! The requests of the log model. Errors have a code and say whether a retry may succeed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use rejoin_log::message::bounds::CheckBounds;
use rejoin_log::message::rows::RowsRequest;
use rejoin_log::message::snapshot::SnapshotRequest;
use rejoin_log::message::{self, Correct, Fetch, Publish};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exchange::post_as;
use crate::Shared;
use crate::admission::Endpoint;
use crate::engine::{Caller, Engine, log_model};
use crate::error::{Fault, Refusal};

pub(super) async fn publish(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let hub = Arc::clone(&shared.hub);
    let kind = (Endpoint::LogPublish, "publish entries");
    post(shared, request, kind, move |engine, caller, asked: &message::Request<Publish>| {
        let (answer, touched) = log_model::publish(engine, caller, asked)?;
        hub.log_moved(&touched);
        Ok(answer)
    })
    .await
}

pub(super) async fn fetch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let kind = (Endpoint::LogFetch, "fetch entries");
    post(shared, request, kind, |engine, caller, asked: &message::Request<Fetch>| {
        log_model::fetch(engine, caller, asked)
    })
    .await
}

pub(super) async fn snapshot(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let kind = (Endpoint::LogSnapshot, "take a snapshot of the log");
    post(shared, request, kind, |engine, caller, asked: &message::Request<SnapshotRequest>| {
        log_model::log_snapshot(engine, caller, asked)
    })
    .await
}

pub(super) async fn rows(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let kind = (Endpoint::LogRows, "fetch rows of the log");
    post(shared, request, kind, |engine, caller, asked: &message::Request<RowsRequest>| {
        log_model::log_rows(engine, caller, asked)
    })
    .await
}

pub(super) async fn correct(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let hub = Arc::clone(&shared.hub);
    let kind = (Endpoint::LogCorrect, "correct entries");
    post(shared, request, kind, move |engine, caller, asked: &message::Request<Correct>| {
        let (answer, touched) = log_model::correct(engine, caller, asked)?;
        hub.log_moved(&touched);
        Ok(answer)
    })
    .await
}

async fn post<M, A>(
    shared: Arc<Shared>,
    request: Request,
    kind: (Endpoint, &'static str),
    work: impl Fn(&Engine, &Caller, &message::Request<M>) -> Result<A, Fault> + Send + 'static,
) -> Response
where
    M: CheckBounds + DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post_as(
        shared,
        request,
        kind,
        |bytes, _| {
            let asked: message::Request<M> =
                message::read(bytes).map_err(|error| Refusal::invalid(error.to_string()))?;
            asked.log.check_bounds().map_err(|error| Refusal::invalid(error.to_string()))?;
            Ok(asked)
        },
        work,
    )
    .await
}
