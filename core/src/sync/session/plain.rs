//! A pass with a plain server.
//!
//! One request runs at a time. Extra requests find out what the server does not report: whether its
//! log is complete, and whether it has forgotten this device, which is a 500.

use std::time::Duration;

use rejoin_protocol::Manifest;
use rejoin_protocol::wire::path;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::PushResponse;
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::snapshot::SnapshotResponse;

use super::pass::{Next, Pass, PassStep};
use super::peer::{Peer, unrequested};
use crate::engine::Engine;
use crate::engine::staging;
use crate::error::Result;
use crate::sync::plain::pull::{PullParameters, PullStart, ResponseUse};
use crate::sync::plain::push::PlainPushStep as Push;
use crate::sync::plain::{pull, push, register, schema, snapshot};
use crate::sync::request::{Phase, Response, SessionConfig};
use crate::sync::rows::answer::NextStep;
use crate::sync::rows::fact::{self, RefetchReason};
use crate::sync::rows::push::{ActionParts, Limits};
use crate::sync::rows::{self, answer};
use crate::sync::subject::Signer;

/// A server may be upgraded: after this time a pass starts with a register.
const REGISTERED: Duration = Duration::from_hours(1);

/// Maximum bytes of a push: a plain server reports no limit.
const BODY: usize = 1 << 20;

/// A running request.
#[derive(Debug)]
enum Purpose {
    Push(push::PushContent),
    Pull(PullParameters),
    /// Checks whether the log reaches back to its beginning.
    Reach,
    Page(fact::SnapshotProgress),
}

/// State of the exchange with a plain server.
#[derive(Debug, Default)]
pub(super) struct Plain {
    state: push::PushState,
    /// A response from position 0, which is not applied before the log is known to be complete.
    held: Option<(PullParameters, Box<PullResponse>)>,
    /// Whether the device registered again in this pass because of a 500.
    again: bool,
    /// When the device registered, by the monotonic clock.
    since: Option<Duration>,
    running: Option<Purpose>,
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
        // After an upgrade of the server, frozen records still use the plain protocol.
        self.state.closing = answer.rejoin.is_some();
        self.since = Some(engine.host.elapsed());
        Ok(true)
    }

    fn complete(&self, manifest: Manifest, engine: &Engine) -> Manifest {
        let ours = &engine.schema;
        schema::completed(manifest, ours.manifest.as_ref(), &ours.left_out.tables)
    }

    fn must_register(&self, engine: &Engine) -> bool {
        self.since.is_none_or(|since| engine.host.elapsed().saturating_sub(since) > REGISTERED)
    }

    fn start_pass(&mut self) {
        let state = self.state.renewed();
        *self = Self { state, since: self.since, ..Self::default() };
    }

    fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if pass.step == PassStep::Push { self.push(engine, pass) } else { self.pull(engine, pass) }
    }

    fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep> {
        let purpose = self.running.take().ok_or_else(unrequested)?;
        let taken = match response.status {
            200 => self.take(engine, pass, &purpose, response),
            _ => self.refused(engine, pass, &purpose, response),
        };
        if let (Purpose::Page(_), Err(error)) = (&purpose, &taken) {
            rows::snapshot::failed_by(engine, error);
        }
        taken
    }

    fn lost(&mut self, _engine: &mut Engine, _took: Option<Duration>) -> Result<()> {
        self.running = None;
        Ok(())
    }

    fn turned(&mut self) {
        self.held = None;
    }
}

impl Plain {
    fn send(&mut self, pass: &mut Pass, purpose: Purpose, path: &str, body: Vec<u8>) -> Next {
        let phase = match purpose {
            Purpose::Push(_) => Phase::Pushing,
            Purpose::Pull(_) | Purpose::Reach => Phase::Pulling,
            Purpose::Page(_) => Phase::Snapshot,
        };
        self.running = Some(purpose);
        pass.send(phase, path, false, Some(body))
    }

    fn push(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        // Decides the mode of a first sync before push responses fill the base.
        snapshot::present(engine)?;
        pass.step = PassStep::Pull;
        let number = pass.number(engine)?;
        let limits = limits(pass);
        let next = push::next(engine, number, limits, &mut self.state)?;
        let applied = self.state.take_accepted();
        pass.report.count(&applied);
        match next {
            Push::Send { body, sent } => {
                pass.step = PassStep::Push;
                let purpose = Purpose::Push(sent);
                let next = self.send(pass, purpose, path::PUSH, body);
                pass.expect_pushes(engine);
                pass.unanswered = Some(number);
                return Ok(Some(next));
            }
            Push::Nothing if self.state.closing && !push::frozen(engine) => {
                // Every frozen record has its verdict: use the extensions from here on.
                pass.step = PassStep::Register;
            }
            Push::Nothing => {}
        }
        Ok(None)
    }

    fn pull(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if self.held.is_some() {
            let (body, _) = pull::request(engine, PullStart::AtTheBeginning, 1)?;
            return Ok(Some(self.send(pass, Purpose::Reach, path::PULL, body)));
        }
        if pull::is_away(engine)? {
            let mut facts = fact::snapshot_due(RefetchReason::Retention);
            facts.push(fact::forget(fact::LAST_PULL));
            fact::write(engine, &facts)?;
            pass.search = None;
        }
        let checkpoint = match snapshot::present(engine)? {
            Some(present) if pass.continues_search(present.paged) => {
                if let Some(search) = pass.searched(engine)? {
                    let applied = snapshot::merge(engine, present, search)?;
                    pass.report.pulled += applied.rows as u64;
                    pass.report.count(&applied);
                    pass.step = PassStep::Push;
                }
                return Ok(Some(Next::Again));
            }
            Some(present) if !present.paged => {
                let body = snapshot::request(engine, &present, pass.config.page_size.max(1))?;
                let rows = u64::try_from(present.rows).unwrap_or(0);
                let purpose = Purpose::Page(present);
                let next = self.send(pass, purpose, path::SNAPSHOT, body);
                pass.progress.done = rows;
                return Ok(Some(next));
            }
            Some(present) => present.pull_cursor.and_then(|text| text.parse().ok()),
            None => pull::checkpoint(engine)?,
        };
        pass.count_pull()?;
        let from = PullStart::Checkpoint(checkpoint.unwrap_or(0));
        let (body, running) = pull::request(engine, from, pass.config.page_size.max(1))?;
        Ok(Some(self.send(pass, Purpose::Pull(running), path::PULL, body)))
    }

    /// Handles a 200 response.
    fn take(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        purpose: &Purpose,
        response: &Response,
    ) -> Result<NextStep> {
        let body = &response.body;
        match purpose {
            Purpose::Push(sent) => {
                let answer: PushResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(NextStep::Schema);
                }
                let applied = push::answered(engine, sent, answer, &mut self.state)?;
                pass.unanswered = None;
                pass.report.count(&applied);
                pass.progress.done += (applied.accepted.len() + applied.parked.len()) as u64;
                Ok(NextStep::Onward)
            }
            Purpose::Page(present) => Self::take_page(engine, pass, present, &answer::read(body)?),
            Purpose::Pull(running) => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(NextStep::Schema);
                }
                if pull::examine(engine, running, &answer)? == ResponseUse::Rebuild {
                    return Self::rebuild(engine, pass, running, &answer);
                }
                if running.checkpoint == 0 {
                    self.held = Some((running.clone(), Box::new(answer)));
                    return Ok(NextStep::Onward);
                }
                self.take_rows(engine, pass, running, &answer)
            }
            Purpose::Reach => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(NextStep::Schema);
                }
                match self.held.take() {
                    Some((running, _)) if answer.snapshot_required => {
                        Self::rebuild(engine, pass, &running, &answer)
                    }
                    Some((running, held)) => self.take_rows(engine, pass, &running, &held),
                    None => Ok(NextStep::Onward),
                }
            }
        }
    }

    fn rebuild(
        engine: &mut Engine,
        pass: &mut Pass,
        running: &PullParameters,
        answer: &PullResponse,
    ) -> Result<NextStep> {
        pull::rebuild(engine, running, answer)?;
        pass.count_turn(NextStep::Onward)
    }

    /// Writes a pull's rows to the base, or to the staging.
    fn take_rows(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        running: &PullParameters,
        answer: &PullResponse,
    ) -> Result<NextStep> {
        if let Some(present) = fact::SnapshotProgress::load(engine)? {
            snapshot::tail(engine, present, running, answer)?;
            if !answer.has_more {
                pass.search = Some(staging::Search::new(engine));
            }
            return Ok(NextStep::Onward);
        }
        let applied = pull::apply(engine, running, answer)?;
        pass.report.count(&applied);
        pass.report.pulled += applied.rows as u64;
        pass.progress.done += applied.rows as u64;
        if !answer.has_more {
            pass.step = PassStep::Done;
            for applied in push::drained(engine, &mut self.state)? {
                pass.report.count(&applied);
                pass.step = PassStep::Push;
            }
        }
        Ok(NextStep::Onward)
    }

    fn take_page(
        engine: &mut Engine,
        pass: &mut Pass,
        present: &fact::SnapshotProgress,
        answer: &SnapshotResponse,
    ) -> Result<NextStep> {
        if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
            return Ok(NextStep::Schema);
        }
        let (now, applied) = snapshot::page(engine, present.clone(), answer)?;
        pass.report.count(&applied);
        pass.report.pulled += applied.rows as u64;
        pass.progress.done = u64::try_from(now.rows).unwrap_or(0);
        pass.step = PassStep::Push; // New local writes first, then the next page.
        Ok(NextStep::Onward)
    }

    /// Handles a response other than 200.
    fn refused(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        purpose: &Purpose,
        response: &Response,
    ) -> Result<NextStep> {
        let state = &mut self.state;
        let is_foreign = answer::error_of(&response.body).is_none();
        match (purpose, response.status) {
            (Purpose::Push(sent), 413) => {
                let unread = answer::is_too_large(response);
                let applied = push::too_large(engine, sent, unread, state)?;
                pass.unanswered = None;
                pass.report.count(&applied);
                return Ok(NextStep::Onward);
            }
            _ if is_foreign => return Err(answer::foreign(response)),
            (Purpose::Push(sent), status @ (400 | 500)) => {
                push::failed(engine, sent, status, state)?;
                pass.unanswered = None;
                return Ok(NextStep::Onward);
            }
            (Purpose::Push(sent), 401 | 409 | 426 | 429) => {
                push::unseen(engine, sent)?;
                pass.unanswered = None;
            }
            // An unregistered device gets a 404 for a snapshot and a 500 for a pull.
            (Purpose::Pull(_) | Purpose::Reach | Purpose::Page(_), 404 | 500) if !self.again => {
                self.again = true;
                return Ok(NextStep::Register);
            }
            _ => {}
        }
        if response.status == 409 { Ok(NextStep::Schema) } else { answer::refusal(response) }
    }
}

fn limits(pass: &Pass) -> Limits {
    Limits {
        groups: (pass.config.batch_size as usize).max(1),
        body: BODY,
        stages: false,
        parts: ActionParts::default(),
    }
}
