//! The session: what to exchange next with the server, and what an answer means. Sans-IO: bytes out, bytes in.
//!
//! Everything durable is in the engine's file, so a session can be dropped at any moment and a new one goes on: a push is
//! committed as sent before its first byte leaves (O5), an answer is applied whole or not at all, and cursors move with
//! the rows they cover (I6). One request at a time: push, pull and snapshot never overlap. What is particular to a kind of server is
//! left to its peer.

mod pass;
mod peer;
mod plain;
mod rejoin;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::{ErrorBody, code, path};

use crate::engine::Engine;
use crate::engine::rebase::import;
use crate::engine::staging::{self, Staging};
use crate::error::{Error, Result};
pub use crate::sync::request::{Phase, Request, Response, SessionConfig};
use crate::sync::rows::answer::{self, Turn};
use crate::sync::rows::{fact, register, schema};
use crate::sync::subject::Signer;
pub use pass::{Next, PassReport, Progress};
use pass::{Pass, Step};
use peer::{Peer, unrequested};

/// Exchanges with one server, one request at a time.
#[derive(Debug)]
pub struct Session {
    pass: Pass,
    /// The server, as it was when the device registered last.
    peer: Option<Box<dyn Peer>>,
    /// Whether that is still so: the server may have forgotten the device, or the credentials name another user.
    is_registered: bool,
    /// The user that the credentials of the next requests name.
    who: Signer,
    asked: Option<Asked>,
    /// The name of this opening of the file, once it was counted (D10).
    opening: Option<String>,
    /// How often the file had been reset when this pass began.
    resets: u64,
    /// Version and hash of the schema that is fetched because the server named them: a cache may give an older one.
    named: Option<(i64, String)>,
}

/// The request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Register,
    Schema,
    Peer,
}

impl Session {
    /// A session that has not spoken yet. The engine's file holds all that earlier ones have learned.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            pass: Pass::new(config),
            peer: None,
            is_registered: false,
            who: Signer::Unsigned,
            asked: None,
            opening: None,
            resets: 0,
            named: None,
        }
    }

    /// The requests from here on are signed with credentials that name `who`.
    /// If they named another user before, the device registers before it sends anything else, so that a Rejoin server
    /// returns their user. A request in flight is not changed; the caller ends the pass.
    ///
    /// # Errors
    /// `WrongUser` if the file was last synced with a plain server under another user's credentials: nothing is sent with
    /// these. `Refused` if the user of the credentials is unknown and the server is a plain one.
    pub fn signed_by(&mut self, engine: &Engine, who: Signer) -> Result<()> {
        if self.who != who {
            self.who = who;
            self.is_registered = false;
        }
        crate::sync::plain::register::check(engine, &self.who)
    }

    /// Begins a pass: register and schema if needed, push until nothing is left to say, pull until nothing is new (or a
    /// snapshot). A request that still waits for its answer is given up, as by [`Session::lost`].
    ///
    /// # Errors
    /// Those of the engine's file.
    pub fn start_pass(&mut self, engine: &mut Engine) -> Result<()> {
        self.lost(engine)?;
        self.pass.settle_former(engine)?;
        self.follow_reset(engine);
        if fact::Snapshot::load(engine)?.is_none() && staging::active(Staging::of(engine))? {
            staging::clear(Staging::of(engine))?;
        }
        let peer = self.peer.as_mut().filter(|_| self.is_registered);
        let step = match peer {
            Some(peer) if !peer.must_register(engine) => {
                if engine.schema.manifest.is_some() {
                    Step::Push
                } else {
                    Step::Schema
                }
            }
            _ => Step::Register,
        };
        if let Some(peer) = &mut self.peer {
            peer.start_pass();
        }
        self.pass.start(step);
        self.named = None;
        Ok(())
    }

    /// What to do next. A push is committed as sent before this returns it (O5): a crash from here on leaves its
    /// mutations uncertain, never unsent.
    ///
    /// # Errors
    /// Those of the engine's file. `Internal` while a request waits for its answer. `Offline` if the file was reset: the next
    /// pass starts with what is in it.
    pub fn next(&mut self, engine: &mut Engine) -> Result<Next> {
        self.same_file(engine)?;
        if self.asked.is_some() {
            return Err(Error::Internal("the last request has no answer yet".to_owned()));
        }
        loop {
            if self.pass.step == Step::Done && import::is_due(engine)? {
                self.pass.step = Step::Push; // What was imported has waited for the first sync; now it goes.
            }
            if self.pass.step == Step::Push {
                self.pass.report.parked += import::settle_all(engine)? as u64;
            }
            match (self.pass.step, &mut self.peer) {
                (Step::Done, _) => return Ok(Next::Finished(self.pass.finish(engine)?)),
                (Step::Schema, _) => return Ok(self.send_schema()),
                (Step::Push | Step::Pull, Some(peer)) => {
                    if let Some(next) = peer.next(engine, &mut self.pass)? {
                        self.asked = matches!(next, Next::Send(_)).then_some(Asked::Peer);
                        return Ok(next);
                    }
                }
                (Step::Register | Step::Push | Step::Pull, _) => return self.send_register(engine),
            }
        }
    }

    /// Takes the answer to the last request: applies the whole of it, or nothing.
    ///
    /// # Errors
    /// `NeedsAuth`, `UpgradeRequired`, `Server`, `Protocol`, `WrongUser`, `SchemaRefused`, `Refused` end the pass; so do
    /// those of the engine's file. Whatever a push carried is then uncertain and will be sent again as it is. A
    /// response without a request is `Protocol`, and nothing of it is applied (O5). A response to a request from before a
    /// reset of the file is `Offline`.
    #[allow(clippy::needless_pass_by_value)] // An answer is taken once.
    pub fn answered(&mut self, engine: &mut Engine, response: Response) -> Result<()> {
        self.same_file(engine)?;
        let asked = self.asked.take().ok_or_else(unrequested)?;
        let taken = match (asked, &mut self.peer) {
            (Asked::Peer, Some(peer)) => peer.answered(engine, &mut self.pass, &response),
            _ if response.status != 200 => answer::refusal(&response),
            (Asked::Schema, _) => self.take_schema(engine, answer::read(&response.body)?),
            (Asked::Register | Asked::Peer, _) => {
                self.registered(engine, answer::read(&response.body)?)
            }
        };
        match taken {
            Ok(Turn::Onward) => {
                self.pass.unanswered = None;
                Ok(())
            }
            Ok(turn) => {
                self.pass.settle_unanswered(engine)?;
                self.turn(engine, turn, &response)
            }
            Err(error) => {
                // The answer's own failure tells more than one of this.
                let _ = self.pass.settle_unanswered(engine);
                Err(error)
            }
        }
    }

    /// The request, or its answer, was lost or is given up. What a push carried is uncertain and will be sent again byte
    /// for byte (R7, P2). Nothing happens if no request waits.
    ///
    /// # Errors
    /// Those of the engine's file.
    pub fn lost(&mut self, engine: &mut Engine) -> Result<()> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        if let (Asked::Peer, Some(peer)) = (asked, &mut self.peer) {
            peer.lost();
        }
        self.pass.settle_unanswered(engine)
    }

    /// What the server said of itself when the device registered; `None` before, after it forgot the device, and of a plain
    /// one, which says nothing.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.peer.as_ref().filter(|_| self.is_registered)?.welcome()
    }

    /// How far the present phase is.
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
        self.asked = Some(Asked::Register);
        Ok(self.pass.send(Phase::Registering, path::REGISTER, true, Some(body)))
    }

    fn send_schema(&mut self) -> Next {
        let is_extended = self.peer.as_ref().is_none_or(|peer| peer.is_extended());
        self.asked = Some(Asked::Schema);
        self.pass.send(Phase::FetchingSchema, path::SCHEMA, is_extended, None)
    }

    /// The device is registered: the answer decides which kind of peer the server is.
    fn registered(&mut self, engine: &mut Engine, answer: RegisterResponse) -> Result<Turn> {
        let same = |ours: &Manifest| {
            ours.schema_version == answer.schema_version && ours.schema_hash == answer.schema_hash
        };
        let is_same = engine.schema.manifest.as_ref().is_some_and(same);
        let named = (answer.schema_version, answer.schema_hash.clone());
        let is_extended = !crate::sync::plain::register::speaks_plain(engine, &answer)?;
        let known = self.peer.take().filter(|peer| peer.is_extended() == is_extended);
        let peer = self.peer.insert(known.unwrap_or_else(|| {
            if is_extended {
                Box::<rejoin::Rejoin>::default()
            } else {
                Box::<plain::Plain>::default()
            }
        }));
        let is_known = peer.registered(engine, &self.pass.config, &self.who, answer)? && is_same;
        self.is_registered = true;
        self.pass.step = if is_known { Step::Push } else { Step::Schema };
        self.named = Some(named);
        Ok(Turn::Onward)
    }

    fn take_schema(&mut self, engine: &mut Engine, mut manifest: Manifest) -> Result<Turn> {
        let fetched = (manifest.schema_version, &manifest.schema_hash);
        if self.named.as_ref().is_some_and(|(version, hash)| (*version, hash) != fetched) {
            let why = "the schema is not the one that the server named (an old one from a cache?)";
            return Err(Error::Offline(why.to_owned()));
        }
        let peer = self.peer.as_ref().filter(|_| self.is_registered);
        if let Some(peer) = peer {
            manifest = peer.complete(manifest, engine);
        }
        self.pass.report.parked += schema::accept(engine, &manifest)? as u64;
        self.pass.search = None;
        self.pass.step = if peer.is_some() { Step::Push } else { Step::Register };
        Ok(Turn::Onward)
    }

    /// Another step than the one that was planned; nothing of the answer was applied.
    fn turn(&mut self, engine: &mut Engine, turn: Turn, response: &Response) -> Result<()> {
        self.pass.count_turn(turn)?;
        if let Some(peer) = &mut self.peer {
            peer.turned();
        }
        match turn {
            Turn::Onward => {}
            Turn::Schema => {
                // The rebuild that may follow drops the cursor: the server is to see it first, for it may be an older copy of
                // itself, which has the epoch that it had then (O14).
                self.is_registered &= self.peer.as_ref().is_some_and(|peer| !peer.is_extended());
                self.named = answer::schema_named(response);
                self.pass.step = Step::Schema;
            }
            Turn::Register => {
                let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
                if response.status != 200 && body.code.as_deref() == Some(code::CLIENT_REPLACED) {
                    register::replaced(engine)?;
                }
                self.is_registered = false;
                self.pass.step = Step::Register;
            }
            Turn::Smaller => return Err(answer::cannot_be_smaller(response)),
        }
        Ok(())
    }

    /// Ends a pass in a file that was reset since: its requests are not about this content, and its credentials may be the
    /// former user's.
    fn same_file(&self, engine: &Engine) -> Result<()> {
        if self.resets == engine.resets() {
            return Ok(());
        }
        let why = "the file was reset during a pass; the next pass starts from what is in it";
        Err(Error::Offline(why.to_owned()))
    }

    /// Forgets what was learned of a file that was reset since.
    fn follow_reset(&mut self, engine: &Engine) {
        if self.resets != engine.resets() {
            let (who, resets) = (std::mem::take(&mut self.who), engine.resets());
            *self = Self { who, resets, ..Self::new(self.pass.config.clone()) };
        }
    }
}
