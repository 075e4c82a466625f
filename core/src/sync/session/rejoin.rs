//! A pass with a Rejoin server: mutations are groups with verdicts, rows follow a cursor.

mod answers;
mod upload;

use std::collections::BTreeSet;
use std::time::Duration;

use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::{RowName, path};
use rejoin_protocol::{Manifest, capability};

use super::doctor::Doctor;
use super::log::LogExchange;
use super::page::PageSize;
use super::pass::{Next, Pass, PassStep};
use super::peer::{Peer, unrequested};
use crate::engine::Engine;
use crate::engine::entries;
use crate::engine::queue::mutation::MutationState;
use crate::engine::rebase::recall;
use crate::error::{Error, Result, SyncFault};
use crate::ids::Seq;
use crate::sync::request::{Phase, Request, Response, SessionConfig};
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::rows::push::{ActionParts, Known, Limits, PreparedPush, SentGroup};
use crate::sync::rows::{fact, pull, push, register, snapshot};
use crate::sync::subject::Signer;
use rejoin_protocol::mutant::{self, Mutant};
use upload::Upload;

/// Maximum bytes of a push until the server reports its limit.
const BODY: u64 = 1 << 20;

/// State of the exchange with a Rejoin server.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    welcome: Welcome,
    /// Maximum number of groups in the next push; halved after a 413. `None`: the configured
    /// number.
    batch: Option<usize>,
    /// What is known of mutations that wait.
    known: Known,
    /// The mutation that is being staged.
    upload: Option<Upload>,
    /// Further mutations that must be staged: a server has one content of a device.
    to_stage: BTreeSet<Seq>,
    /// A sent mutation whose content the server did not have.
    unstaged: Option<Seq>,
    /// Rows of the next page of a snapshot.
    page: PageSize,
    /// Number and rows of the request for that page, if it was made before the last page was applied.
    ahead: Option<(i64, u32)>,
    /// Whether a shared page was refused in this pass: the server itself continues, if it is reached.
    leaves_shared: bool,
    /// Pages of a pull that are not applied yet.
    gathered: pull::Gathered,
    running: Option<Running>,
    log: LogExchange,
    doctor: Doctor,
}

/// A running request with its number.
#[derive(Debug)]
struct Running {
    number: i64,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    Push(Vec<SentGroup>),
    Cancel(push::cancel::RequestedCancels),
    /// A part of the upload.
    Stage,
    Pull(Vec<RowName>),
    /// A page of so many rows.
    Page(fact::SnapshotProgress, u32),
    Tail(fact::SnapshotProgress, Vec<RowName>),
}

impl Peer for Rejoin {
    fn is_extended(&self) -> bool {
        true
    }

    fn welcome(&self) -> Option<&Welcome> {
        Some(&self.welcome)
    }

    fn registered(
        &mut self,
        engine: &mut Engine,
        config: &SessionConfig,
        who: &Signer,
        mut answer: RegisterResponse,
    ) -> Result<bool> {
        let ours = engine.schema.manifest.as_ref();
        let same_rules = ours.is_some_and(|ours| register::same_rules(ours, &answer));
        let welcome = answer.rejoin.take().unwrap_or_default();
        self.welcome = register::accept(engine, config, welcome, who)?;
        Ok(same_rules)
    }

    fn complete(&self, manifest: Manifest, _engine: &Engine) -> Manifest {
        manifest
    }

    /// A server without the log may have been updated, and entries wait.
    fn must_register(&self, engine: &Engine) -> bool {
        !self.can(capability::LOG) && entries::any_waits(engine).unwrap_or(false)
    }

    fn start_pass(&mut self) {
        self.log.start_pass();
        self.doctor = Doctor::default();
        self.known.aside.clear();
        self.known.newest = None;
        self.upload = None;
        self.to_stage.clear();
        self.unstaged = None;
        self.gathered.begin();
        self.ahead = None;
        self.leaves_shared = false;
        self.page.start_pass();
    }

    fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        match pass.step {
            PassStep::Push => self.push(engine, pass),
            PassStep::Log => self.next_of_log(engine, pass),
            PassStep::Check => self.check(engine, pass),
            _ => self.pull(engine, pass),
        }
    }

    fn ahead(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        end: &[u8],
        took: Option<Duration>,
    ) -> Result<Option<Request>> {
        let Some(Running { number, purpose: Purpose::Page(present, rows) }) = &self.running else {
            return Ok(None);
        };
        let mut size = self.page;
        match took {
            // How many rows it has is not known yet.
            Some(took) if present.next_address().is_some() => size.arrived_short(*rows, took),
            Some(took) => size.arrived(*rows, (self.page(pass), self.most_rows(pass)), took),
            None if !size.is_quick => return Ok(None),
            None => {}
        }
        // Mutations that wait are pushed before the next page.
        let waiting = engine.queue.counts();
        if waiting.pending + waiting.sent + waiting.uncertain > 0 {
            return Ok(None);
        }
        let Some((mut after, witness)) = snapshot::ahead(present, *number, end) else {
            return Ok(None);
        };
        let takes_shared = !size.is_careful && after.takes_shared();
        if !takes_shared {
            after.leave_shared();
        }
        let rows = self.rows_of_page(pass, size);
        let witness = witness.map_or_else(|| fact::witness(engine), Ok)?;
        let number = pass.number(engine)?;
        let asked = (rows, takes_shared);
        let (path, body) = snapshot::request(engine, number, &after, asked, witness)?;
        self.ahead = Some((number, rows));
        Ok(match pass.send(Phase::Snapshot, &path, true, body) {
            Next::Send(request) => Some(request),
            _ => None,
        })
    }

    fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep> {
        if self.log.is_running() {
            return self.log.answered(engine, pass, response);
        }
        if self.doctor.is_running() {
            return self.doctor.answered(engine, pass, response);
        }
        let running = self.running.take().ok_or_else(unrequested)?;
        let taken = match response.status {
            200 => self.take(engine, pass, &running, response),
            _ => answer::refusal(response),
        };
        if let Purpose::Page(present, _) = &running.purpose
            && present.next_address().is_some()
            && snapshot::refuses_shared(&taken)
            && snapshot::shared_failed(engine)?
        {
            self.leaves_shared = true;
            return Ok(NextStep::Onward);
        }
        let is_smaller = matches!(taken, Ok(NextStep::Smaller));
        if let Purpose::Push(sent) = &running.purpose
            && !(is_smaller && answer::is_too_large(response))
        {
            self.mark_processed(sent);
        }
        match (&running.purpose, &taken) {
            (Purpose::Push(sent), Ok(NextStep::Smaller)) => {
                self.push_less(engine, pass, sent, response)?;
                Ok(NextStep::Onward)
            }
            (Purpose::Cancel(running), Ok(NextStep::Smaller)) => {
                pass.count_turn(NextStep::Smaller)?;
                self.known.aside.extend(running.iter().map(|(seq, _)| *seq)); // Does not block others.
                Ok(NextStep::Onward)
            }
            (Purpose::Page(present, rows), Err(error)) => {
                snapshot::failed_by(engine, error);
                let is_shared = present.next_address().is_some();
                if !is_shared && !matches!(error, Error::Sync(SyncFault::Unauthorized)) {
                    // After as many refused shared pages as are requested, the page must be too large.
                    if self.leaves_shared && present.takes_shared() {
                        self.page.may_be_too_large(*rows);
                    } else {
                        self.page.failed(*rows);
                    }
                }
                taken
            }
            (Purpose::Stage, Ok(NextStep::Smaller)) => {
                pass.forgive_turns(); // Halving terminates.
                self.end_upload(pass, |upload| !upload.halve());
                Ok(NextStep::Onward)
            }
            _ => taken,
        }
    }

    fn lost(&mut self, engine: &mut Engine, took: Option<Duration>) -> Result<()> {
        let was_sent = took.is_some();
        let took = took.unwrap_or_default();
        self.log.lost(took);
        self.doctor = Doctor::default();
        match self.running.take().map(|asked| asked.purpose) {
            Some(Purpose::Push(sent)) => self.mark_processed(&sent),
            Some(Purpose::Page(present, rows)) => {
                self.page.lost(rows, took);
                if was_sent && present.next_address().is_some() {
                    snapshot::shared_failed(engine)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn turned(&mut self) {
        self.ahead = None;
        self.gathered = pull::Gathered::default();
        self.doctor.begin_again();
    }
}

impl Rejoin {
    /// Marks mutations of a request that the server may have processed.
    fn mark_processed(&mut self, sent: &[SentGroup]) {
        for one in sent {
            self.known.unseen.remove(&one.seq);
        }
    }

    fn send(
        &mut self,
        pass: &mut Pass,
        number: i64,
        purpose: Purpose,
        path: &str,
        body: impl Into<Option<Vec<u8>>>,
    ) -> Next {
        let phase = match purpose {
            Purpose::Push(_) | Purpose::Cancel(_) | Purpose::Stage => Phase::Pushing,
            Purpose::Pull(_) => Phase::Pulling,
            Purpose::Page(..) | Purpose::Tail(..) => Phase::Snapshot,
        };
        if matches!(purpose, Purpose::Push(_)) {
            pass.unanswered = Some(number);
        }
        self.running = Some(Running { number, purpose });
        self.ahead = None;
        pass.send(phase, path, true, body.into())
    }

    fn push(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        // Decides the mode of a first sync before push responses fill the base.
        let snapshot = snapshot::present(engine)?;
        if let Some(recall) = engine.meta(fact::RECALL)? {
            if recall == "due" && !mutant::on(Mutant::HistoryNotRecalled) {
                recall::recall(engine, (fact::RECALL, "rebuild"))?;
            }
            if snapshot.is_some() {
                pass.step = PassStep::Pull; // First the rows of the restored server, then the push.
                return Ok(None);
            }
        }
        let number = pass.number(engine)?;
        if self.can(capability::CANCEL)
            && let Some((body, running)) = push::cancel::request(engine, number, &self.known.aside)?
        {
            return Ok(Some(self.send(pass, number, Purpose::Cancel(running), path::PUSH, body)));
        }
        let newest = engine.queue.entries().next_back().map_or(Seq(0), |entry| entry.seq);
        self.known.newest.get_or_insert(newest);
        let limits = self.limits(pass);
        let push = push::request(engine, number, limits, &self.known)?;
        pass.report.parked += push.parked as u64;
        let Some(PreparedPush { body, sent, content }) = push.request else {
            pass.step = PassStep::Pull;
            self.known.newest = None; // A page or a part later, what was written meanwhile goes first.
            return Ok(None);
        };
        if let ([one], Some(content)) = (sent.as_slice(), content)
            && self.must_stage(one, &content)
        {
            pass.unanswered = Some(number);
            self.start_upload(engine, pass, one, content)?;
            return Ok(None);
        }
        let next = self.send(pass, number, Purpose::Push(sent), path::PUSH, body);
        pass.expect_pushes(engine);
        Ok(Some(next))
    }

    /// Whether the content must be staged before this request. A mutation that may have a verdict is
    /// sent first: then the server needs no content.
    fn must_stage(&self, one: &SentGroup, content: &[u8]) -> bool {
        let is_staged = self.upload.as_ref().is_some_and(|upload| upload.is_of(content));
        !is_staged && (one.fresh || self.unstaged == Some(one.seq))
    }

    /// Begins to stage a mutation that was fixed but not sent, or after the one that is being staged;
    /// it waits, with its dependents.
    fn start_upload(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        one: &SentGroup,
        content: Vec<u8>,
    ) -> Result<()> {
        pass.settle_unanswered(engine)?;
        if one.fresh {
            self.known.unseen.insert(one.seq);
        }
        self.known.aside.insert(one.seq);
        if self.upload.as_ref().is_some_and(|upload| upload.seq != one.seq) {
            self.to_stage.insert(one.seq);
        } else {
            self.upload = Some(Upload::new(one.seq, content, self.limits(pass).body));
        }
        Ok(())
    }

    /// Ends the upload if `is_over`: the next mutation that must be staged is prepared again.
    fn end_upload(&mut self, pass: &mut Pass, is_over: impl FnOnce(&mut Upload) -> bool) -> bool {
        let ended = self.upload.take_if(is_over).is_some();
        if ended && let Some(seq) = self.to_stage.pop_first() {
            self.known.aside.remove(&seq);
            pass.step = PassStep::Push;
        }
        ended
    }

    fn next_of_log(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        let limits = (self.limits(pass).body, self.most_rows(pass));
        let next =
            if self.can(capability::LOG) { self.log.next(engine, pass, limits)? } else { None };
        if next.is_none() {
            // Its push was tried, or the app has discarded it, or it is parked.
            let waits = |seq| {
                engine.queue.entry(seq).is_some_and(|entry| entry.state != MutationState::Parked)
            };
            if self.end_upload(pass, |upload| upload.is_done() || !waits(upload.seq))
                && pass.step == PassStep::Push
            {
                return Ok(None);
            }
            if let Some(upload) = &self.upload {
                let (ask, part) = upload.request(register::client_id(engine)?);
                let number = pass.number(engine)?;
                return Ok(Some(self.send(
                    pass,
                    number,
                    Purpose::Stage,
                    &ask.path(path::STAGE),
                    part,
                )));
            }
            let checks = self.can(capability::DIGEST) && self.doctor.is_due(engine)?;
            pass.step = if checks { PassStep::Check } else { PassStep::Done };
        }
        Ok(next)
    }

    fn check(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        let next = self.doctor.next(engine, pass)?;
        if pass.step == PassStep::Pull {
            self.log.start_pass(); // Fetches what is newer than the comparison.
        }
        Ok(next)
    }

    fn can(&self, capability: &str) -> bool {
        self.welcome.capabilities.iter().any(|name| name == capability)
    }

    fn limits(&self, pass: &Pass) -> Limits {
        let (groups, body) = (self.welcome.max_groups as usize, self.welcome.max_body);
        let batch = self.batch.unwrap_or(pass.config.batch_size as usize);
        Limits {
            groups: if groups == 0 { batch } else { batch.min(groups) }.max(1),
            body: usize::try_from(if body == 0 { BODY } else { body }).unwrap_or(usize::MAX),
            stages: self.can(capability::STAGE),
            parts: ActionParts::to(&self.welcome.capabilities),
        }
    }

    fn page(&self, pass: &Pass) -> u32 {
        let most = self.welcome.max_page;
        if most == 0 { pass.config.page_size } else { pass.config.page_size.min(most) }.max(1)
    }

    /// The rows of the next page of a snapshot.
    fn rows_of_page(&self, pass: &Pass, size: PageSize) -> u32 {
        size.rows(self.page(pass), self.most_rows(pass))
    }

    /// Maximum rows of a page of a snapshot.
    fn most_rows(&self, pass: &Pass) -> u32 {
        let most = self.welcome.max_page;
        if most == 0 { self.page(pass) } else { most }
    }

    fn pull(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if let Some(snapshot) = snapshot::present(engine)? {
            return self.snapshot(engine, pass, snapshot).map(Some);
        }
        let cursor = match self.gathered.cursor.clone() {
            Some(cursor) => cursor,
            None => engine.meta(fact::CURSOR)?.unwrap_or_default(),
        };
        pass.count_pull()?;
        let number = pass.number(engine)?;
        let page = (self.page(pass), pass.current);
        let (body, running) = pull::request(engine, number, cursor, page, &self.gathered)?;
        Ok(Some(self.send(pass, number, Purpose::Pull(running), path::PULL, body)))
    }

    fn snapshot(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        mut snapshot: fact::SnapshotProgress,
    ) -> Result<Next> {
        if pass.continues_search(snapshot.paged) {
            if let Some(search) = pass.searched(engine)? {
                pass.report.pulled += snapshot::merge(engine, snapshot, search)? as u64;
                pass.step = PassStep::Push;
            }
            return Ok(Next::Again);
        }
        let (number, rows) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => (pass.number(engine)?, self.rows_of_page(pass, self.page)),
        };
        pass.progress.done = u64::try_from(snapshot.rows).unwrap_or(0);
        Ok(if snapshot.paged {
            pass.count_pull()?;
            let cursor = snapshot.pull_cursor.clone().unwrap_or_default();
            let page = (self.page(pass), pass.current);
            let (body, running) = pull::request(engine, number, cursor, page, &self.gathered)?;
            self.send(pass, number, Purpose::Tail(snapshot, running), path::PULL, body)
        } else {
            let takes_shared = !self.page.is_careful && snapshot.takes_shared();
            if !takes_shared || self.leaves_shared {
                snapshot.leave_shared();
            }
            let (witness, asked) = (fact::witness(engine)?, (rows, takes_shared));
            let (path, body) = snapshot::request(engine, number, &snapshot, asked, witness)?;
            self.send(pass, number, Purpose::Page(snapshot, rows), &path, body)
        })
    }
}
