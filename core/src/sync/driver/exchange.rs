//! The interface between the loop and the session; each step runs on the writer's thread.
//!
//! Each step is at most one transaction, so a caller may stop between two steps. The next pass then
//! marks the running request as lost.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rejoin_protocol::capability;

use crate::engine::Engine;
use crate::engine::schema::left_out::LeftOutPart;
use crate::error::Result;
use crate::sync::rows::fact;
use crate::sync::session::{Next, Progress, Request, Response, Session, SessionConfig};
use crate::sync::status::FirstSync;
use crate::sync::subject::Signer;
use crate::writer::{Task, Writer};

/// The steps of a pass. Runs on the writer's thread; in the driver's tests, with paused time,
/// inline.
pub(crate) trait Exchange: Send + Sync + Debug + 'static {
    /// The stored state, without starting a pass.
    fn look(&self) -> Task<SessionState>;
    /// Starts a pass, signed by `who`. A request of the last pass counts as lost.
    /// `current`: whether an app waits for what the server has now.
    fn start(&self, who: Signer, current: bool) -> Task<SessionState>;
    /// The credentials now name another user, which ends the pass.
    fn signed_by(&self, who: Signer) -> Task<()>;
    /// The next request, or the end.
    fn next(&self) -> Task<Next>;
    /// The request for the page after the one with this end, to be sent before that is applied.
    fn ahead(&self, end: Bytes, took: Option<Duration>) -> Task<Option<Request>>;
    /// Applies a response.
    fn answered(&self, response: Response) -> Task<SessionState>;
    /// The last request has no response after this time; `None` if it was not sent.
    fn lost(&self, took: Option<Duration>) -> Task<()>;
    /// The next request is held back, because it would pull. Returns whether entries of the log are
    /// published instead.
    fn held_back(&self) -> Task<bool>;
    /// The file is about to be closed: the next pass starts with the stored state.
    fn renew(&self);
}

/// The session's state after a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionState {
    pub(crate) first_sync: FirstSync,
    pub(crate) left_out: Vec<LeftOutPart>,
    pub(crate) progress: Progress,
    /// The server accepts compressed requests.
    pub(crate) gzip: bool,
    /// The server's event stream, if it has one.
    pub(crate) events: Option<EventsRequest>,
}

/// The request for a server's event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsRequest {
    /// With its query.
    pub(crate) path: String,
    /// The header with the subscriptions: the server reports changes of their rows too.
    pub(crate) subscriptions: Option<String>,
}

/// The session, used by the writer for one step at a time.
#[derive(Debug, Clone)]
pub(crate) struct WriterExchange {
    writer: Writer,
    config: SessionConfig,
    session: Arc<Mutex<Session>>,
    stale: Arc<AtomicBool>,
}

impl WriterExchange {
    pub(crate) fn new(writer: Writer, config: SessionConfig) -> Self {
        let session = Arc::new(Mutex::new(Session::new(config.clone())));
        Self { writer, config, session, stale: Arc::default() }
    }

    /// Runs a step on the writer's thread, where the session's lock is always free.
    fn step<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Session, &mut Engine) -> Result<R> + Send + 'static,
    ) -> Task<R> {
        let session = Arc::clone(&self.session);
        self.writer.call(move |engine| {
            body(&mut session.lock().unwrap_or_else(PoisonError::into_inner), engine)
        })
    }
}

impl Exchange for WriterExchange {
    fn look(&self) -> Task<SessionState> {
        self.step(|session, engine| session_state(session, engine))
    }

    fn start(&self, who: Signer, current: bool) -> Task<SessionState> {
        let (stale, config) = (Arc::clone(&self.stale), self.config.clone());
        self.step(move |session, engine| {
            if stale.swap(false, Ordering::AcqRel) {
                *session = Session::new(config);
            }
            session.signed_by(engine, who)?;
            session.start_pass(engine, current)?;
            session_state(session, engine)
        })
    }

    fn signed_by(&self, who: Signer) -> Task<()> {
        self.step(move |session, engine| session.signed_by(engine, who))
    }

    fn next(&self) -> Task<Next> {
        self.step(Session::next)
    }

    fn ahead(&self, end: Bytes, took: Option<Duration>) -> Task<Option<Request>> {
        self.step(move |session, engine| session.ahead(engine, &end, took))
    }

    fn answered(&self, response: Response) -> Task<SessionState> {
        self.step(move |session, engine| {
            session.answered(engine, response)?;
            session_state(session, engine)
        })
    }

    fn lost(&self, took: Option<Duration>) -> Task<()> {
        self.step(move |session, engine| session.lost(engine, took))
    }

    fn held_back(&self) -> Task<bool> {
        self.step(Session::held_back)
    }

    fn renew(&self) {
        self.stale.store(true, Ordering::Release);
    }
}

pub(super) fn session_state(session: &Session, engine: &Engine) -> Result<SessionState> {
    let can = |name: &str| {
        session.welcome().is_some_and(|welcome| welcome.capabilities.iter().any(|one| one == name))
    };
    let client_id = engine.meta("client_id")?.filter(|_| can(capability::EVENTS));
    Ok(SessionState {
        first_sync: fact::first_sync(engine)?,
        left_out: engine.left_out()?,
        progress: session.progress(),
        gzip: can(capability::GZIP),
        events: client_id.map(|id| EventsRequest {
            path: format!("/sync/events?client_id={id}"),
            subscriptions: session.subscriptions_header(),
        }),
    })
}
