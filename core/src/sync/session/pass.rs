//! A pass: what is common to all kinds of server while a device exchanges with one.
//!
//! Holds the bounds that end a pass (pulls, turns), its report and its progress, and the numbers of requests. Does not know what
//! a request says.

use crate::engine::Engine;
use crate::engine::rebase::Applied;
use crate::engine::staging;
use crate::error::{Error, Result};
use crate::sync::request::{Phase, Request, SessionConfig};
use crate::sync::rows::answer::Turn;
use crate::sync::rows::fact;

/// Pulls that a pass makes: half a million rows and more.
const PULLS: u32 = 5_000;

/// Turns that a pass may take before it is called off.
const PATIENCE: u32 = 8;

/// Rows that one slice of the search for differences compares; a few milliseconds.
const SLICE: usize = 4_000;

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

    /// Adds what a transaction decided about mutations.
    pub(crate) fn count(&mut self, applied: &Applied) {
        self.accepted += applied.accepted.len() as u64;
        self.parked += applied.parked.len() as u64;
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

/// What comes next in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Register,
    Schema,
    Push,
    Pull,
    Done,
}

/// What a session and its peer share. Lives as long as the session; [`Pass::start`] makes it new.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) step: Step,
    pub(super) report: PassReport,
    pub(super) progress: Progress,
    /// The search for rows that a staged snapshot changes, once all its pages are here.
    pub(super) search: Option<staging::Search>,
    /// The number of a push whose mutations are uncertain unless its answer is applied.
    pub(super) unanswered: Option<i64>,
    pub(super) config: SessionConfig,
    /// Pushes that ended without an answer while the file could not be written.
    unsettled: Vec<i64>,
    numbers: Numbers,
    pulls: u32,
    patience: u32,
}

impl Pass {
    pub(super) fn new(config: SessionConfig) -> Self {
        Self {
            step: Step::Register,
            report: PassReport::default(),
            progress: Progress::default(),
            search: None,
            unanswered: None,
            config,
            unsettled: Vec::new(),
            numbers: Numbers::default(),
            pulls: 0,
            patience: PATIENCE,
        }
    }

    /// A new pass begins with this step.
    pub(super) fn start(&mut self, step: Step) {
        self.step = step;
        self.report = PassReport::default();
        self.search = None;
        self.pulls = 0;
        self.patience = PATIENCE;
    }

    /// The answer to the push in flight was not applied: its mutations are uncertain, and are sent again as they are.
    pub(super) fn settle_unanswered(&mut self, engine: &mut Engine) -> Result<()> {
        let Some(number) = self.unanswered.take() else { return Ok(()) };
        let marked = engine.mark_uncertain(number);
        if marked.is_err() {
            self.unsettled.push(number);
        }
        marked
    }

    /// Marks the mutations of earlier pushes as uncertain that could not be marked when those ended.
    pub(super) fn settle_former(&mut self, engine: &mut Engine) -> Result<()> {
        while let Some(number) = self.unsettled.last() {
            engine.mark_uncertain(*number)?;
            self.unsettled.pop();
        }
        Ok(())
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
        Next::Send(Request { method, path: path.to_owned(), extended, body, phase })
    }

    /// The progress of a push: what was pushed in this phase, of that and all that waits.
    pub(super) fn expect_pushes(&mut self, engine: &Engine) {
        let waiting = engine.queue.counts();
        let waiting = waiting.pending + waiting.sent + waiting.uncertain;
        self.progress.total = Some(self.progress.done + waiting);
    }

    /// Works on the search for what a staged snapshot changes, and hands it over when it is complete.
    pub(super) fn searched(&mut self, engine: &mut Engine) -> Result<Option<staging::Search>> {
        if let Some(search) = &mut self.search
            && search.slice(engine, SLICE)?
        {
            return Ok(None);
        }
        Ok(self.search.take())
    }

    /// Counts a pull, so that a log which leads in a circle, or has no end, does not keep a pass for ever. What the pages
    /// brought stays, and the next pass goes on behind it.
    pub(super) fn count_pull(&mut self) -> Result<()> {
        if self.pulls == PULLS {
            let why = format!("a log without an end: {PULLS} pages in one pass, and there is more");
            return Err(Error::Protocol(why));
        }
        self.pulls += 1;
        Ok(())
    }

    /// Counts a turn, so that two peers that never agree do not turn for ever.
    pub(super) fn count_turn(&mut self, turn: Turn) -> Result<Turn> {
        match self.patience.checked_sub(1) {
            Some(rest) => {
                self.patience = rest;
                Ok(turn)
            }
            None => Err(Error::Protocol(format!(
                "server and device have turned {PATIENCE} times without agreeing; the last: {turn:?}"
            ))),
        }
    }

    /// The turns of this pass count from 0 again.
    pub(super) fn forgive_turns(&mut self) {
        self.patience = PATIENCE;
    }

    /// Completes the report of a pass.
    pub(super) fn finish(&mut self, engine: &mut Engine) -> Result<PassReport> {
        engine.prune_proven()?;
        let counts = engine.queue.counts();
        self.report.still_pending = counts.pending + counts.sent + counts.uncertain;
        let first_sync = engine.meta(fact::FIRST_SYNC)?;
        self.report.first_sync_done = first_sync.as_deref() == Some(fact::DONE);
        self.progress = Progress::default();
        Ok(self.report)
    }
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
