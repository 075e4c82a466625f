//! The expected state: which transaction is open, which callers wait for the writer, and what has
//! been committed.

use rejoin_core::{Error, InputFault};

/// The next step of a caller. A holder is 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    Statement(usize),
    Commit(usize),
    Rollback(usize),
    /// Drops the handle, or the future that would return it.
    Abandon(usize),
    /// Writes without a handle.
    Write,
    Query,
    Suspend,
    Resume,
    Shutdown,
    /// Longer than a handle may be idle.
    Silence,
}

pub(super) use Step::{
    Abandon, Begin, Commit, Query, Resume, Rollback, Shutdown, Silence, Statement, Suspend, Write,
};

/// Why a holder's transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndCause {
    Ended,
    TimedOut,
    Suspended,
    Shutdown,
}

/// The expected state of a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Away,
    Waits,
    /// With the keys of the rows that it wrote.
    Holds(Vec<String>),
    Ended(EndCause),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientState {
    Open,
    Suspended,
    Ended,
}

/// A caller that waits for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Holder(usize),
    Write(usize),
}

/// The expected state.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) state: ClientState,
    pub(super) holders: [Holder; 2],
    pub(super) queue: Vec<Waiting>,
    /// Committed transactions: the keys of their rows.
    pub(super) committed: Vec<Vec<String>>,
    pub(super) writes: usize,
    pub(super) rows: usize,
}

/// The callers whose wait ends with a step, beside its own response, and the results.
pub(super) type Completed = Vec<(Waiting, Result<(), EndCause>)>;

impl Model {
    pub(super) fn new() -> Self {
        Self {
            state: ClientState::Open,
            holders: [Holder::Away, Holder::Away],
            queue: Vec::new(),
            committed: Vec::new(),
            writes: 0,
            rows: 0,
        }
    }

    pub(super) fn holding(&self) -> Option<usize> {
        self.holders.iter().position(|holder| matches!(holder, Holder::Holds(_)))
    }

    /// Whether this step is possible now. Holders are interchangeable, so the second begins only
    /// after the first.
    pub(super) fn can(&self, step: Step) -> bool {
        let has_handle =
            |index: usize| matches!(self.holders[index], Holder::Holds(_) | Holder::Ended(_));
        match step {
            Begin(0) => self.holders[0] == Holder::Away,
            Begin(index) => self.holders[index] == Holder::Away && self.holders[0] != Holder::Away,
            Statement(index) | Commit(index) | Rollback(index) => has_handle(index),
            Abandon(index) => matches!(self.holders[index], Holder::Holds(_) | Holder::Waits),
            Suspend => self.state == ClientState::Open,
            Resume => self.state == ClientState::Suspended,
            Shutdown => self.state != ClientState::Ended,
            Silence => self.holding().is_some(),
            Write | Query => true,
        }
    }

    /// The reason why nothing can begin, if there is one.
    pub(super) fn closed(&self) -> Option<EndCause> {
        match self.state {
            ClientState::Open => None,
            ClientState::Suspended => Some(EndCause::Suspended),
            ClientState::Ended => Some(EndCause::Shutdown),
        }
    }

    /// Ends the holder's transaction; the waiting callers proceed, up to the next holder.
    pub(super) fn free(&mut self, completed: &mut Completed) {
        while self.holding().is_none() && !self.queue.is_empty() {
            let next = self.queue.remove(0);
            let result = match (next, self.closed()) {
                // Writes that were queued before a shutdown are executed; a transaction does not
                // begin.
                (Waiting::Write(number), None | Some(EndCause::Shutdown)) => {
                    self.committed.push(vec![write_key(number)]);
                    Ok(())
                }
                (Waiting::Holder(index), None) => {
                    self.holders[index] = Holder::Holds(Vec::new());
                    Ok(())
                }
                (waiting, Some(over)) => {
                    if let Waiting::Holder(index) = waiting {
                        self.holders[index] = Holder::Away;
                    }
                    Err(over)
                }
            };
            completed.push((next, result));
        }
    }

    pub(super) fn end(&mut self, over: EndCause, completed: &mut Completed) {
        if let Some(index) = self.holding() {
            self.holders[index] = Holder::Ended(over);
        }
        self.free(completed);
    }
}

pub(super) fn write_key(number: usize) -> String {
    format!("w{number}")
}

impl EndCause {
    #[track_caller]
    pub(super) fn is(self, error: &Error) {
        let is = match self {
            Self::Ended => matches!(error, Error::InvalidInput(InputFault::Refused { .. })),
            Self::TimedOut => matches!(error, Error::TransactionTimeout),
            Self::Suspended => matches!(error, Error::Suspended),
            Self::Shutdown => matches!(error, Error::Closed),
        };
        assert!(is, "{error:?}, {self:?} expected");
    }
}
