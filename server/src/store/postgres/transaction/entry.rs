//! The begin of a transaction: sent with its first statements, in one round trip.
//!
//! The fingerprint of the tables is read there too. If it is not that of the known schema, the work
//! runs again after the schema was read, so nothing may be decided by a transaction that has not
//! begun.
//!
//! A transaction that reads the state of the log at its begin leaves the sequencer out at first: if
//! that snapshot has changes without a position, the work runs again behind the sequencer.
//!
//! A transaction on a standby may be behind: it fails when it reads the log, unless the log has what
//! this server knows (`required`).

use tokio_postgres::Row;

use super::super::connection::{Connection, Params, Sql};
use super::super::known_log::{LogEnd, RequiredEnd};
use super::super::{FINGERPRINT, is_of};
use super::PostgresTransaction;
use crate::error::Fault;
use crate::model::LogState;

/// How a transaction begins.
#[derive(Debug)]
pub(in crate::store::postgres) struct Entry {
    before: Option<&'static str>,
    /// Whether to leave `before` out if the first statement reads the log's state.
    tries_alone: bool,
    begin: String,
}

impl Entry {
    /// On this connection, with its settings and its statement timeout. `before` runs in a
    /// transaction of its own.
    pub(in crate::store::postgres) fn on(
        connection: &Connection,
        before: Option<&'static str>,
        begin: &str,
    ) -> Self {
        let limit = connection.limit().as_millis();
        let begin = match connection.settings() {
            Some(settings) => format!("{begin}; {settings}"),
            None => begin.to_owned(),
        };
        let begin = format!("{begin}; SET LOCAL statement_timeout = {limit}");
        Self { before, tries_alone: false, begin }
    }

    /// The same; tries without `before`, the sequencer, if the first statement shows whether it had
    /// anything to do.
    pub(in crate::store::postgres) fn alone_first(self, tries_alone: bool) -> Self {
        Self { tries_alone, ..self }
    }
}

/// Why a transaction did not begin.
#[derive(Debug)]
pub(in crate::store::postgres) enum NotBegun {
    /// The tables are not those of the known schema.
    Outdated,
    /// The sequencer was left out, but there are changes without a position.
    Unnumbered,
    /// The connection was lost since it was last used.
    Lost,
    /// A statement of the begin failed: nothing may follow on this connection.
    Failed(Fault),
}

/// Whether a transaction has begun.
#[derive(Debug)]
pub(super) enum Begin {
    Waits(Entry),
    Done,
    Not(NotBegun),
}

impl PostgresTransaction<'_> {
    /// Whether nothing was sent yet.
    pub(in crate::store::postgres) fn is_before_begin(&self) -> bool {
        matches!(*self.begin.borrow(), Begin::Waits(_))
    }

    /// Runs queries in one round trip, which begins the transaction if nothing was sent yet.
    pub(super) fn begin_with(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        if matches!(*self.begin.borrow(), Begin::Done) {
            return self.seen(self.connection.all(asked));
        }
        let names: Params<'_> = &[&self.known.names];
        self.begin_by((FINGERPRINT, names), asked).map(|(_, found)| found)
    }

    /// Begins the transaction with a query whose last column is the fingerprint, and further ones,
    /// in one round trip. Returns the rows of the query and those of the others.
    pub(super) fn begin_by(
        &self,
        query: (&str, Params<'_>),
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<(Vec<Row>, Vec<Vec<Row>>), Fault> {
        let Entry { before, begin, .. } = match self.begin.replace(Begin::Done) {
            Begin::Waits(entry) => entry,
            Begin::Done => return Err(Fault::Internal(String::from("a second begin"))),
            Begin::Not(why) => return self.did_not_begin(why),
        };
        match self.connection.enter(before, &begin, query, self.takes_role, asked) {
            Ok((rows, found)) if is_of(&rows, &self.known.fingerprint) => {
                Ok((rows, self.seen(found)?))
            }
            Ok(_) => self.did_not_begin(NotBegun::Outdated),
            Err(_) if self.connection.is_closed() => self.did_not_begin(NotBegun::Lost),
            Err(error) => self.did_not_begin(NotBegun::Failed(error.into())),
        }
    }

    /// Leaves the sequencer out of the begin, if it may be tried without. Then the work counts only
    /// if the log's state has no change without a position.
    pub(super) fn leave_out_sequencer(&self) -> bool {
        match &mut *self.begin.borrow_mut() {
            Begin::Waits(entry) if entry.tries_alone => entry.before.take().is_some(),
            _ => false,
        }
    }

    pub(super) fn did_not_begin<T>(&self, why: NotBegun) -> Result<T, Fault> {
        self.begin.replace(Begin::Not(why));
        Err(Fault::Transient(String::from("the transaction did not begin")))
    }

    /// Begins it if nothing was sent.
    pub(in crate::store::postgres) fn ensure_begun(&self) -> Result<(), Fault> {
        if matches!(*self.begin.borrow(), Begin::Done) {
            return Ok(());
        }
        self.begin_with(&[]).map(drop)
    }

    /// Begins it if nothing was sent; why it did not begin. It is not used any further then.
    pub(in crate::store::postgres) fn not_begun(&self) -> Option<NotBegun> {
        let begun = self.ensure_begun();
        match self.begin.replace(Begin::Done) {
            Begin::Not(why) => Some(why),
            Begin::Waits(_) | Begin::Done => begun.err().map(NotBegun::Failed),
        }
    }

    /// The same transaction on a standby: it fails when it reads the log, unless the log is above
    /// the required end.
    pub(in crate::store::postgres) fn requiring(self, required: RequiredEnd) -> Self {
        Self { required: Some(required), ..self }
    }

    /// Keeps the state of the log, which is constant in a snapshot.
    pub(super) fn keep_log(&self, log: &LogState) -> Result<(), Fault> {
        if let Some(required) = &self.required
            && !required.is_reached(log, self.tag_of(required.position())?)
        {
            self.is_behind.set(true);
            return Err(Fault::Transient(String::from("the replica is behind")));
        }
        *self.log.borrow_mut() = Some(log.clone());
        Ok(())
    }

    /// Whether the log is not above the required end.
    pub(in crate::store::postgres) fn is_behind(&self) -> bool {
        self.is_behind.get()
    }

    /// The end of the log, if it was read.
    pub(in crate::store::postgres) fn log_end(&self) -> Option<LogEnd> {
        let log = self.log.borrow();
        let (epoch, head) = log.as_ref().map(|log| (log.epoch.clone(), log.head))?;
        Some(LogEnd { epoch, head, tag: self.answers.borrow().tag(head) })
    }
}
