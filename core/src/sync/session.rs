//! The session: what to exchange next with the server, and what an answer means. Sans-IO: bytes out, bytes in.
//!
//! Everything durable is in the engine's file, so a session can be dropped at any moment and made anew: a push is
//! committed as sent before its first byte leaves (O5), an answer is applied whole or not at all, and cursors move with
//! the rows they cover (I6). One request at a time: push, pull and snapshot never overlap.

mod plain;
mod turn;
mod user;

use std::collections::HashSet;

use rejoin_protocol::wire::RowName;
use rejoin_protocol::wire::register::Welcome;

use crate::engine::Engine;
use crate::engine::staging::{self, Staging};
use crate::error::{Error, Result};
use crate::ids::Seq;
pub use crate::sync::request::{Phase, Request, Response, SessionConfig};

use crate::sync::plain::push as push_plain;
use crate::sync::rows::push::{Limits, Sent, Told};
use crate::sync::rows::{fact, pull, push, register, snapshot};
use crate::sync::subject::Signer;
use rejoin_protocol::mutant::{self, Mutant};

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this; then call `answered` or `lost`.
    Send(Request),
    /// A slice of local work was done; call `next` again. Other work of the writer may come between.
    Again,
    /// The pass is over.
    Finished(PassReport),
}

/// How a pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassReport {
    /// Mutations that the server accepted.
    pub accepted: u64,
    /// Mutations that were parked.
    pub parked: u64,
    /// Rows that came in.
    pub pulled: u64,
    /// Mutations that still have no verdict.
    pub still_pending: u64,
    /// Whether everything has been here at least once.
    pub first_sync_done: bool,
}

impl PassReport {
    /// Whether the pass changed anything. One that did not is followed by backoff.
    pub fn has_moved(&self) -> bool {
        self.accepted > 0 || self.parked > 0 || self.pulled > 0
    }
}

/// How far the present phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Rows (mutations, while pushing) that are done in this phase.
    pub done: u64,
    /// How many there will be, as far as it is known; may rise.
    pub total: Option<u64>,
}

/// Exchanges with one server, one request at a time.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    peer: Option<Peer>,
    /// Whom the credentials of the next requests name.
    who: Signer,
    plain: plain::Memory,
    step: Step,
    flight: Option<Flight>,
    /// Pushes that ended without an answer while the file could not be written.
    unsettled: Vec<i64>,
    numbers: Numbers,
    /// Groups in the next push; halved by a server that finds it too large.
    batch: usize,
    /// Mutations that were sent in this pass and got no verdict.
    aside: HashSet<Seq>,
    /// Mutations that only ever left in requests which the server did not look at (413).
    unseen: HashSet<Seq>,
    search: Option<staging::Search>,
    gathered: pull::Gathered,
    report: PassReport,
    progress: Progress,
    /// Pulls of this pass.
    pulls: u32,
    /// How often this pass may yet register, fetch the schema, or begin a snapshot anew.
    patience: u32,
    /// The name of this opening of the file, once it was counted (D10).
    opening: Option<String>,
    /// How often the file had been reset when this pass began.
    resets: u64,
    /// Version and hash of the schema that is fetched because the server named them: a cache may give an older one.
    named: Option<(i64, String)>,
}

/// Who answers, as it said when the device registered.
#[derive(Debug)]
enum Peer {
    /// A server that speaks our extensions.
    Rejoin(Welcome),
    /// Synchro v0.1.2, or a server that is spoken to as if it were.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    Schema,
    Push,
    Pull,
    Done,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Flight {
    number: i64,
    what: What,
}

#[derive(Debug)]
enum What {
    Register,
    Schema,
    Push(Vec<Sent>),
    Cancel(push::cancel::Asked),
    Pull(Vec<RowName>),
    Page(fact::Snapshot),
    Tail(fact::Snapshot, Vec<RowName>),
    Plain(plain::Plain),
}

/// Numbers of requests: they rise for the life of the file (O5). Taken from the file in blocks, so that a pull needs no
/// write of its own; what a crash leaves unused of a block is never used.
#[derive(Debug, Default)]
struct Numbers {
    next: i64,
    end: i64,
}

/// Numbers in a block.
const BLOCK: i64 = 256;

/// Turns that a pass may take before it is called off.
const PATIENCE: u32 = 8;

/// Rows that one slice of the search for differences compares; a few milliseconds.
const SLICE: usize = 4_000;

/// A page's and a batch's size, and the body's, while the server has named no limit.
const BODY: u64 = 1 << 20;

impl Numbers {
    fn take(&mut self, engine: &mut Engine) -> Result<i64> {
        if self.next == self.end {
            let known = engine.meta(fact::REQUEST)?.and_then(|text| text.parse().ok());
            let first: i64 = known.unwrap_or(1);
            engine.set_meta(fact::REQUEST, Some(&(first + BLOCK).to_string()))?;
            (self.next, self.end) = (first, first + BLOCK);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

impl Session {
    /// A session that has not spoken yet. The engine's file holds all that earlier ones have learned.
    pub fn new(config: SessionConfig) -> Self {
        let batch = config.batch_size.max(1) as usize;
        Self {
            config,
            peer: None,
            who: Signer::Unsigned,
            plain: plain::Memory::default(),
            step: Step::Register,
            flight: None,
            unsettled: Vec::new(),
            numbers: Numbers::default(),
            batch,
            aside: HashSet::new(),
            unseen: HashSet::new(),
            search: None,
            gathered: pull::Gathered::default(),
            report: PassReport::default(),
            progress: Progress::default(),
            pulls: 0,
            patience: PATIENCE,
            opening: None,
            resets: 0,
            named: None,
        }
    }

    /// Begins a pass: register and schema if needed, push until nothing is left to say, pull until nothing is new (or a
    /// snapshot). A request that still waits for its answer is given up, as by [`Session::lost`].
    pub fn start_pass(&mut self, engine: &mut Engine) -> Result<()> {
        self.follow_reset(engine);
        self.lost(engine)?;
        while let Some(number) = self.unsettled.last() {
            engine.mark_uncertain(*number)?;
            self.unsettled.pop();
        }
        if fact::Snapshot::load(engine)?.is_none() && staging::active(Staging::of(engine))? {
            staging::clear(Staging::of(engine))?;
        }
        self.plain.renew();
        self.step = match &self.peer {
            None => Step::Register,
            Some(Peer::Plain) if self.plain.is_due(engine) => Step::Register,
            Some(_) if engine.schema.manifest.is_none() => Step::Schema,
            Some(_) => Step::Push,
        };
        self.aside.clear();
        self.search = None;
        self.gathered.begin();
        self.report = PassReport::default();
        self.pulls = 0;
        self.patience = PATIENCE;
        self.named = None;
        Ok(())
    }

    /// What to do next. A push is committed as sent before this returns it (O5): a crash from here on leaves its
    /// mutations uncertain, never unsent.
    ///
    /// # Errors
    /// Those of the engine's file. `Internal` while a request waits for its answer. `Offline` if the file was reset: the next
    /// pass begins anew.
    pub fn next(&mut self, engine: &mut Engine) -> Result<Next> {
        self.same_file(engine)?;
        if self.flight.is_some() {
            return Err(Error::Internal("the last request has no answer yet".to_owned()));
        }
        loop {
            if self.step == Step::Done && engine.import_is_due()? {
                self.step = Step::Push; // What was imported has waited for the first sync; now it goes.
            }
            if self.step == Step::Push {
                self.report.parked += engine.settle_import()? as u64;
            }
            let next = match self.step {
                Step::Register => Some(self.send_register(engine)?),
                Step::Schema => Some(self.send(0, What::Schema, "/sync/schema", None)),
                Step::Push if self.is_plain() => self.plain_push(engine)?,
                Step::Pull if self.is_plain() => self.plain_pull(engine)?,
                Step::Push => self.send_push(engine)?,
                Step::Pull => self.send_pull(engine)?,
                Step::Done => Some(Next::Finished(self.finish(engine)?)),
            };
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }

    /// The request, or its answer, was lost or is given up. What a push carried is uncertain and will be sent again byte
    /// for byte (R7, P2). Nothing happens if no request waits.
    pub fn lost(&mut self, engine: &mut Engine) -> Result<()> {
        let Some(flight) = self.flight.take() else { return Ok(()) };
        if self.same_file(engine).is_err() {
            return Ok(()); // What it carried is not in the file any more.
        }
        if let What::Push(sent) = &flight.what {
            self.seen(sent);
        }
        self.settle(engine, &flight)
    }

    /// What the server said of itself when the device registered; `None` before, after it forgot the device, and of a plain
    /// one, which says nothing.
    pub fn welcome(&self) -> Option<&Welcome> {
        match &self.peer {
            Some(Peer::Rejoin(welcome)) => Some(welcome),
            Some(Peer::Plain) | None => None,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.peer, Some(Peer::Plain))
    }

    /// How far the present phase is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    fn settle(&mut self, engine: &mut Engine, flight: &Flight) -> Result<()> {
        let marked = match &flight.what {
            What::Push(_) => engine.mark_uncertain(flight.number),
            What::Plain(plain::Plain::Push(sent)) if !self.plain.settled => {
                push_plain::lost(engine, sent)
            }
            _ => return Ok(()),
        };
        if marked.is_err() {
            self.unsettled.push(flight.number);
        }
        marked
    }

    fn send(&mut self, number: i64, what: What, path: &str, body: Option<Vec<u8>>) -> Next {
        let phase = match what {
            What::Register => Phase::Registering,
            What::Schema => Phase::FetchingSchema,
            What::Push(_) | What::Cancel(_) => Phase::Pushing,
            What::Pull(_) => Phase::Pulling,
            What::Page(_) | What::Tail(..) => Phase::Snapshot,
            What::Plain(ref plain) => plain.phase(),
        };
        if self.progress.phase != phase {
            self.progress = Progress { phase, done: 0, total: None };
        }
        self.plain.settled = false;
        let extended = !self.is_plain() || matches!(what, What::Register);
        self.flight = Some(Flight { number, what });
        let method = if body.is_some() { "POST" } else { "GET" };
        Next::Send(Request { method, path: path.to_owned(), extended, body, phase })
    }

    fn send_register(&mut self, engine: &mut Engine) -> Result<Next> {
        let opening = match &self.opening {
            Some(opening) => opening.clone(),
            None => self.opening.insert(register::opened(engine)?).clone(),
        };
        let body = register::request(engine, &self.config, &opening)?;
        Ok(self.send(0, What::Register, "/sync/register", Some(body)))
    }

    fn send_push(&mut self, engine: &mut Engine) -> Result<Option<Next>> {
        // The mode of a first sync is settled before our own answers fill the base (B7).
        let snapshot = snapshot::present(engine)?;
        if let Some(recall) = engine.meta(fact::RECALL)? {
            if recall == "due" && !mutant::on(Mutant::HistoryNotRecalled) {
                engine.recall_history((fact::RECALL, "rebuild"))?;
            }
            if snapshot.is_some() {
                self.step = Step::Pull; // First what the new life holds, then what we have to say.
                return Ok(None);
            }
        }
        let number = self.numbers.take(engine)?;
        if let Some((body, asked)) = self.cancels(engine, number)? {
            return Ok(Some(self.send(number, What::Cancel(asked), "/sync/push", Some(body))));
        }
        let limits = self.limits();
        let push = push::request(engine, number, limits, &self.aside, &self.unseen)?;
        self.report.parked += push.parked as u64;
        let Some((body, sent)) = push.request else {
            self.step = Step::Pull;
            return Ok(None);
        };
        let next = self.send(number, What::Push(sent), "/sync/push", Some(body));
        let waiting = engine.queue.counts();
        let waiting = waiting.pending + waiting.sent + waiting.uncertain;
        self.progress.total = Some(self.progress.done + waiting);
        Ok(Some(next))
    }

    fn limits(&self) -> Limits {
        let welcome = self.welcome();
        let groups = welcome.map_or(0, |welcome| welcome.max_groups as usize);
        let body = welcome.map_or(0, |welcome| welcome.max_body);
        Limits {
            groups: if groups == 0 { self.batch } else { self.batch.min(groups) }.max(1),
            body: usize::try_from(if body == 0 { BODY } else { body }).unwrap_or(usize::MAX),
            told: welcome.map_or_else(Told::default, |welcome| Told::to(&welcome.capabilities)),
        }
    }

    fn page(&self) -> u32 {
        let most = self.welcome().map_or(0, |welcome| welcome.max_page);
        if most == 0 { self.config.page_size } else { self.config.page_size.min(most) }.max(1)
    }

    fn send_pull(&mut self, engine: &mut Engine) -> Result<Option<Next>> {
        if let Some(snapshot) = snapshot::present(engine)? {
            return self.send_snapshot(engine, snapshot);
        }
        let cursor = match self.gathered.cursor.clone() {
            Some(cursor) => cursor,
            None => engine.meta(fact::CURSOR)?.unwrap_or_default(),
        };
        self.count_pull()?;
        let number = self.numbers.take(engine)?;
        let (body, asked) = pull::request(engine, number, cursor, self.page(), &self.gathered)?;
        Ok(Some(self.send(number, What::Pull(asked), "/sync/pull", Some(body))))
    }

    fn send_snapshot(
        &mut self,
        engine: &mut Engine,
        snapshot: fact::Snapshot,
    ) -> Result<Option<Next>> {
        if let Some(search) = &mut self.search {
            if search.slice(engine, SLICE)? {
                return Ok(Some(Next::Again));
            }
            if let Some(search) = self.search.take() {
                self.report.pulled += snapshot::merge(engine, snapshot, search)? as u64;
            }
            self.step = Step::Push;
            return Ok(Some(Next::Again));
        }
        let number = self.numbers.take(engine)?;
        self.progress.done = u64::try_from(snapshot.rows).unwrap_or(0);
        let next = if snapshot.paged {
            self.count_pull()?;
            let cursor = snapshot.pull_cursor.clone().unwrap_or_default();
            let (body, asked) = pull::request(engine, number, cursor, self.page(), &self.gathered)?;
            self.send(number, What::Tail(snapshot, asked), "/sync/pull", Some(body))
        } else {
            let body = snapshot::request(engine, number, &snapshot, self.page())?;
            self.send(number, What::Page(snapshot), "/sync/snapshot", Some(body))
        };
        Ok(Some(next))
    }

    fn finish(&mut self, engine: &mut Engine) -> Result<PassReport> {
        engine.prune_proven()?;
        let counts = engine.queue.counts();
        self.report.still_pending = counts.pending + counts.sent + counts.uncertain;
        let first_sync = engine.meta(fact::FIRST_SYNC)?;
        self.report.first_sync_done = first_sync.as_deref() == Some(fact::DONE);
        self.progress = Progress::default();
        Ok(self.report)
    }
}
