//! A write transaction on behalf of one user: which rows the user may read and write in it.
//!
//! A row that the user may not read is answered like a missing row.

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Change, Operation};

use super::conflict::{is_gone, not_found};
use super::rejection::ChangeError;
use crate::error::Fault;
use crate::model::{ReadScope, Row, StoredRow, Table};
use crate::store::Writing;

/// The transaction, its user and its time.
#[derive(Clone, Copy)]
pub(super) struct UserTransaction<'a> {
    pub(super) writing: &'a dyn Writing,
    pub(super) user: &'a str,
    /// The buckets that the user holds.
    pub(super) held: &'a [String],
    /// The time in canonical text; it stamps what the transaction writes.
    pub(super) now: &'a str,
}

impl UserTransaction<'_> {
    /// The row of this key, live or deleted, and what the user may do with it.
    pub(super) fn stored(&self, table: &Table, key: &Value) -> Result<Option<StoredRow>, Fault> {
        let (scope, own) = (ReadScope::of(self.held), ReadScope::owned_by(self.user));
        self.writing.stored(table, key, &scope, &own)
    }

    /// The live row of this key, if the user may read it.
    pub(super) fn image(&self, table: &Table, key: &Value) -> Result<Option<Row>, Fault> {
        self.writing.image(table, key, &ReadScope::of(self.held))
    }

    /// Answers a change whose row is missing. A create names no earlier row.
    pub(super) fn missing(&self, table: &Table, change: &Change) -> Result<(), ChangeError> {
        if change.operation == Operation::Create {
            return not_found();
        }
        self.not_there(table, &change.id)
    }

    /// Answers a missing row: deleted if the log shows that the user could read it, else never there.
    pub(super) fn not_there(&self, table: &Table, id: &str) -> Result<(), ChangeError> {
        if self.writing.was_seen(table, id, self.held)? { is_gone() } else { not_found() }
    }
}
