//! A pass: what is common to all kinds of server.
//!
//! It holds the limits of a pass (pulls, turns), its report, its progress, and the request numbers.
//! It does not depend on the content of requests.

use rejoin_protocol::wire::subscription::Subscription;

use crate::engine::Engine;
use crate::engine::rebase::Applied;
use crate::engine::staging;
use crate::error::{Error, Result, SyncFault};
use crate::sync::request::{Phase, Request, SessionConfig};
use crate::sync::rows::answer::NextStep;
use crate::sync::rows::fact;
use crate::sync::status::FirstSync;

/// Maximum number of pulls in a pass: half a million rows and more.
const PULLS: u32 = 5_000;

/// Maximum number of turns in a pass before it fails.
const MAX_TURNS: u32 = 8;

/// Number of rows that one slice of the search for differences compares; takes a few milliseconds.
const SLICE: usize = 4_000;

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this request; then call `answered` or `lost`.
    Send(Request),
    /// A slice of local work is done; call `next` again. The writer may run other tasks in between.
    Again,
    /// The pass is complete.
    Finished(PassReport),
}

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassReport {
    /// Mutations that the server accepted.
    pub accepted: u64,
    /// Mutations that were parked.
    pub parked: u64,
    /// Received rows.
    pub pulled: u64,
    /// Mutations without a verdict.
    pub still_pending: u64,
    /// Whether the first sync is complete.
    pub first_sync_done: bool,
}

impl PassReport {
    /// Whether the pass changed anything. One that did not is followed by backoff.
    pub fn has_moved(&self) -> bool {
        self.accepted > 0 || self.parked > 0 || self.pulled > 0
    }

    /// Adds a transaction's decisions about mutations.
    pub(crate) fn count(&mut self, applied: &Applied) {
        self.accepted += applied.accepted.len() as u64;
        self.parked += applied.parked.len() as u64;
    }
}

/// The progress of the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Completed rows (mutations during a push) of this phase.
    pub done: u64,
    /// The expected number, if stored; may rise.
    pub total: Option<u64>,
}

/// The next step of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassStep {
    Register,
    Schema,
    Push,
    Pull,
    /// The log, after the rows.
    Log,
    /// A requested check of the rows, after everything else.
    Check,
    Done,
}

/// State shared by a session and its peer. [`Pass::start`] resets it.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) step: PassStep,
    pub(super) report: PassReport,
    pub(super) progress: Progress,
    /// The search for rows that a staged snapshot changes, after all its pages.
    pub(super) search: Option<staging::Search>,
    /// The number of a push whose mutations are uncertain unless its response is applied.
    pub(super) unanswered: Option<i64>,
    pub(super) config: SessionConfig,
    /// Whether an app waits for what the server has now.
    pub(super) current: bool,
    /// The subscriptions of the last request.
    pub(super) subscriptions: Vec<Subscription>,
    numbers: Numbers,
    pulls: u32,
    patience: u32,
}

impl Pass {
    pub(super) fn new(config: SessionConfig) -> Self {
        Self {
            step: PassStep::Register,
            report: PassReport::default(),
            progress: Progress::default(),
            search: None,
            unanswered: None,
            config,
            current: false,
            subscriptions: Vec::new(),
            numbers: Numbers::default(),
            pulls: 0,
            patience: MAX_TURNS,
        }
    }

    /// Starts a new pass with this step.
    pub(super) fn start(&mut self, step: PassStep, current: bool) {
        (self.step, self.current) = (step, current);
        self.report = PassReport::default();
        self.search = None;
        self.pulls = 0;
        self.patience = MAX_TURNS;
    }

    /// The response of the running push was not applied: marks its mutations as uncertain.
    pub(super) fn settle_unanswered(&mut self, engine: &mut Engine) -> Result<()> {
        match self.unanswered.take() {
            Some(number) => engine.mark_uncertain(number),
            None => Ok(()),
        }
    }

    /// The number of the next request.
    pub(super) fn number(&mut self, engine: &mut Engine) -> Result<i64> {
        self.numbers.take(engine)
    }

    /// Sends a request of this phase; one without a body is a GET.
    pub(super) fn send(
        &mut self,
        phase: Phase,
        path: &str,
        extended: bool,
        body: Option<Vec<u8>>,
    ) -> Next {
        if self.progress.phase != phase {
            self.progress = Progress { phase, done: 0, total: None };
        }
        let method = if body.is_some() { "POST" } else { "GET" };
        let path = path.to_owned();
        Next::Send(Request { method, path, extended, body, subscriptions: None, phase })
    }

    /// The progress of a push: what was pushed in this phase, out of that and the queue.
    pub(super) fn expect_pushes(&mut self, engine: &Engine) {
        let waiting = engine.queue.counts();
        let waiting = waiting.pending + waiting.sent + waiting.uncertain;
        self.progress.total = Some(self.progress.done + waiting);
    }

    /// Whether the search for a staged snapshot's changes runs. A snapshot that lacks pages has replaced the one
    /// that was searched, for example by `resync`.
    pub(super) fn continues_search(&mut self, is_paged: bool) -> bool {
        if !is_paged {
            self.search = None;
        }
        self.search.is_some()
    }

    /// Continues the search for a staged snapshot's changes; returns it when complete.
    pub(super) fn searched(&mut self, engine: &mut Engine) -> Result<Option<staging::Search>> {
        if let Some(search) = &mut self.search
            && search.slice(engine, SLICE)?
        {
            return Ok(None);
        }
        Ok(self.search.take())
    }

    /// Counts a pull, so that a cyclic or endless log does not keep a pass running. The received
    /// pages stay, and the next pass continues after them.
    pub(super) fn count_pull(&mut self) -> Result<()> {
        if self.pulls == PULLS {
            let why = format!("a log without an end: {PULLS} pages in one pass, and there is more");
            return Err(SyncFault::Protocol(why).into());
        }
        self.pulls += 1;
        Ok(())
    }

    /// Counts a turn, so that a pass ends if the two sides never agree.
    pub(super) fn count_turn(&mut self, turn: NextStep) -> Result<NextStep> {
        match self.patience.checked_sub(1) {
            Some(rest) => {
                self.patience = rest;
                Ok(turn)
            }
            None => Err(Error::Sync(SyncFault::Protocol(format!(
                "server and device have turned {MAX_TURNS} times without agreeing; the last: {turn:?}"
            )))),
        }
    }

    /// Resets the number of turns.
    pub(super) fn forgive_turns(&mut self) {
        self.patience = MAX_TURNS;
    }

    /// Completes the report of a pass.
    pub(super) fn finish(&mut self, engine: &mut Engine) -> Result<PassReport> {
        engine.prune_proven()?;
        let counts = engine.counts()?;
        self.report.still_pending = counts.pending + counts.sent + counts.uncertain;
        self.report.first_sync_done = fact::first_sync(engine)? == FirstSync::Done;
        self.progress = Progress::default();
        Ok(self.report)
    }
}

/// Request numbers, which rise over the life of the file. They are reserved in blocks, so that a
/// pull needs no extra write; a crash skips the rest of a block.
#[derive(Debug, Default)]
struct Numbers {
    next: i64,
    end: i64,
}

/// Size of a block.
const BLOCK: i64 = 256;

impl Numbers {
    fn take(&mut self, engine: &mut Engine) -> Result<i64> {
        if self.next == self.end {
            let stored = engine.meta(fact::REQUEST)?.and_then(|text| text.parse().ok());
            let first: i64 = stored.unwrap_or(1);
            engine.set_meta(fact::REQUEST, Some(&(first + BLOCK).to_string()))?;
            (self.next, self.end) = (first, first + BLOCK);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}
