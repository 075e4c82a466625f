//! The sync session: what to exchange next with the server, and how to apply a response. Sans-IO.
//!
//! All durable state is in the engine's file, so a session can be dropped at any time and a new one
//! continues. A push is committed as sent before its first byte leaves. A response is applied
//! completely or not at all, and cursors are written with their rows. Push, pull and snapshot never
//! overlap. What depends on the kind of server is in its peer.

mod doctor;
mod log;
mod page;
mod pass;
mod peer;
mod plain;
mod rejoin;
mod subscriptions;

use std::time::Duration;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::{ErrorBody, code, path};

use crate::engine::Engine;
use crate::engine::adopt;
use crate::engine::entries;
use crate::engine::rebase::import;
use crate::engine::staging::{self, Staging};
use crate::error::{Error, Result, SyncFault};
pub use crate::sync::request::{Phase, Request, Response, SessionConfig};
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::rows::{fact, register, schema};
use crate::sync::subject::Signer;
pub use pass::{Next, PassReport, Progress};
use pass::{Pass, PassStep};
use peer::{Peer, unrequested};

/// Exchanges with one server: one request at a time, and perhaps the next page of a snapshot
/// ([`Session::ahead`]).
#[derive(Debug)]
pub struct Session {
    pass: Pass,
    /// The server, as of the last register.
    peer: Option<Box<dyn Peer>>,
    /// Whether it is still valid: the server may have forgotten the device, or the user changed.
    is_registered: bool,
    /// The user of the next requests' credentials.
    who: Signer,
    running: Option<Running>,
    /// The name of this opening of the file, after it was counted.
    opening: Option<String>,
    /// The file's number of resets at the start of this pass.
    resets: u64,
    /// Version and hash of the schema to fetch, as named by the server: a cache may return an older
    /// one.
    named: Option<(i64, String)>,
}

/// The running request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Register,
    Schema,
    Peer,
}

impl Session {
    /// A new session. The engine's file has the state of earlier ones.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            pass: Pass::new(config),
            peer: None,
            is_registered: false,
            who: Signer::Unsigned,
            running: None,
            opening: None,
            resets: 0,
            named: None,
        }
    }

    /// Sets the user of the credentials that sign the next requests. If it differs from the
    /// previous user, the device registers first, so that a Rejoin server returns the new user. A
    /// running request does not change; the caller ends the pass.
    ///
    /// # Errors
    /// `WrongUser` if the last sync was with a plain server and another user: nothing is sent with
    /// these credentials. `Refused` if their user is unknown and the server is a plain one.
    pub fn signed_by(&mut self, engine: &Engine, who: Signer) -> Result<()> {
        if self.who != who {
            self.who = who;
            self.is_registered = false;
        }
        crate::sync::plain::register::check(engine, &self.who)
    }

    /// Starts a pass: register and schema if needed, push until the queue is sent, pull until
    /// nothing is new (or a snapshot). With `current`, pulls are not served by a replica, which may be
    /// behind. A running request counts as lost, as by [`Session::lost`].
    ///
    /// # Errors
    /// Those of the engine's file.
    pub fn start_pass(&mut self, engine: &mut Engine, current: bool) -> Result<()> {
        self.lost(engine, Some(Duration::ZERO))?;
        // Those of a session that was dropped with its request, or that could not be marked then.
        engine.mark_all_uncertain()?;
        self.follow_reset(engine);
        if fact::SnapshotProgress::load(engine)?.is_none() && staging::active(Staging::of(engine))?
        {
            staging::clear(Staging::of(engine))?;
        }
        let peer = self.peer.as_mut().filter(|_| self.is_registered);
        let step = match peer {
            Some(peer) if !peer.must_register(engine) && !adopt::may_return(engine)? => {
                if engine.schema.manifest.is_some() { PassStep::Push } else { PassStep::Schema }
            }
            _ => PassStep::Register,
        };
        if let Some(peer) = &mut self.peer {
            peer.start_pass();
        }
        self.pass.start(step, current);
        self.named = None;
        Ok(())
    }

    /// The next step. A push is committed as sent before this returns it: after a crash its
    /// mutations are uncertain, never unsent.
    ///
    /// # Errors
    /// Those of the engine's file. `Internal` while a request is running. `Offline` if the file was
    /// reset: the next pass starts with the new content.
    pub fn next(&mut self, engine: &mut Engine) -> Result<Next> {
        self.same_file(engine)?;
        if self.running.is_some() {
            return Err(Error::Internal("the last request has no answer yet".to_owned()));
        }
        loop {
            if self.pass.step == PassStep::Done && import::is_due(engine)? {
                self.pass.step = PassStep::Push; // Imported mutations waited for the first sync.
            }
            if self.pass.step == PassStep::Push {
                self.pass.report.parked += import::settle_all(engine)? as u64;
            }
            match (self.pass.step, &mut self.peer) {
                (PassStep::Done, _) => {
                    self.finish_subscriptions(engine)?;
                    return Ok(Next::Finished(self.pass.finish(engine)?));
                }
                (PassStep::Schema, _) => return Ok(self.send_schema()),
                (PassStep::Push | PassStep::Pull | PassStep::Log | PassStep::Check, Some(peer)) => {
                    if let Some(next) = peer.next(engine, &mut self.pass)? {
                        self.running = matches!(next, Next::Send(_)).then_some(Running::Peer);
                        return self.with_subscriptions(engine, next);
                    }
                }
                (_, _) => {
                    return self.send_register(engine);
                }
            }
        }
    }

    /// The request for the next page of a snapshot, to be sent before the last requested page is applied.
    /// `end`: that page, or its header [`PAGE_END_HEADER`](rejoin_protocol::PAGE_END_HEADER). `took`: from
    /// its request to the end of its response, if it has arrived. [`Session::next`] returns an equal
    /// request, unless something else comes first: then the response must be dropped. `None` if no page
    /// follows, or the network is too slow for two at once.
    ///
    /// # Errors
    /// Those of the engine's file.
    pub fn ahead(
        &mut self,
        engine: &mut Engine,
        end: &[u8],
        took: Option<Duration>,
    ) -> Result<Option<Request>> {
        let ahead = match (self.running, &mut self.peer) {
            (Some(Running::Peer), Some(peer)) if self.resets == engine.resets() => {
                peer.ahead(engine, &mut self.pass, end, took)?
            }
            _ => None,
        };
        ahead.map(|request| self.subscribed(engine, request)).transpose()
    }

    /// Applies the response to the last request, completely or not at all.
    ///
    /// # Errors
    /// `NeedsAuth`, `UpgradeRequired`, `Server`, `Protocol`, `WrongUser`, `SchemaRefused`,
    /// `Refused` and those of the engine's file end the pass. The content of a push is then
    /// uncertain and will be sent again unchanged. `Protocol` for a response without a request, and
    /// `Offline` for a response to a request from before a reset; neither is applied.
    #[allow(clippy::needless_pass_by_value)] // A response is consumed.
    pub fn answered(&mut self, engine: &mut Engine, response: Response) -> Result<()> {
        self.same_file(engine)?;
        let running = self.running.take().ok_or_else(unrequested)?;
        let taken = match (running, &mut self.peer) {
            (Running::Peer, Some(peer)) => peer.answered(engine, &mut self.pass, &response),
            _ if response.status != 200 => answer::refusal(&response),
            (Running::Schema, _) => self.take_schema(engine, answer::read(&response.body)?),
            (Running::Register | Running::Peer, _) => {
                self.registered(engine, answer::read(&response.body)?)
            }
        };
        match taken {
            Ok(NextStep::Onward) => {
                self.pass.unanswered = None;
                Ok(())
            }
            Ok(turn) => {
                self.pass.settle_unanswered(engine)?;
                self.turn(engine, turn, &response)
            }
            Err(error) => {
                // The response's error is more useful than one of this call.
                let _ = self.pass.settle_unanswered(engine);
                Err(error)
            }
        }
    }

    /// The request or its response was lost or abandoned. A sent push is uncertain and will be sent
    /// again byte for byte. Does nothing without a running request. `took` is how long it ran; `None` if it
    /// was not sent.
    ///
    /// # Errors
    /// Those of the engine's file.
    pub fn lost(&mut self, engine: &mut Engine, took: Option<Duration>) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let counted = match (running, &mut self.peer) {
            (Running::Peer, Some(peer)) => peer.lost(engine, took),
            _ => Ok(()),
        };
        self.pass.settle_unanswered(engine).and(counted)
    }

    /// Does not send the next request, because it would pull. If entries of the log wait for the
    /// server, the pass goes on with them: it fetches what is newer, and publishes. Returns whether it
    /// does.
    pub fn held_back(&mut self, engine: &mut Engine) -> Result<bool> {
        self.lost(engine, None)?;
        let publishes = entries::are_unpublished(engine)?;
        if publishes {
            self.pass.step = PassStep::Log;
        }
        Ok(publishes)
    }

    /// What the server reported at register; `None` before, after it forgot the device, and for a
    /// plain server.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.peer.as_ref().filter(|_| self.is_registered)?.welcome()
    }

    /// The progress of the current phase.
    pub fn progress(&self) -> Progress {
        self.pass.progress
    }

    fn send_register(&mut self, engine: &mut Engine) -> Result<Next> {
        let opening = match &self.opening {
            Some(opening) => opening.clone(),
            None => self.opening.insert(register::opened(engine)?).clone(),
        };
        let body = register::request(engine, &self.pass.config, &opening)?;
        self.is_registered = false;
        self.running = Some(Running::Register);
        Ok(self.pass.send(Phase::Registering, path::REGISTER, true, Some(body)))
    }

    fn send_schema(&mut self) -> Next {
        let is_extended = self.peer.as_ref().is_none_or(|peer| peer.is_extended());
        self.running = Some(Running::Schema);
        self.pass.send(Phase::FetchingSchema, path::SCHEMA, is_extended, None)
    }

    /// Handles the register response, which determines the kind of server.
    fn registered(&mut self, engine: &mut Engine, answer: RegisterResponse) -> Result<NextStep> {
        let same = |ours: &Manifest| {
            ours.schema_version == answer.schema_version && ours.schema_hash == answer.schema_hash
        };
        let is_same = engine.schema.manifest.as_ref().is_some_and(same);
        let named = (answer.schema_version, answer.schema_hash.clone());
        let is_extended = !crate::sync::plain::register::speaks_plain(engine, &answer)?;
        let previous = self.peer.take().filter(|peer| peer.is_extended() == is_extended);
        let peer = self.peer.insert(previous.unwrap_or_else(|| {
            if is_extended {
                Box::<rejoin::Rejoin>::default()
            } else {
                Box::<plain::Plain>::default()
            }
        }));
        let has_current_schema =
            peer.registered(engine, &self.pass.config, &self.who, answer)? && is_same;
        let has_current_schema = has_current_schema && !adopt::may_return(engine)?;
        self.is_registered = true;
        self.pass.step = if has_current_schema { PassStep::Push } else { PassStep::Schema };
        self.named = Some(named);
        Ok(NextStep::Onward)
    }

    fn take_schema(&mut self, engine: &mut Engine, mut manifest: Manifest) -> Result<NextStep> {
        let fetched = (manifest.schema_version, &manifest.schema_hash);
        if self.named.as_ref().is_some_and(|(version, hash)| (*version, hash) != fetched) {
            let why = "the schema is not the one that the server named (an old one from a cache?)";
            return Err(SyncFault::Offline(why.to_owned()).into());
        }
        let peer = self.peer.as_ref().filter(|_| self.is_registered);
        if let Some(peer) = peer {
            manifest = peer.complete(manifest, engine);
        }
        self.pass.report.parked += schema::accept(engine, &manifest)? as u64;
        self.pass.search = None;
        self.pass.step = if peer.is_some() { PassStep::Push } else { PassStep::Register };
        Ok(NextStep::Onward)
    }

    /// Takes another step than planned; nothing of the response was applied.
    fn turn(&mut self, engine: &mut Engine, turn: NextStep, response: &Response) -> Result<()> {
        self.pass.count_turn(turn)?;
        if let Some(peer) = &mut self.peer {
            peer.turned();
        }
        match turn {
            NextStep::Onward => {}
            NextStep::Schema => {
                // A rebuild drops the cursor: the server must receive it first, because it may be a
                // restored copy with an unchanged epoch.
                self.is_registered &= self.peer.as_ref().is_some_and(|peer| !peer.is_extended());
                self.named = answer::schema_named(response);
                self.pass.step = PassStep::Schema;
            }
            NextStep::Register => {
                let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
                if response.status != 200 && body.code.as_deref() == Some(code::CLIENT_REPLACED) {
                    register::replaced(engine)?;
                }
                self.is_registered = false;
                self.pass.step = PassStep::Register;
            }
            NextStep::Smaller => return Err(answer::cannot_be_smaller(response)),
        }
        Ok(())
    }

    /// An error if the file was reset during the pass: its requests have other content, and its
    /// credentials may be the former user's.
    fn same_file(&self, engine: &Engine) -> Result<()> {
        if self.resets == engine.resets() {
            return Ok(());
        }
        let why = "the file was reset during a pass; the next pass starts from what is in it";
        Err(Error::Sync(SyncFault::Offline(why.to_owned())))
    }

    /// Forgets the state of a file that was reset since.
    fn follow_reset(&mut self, engine: &Engine) {
        if self.resets != engine.resets() {
            let (who, resets) = (std::mem::take(&mut self.who), engine.resets());
            *self = Self { who, resets, ..Self::new(self.pass.config.clone()) };
        }
    }
}
