//! A pass with a plain server: the same steps, by P1 to P10.
//!
//! One request at a time, as ever. What the server does not say is asked for: whether its log still reaches back (P9), whether
//! it lives at all when it answers 500 (P7), and whether it has forgotten this device, which is a 500 as well.

use std::time::Duration;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::path;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::PushResponse;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::snapshot::SnapshotResponse;

use super::pass::{Next, Pass, Step};
use super::peer::{Peer, unrequested};
use crate::engine::Engine;
use crate::engine::staging;
use crate::error::Result;
use crate::sync::plain::pull::{Asked, From, Use};
use crate::sync::plain::push::Step as Push;
use crate::sync::plain::{pull, push, register, schema, snapshot};
use crate::sync::request::{Phase, Response, SessionConfig};
use crate::sync::rows::answer::Turn;
use crate::sync::rows::fact::{self, Due};
use crate::sync::rows::push::{ActionParts, Limits};
use crate::sync::rows::{self, answer};
use crate::sync::subject::Signer;

/// A server may be upgraded: after so long a pass begins by asking what it speaks, and whether it was restored.
const REGISTERED: Duration = Duration::from_hours(1);

/// Bytes of a push: such a server names no limit.
const BODY: usize = 1 << 20;

/// A request that waits for its answer.
#[derive(Debug)]
enum What {
    Push(push::Sent),
    Pull(Asked),
    /// Whether the log reaches back to its beginning (P9).
    Reach,
    Page(fact::Snapshot),
}

/// What the device remembers of such a server.
#[derive(Debug, Default)]
pub(super) struct Plain {
    course: push::Course,
    /// What the push waits for.
    waits: Waits,
    /// An answer from position 0: it is not applied before the log is known to reach back (P9).
    held: Option<(Asked, Box<PullResponse>)>,
    /// Whether the device registered once more in this pass, because of a 500.
    again: bool,
    /// When the device registered, by the clock that never goes back.
    since: Option<Duration>,
    asked: Option<What>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Waits {
    #[default]
    Nothing,
    /// For one pull to be answered (P7).
    Probe,
    /// For everything to be pulled (P7).
    Drain,
}

impl Peer for Plain {
    fn is_extended(&self) -> bool {
        false
    }

    fn welcome(&self) -> Option<&Welcome> {
        None
    }

    fn registered(
        &mut self,
        engine: &mut Engine,
        config: &SessionConfig,
        who: &Signer,
        answer: RegisterResponse,
    ) -> Result<bool> {
        register::accept(engine, config, &answer, who)?;
        // After an upgrade of the server, records that were frozen for the plain protocol are still sent in it.
        self.course.closing = answer.rejoin.is_some();
        self.since = Some(engine.host.elapsed());
        Ok(true)
    }

    fn complete(&self, manifest: Manifest, engine: &Engine) -> Manifest {
        schema::completed(manifest, engine.schema.manifest.as_ref())
    }

    fn must_register(&self, engine: &Engine) -> bool {
        self.since.is_none_or(|since| engine.host.elapsed().saturating_sub(since) > REGISTERED)
    }

    fn start_pass(&mut self) {
        let course = self.course.renewed();
        *self = Self { course, since: self.since, ..Self::default() };
    }

    fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if pass.step == Step::Push { self.push(engine, pass) } else { self.pull(engine, pass) }
    }

    fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<Turn> {
        let what = self.asked.take().ok_or_else(unrequested)?;
        let taken = match response.status {
            200 => self.take(engine, pass, &what, response),
            _ => self.refused(engine, pass, &what, response),
        };
        if let (What::Page(_), Err(error)) = (&what, &taken) {
            rows::snapshot::failed_by(engine, error);
        }
        taken
    }

    fn lost(&mut self) {
        self.asked = None;
    }

    fn turned(&mut self) {
        self.held = None;
    }
}

impl Plain {
    fn send(&mut self, pass: &mut Pass, what: What, path: &str, body: Vec<u8>) -> Next {
        let phase = match what {
            What::Push(_) => Phase::Pushing,
            What::Pull(_) | What::Reach => Phase::Pulling,
            What::Page(_) => Phase::Snapshot,
        };
        self.asked = Some(what);
        pass.send(phase, path, false, Some(body))
    }

    fn push(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        // The mode of a first sync is settled before our own answers fill the base (B7).
        snapshot::present(engine)?;
        pass.step = Step::Pull;
        if self.waits != Waits::Nothing {
            return Ok(None);
        }
        let number = pass.number(engine)?;
        let limits = limits(pass);
        let next = push::next(engine, number, limits, &mut self.course)?;
        let applied = self.course.take_accepted();
        pass.report.count(&applied);
        match next {
            Push::Send { body, sent } => {
                pass.step = Step::Push;
                let what = What::Push(sent);
                let next = self.send(pass, what, path::PUSH, body);
                pass.expect_pushes(engine);
                pass.unanswered = Some(number);
                return Ok(Some(next));
            }
            Push::Drain => self.waits = Waits::Drain,
            Push::Probe => self.waits = Waits::Probe,
            Push::Nothing if self.course.closing && !push::frozen(engine) => {
                // Every record of the plain protocol has its result: use the extensions from here on.
                pass.step = Step::Register;
            }
            Push::Nothing => {}
        }
        Ok(None)
    }

    fn pull(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if self.held.is_some() {
            let (body, _) = pull::request(engine, From::AtTheBeginning, 1)?;
            return Ok(Some(self.send(pass, What::Reach, path::PULL, body)));
        }
        if pull::is_away(engine)? {
            let mut facts = fact::snapshot_due(Due::Retention);
            facts.push(fact::forget(fact::LAST_PULL));
            fact::write(engine, &facts)?;
            pass.search = None;
        }
        let checkpoint = match snapshot::present(engine)? {
            Some(present) if pass.search.is_some() => {
                if let Some(search) = pass.searched(engine)? {
                    let applied = snapshot::merge(engine, present, search)?;
                    pass.report.pulled += applied.rows as u64;
                    pass.report.count(&applied);
                    pass.step = Step::Push;
                }
                return Ok(Some(Next::Again));
            }
            Some(present) if !present.paged => {
                let body = snapshot::request(engine, &present, pass.config.page_size.max(1))?;
                let rows = u64::try_from(present.rows).unwrap_or(0);
                let what = What::Page(present);
                let next = self.send(pass, what, path::SNAPSHOT, body);
                pass.progress.done = rows;
                return Ok(Some(next));
            }
            Some(present) => present.pull_cursor.and_then(|text| text.parse().ok()),
            None => pull::checkpoint(engine)?,
        };
        pass.count_pull()?;
        let from = From::Checkpoint(checkpoint.unwrap_or(0));
        let (body, asked) = pull::request(engine, from, pass.config.page_size.max(1))?;
        Ok(Some(self.send(pass, What::Pull(asked), path::PULL, body)))
    }

    /// Takes an answer of 200.
    fn take(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        what: &What,
        response: &Response,
    ) -> Result<Turn> {
        let body = &response.body;
        match what {
            What::Push(sent) => {
                let answer: PushResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                let applied = push::answered(engine, sent, answer, &mut self.course)?;
                pass.unanswered = None;
                pass.report.count(&applied);
                pass.progress.done += (applied.accepted.len() + applied.parked.len()) as u64;
                Ok(Turn::Onward)
            }
            What::Page(present) => self.take_page(engine, pass, present, &answer::read(body)?),
            What::Pull(asked) => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                if pull::examine(engine, asked, &answer)? == Use::Rebuild {
                    return self.rebuild(engine, pass, asked, &answer);
                }
                if asked.checkpoint == 0 {
                    self.held = Some((asked.clone(), Box::new(answer)));
                    return Ok(Turn::Onward);
                }
                self.take_rows(engine, pass, asked, &answer)
            }
            What::Reach => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                match self.held.take() {
                    Some((asked, _)) if answer.snapshot_required => {
                        self.rebuild(engine, pass, &asked, &answer)
                    }
                    Some((asked, held)) => self.take_rows(engine, pass, &asked, &held),
                    None => Ok(Turn::Onward),
                }
            }
        }
    }

    fn rebuild(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        asked: &Asked,
        answer: &PullResponse,
    ) -> Result<Turn> {
        pull::rebuild(engine, asked, answer)?;
        self.alive(engine, pass)?;
        pass.count_turn(Turn::Onward)
    }

    /// A pull's answer, into the base or beside it.
    fn take_rows(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        asked: &Asked,
        answer: &PullResponse,
    ) -> Result<Turn> {
        if let Some(present) = fact::Snapshot::load(engine)? {
            snapshot::tail(engine, present, asked, answer)?;
            if !answer.has_more {
                pass.search = Some(staging::Search::new(engine));
            }
            return self.alive(engine, pass).map(|()| Turn::Onward);
        }
        let applied = pull::apply(engine, asked, answer)?;
        pass.report.count(&applied);
        pass.report.pulled += applied.rows as u64;
        pass.progress.done += applied.rows as u64;
        if !answer.has_more {
            pass.step = Step::Done;
            if self.waits == Waits::Drain {
                let applied = push::drained(engine, &mut self.course)?;
                pass.report.count(&applied);
                self.waits = Waits::Nothing;
                pass.step = Step::Push;
            }
        }
        self.alive(engine, pass)?;
        Ok(Turn::Onward)
    }

    fn take_page(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        present: &fact::Snapshot,
        answer: &SnapshotResponse,
    ) -> Result<Turn> {
        if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
            return Ok(Turn::Schema);
        }
        let (now, applied) = snapshot::page(engine, present.clone(), answer)?;
        pass.report.count(&applied);
        pass.report.pulled += applied.rows as u64;
        pass.progress.done = u64::try_from(now.rows).unwrap_or(0);
        pass.step = Step::Push; // What was written meanwhile goes first, then the next page.
        self.alive(engine, pass)?;
        Ok(Turn::Onward)
    }

    /// The server answered a request that needs its database and this device (P7).
    fn alive(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<()> {
        if self.waits == Waits::Probe {
            push::probed(engine, &mut self.course)?;
            self.waits = Waits::Nothing;
            pass.step = Step::Push;
        }
        Ok(())
    }

    /// What an answer other than 200 means.
    fn refused(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        what: &What,
        response: &Response,
    ) -> Result<Turn> {
        let course = &mut self.course;
        let is_foreign = answer::error_of(&response.body).is_none();
        match (what, response.status) {
            (What::Push(sent), 413) => {
                let unread = answer::is_too_large(response);
                let applied = push::too_large(engine, sent, unread, course)?;
                pass.unanswered = None;
                pass.report.count(&applied);
                return Ok(Turn::Onward);
            }
            _ if is_foreign => return Err(answer::foreign(response)),
            (What::Push(sent), status @ (400 | 500)) => {
                push::failed(engine, sent, status, course)?;
                pass.unanswered = None;
                return Ok(Turn::Onward);
            }
            (What::Push(sent), 401 | 409 | 426 | 429) => {
                push::unseen(engine, sent)?;
                pass.unanswered = None;
            }
            // A device that is not registered hears 404 from a snapshot and 500 from a pull.
            (What::Pull(_) | What::Reach | What::Page(_), 404 | 500) if !self.again => {
                self.again = true;
                return Ok(Turn::Register);
            }
            _ => {}
        }
        if response.status == 409 { Ok(Turn::Schema) } else { answer::refusal(response) }
    }
}

fn limits(pass: &Pass) -> Limits {
    Limits {
        groups: (pass.config.batch_size as usize).max(1),
        body: BODY,
        parts: ActionParts::default(),
    }
}
