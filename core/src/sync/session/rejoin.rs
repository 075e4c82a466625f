//! A server that speaks our extensions: mutations go as groups with verdicts, rows come behind a cursor.

mod answers;

use std::collections::HashSet;

use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::{RowName, path};
use rejoin_protocol::{Manifest, capability};

use super::pass::{Next, Pass, Step};
use super::peer::{Peer, unrequested};
use crate::engine::Engine;
use crate::engine::rebase::recall;
use crate::error::Result;
use crate::ids::Seq;
use crate::sync::request::{Phase, Response, SessionConfig};
use crate::sync::rows::answer::{self, Turn};
use crate::sync::rows::push::{ActionParts, Limits, Sent};
use crate::sync::rows::{fact, pull, push, register, snapshot};
use crate::sync::subject::Signer;
use rejoin_protocol::mutant::{self, Mutant};

/// Bytes of a push, while the server has named no limit.
const BODY: u64 = 1 << 20;

/// What the device knows of such a server, and what it has asked.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    welcome: Welcome,
    /// Most groups in the next push; halved by a server that finds it too large. `None`: what the device is configured for.
    batch: Option<usize>,
    /// Mutations that were sent in this pass and got no verdict.
    aside: HashSet<Seq>,
    /// Mutations that only ever left in requests which the server did not look at (413).
    unseen: HashSet<Seq>,
    /// Pages of a pull that are not applied yet.
    gathered: pull::Gathered,
    asked: Option<Asked>,
}

/// A request that waits for its answer, by its number.
#[derive(Debug)]
struct Asked {
    number: i64,
    what: What,
}

#[derive(Debug)]
enum What {
    Push(Vec<Sent>),
    Cancel(push::cancel::Asked),
    Pull(Vec<RowName>),
    Page(fact::Snapshot),
    Tail(fact::Snapshot, Vec<RowName>),
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
        let is_known = ours.is_some_and(|ours| register::same_rules(ours, &answer));
        let welcome = answer.rejoin.take().unwrap_or_default();
        self.welcome = register::accept(engine, config, welcome, who)?;
        Ok(is_known)
    }

    fn complete(&self, manifest: Manifest, _engine: &Engine) -> Manifest {
        manifest
    }

    fn must_register(&self, _engine: &Engine) -> bool {
        false
    }

    fn start_pass(&mut self) {
        self.aside.clear();
        self.gathered.begin();
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
        let asked = self.asked.take().ok_or_else(unrequested)?;
        let taken = match response.status {
            200 => self.take(engine, pass, &asked, response),
            _ => answer::refusal(response),
        };
        let is_smaller = matches!(taken, Ok(Turn::Smaller));
        if let What::Push(sent) = &asked.what
            && !(is_smaller && answer::is_too_large(response))
        {
            self.seen(sent);
        }
        match (&asked.what, &taken) {
            (What::Push(sent), Ok(Turn::Smaller)) => {
                self.push_less(engine, pass, sent, response)?;
                Ok(Turn::Onward)
            }
            (What::Cancel(asked), Ok(Turn::Smaller)) => {
                pass.count_turn(Turn::Smaller)?;
                self.aside.extend(asked.iter().map(|(seq, _)| *seq)); // It blocks nothing else.
                Ok(Turn::Onward)
            }
            (What::Page(_), Err(error)) => {
                snapshot::failed_by(engine, error);
                taken
            }
            _ => taken,
        }
    }

    fn lost(&mut self) {
        if let Some(Asked { what: What::Push(sent), .. }) = self.asked.take() {
            self.seen(&sent);
        }
    }

    fn turned(&mut self) {
        self.gathered = pull::Gathered::default();
    }
}

impl Rejoin {
    /// These mutations were in a request that the server may have read.
    fn seen(&mut self, sent: &[Sent]) {
        for one in sent {
            self.unseen.remove(&one.seq);
        }
    }

    fn send(
        &mut self,
        pass: &mut Pass,
        number: i64,
        what: What,
        path: &str,
        body: Vec<u8>,
    ) -> Next {
        let phase = match what {
            What::Push(_) | What::Cancel(_) => Phase::Pushing,
            What::Pull(_) => Phase::Pulling,
            What::Page(_) | What::Tail(..) => Phase::Snapshot,
        };
        if matches!(what, What::Push(_)) {
            pass.unanswered = Some(number);
        }
        self.asked = Some(Asked { number, what });
        pass.send(phase, path, true, Some(body))
    }

    fn push(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        // The mode of a first sync is settled before our own answers fill the base (B7).
        let snapshot = snapshot::present(engine)?;
        if let Some(recall) = engine.meta(fact::RECALL)? {
            if recall == "due" && !mutant::on(Mutant::HistoryNotRecalled) {
                recall::recall(engine, (fact::RECALL, "rebuild"))?;
            }
            if snapshot.is_some() {
                pass.step = Step::Pull; // The rows of the restored server come before the push.
                return Ok(None);
            }
        }
        let number = pass.number(engine)?;
        if self.can(capability::CANCEL)
            && let Some((body, asked)) = push::cancel::request(engine, number, &self.aside)?
        {
            return Ok(Some(self.send(pass, number, What::Cancel(asked), path::PUSH, body)));
        }
        let limits = self.limits(pass);
        let push = push::request(engine, number, limits, &self.aside, &self.unseen)?;
        pass.report.parked += push.parked as u64;
        let Some((body, sent)) = push.request else {
            pass.step = Step::Pull;
            return Ok(None);
        };
        let next = self.send(pass, number, What::Push(sent), path::PUSH, body);
        pass.expect_pushes(engine);
        Ok(Some(next))
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
            parts: ActionParts::to(&self.welcome.capabilities),
        }
    }

    fn page(&self, pass: &Pass) -> u32 {
        let most = self.welcome.max_page;
        if most == 0 { pass.config.page_size } else { pass.config.page_size.min(most) }.max(1)
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
        let page = self.page(pass);
        let (body, asked) = pull::request(engine, number, cursor, page, &self.gathered)?;
        Ok(Some(self.send(pass, number, What::Pull(asked), path::PULL, body)))
    }

    fn snapshot(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        snapshot: fact::Snapshot,
    ) -> Result<Next> {
        if pass.search.is_some() {
            if let Some(search) = pass.searched(engine)? {
                pass.report.pulled += snapshot::merge(engine, snapshot, search)? as u64;
                pass.step = Step::Push;
            }
            return Ok(Next::Again);
        }
        let number = pass.number(engine)?;
        pass.progress.done = u64::try_from(snapshot.rows).unwrap_or(0);
        let page = self.page(pass);
        Ok(if snapshot.paged {
            pass.count_pull()?;
            let cursor = snapshot.pull_cursor.clone().unwrap_or_default();
            let (body, asked) = pull::request(engine, number, cursor, page, &self.gathered)?;
            self.send(pass, number, What::Tail(snapshot, asked), path::PULL, body)
        } else {
            let body = snapshot::request(engine, number, &snapshot, page)?;
            self.send(pass, number, What::Page(snapshot), path::SNAPSHOT, body)
        })
    }
}
