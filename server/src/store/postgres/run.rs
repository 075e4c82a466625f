//! Writes that are kept back until somebody needs to know how they ended, and then sent without waiting between them.
//!
//! A run has one savepoint for all its groups: if one write fails, everything of the run is taken back, and who asked for it
//! does it again in smaller pieces. A group that is taken back before anything of it was sent was never there.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::batch::{Statement, statements};
use super::connection::{Connection, Params};
use super::records::kept;
use super::types::Parameter;
use super::verdicts::{PUT, Verdicts};
use crate::model::StoredVerdict;

/// A statement that writes one row.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) text: String,
    pub(super) parameters: Vec<Parameter>,
    /// The text that does it for many rows at once, if they do not mind.
    pub(super) listed: Option<String>,
}

/// What is kept back.
#[derive(Default)]
pub(super) struct Run {
    is_on: Cell<bool>,
    /// Whether its savepoint stands.
    has_begun: Cell<bool>,
    /// The group that the next write belongs to, counted from the beginning of the run.
    groups: Cell<usize>,
    writes: RefCell<Vec<(usize, Write)>>,
    verdicts: RefCell<Vec<(String, StoredVerdict)>>,
    /// Whose they are.
    user: RefCell<String>,
    /// How many writes and verdicts were kept back when each savepoint began; `None` once they have been sent.
    marks: RefCell<Vec<Option<(usize, usize)>>>,
    /// How many of the verdicts have been sent.
    sent: Cell<usize>,
    failed: Cell<Option<usize>>,
    /// Whether each row is written by itself: since many at once have failed.
    is_single: Cell<bool>,
    /// Whether it is not known yet which of those it was.
    is_unknown: Cell<bool>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    /// What is kept back so far, for something is asked that must find it; and the savepoint, for that may fail.
    More,
    /// What is kept back, and the end.
    Last,
}

const BEGIN: &str = "SAVEPOINT rejoin_run";
const END: &str = "RELEASE rejoin_run";

impl Run {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    pub(super) fn start(&self) {
        self.stop();
        self.is_on.set(true);
    }

    /// Ends it; whether its savepoint stands still.
    pub(super) fn stop(&self) -> bool {
        self.is_on.set(false);
        self.groups.set(0);
        self.writes.borrow_mut().clear();
        self.verdicts.borrow_mut().clear();
        self.marks.borrow_mut().clear();
        self.sent.set(0);
        self.failed.set(None);
        self.has_begun.take()
    }

    /// The group that has failed.
    pub(super) fn failed(&self) -> Option<usize> {
        self.failed.get()
    }

    /// Whether what failed is one of many rows: the same, row by row, will tell which.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.is_unknown.take()
    }

    /// Something that is asked now has failed.
    pub(super) fn fail(&self) {
        self.failed.set(self.failed.get().or(Some(self.groups.get())));
    }

    pub(super) fn begin(&self) {
        let mark = (self.writes.borrow().len(), self.verdicts.borrow().len());
        self.marks.borrow_mut().push(Some(mark));
    }

    pub(super) fn keep(&self) {
        self.marks.borrow_mut().pop();
        self.groups.set(self.groups.get() + 1);
    }

    /// Takes back what was kept back since the savepoint; `false` if some of it has been sent.
    pub(super) fn undo(&self) -> bool {
        let mark = self.marks.borrow_mut().pop().flatten();
        if let Some((writes, verdicts)) = mark {
            self.writes.borrow_mut().truncate(writes);
            self.verdicts.borrow_mut().truncate(verdicts);
        } else {
            self.failed.set(Some(self.groups.get()));
        }
        self.groups.set(self.groups.get() + 1);
        mark.is_some()
    }

    pub(super) fn write(&self, write: Write) {
        self.writes.borrow_mut().push((self.groups.get(), write));
    }

    pub(super) fn put_verdict(&self, user: &str, mutation: &str, verdict: &StoredVerdict) {
        user.clone_into(&mut self.user.borrow_mut());
        self.verdicts.borrow_mut().push((mutation.to_owned(), verdict.clone()));
    }

    /// Sends what is kept back; what went wrong first is told.
    pub(super) fn send(&self, connection: &Connection, send: Send) -> Result<(), Error> {
        let ends = send == Send::Last;
        let writes = self.writes.take();
        let has_begun = self.has_begun.get();
        let verdicts = self.verdicts.borrow();
        let fresh = verdicts.get(self.sent.get()..).unwrap_or_default();
        if writes.is_empty() && fresh.is_empty() && has_begun != ends {
            return Ok(());
        }
        let all = (writes.len(), verdicts.len());
        for mark in self.marks.borrow_mut().iter_mut() {
            // Nothing of a group is sent that has written nothing.
            *mark = mark.filter(|mark| *mark == all).map(|(_, verdicts)| (0, verdicts));
        }
        let joined = statements(&writes, self.is_single.get());
        let params: Vec<Vec<&(dyn ToSql + Sync)>> = joined.iter().map(Statement::params).collect();
        let mut asked: Vec<(&str, Params<'_>)> = joined
            .iter()
            .zip(&params)
            .map(|(statement, params)| (statement.text, params.as_slice()))
            .collect();
        let kept_verdicts = Verdicts::of(latest(fresh));
        let user = self.user.borrow();
        let user = kept(&user);
        let user = user.as_ref();
        let put = kept_verdicts.params(&user);
        if !fresh.is_empty() {
            asked.push((PUT, &put));
        }
        let before = (!has_begun).then_some(BEGIN);
        self.has_begun.set(!ends);
        connection.pipelined(before, &asked, ends.then_some(END)).map_err(|(at, error)| {
            self.has_begun.set(true);
            let of = at.and_then(|at| joined.get(at));
            if of.is_some_and(Statement::is_many) {
                self.is_single.set(true);
                self.is_unknown.set(true);
            }
            let group = of.map(|statement| statement.group);
            self.failed.set(Some(group.unwrap_or_else(|| self.groups.get().saturating_sub(1))));
            error
        })?;
        self.sent.set(verdicts.len());
        Ok(())
    }
}

/// Of each mutation the last verdict.
fn latest(verdicts: &[(String, StoredVerdict)]) -> impl Iterator<Item = (&str, &StoredVerdict)> {
    let mut seen = HashSet::new();
    let last = verdicts.iter().rev().filter(move |(mutation, _)| seen.insert(mutation.as_str()));
    last.map(|(mutation, verdict)| (mutation.as_str(), verdict))
}
