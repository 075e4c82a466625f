//! What the loop asks of the session, each step on the writer's thread.
//!
//! Promise: a caller that goes away between two steps leaves nothing half done: each step is one transaction at most, and the
//! next pass begins by declaring lost what was under way.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rejoin_protocol::capability;

use crate::engine::Engine;
use crate::error::Result;
use crate::sync::session::{Next, Progress, Response, Session, SessionConfig};
use crate::sync::status::FirstSync;
use crate::sync::subject::Signer;
use crate::writer::{Answer, Writer};

/// The steps of a pass. On the writer's thread in production; at once in the driver's own tests, where time is paused.
pub(crate) trait Exchange: Send + Sync + Debug + 'static {
    /// What is known, without beginning anything.
    fn look(&self) -> Answer<Told>;
    /// Begins a pass, signed by `who`. What the last one left under way is lost.
    fn start(&self, who: Signer) -> Answer<Told>;
    /// From here on the credentials name somebody else, which ends the pass.
    fn signed_by(&self, who: Signer) -> Answer<()>;
    /// What to send next, or the end.
    fn next(&self) -> Answer<Next>;
    /// Applies an answer.
    fn answered(&self, response: Response) -> Answer<Told>;
    /// There will be no answer to what was sent last.
    fn lost(&self) -> Answer<()>;
    /// The engine's file is about to be closed: the next pass begins with what is in it.
    fn renew(&self);
}

/// What the session knows after a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) first_sync: FirstSync,
    pub(crate) progress: Progress,
    /// The server reads compressed requests.
    pub(crate) gzip: bool,
    /// Where the server's event stream is, if it has one.
    pub(crate) events: Option<String>,
}

/// The session, lent to the writer for one step at a time.
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

    /// One step on the writer's thread. Nobody else holds the session's lock, so it never waits.
    fn step<R: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Session, &mut Engine) -> Result<R> + Send + 'static,
    ) -> Answer<R> {
        let session = Arc::clone(&self.session);
        self.writer.call(move |engine| {
            body(&mut session.lock().unwrap_or_else(PoisonError::into_inner), engine)
        })
    }
}

impl Exchange for WriterExchange {
    fn look(&self) -> Answer<Told> {
        self.step(|session, engine| told(session, engine))
    }

    fn start(&self, who: Signer) -> Answer<Told> {
        let (stale, config) = (Arc::clone(&self.stale), self.config.clone());
        self.step(move |session, engine| {
            if stale.swap(false, Ordering::AcqRel) {
                *session = Session::new(config);
            }
            session.signed_by(engine, who)?;
            session.start_pass(engine)?;
            told(session, engine)
        })
    }

    fn signed_by(&self, who: Signer) -> Answer<()> {
        self.step(move |session, engine| session.signed_by(engine, who))
    }

    fn next(&self) -> Answer<Next> {
        self.step(Session::next)
    }

    fn answered(&self, response: Response) -> Answer<Told> {
        self.step(move |session, engine| {
            session.answered(engine, response)?;
            told(session, engine)
        })
    }

    fn lost(&self) -> Answer<()> {
        self.step(Session::lost)
    }

    fn renew(&self) {
        self.stale.store(true, Ordering::Release);
    }
}

pub(super) fn told(session: &Session, engine: &Engine) -> Result<Told> {
    let can = |name: &str| {
        session.welcome().is_some_and(|welcome| welcome.capabilities.iter().any(|one| one == name))
    };
    let client_id = engine.meta("client_id")?.filter(|_| can(capability::EVENTS));
    Ok(Told {
        first_sync: FirstSync::read(engine.meta("first_sync")?.as_deref()),
        progress: session.progress(),
        gzip: can(capability::GZIP),
        events: client_id.map(|id| format!("/sync/events?client_id={id}")),
    })
}
