//! The begin of a transaction: sent with its first statements, in one round trip.
//!
//! The fingerprint of the tables is read there too. If it is not that of the known schema, the work
//! runs again after the schema was read, so nothing may be decided by a transaction that has not
//! begun.

use tokio_postgres::Row;

use super::super::connection::{Connection, Params, Sql};
use super::super::{FINGERPRINT, is_of};
use super::PostgresTransaction;
use crate::error::Fault;

/// How a transaction begins.
#[derive(Debug)]
pub(in crate::store::postgres) struct Entry {
    before: Option<&'static str>,
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
        Self { before, begin: format!("{begin}; SET LOCAL statement_timeout = {limit}") }
    }
}

/// Why a transaction did not begin.
#[derive(Debug)]
pub(in crate::store::postgres) enum NotBegun {
    /// The tables are not those of the known schema.
    Outdated,
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
    pub(super) fn is_before_begin(&self) -> bool {
        matches!(*self.begin.borrow(), Begin::Waits(_))
    }

    /// Runs queries in one round trip, which begins the transaction if nothing was sent yet.
    pub(super) fn begin_with(
        &self,
        asked: &[(Sql<'_>, Params<'_>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let Entry { before, begin } = match self.begin.replace(Begin::Done) {
            Begin::Waits(entry) => entry,
            Begin::Done => return self.seen(self.connection.all(asked)),
            Begin::Not(why) => return self.did_not_begin(why),
        };
        let names: Params<'_> = &[&self.known.names];
        let entered =
            self.connection.enter(before, &begin, (FINGERPRINT, names), self.takes_role, asked);
        match entered {
            Ok((rows, found)) if is_of(&rows, &self.known.fingerprint) => self.seen(found),
            Ok(_) => self.did_not_begin(NotBegun::Outdated),
            Err(_) if self.connection.is_closed() => self.did_not_begin(NotBegun::Lost),
            Err(error) => self.did_not_begin(NotBegun::Failed(error.into())),
        }
    }

    fn did_not_begin<T>(&self, why: NotBegun) -> Result<T, Fault> {
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
}
