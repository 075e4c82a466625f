//! The protocol requests: decode, run the engine on a blocking thread, encode the response.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use rejoin_protocol::PAGE_END_HEADER;
use rejoin_protocol::lengths::Bounded;
use rejoin_protocol::mutant;
use rejoin_protocol::wire::digest::DigestAsk;
use rejoin_protocol::wire::pull::{PullRequest, PullResponse};
use rejoin_protocol::wire::push::PushRequest;
use rejoin_protocol::wire::register::RegisterRequest;
use rejoin_protocol::wire::snapshot::{PageEnd, SnapshotRequest, SnapshotResponse};
use rejoin_protocol::wire::stage::StageAsk;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{asks_for_extensions, body, door, json, refused};
use crate::Shared;
use crate::admission::Endpoint;
use crate::engine::push::{self, Pushed};
use crate::engine::verdict::word;
use crate::engine::{Caller, Engine, describe, digest, plain, pull, snapshot, stage};
use crate::error::{Fault, Refusal};
use crate::observe::{self, Sender};
use crate::quota::Share;

const ALL: &[&str] = &["client_id", "schema_version", "schema_hash"];
const BOTH: &[&str] = &["schema_version", "schema_hash"];

/// A POST request: endpoint, required members, and its name in error messages.
type Kind = (Endpoint, &'static [&'static str], &'static str);

const REGISTER: Kind = (Endpoint::Register, BOTH, "register client");
const PULL: Kind = (Endpoint::Pull, ALL, "pull changes");
const PUSH: Kind = (Endpoint::Push, BOTH, "push changes");
const SNAPSHOT: Kind = (Endpoint::Snapshot, ALL, "snapshot");

pub(super) async fn register(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    post(shared, request, REGISTER, |engine, caller, body: &RegisterRequest| {
        engine.register(caller, body)
    })
    .await
}

pub(super) async fn pull(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    post(shared, request, PULL, answer_pull).await
}

fn answer_pull(
    engine: &Engine,
    caller: &Caller,
    body: &PullRequest,
) -> Result<PullResponse, Fault> {
    match &body.rejoin {
        Some(ask) => pull::pull(engine, caller, body, ask),
        None => plain::pull_plain(engine, caller, body),
    }
}

pub(super) async fn push(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let hub = Arc::clone(&shared.hub);
    let work = move |engine: &Engine, caller: &Caller, body: &PushRequest| {
        let Pushed { response, head } = answer_push(engine, caller, body)?;
        // Immediately, instead of with the next poll.
        match head {
            Some(head) => hub.saw(head),
            None => hub.look(),
        }
        Ok(response)
    };
    post(shared, request, PUSH, work).await
}

fn answer_push(engine: &Engine, caller: &Caller, body: &PushRequest) -> Result<Pushed, Fault> {
    let pushed = match &body.rejoin {
        Some(ask) if body.changes.is_empty() || !ask.groups.is_empty() => {
            push::push(engine, caller, body, ask)
        }
        _ => {
            plain::check_times(body)?;
            plain::push::push_plain(engine, caller, body)
                .map(|response| Pushed { response, head: None })
        }
    }?;
    let answer = &pushed.response;
    observe::mutation("accepted", answer.accepted.len());
    observe::mutation("rejected", answer.rejected.len());
    for verdict in answer.rejoin.iter().flat_map(|answer| &answer.verdicts) {
        observe::mutation(word(verdict.verdict), 1);
    }
    Ok(pushed)
}

pub(super) async fn stage(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<StageAsk>, QueryRejection>,
    request: Request,
) -> Response {
    let read = |bytes: &Bytes, _: &mut bool| match query {
        Ok(Query(ask)) => Ok((ask, bytes.clone())),
        Err(why) => Err(Refusal::invalid(why.body_text()).into()),
    };
    let work = |engine: &Engine, caller: &Caller, (ask, part): &(StageAsk, Bytes)| {
        stage::stage(engine, caller, ask, part)
    };
    post_as(shared, request, (Endpoint::Stage, "stage a mutation"), read, work).await
}

pub(super) async fn snapshot(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let end = PageEndHeader::default();
    let ends = end.clone();
    let work = move |engine: &Engine, caller: &Caller, body: &SnapshotRequest| {
        let page = snapshot::snapshot(engine, caller, body)?;
        ends.is_of(&page);
        Ok(page)
    };
    end.added_to(post(shared, request, SNAPSHOT, work).await)
}

/// The header with the end of a page, which is known on another thread than the response.
#[derive(Clone, Default)]
pub(super) struct PageEndHeader(Arc<Mutex<Option<HeaderValue>>>);

impl PageEndHeader {
    pub(super) fn is_of(&self, page: &SnapshotResponse) {
        let header = PageEnd::of(page).and_then(|end| end.header());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            header.and_then(|header| HeaderValue::from_str(&header).ok());
    }

    /// The response with the header, if it is a page.
    pub(super) fn added_to(self, mut response: Response) -> Response {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(end) = end.filter(|_| response.status() == StatusCode::OK) {
            response.headers_mut().insert(PAGE_END_HEADER, end);
        }
        response
    }
}

pub(super) async fn tables(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    ask(shared, request, (Endpoint::Tables, "load table metadata"), |engine, _| {
        describe::tables(engine)
    })
    .await
}

pub(super) async fn schema(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let kind = (Endpoint::Schema, "load schema");
    ask(shared, request, kind, |engine, caller| describe::manifest(engine, caller.extended)).await
}

pub(super) async fn digest(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<DigestAsk>, QueryRejection>,
    request: Request,
) -> Response {
    let query = query.map_err(|rejection| rejection.body_text());
    let work = move |engine: &Engine, caller: &Caller| match &query {
        Ok(Query(ask)) => digest::digest(engine, caller, ask),
        Err(why) => Err(Refusal::invalid(why.as_str()).into()),
    };
    ask(shared, request, (Endpoint::Digest, "digest"), work).await
}

async fn post<T, A>(
    shared: Arc<Shared>,
    request: Request,
    (endpoint, required, doing): Kind,
    work: impl Fn(&Engine, &Caller, &T) -> Result<A, Fault> + Send + 'static,
) -> Response
where
    T: DeserializeOwned + Bounded + Send + 'static,
    A: Serialize + Send + 'static,
{
    let sender = Sender::of(request.extensions());
    let read = |bytes: &Bytes, extended: &mut bool| {
        let members = body::members(bytes)?;
        *extended |= members.contains_key("rejoin");
        let request = body::decode::<T>(bytes, &members, required)?;
        request.check_lengths().map_err(|too_long| Refusal::invalid(too_long.to_string()))?;
        let device = members.get("client_id").map(|raw| serde_json::from_str(raw.get()));
        if let Some(Ok(device)) = device {
            sender.is_device(device);
        }
        Ok(request)
    };
    post_as(shared, request, (endpoint, doing), read, work).await
}

/// Receives a request and answers it. `read` decodes and checks it, and notes whether it uses the
/// extensions.
pub(super) async fn post_as<T, A>(
    shared: Arc<Shared>,
    request: Request,
    (endpoint, doing): (Endpoint, &'static str),
    read: impl FnOnce(&Bytes, &mut bool) -> Result<T, Fault>,
    work: impl Fn(&Engine, &Caller, &T) -> Result<A, Fault> + Send + 'static,
) -> Response
where
    T: Send + 'static,
    A: Serialize + Send + 'static,
{
    let (parts, bytes) = request.into_parts();
    let mut extended = endpoint.is_extended() || asks_for_extensions(&parts.headers);
    let from = (&parts.headers, &parts.extensions);
    let entered = door::enter(&shared, from, extended, endpoint).await;
    let (mut caller, _) = match entered {
        Ok(entered) => entered,
        Err(fault) => return refused(&shared, &fault, extended, doing),
    };
    let most = shared.engine.limits.body;
    let room = body::most_bytes(&parts.headers, most);
    let _share = match shared.quotas.enter(&caller.user, room).await {
        Ok(share) => share,
        Err(fault) => return refused(&shared, &fault, extended, doing),
    };
    let bytes = match body::read(bytes, most).await {
        Ok(bytes) => bytes,
        Err(fault) => return refused(&shared, &fault, extended, doing),
    };
    // Only now: a body may take a minute, and other devices of the user push meanwhile.
    let turn = if endpoint.is_push() {
        shared.quotas.push_turn(&caller.user).await
    } else {
        Ok(Share::default())
    };
    let _turn = match turn {
        Ok(turn) => turn,
        Err(fault) => return refused(&shared, &fault, extended, doing),
    };
    let decoded = read(&bytes, &mut extended);
    caller.extended = extended;
    match decoded {
        Ok(body) => {
            block(shared, doing, extended, move |engine| {
                engine.asking(&caller, |caller| work(engine, caller, &body))
            })
            .await
        }
        Err(fault) => refused(&shared, &fault, extended, doing),
    }
}

async fn ask<A: Serialize + Send + 'static>(
    shared: Arc<Shared>,
    request: Request,
    (endpoint, doing): (Endpoint, &'static str),
    work: impl FnOnce(&Engine, &Caller) -> Result<A, Fault> + Send + 'static,
) -> Response {
    let extended = asks_for_extensions(request.headers());
    let from = (request.headers(), request.extensions());
    match door::enter(&shared, from, extended, endpoint).await {
        Ok((caller, _)) => {
            block(shared, doing, extended, move |engine| work(engine, &caller)).await
        }
        Err(fault) => refused(&shared, &fault, extended, doing),
    }
}

/// Runs `work` on a blocking thread and encodes its result.
pub(super) async fn block<A: Serialize + Send + 'static>(
    shared: Arc<Shared>,
    doing: &'static str,
    extended: bool,
    work: impl FnOnce(&Engine) -> Result<A, Fault> + Send + 'static,
) -> Response {
    let span = observe::work(doing);
    let working = Arc::clone(&shared);
    let done = tokio::task::spawn_blocking(mutant::inherited(move || {
        span.in_scope(|| work(&working.engine).map(|answer| json(StatusCode::OK, &answer)))
    }))
    .await
    .unwrap_or_else(|error| Err(Fault::Internal(error.to_string())));
    done.unwrap_or_else(|fault| refused(&shared, &fault, extended, doing))
}
