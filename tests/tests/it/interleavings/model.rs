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
pub(super) enum Over {
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
    Over(Over),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
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
    pub(super) life: Life,
    pub(super) holders: [Holder; 2],
    pub(super) line: Vec<Waiting>,
    /// Committed transactions: the keys of their rows.
    pub(super) committed: Vec<Vec<String>>,
    pub(super) writes: usize,
    pub(super) rows: usize,
}

/// The callers whose wait ends with a step, beside its own response, and the results.
pub(super) type Answered = Vec<(Waiting, Result<(), Over>)>;

impl Model {
    pub(super) fn new() -> Self {
        Self {
            life: Life::Open,
            holders: [Holder::Away, Holder::Away],
            line: Vec::new(),
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
            |who: usize| matches!(self.holders[who], Holder::Holds(_) | Holder::Over(_));
        match step {
            Begin(0) => self.holders[0] == Holder::Away,
            Begin(who) => self.holders[who] == Holder::Away && self.holders[0] != Holder::Away,
            Statement(who) | Commit(who) | Rollback(who) => has_handle(who),
            Abandon(who) => matches!(self.holders[who], Holder::Holds(_) | Holder::Waits),
            Suspend => self.life == Life::Open,
            Resume => self.life == Life::Suspended,
            Shutdown => self.life != Life::Ended,
            Silence => self.holding().is_some(),
            Write | Query => true,
        }
    }

    /// The reason why nothing can begin, if there is one.
    pub(super) fn closed(&self) -> Option<Over> {
        match self.life {
            Life::Open => None,
            Life::Suspended => Some(Over::Suspended),
            Life::Ended => Some(Over::Shutdown),
        }
    }

    /// Ends the holder's transaction; the waiting callers proceed, up to the next holder.
    pub(super) fn free(&mut self, answered: &mut Answered) {
        while self.holding().is_none() && !self.line.is_empty() {
            let next = self.line.remove(0);
            let result = match (next, self.closed()) {
                // Writes that were queued before a shutdown are executed; a transaction does not
                // begin.
                (Waiting::Write(number), None | Some(Over::Shutdown)) => {
                    self.committed.push(vec![write_key(number)]);
                    Ok(())
                }
                (Waiting::Holder(who), None) => {
                    self.holders[who] = Holder::Holds(Vec::new());
                    Ok(())
                }
                (waiting, Some(over)) => {
                    if let Waiting::Holder(who) = waiting {
                        self.holders[who] = Holder::Away;
                    }
                    Err(over)
                }
            };
            answered.push((next, result));
        }
    }

    pub(super) fn end(&mut self, over: Over, answered: &mut Answered) {
        if let Some(who) = self.holding() {
            self.holders[who] = Holder::Over(over);
        }
        self.free(answered);
    }
}

pub(super) fn write_key(number: usize) -> String {
    format!("w{number}")
}

impl Over {
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
