//! One pass: signs and sends the session's requests, and returns the responses to it.
//!
//! Push, pull and snapshot never overlap. One request runs at a time, or two for pages of a snapshot:
//! the next one is requested while the last one arrives and is applied. Its response is dropped if
//! something else comes first. A request without a response within its deadline counts
//! as lost. A 401 renews the token once and sends the same bytes again. HTML pages, redirects and
//! cached responses are never passed to the session, except those to the request of a shared page.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rejoin_protocol::SUBSCRIPTIONS_HEADER;
use rejoin_protocol::wire::path;
use tokio::sync::oneshot;

use super::exchange::{Exchange, SessionState};
use super::shared::{DriverConfig, Shared};
use crate::config::Metered;
use crate::death::{self, Failpoint};
use crate::error::{Error, InputFault, Result, SyncFault};
use crate::host::Host;
use crate::runtime::{Foreign, SpawnedTask, Spawner};
use crate::sync::rows::answer;
use crate::sync::session::{Next, PassReport, Phase, Request, Response};
use crate::sync::status::{SyncState, SyncedRows};
use crate::sync::subject::Signer;
use crate::sync::token::{Header, Keyring};
use crate::transport::{
    EventStream, HttpRequest, HttpResponse, OnHeaders, Transport, TransportError, value_of,
};

/// Extra time for a large upload: a second per 16 KiB, the speed of a bad mobile network.
const UPLOAD_PER_SECOND: usize = 16 * 1024;

/// Maximum duration of a response, in deadlines.
const WHOLE_ANSWER: u32 = 6;

/// The result of a pass without an error.
#[derive(Debug)]
pub(super) enum PassResult {
    /// Everything was exchanged.
    Finished(PassReport),
    /// The metered policy prevented the rest.
    HeldBack,
}

/// What is known after a pass, with or without an error.
#[derive(Debug, Default)]
pub(super) struct PassFacts {
    /// The last state of the session.
    pub(super) session: SessionState,
    /// `Retry-After` from the last response.
    pub(super) asked: Option<Duration>,
    /// Whether mutations were sent.
    pub(super) pushed: bool,
}

/// A request in a task of the transport, which returns the response and when it arrived.
type Carried = SpawnedTask<Result<(HttpResponse, Duration), TransportError>>;

/// A request on its way.
struct Sent {
    phase: Phase,
    prepared: HttpRequest,
    begun: Duration,
    answer: Carried,
    /// The end of the page, when the headers of the response have arrived; an error if they name
    /// none.
    page_end: oneshot::Receiver<Bytes>,
    /// Whether it was sent before the last page had been applied.
    is_early: bool,
}

/// When a request was sent, and when its response had arrived or was given up, by [`Host::elapsed`].
#[derive(Debug, Clone, Copy)]
struct Times {
    begun: Duration,
    ended: Duration,
    /// Whether the transport could send it, the last time.
    was_sent: bool,
}

/// What a pass works with.
#[derive(Debug, Clone)]
pub(super) struct PassContext {
    pub(super) shared: Arc<Shared>,
    pub(super) exchange: Arc<dyn Exchange>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) config: DriverConfig,
    pub(super) host: Arc<dyn Host>,
    pub(super) spawner: Spawner,
}

impl PassContext {
    /// Runs the pass, for an app that waits for what the server has now if `current`. Updates `known` on
    /// the way, also if the pass fails.
    pub(super) async fn run(
        &self,
        held: Metered,
        current: bool,
        known: &mut PassFacts,
    ) -> Result<PassResult> {
        // Before the first request: a request that cannot be signed must not count as sent.
        let mut header = self.keyring.begin().await?;
        let signer = self.keyring.signer(header.as_ref()).await?;
        self.shared.board.set(SyncState::Connecting);
        known.session = self.exchange.start(signer.clone(), current).await?;
        let (mut since, mut held_back) = (None, false);
        let (mut early, mut idle_since) = (None::<(Request, Sent)>, Duration::ZERO);
        loop {
            let stored = &known.session;
            self.shared.board.set_stored(stored.first_sync, &stored.left_out);
            let request = match self.exchange.next().await? {
                Next::Finished(_) if held_back => return Ok(PassResult::HeldBack),
                Next::Finished(report) => return Ok(PassResult::Finished(report)),
                Next::Again => continue,
                Next::Send(request) => request,
            };
            let phase = request.phase;
            let pulls = matches!(phase, Phase::Pulling | Phase::Snapshot)
                // Entries are published after the newest ones.
                && !(held_back && request.path == path::LOG_FETCH);
            if held == Metered::PushOnly && pulls {
                held_back = self.exchange.held_back().await?;
                if held_back {
                    continue;
                }
                return Ok(PassResult::HeldBack);
            }
            self.show(phase, &known.session, &mut since);
            known.pushed |= phase == Phase::Pushing;
            let sent = match early.take() {
                Some((ahead, sent)) if ahead == request => sent,
                _ => self.sent(request, known.session.gzip, header.as_ref()),
            };
            let gzip = known.session.gzip;
            let (answer, times, next) = self.ask_ahead(sent, gzip, &mut header, &signer).await;
            early = next;
            // Before, the network carried another response.
            let took = times.ended.saturating_sub(times.begun.max(idle_since));
            idle_since = times.ended;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    // If this fails too, the next pass marks it.
                    let _ = self.exchange.lost(times.was_sent.then_some(took)).await;
                    return Err(error);
                }
            };
            death::pass(Failpoint::AnswerRead);
            known.asked = answer.retry_after();
            let (status, retry_after, body) = (answer.status, known.asked, answer.body);
            if phase == Phase::Snapshot && status == 200 && early.is_none() {
                let next = self.exchange.ahead(body.clone(), Some(took)).await?;
                early = self.early(next, gzip, header.as_ref());
            }
            let response = Response { status, retry_after, body, took };
            known.session = self.exchange.answered(response).await?;
            self.show(phase, &known.session, &mut since);
            self.shared.answers.send_modify(|count| *count += 1);
        }
    }

    fn show(&self, phase: Phase, session: &SessionState, since: &mut Option<Duration>) {
        self.shared.board.set(match phase {
            Phase::Idle | Phase::Registering | Phase::FetchingSchema => SyncState::Connecting,
            Phase::Pushing => SyncState::Pushing,
            Phase::Pulling | Phase::Snapshot => {
                // The session may still be in the previous phase.
                let is_same = session.progress.phase == phase;
                let (done, total) = if is_same {
                    (session.progress.done, session.progress.total)
                } else {
                    (0, None)
                };
                let now = self.host.elapsed();
                let since = *since.get_or_insert(now);
                let millis = now.saturating_sub(since).as_millis().max(1);
                let millis = u64::try_from(millis).unwrap_or(u64::MAX);
                let rows_per_second = done.saturating_mul(1000) / millis;
                SyncState::Applying(SyncedRows { done, total, rows_per_second })
            }
        });
    }

    /// Sends a request.
    fn sent(&self, request: Request, gzip: bool, header: Option<&Header>) -> Sent {
        let phase = request.phase;
        let prepared = self.prepare(request, gzip);
        let (sender, page_end) = oneshot::channel();
        let on_headers: OnHeaders = Box::new(|headers| {
            if let Some(end) = value_of(headers, rejoin_protocol::PAGE_END_HEADER) {
                let _ = sender.send(Bytes::copy_from_slice(end.as_bytes()));
            }
        });
        let begun = self.host.elapsed();
        let answer = self.carried(&prepared, header, on_headers);
        Sent { phase, prepared, begun, answer, page_end, is_early: false }
    }

    fn early(
        &self,
        next: Option<Request>,
        gzip: bool,
        header: Option<&Header>,
    ) -> Option<(Request, Sent)> {
        let next = next?;
        Some((next.clone(), Sent { is_early: true, ..self.sent(next, gzip, header) }))
    }

    /// [`PassContext::ask`]; sends the request for the next page as soon as the headers of this page
    /// name its end.
    async fn ask_ahead(
        &self,
        sent: Sent,
        gzip: bool,
        header: &mut Option<Header>,
        signer: &Signer,
    ) -> (Result<HttpResponse>, Times, Option<(Request, Sent)>) {
        let Sent { phase, prepared, begun, answer, page_end, is_early } = sent;
        let mut times = Times { begun, ended: begun, was_sent: true };
        let token = header.clone();
        let answer = async {
            let answer = self.ask((phase, &prepared, answer), is_early, &mut times, header, signer);
            let answer = answer.await;
            if answer.is_err() {
                times.ended = self.host.elapsed();
            }
            (answer, times)
        };
        let mut answer = pin!(answer);
        let end = tokio::select! {
            biased;
            (answer, times) = &mut answer => return (answer, times, None),
            end = page_end => end,
        };
        let next = match end {
            Ok(end) => self.exchange.ahead(end, None).await.unwrap_or_default(),
            Err(_) => None,
        };
        let early = self.early(next, gzip, token.as_ref());
        let (answer, times) = answer.await;
        (answer, times, early)
    }

    /// Waits for the response and notes the time of its arrival; repeats the request with a new token if
    /// the server refuses the first. An early request that was lost is repeated: it had to share the
    /// network with another response.
    async fn ask(
        &self,
        (phase, request, answer): (Phase, &HttpRequest, Carried),
        is_early: bool,
        times: &mut Times,
        header: &mut Option<Header>,
        signer: &Signer,
    ) -> Result<HttpResponse> {
        let again =
            |header: &Option<Header>| self.carried(request, header.as_ref(), Box::new(|_| ()));
        let mut arrived = self.arrived(request, answer, phase, times).await;
        if is_early && matches!(arrived, Err(Error::Sync(SyncFault::Offline(_)))) {
            times.begun = self.host.elapsed();
            arrived = self.arrived(request, again(header), phase, times).await;
        }
        let answer;
        (answer, times.ended) = arrived?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let by_server = is_of_server(&answer);
        let Some(fresh) = self.keyring.renewed(header.as_ref(), by_server).await? else {
            return Ok(answer);
        };
        let who = self.keyring.signer(Some(&fresh)).await?;
        if who != *signer {
            // A request of one user must not be sent for another.
            self.exchange.signed_by(who).await?;
            return Err(SyncFault::Offline(
                "the token provider switched users during a pass; the next pass registers the new user"
                    .to_owned(),
            ).into());
        }
        *header = Some(fresh);
        times.begun = self.host.elapsed();
        let answer;
        (answer, times.ended) = self.arrived(request, again(header), phase, times).await?;
        if answer.status == 401 && is_of_server(&answer) {
            self.keyring.refused(header.as_ref()).await;
        }
        Ok(answer)
    }

    fn prepare(&self, request: Request, gzip: bool) -> HttpRequest {
        let mut headers = vec![
            ("accept".to_owned(), "application/json".to_owned()),
            (rejoin_protocol::APP_VERSION_HEADER.to_owned(), self.config.app_version.clone()),
        ];
        if !request.path.starts_with(path::PAGES) {
            headers.push(("cache-control".to_owned(), "no-cache, no-store".to_owned()));
        }
        if request.extended {
            headers.push(("rejoin-protocol".to_owned(), rejoin_protocol::PROTOCOL.to_string()));
        }
        let subscriptions = request.subscriptions;
        headers.extend(subscriptions.map(|value| (SUBSCRIPTIONS_HEADER.to_owned(), value)));
        let body = request.body.map(Bytes::from);
        if body.is_some() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let timeout = self.config.ack_deadline;
        let request =
            HttpRequest { method: request.method, path: request.path, headers, body, timeout };
        let mut request = if gzip { request.compressed() } else { request };
        let length = request.body.as_ref().map_or(0, Bytes::len);
        request.timeout += Duration::from_secs((length / UPLOAD_PER_SECOND) as u64);
        request
    }

    async fn arrived(
        &self,
        request: &HttpRequest,
        answer: Carried,
        phase: Phase,
        times: &mut Times,
    ) -> Result<(HttpResponse, Duration)> {
        let is_post = request.method == "POST";
        // The transport has an idle timeout; this timeout covers custom transports too.
        let whole = match phase {
            Phase::Idle | Phase::Registering | Phase::Pushing => request.timeout,
            Phase::FetchingSchema | Phase::Pulling | Phase::Snapshot => {
                request.timeout * WHOLE_ANSWER
            }
        };
        let answer = tokio::time::timeout(whole, answer)
            .await
            .unwrap_or(Ok(Err(TransportError::Timeout(whole))))
            .unwrap_or_else(|_| Err(TransportError::Lost("the transport panicked".to_owned())));
        times.was_sent =
            !matches!(answer, Err(TransportError::Unreachable(_) | TransportError::Refused(_)));
        let (answer, at) = answer.map_err(|error| unanswered(&error))?;
        // A proxy may not support shared pages: the session then requests the snapshot in the same pass.
        let is_shared_page = request.path.starts_with(path::PAGES);
        if !is_shared_page && answer.status < 400 && (answer.is_page() || answer.status >= 300) {
            return Err(SyncFault::Offline(
                "expected JSON from the sync server, got an HTML page; sign in to this network"
                    .to_owned(),
            )
            .into());
        }
        // A schema may be cached: the server names its hash.
        if is_post && answer.age().is_some_and(|age| !age.is_zero()) {
            return Err(SyncFault::Offline(
                "the response came from a cache; exclude the sync server from caching".to_owned(),
            )
            .into());
        }
        Ok((answer, at))
    }
}

impl PassContext {
    /// Runs the request in a task of the transport, which may block its thread.
    fn carried(
        &self,
        request: &HttpRequest,
        header: Option<&Header>,
        on_headers: OnHeaders,
    ) -> Carried {
        let (transport, call) = (Arc::clone(&self.transport), self.shared.calls.begin());
        let (mut request, host) = (request.clone(), Arc::clone(&self.host));
        request.headers.extend(header.cloned());
        self.spawner.spawn_foreign(Foreign::Transport, async move {
            let _call = call;
            let response = transport.send_with(request, on_headers).await?;
            Ok((response, host.elapsed()))
        })
    }

    /// [`PassContext::carried`] for the event stream.
    pub(super) fn opened(
        &self,
        request: HttpRequest,
    ) -> SpawnedTask<Result<EventStream, TransportError>> {
        let transport = Arc::clone(&self.transport);
        self.spawner
            .spawn_foreign(Foreign::Transport, async move { transport.events(request).await })
    }
}

/// Whether a sync server sent a response other than 200.
fn is_of_server(answer: &HttpResponse) -> bool {
    answer::error_of(&answer.body).is_some()
}

/// The app's error for a failed request.
pub(super) fn unanswered(error: &TransportError) -> Error {
    match error {
        TransportError::Unreachable(_)
        | TransportError::Lost(_)
        | TransportError::Timeout(_)
        | TransportError::Status { .. } => Error::Sync(SyncFault::Offline(error.to_string())),
        TransportError::TooLarge { .. } => Error::Sync(SyncFault::Protocol(error.to_string())),
        TransportError::Refused(_) => Error::InvalidInput(InputFault::Refused {
            what: "the request".to_owned(),
            reason: error.to_string(),
        }),
    }
}
