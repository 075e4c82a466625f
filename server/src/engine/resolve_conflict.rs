//! Resolves a conflict by the table's policy and resolver.
//!
//! Applies to rows that the user may write. Server-owned columns, parents and rules are checked in
//! any case.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Operation};
use rejoin_protocol::{Policy, time};

use super::change::{Cells, RowChange, decode};
use super::rejection::{ChangeError, Rejection, reject};
use super::resolve::{Case, Resolved, is_later, written_at};
use super::user_transaction::UserTransaction;
use crate::error::Fault;
use crate::model::resolver::Resolve;
use crate::model::{Row, Table};
use crate::store::Writing;

impl UserTransaction<'_> {
    /// Resolves a conflict with a row: the change overwrites it, or is rejected with `why`.
    pub(super) fn resolve_conflict(
        &self,
        pushed: &RowChange<'_>,
        row: &Row,
        why: Box<Rejection>,
    ) -> Result<(), ChangeError> {
        let RowChange { group, change, table, .. } = *pushed;
        let insists = change.force && table.policy.may_force();
        if insists && !row.is_deleted(table) {
            return self.overwrite(pushed, row, pushed.data);
        }
        let present_at = present_at(self.settled()?, table, &change.id, row)?;
        let written = self.written_at(pushed);
        if let (Policy::LastWriteWins, Some(written)) = (table.policy, written) {
            if is_later(written, table.skew_tolerance_ms, present_at) {
                return self.overwrite(pushed, row, pushed.data);
            }
            let message = "the row was written later than this edit";
            return reject(Ending::Conflict, code::ROW_SUPERSEDED, None, message);
        }
        let Resolve::Custom(resolver) = &table.resolver else {
            return Err(ChangeError::Rejected(why));
        };
        let seen = decode(table, change.old.as_deref(), pushed.naming)?;
        let case = Case {
            table,
            id: &change.id,
            user: self.user,
            operation: change.operation,
            row,
            seen: &seen,
            sent: pushed.data,
            // Devices report the age of edits only for tables whose policy uses it.
            written_at: group.age_ms.and(written),
            present_at,
        };
        match case.ask(&**resolver)? {
            Resolved::Conflict => Err(ChangeError::Rejected(why)),
            Resolved::Apply => self.overwrite(pushed, row, pushed.data),
            Resolved::Write(cells) if row.is_deleted(table) => {
                self.resurrect(table, pushed.key, row, &cells)
            }
            Resolved::Write(cells) => self.update(table, pushed.key, row, &cells, None),
            Resolved::Refuse(why) => reject(Ending::Rejected, code::RESOLVER_REFUSED, None, why),
        }
    }

    fn overwrite(
        &self,
        pushed: &RowChange<'_>,
        row: &Row,
        data: &Cells,
    ) -> Result<(), ChangeError> {
        let RowChange { table, key, .. } = *pushed;
        match pushed.change.operation {
            Operation::Delete => Ok(self.delete_row(table, key)?),
            _ if row.is_deleted(table) => self.resurrect(table, key, row, data),
            _ => self.update(table, key, row, data, None),
        }
    }

    /// When the change was made, if the device reports its age.
    fn written_at(&self, pushed: &RowChange<'_>) -> Option<i64> {
        let now = time::parse(self.now)?;
        Some(written_at(now, pushed.group.age_ms?, pushed.change.version.as_deref()))
    }

    /// Stores when the author wrote the row, for tables where the later edit wins. `before`: the
    /// row before the change.
    pub(super) fn record_author_time(
        &self,
        pushed: &RowChange<'_>,
        before: Option<&Row>,
    ) -> Result<(), ChangeError> {
        let RowChange { change, table, key, .. } = *pushed;
        let written = self.written_at(pushed);
        let (Policy::LastWriteWins, Some(mut at)) = (table.policy, written) else {
            return Ok(());
        };
        let Some(stored) = self.stored(table, key)? else { return Ok(()) };
        let version = stored.row.version(table);
        if let Some(before) = before {
            if before.version(table) == version {
                return Ok(()); // Nothing was written: the row had these values already.
            }
            // Columns merge, but the row has one time: an older edit of another column does not
            // lower it.
            at = at.max(present_at(self.settled()?, table, &change.id, before)?);
        }
        if time::parse(&version).is_some_and(|came| at < came) {
            self.settled()?.put_written_at(table, &change.id, &version, at)?;
        }
        Ok(())
    }
}

/// When the author wrote the row, if stored for this version; otherwise when the write arrived.
pub(super) fn present_at(
    reading: &dyn Writing,
    table: &Table,
    id: &str,
    row: &Row,
) -> Result<i64, Fault> {
    let version = row.version(table);
    let stored = reading.written_at(table, id, &version)?;
    Ok(stored.or_else(|| time::parse(&version)).unwrap_or(i64::MIN))
}
