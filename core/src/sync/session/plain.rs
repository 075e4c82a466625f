//! A pass with a plain server: the same steps, by P1 to P10.
//!
//! One request at a time, as ever. What the server does not say is asked for: whether its log still reaches back (P9), whether
//! it lives at all when it answers 500 (P7), and whether it has forgotten this device, which is a 500 as well.

use std::time::Duration;

use rejoin_protocol::wire::path;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::PushResponse;
use rejoin_protocol::wire::snapshot::SnapshotResponse;

use super::{Next, Phase, Response, SLICE, Session, Step, What};
use crate::engine::Engine;
use crate::engine::rebase::Applied;
use crate::engine::staging;
use crate::error::Result;
use crate::sync::plain::pull::{Asked, From, Use};
use crate::sync::plain::push::Step as Push;
use crate::sync::plain::{pull, push, snapshot};
use crate::sync::rows::answer::{self, Turn};
use crate::sync::rows::fact::{self, Due};

/// A server may be upgraded: after so long a pass begins by asking what it speaks, and whether it was restored.
const REGISTERED: Duration = Duration::from_hours(1);

/// A request to a plain server that waits for its answer.
#[derive(Debug)]
pub(super) enum Plain {
    Push(push::Sent),
    Pull(Asked),
    /// Whether the log reaches back to its beginning (P9).
    Reach,
    Page(fact::Snapshot),
}

/// What a session with a plain server remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    course: push::Course,
    /// What the push waits for.
    waits: Waits,
    /// An answer from position 0: it is not applied before the log is known to reach back (P9).
    held: Option<(Asked, Box<PullResponse>)>,
    /// Whether the device registered once more in this pass, because of a 500.
    again: bool,
    /// Whether the push that was answered last is settled.
    pub(super) settled: bool,
    /// When the device registered, by the clock that never goes back.
    since: Option<Duration>,
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

impl Plain {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Push(_) => Phase::Pushing,
            Self::Pull(_) | Self::Reach => Phase::Pulling,
            Self::Page(_) => Phase::Snapshot,
        }
    }
}

impl Memory {
    /// As at the beginning of a pass.
    pub(super) fn renew(&mut self) {
        let course = self.course.renewed();
        *self = Self { course, since: self.since, ..Self::default() };
    }

    /// The device registered. A server that has learned our extensions hears the end of what was said in the plain way.
    pub(super) fn registered(&mut self, engine: &Engine, upgraded: bool) {
        self.course.closing = upgraded;
        self.since = Some(engine.host.elapsed());
    }

    /// Whether it is time to ask anew what the server speaks.
    pub(super) fn is_due(&self, engine: &Engine) -> bool {
        self.since.is_none_or(|since| engine.host.elapsed().saturating_sub(since) > REGISTERED)
    }

    /// Another step comes first: what was held is asked for again.
    pub(super) fn turned(&mut self) {
        self.held = None;
    }
}

impl Session {
    pub(super) fn plain_push(&mut self, engine: &mut Engine) -> Result<Option<Next>> {
        // The mode of a first sync is settled before our own answers fill the base (B7).
        snapshot::present(engine)?;
        self.step = Step::Pull;
        if self.plain.waits != Waits::Nothing {
            return Ok(None);
        }
        let number = self.numbers.take(engine)?;
        let limits = self.limits();
        let next = push::next(engine, number, limits, &mut self.plain.course)?;
        let applied = self.plain.course.take_accepted();
        self.count(&applied);
        match next {
            Push::Send { body, sent } => {
                self.step = Step::Push;
                let what = What::Plain(Plain::Push(sent));
                let next = self.send(number, what, path::PUSH, Some(body));
                let waiting = engine.queue.counts();
                let waiting = waiting.pending + waiting.sent + waiting.uncertain;
                self.progress.total = Some(self.progress.done + waiting);
                return Ok(Some(next));
            }
            Push::Drain => self.plain.waits = Waits::Drain,
            Push::Probe => self.plain.waits = Waits::Probe,
            Push::Nothing if self.plain.course.closing && !push::frozen(engine) => {
                // All that was said in the plain way has its verdict.
                self.peer = None;
                self.step = Step::Register;
            }
            Push::Nothing => {}
        }
        Ok(None)
    }

    pub(super) fn plain_pull(&mut self, engine: &mut Engine) -> Result<Option<Next>> {
        if self.plain.held.is_some() {
            let (body, _) = pull::request(engine, From::AtTheBeginning, 1)?;
            return Ok(Some(self.send(0, What::Plain(Plain::Reach), path::PULL, Some(body))));
        }
        if pull::is_away(engine)? {
            let mut facts = fact::snapshot_due(Due::Retention);
            facts.push(fact::forget(fact::LAST_PULL));
            fact::write(engine, &facts)?;
            self.search = None;
        }
        let checkpoint = match snapshot::present(engine)? {
            Some(present) if self.search.is_some() => return self.plain_merge(engine, present),
            Some(present) if !present.paged => {
                let body = snapshot::request(engine, &present, self.page())?;
                let rows = u64::try_from(present.rows).unwrap_or(0);
                let what = What::Plain(Plain::Page(present));
                let next = self.send(0, what, path::SNAPSHOT, Some(body));
                self.progress.done = rows;
                return Ok(Some(next));
            }
            Some(present) => present.pull_cursor.and_then(|text| text.parse().ok()),
            None => pull::checkpoint(engine)?,
        };
        self.count_pull()?;
        let from = From::Checkpoint(checkpoint.unwrap_or(0));
        let (body, asked) = pull::request(engine, from, self.page())?;
        Ok(Some(self.send(0, What::Plain(Plain::Pull(asked)), path::PULL, Some(body))))
    }

    fn plain_merge(
        &mut self,
        engine: &mut Engine,
        present: fact::Snapshot,
    ) -> Result<Option<Next>> {
        if let Some(search) = &mut self.search
            && search.slice(engine, SLICE)?
        {
            return Ok(Some(Next::Again));
        }
        if let Some(search) = self.search.take() {
            let applied = snapshot::merge(engine, present, search)?;
            self.report.pulled += applied.rows as u64;
            self.count(&applied);
        }
        self.step = Step::Push;
        Ok(Some(Next::Again))
    }

    /// Takes an answer of 200.
    pub(super) fn take_plain(
        &mut self,
        engine: &mut Engine,
        plain: &Plain,
        response: &Response,
    ) -> Result<Turn> {
        let body = &response.body;
        match plain {
            Plain::Push(sent) => {
                let answer: PushResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                let applied = push::answered(engine, sent, answer, &mut self.plain.course)?;
                self.plain.settled = true;
                self.count(&applied);
                self.progress.done += (applied.accepted.len() + applied.parked.len()) as u64;
                Ok(Turn::Onward)
            }
            Plain::Page(present) => self.take_plain_page(engine, present, &answer::read(body)?),
            Plain::Pull(asked) => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                if pull::examine(engine, asked, &answer)? == Use::Rebuild {
                    return self.plain_rebuild(engine, asked, &answer);
                }
                if asked.checkpoint == 0 {
                    self.plain.held = Some((asked.clone(), Box::new(answer)));
                    return Ok(Turn::Onward);
                }
                self.lay(engine, asked, &answer)
            }
            Plain::Reach => {
                let answer: PullResponse = answer::read(body)?;
                if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
                    return Ok(Turn::Schema);
                }
                match self.plain.held.take() {
                    Some((asked, _)) if answer.snapshot_required => {
                        self.plain_rebuild(engine, &asked, &answer)
                    }
                    Some((asked, held)) => self.lay(engine, &asked, &held),
                    None => Ok(Turn::Onward),
                }
            }
        }
    }

    fn plain_rebuild(
        &mut self,
        engine: &mut Engine,
        asked: &Asked,
        answer: &PullResponse,
    ) -> Result<Turn> {
        pull::rebuild(engine, asked, answer)?;
        self.alive(engine)?;
        self.patiently(Turn::Onward)
    }

    /// A pull's answer, into the base or beside it.
    fn lay(&mut self, engine: &mut Engine, asked: &Asked, answer: &PullResponse) -> Result<Turn> {
        if let Some(present) = fact::Snapshot::load(engine)? {
            snapshot::tail(engine, present, asked, answer)?;
            if !answer.has_more {
                self.search = Some(staging::Search::new(engine));
            }
            return self.alive(engine).map(|()| Turn::Onward);
        }
        let applied = pull::apply(engine, asked, answer)?;
        self.count(&applied);
        self.report.pulled += applied.rows as u64;
        self.progress.done += applied.rows as u64;
        if !answer.has_more {
            self.step = Step::Done;
            if self.plain.waits == Waits::Drain {
                let applied = push::drained(engine, &mut self.plain.course)?;
                self.count(&applied);
                self.plain.waits = Waits::Nothing;
                self.step = Step::Push;
            }
        }
        self.alive(engine)?;
        Ok(Turn::Onward)
    }

    fn take_plain_page(
        &mut self,
        engine: &mut Engine,
        present: &fact::Snapshot,
        answer: &SnapshotResponse,
    ) -> Result<Turn> {
        if !answer::is_of_schema(engine, answer.schema_version, &answer.schema_hash) {
            return Ok(Turn::Schema);
        }
        let (now, applied) = snapshot::page(engine, present.clone(), answer)?;
        self.count(&applied);
        self.report.pulled += applied.rows as u64;
        self.progress.done = u64::try_from(now.rows).unwrap_or(0);
        self.step = Step::Push; // What was written meanwhile goes first, then the next page.
        self.alive(engine)?;
        Ok(Turn::Onward)
    }

    /// The server answered a request that needs its database and this device (P7).
    fn alive(&mut self, engine: &mut Engine) -> Result<()> {
        if self.plain.waits == Waits::Probe {
            push::probed(engine, &mut self.plain.course)?;
            self.plain.waits = Waits::Nothing;
            self.step = Step::Push;
        }
        Ok(())
    }

    /// What an answer other than 200 means.
    pub(super) fn refused_plain(
        &mut self,
        engine: &mut Engine,
        plain: &Plain,
        response: &Response,
    ) -> Result<Turn> {
        let course = &mut self.plain.course;
        let is_foreign = answer::error_of(&response.body).is_none();
        match (plain, response.status) {
            (Plain::Push(sent), 413) => {
                let unread = answer::is_too_large(response);
                let applied = push::too_large(engine, sent, unread, course)?;
                self.plain.settled = true;
                self.count(&applied);
                return Ok(Turn::Onward);
            }
            _ if is_foreign => return Err(answer::foreign(response)),
            (Plain::Push(sent), status @ (400 | 500)) => {
                push::failed(engine, sent, status, course)?;
                self.plain.settled = true;
                return Ok(Turn::Onward);
            }
            (Plain::Push(sent), 401 | 409 | 426 | 429) => {
                push::unseen(engine, sent)?;
                self.plain.settled = true;
            }
            // A device that is not registered hears 404 from a snapshot and 500 from a pull.
            (Plain::Pull(_) | Plain::Reach | Plain::Page(_), 404 | 500) if !self.plain.again => {
                self.plain.again = true;
                return Ok(Turn::Register);
            }
            _ => {}
        }
        if response.status == 409 { Ok(Turn::Schema) } else { answer::refusal(response) }
    }

    /// What a push, or a pull that recognised our own rows, decided.
    pub(super) fn count(&mut self, applied: &Applied) {
        self.report.accepted += applied.accepted.len() as u64;
        self.report.parked += applied.parked.len() as u64;
    }
}
