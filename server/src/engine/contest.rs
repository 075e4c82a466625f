//! What cannot be merged: the table's policy and resolver decide, with all the data (D8, O10, O11).
//!
//! Only about rows that this user may write, and never about the server's own columns, parents or rules: these are asked
//! however a contest ends.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Group, Operation};
use rejoin_protocol::{Policy, Value, time};

use super::judge::{Cells, Judge, Stop, stop};
use super::naming::Naming;
use super::resolve::{Case, Resolved, is_later, written_at};
use super::sent::decode;
use crate::error::Fault;
use crate::model::resolver::Resolve;
use crate::model::{ReadScope, Row, Table};
use crate::store::Writing;

/// A change under judgement.
#[derive(Clone, Copy)]
pub(super) struct Contest<'a> {
    pub(super) group: &'a Group,
    pub(super) change: &'a Change,
    pub(super) naming: &'a Naming,
    pub(super) table: &'a Table,
    pub(super) key: &'a Value,
    /// What it would write.
    pub(super) data: &'a Cells,
}

impl Judge<'_> {
    /// Ends a conflict with a row: the change goes over it, or does not, and `why` is told.
    pub(super) fn contest(
        &self,
        contest: &Contest<'_>,
        row: &Row,
        why: Box<(Ending, &'static str, Option<String>, String)>,
    ) -> Result<(), Stop> {
        let Contest { group, change, table, .. } = *contest;
        let insists = change.force && table.policy.may_force();
        if insists && !row.is_deleted(table) {
            return self.overwrite(contest, row, contest.data);
        }
        let present_at = present_at(self.writing, table, &change.id, row)?;
        let written = self.written_at(contest);
        if let (Policy::LastWriteWins, Some(written)) = (table.policy, written) {
            if is_later(written, table.skew_tolerance_ms, present_at) {
                return self.overwrite(contest, row, contest.data);
            }
            let message = "somebody wrote the row later than this edit was made";
            return stop(Ending::Conflict, code::ROW_SUPERSEDED, None, message);
        }
        let Resolve::Custom(resolver) = &table.resolver else { return Err(Stop::Verdict(why)) };
        let seen = decode(table, change.old.as_deref(), contest.naming)?;
        let case = Case {
            table,
            id: &change.id,
            user: self.user,
            operation: change.operation,
            row,
            seen: &seen,
            sent: contest.data,
            // Of a table whose policy is another one, a device does not say how old its edits are.
            written_at: group.age_ms.and(written),
            present_at,
        };
        match case.ask(&**resolver)? {
            Resolved::Conflict => Err(Stop::Verdict(why)),
            Resolved::Apply => self.overwrite(contest, row, contest.data),
            Resolved::Write(cells) if row.is_deleted(table) => {
                self.resurrect(table, contest.key, row, &cells)
            }
            Resolved::Write(cells) => self.update(table, contest.key, row, &cells, None),
            Resolved::Refuse(why) => stop(Ending::Rejected, code::RESOLVER_REFUSED, None, why),
        }
    }

    fn overwrite(&self, contest: &Contest<'_>, row: &Row, data: &Cells) -> Result<(), Stop> {
        let Contest { table, key, .. } = *contest;
        match contest.change.operation {
            Operation::Delete => self.erase(table, key),
            _ if row.is_deleted(table) => self.resurrect(table, key, row, data),
            _ => self.update(table, key, row, data, None),
        }
    }

    /// When a change was made, if the device says how old it is.
    fn written_at(&self, contest: &Contest<'_>) -> Option<i64> {
        let now = time::parse(self.now)?;
        Some(written_at(now, contest.group.age_ms?, contest.change.version.as_deref()))
    }

    /// Notes when the row was written by its author, where the later edit wins. `before`: the row as it was.
    pub(super) fn note_written(
        &self,
        contest: &Contest<'_>,
        before: Option<&Row>,
    ) -> Result<(), Stop> {
        let Contest { change, table, key, .. } = *contest;
        let written = self.written_at(contest);
        let (Policy::LastWriteWins, Some(mut at)) = (table.policy, written) else {
            return Ok(());
        };
        let (scope, own) = (ReadScope::of(self.held), ReadScope::owned_by(self.user));
        let Some(stored) = self.writing.stored(table, key, &scope, &own)? else { return Ok(()) };
        let version = stored.row.version(table);
        if let Some(before) = before {
            if before.version(table) == version {
                return Ok(()); // Nothing was written: it was so already.
            }
            // Columns merge, and the row has one time: an older edit of another column takes none away.
            at = at.max(present_at(self.writing, table, &change.id, before)?);
        }
        if time::parse(&version).is_some_and(|came| at < came) {
            self.writing.put_written_at(table, &change.id, &version, at)?;
        }
        Ok(())
    }
}

/// When the row was written: by its author, if that is known of this version, else when it came here.
pub(super) fn present_at(
    reading: &dyn Writing,
    table: &Table,
    id: &str,
    row: &Row,
) -> Result<i64, Fault> {
    let version = row.version(table);
    let told = reading.written_at(table, id, &version)?;
    Ok(told.or_else(|| time::parse(&version)).unwrap_or(i64::MIN))
}
