//! Rights that a push gives to its own user: a device that was offline sends a new project, its members and
//! the first tasks of it in one push.
//!
//! A transaction has the rights of its beginning. So it ends before the first group that puts a row into a
//! bucket without the right, if an earlier group has written a table that decides about rights. A group that
//! does both is tried first, to know the rights that it gives.

use std::sync::Arc;

use rejoin_protocol::wire::push::{Change, Group, Operation, PushRequest};

use crate::config::{MembershipConfig, StreamConfig};
use crate::engine::budget::Budget;
use crate::engine::change::decode;
use crate::engine::conflict_log::ConflictLog;
use crate::engine::evaluate::{Evaluator, Outcome};
use crate::engine::naming::Naming;
use crate::engine::own_writes::OwnWrites;
use crate::engine::user_transaction::UserTransaction;
use crate::engine::{Caller, Engine, bucket, rights};
use crate::error::Fault;
use crate::model::{Access, PageLimit, ReadScope, Rights, Schema, Table};
use crate::store::{FurtherBuckets, Writing};

/// The tables that decide about rights: those of the membership, and those that a stream's query names.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecidingTables(Arc<[String]>);

impl DecidingTables {
    pub(crate) fn new(membership: Option<&MembershipConfig>, streams: &[StreamConfig]) -> Self {
        let is_between = |letter: char| !letter.is_alphanumeric() && letter != '_';
        // More words than tables: one too many costs a transaction, no right.
        let words = streams.iter().flat_map(|stream| stream.allow.split(is_between));
        let tables = membership.iter().flat_map(|membership| &membership.tables);
        Self(tables.map(String::as_str).chain(words).map(str::to_owned).collect())
    }

    fn has(&self, change: &Change) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(&change.table_name))
    }
}

/// What one transaction of a push decides.
pub(super) struct Slice<'g> {
    /// The first groups that are left.
    pub(super) groups: &'g [Group],
    /// The rights for them.
    pub(super) rights: Rights,
    /// Whether it is one group, which may give rights to itself.
    pub(super) gives: bool,
    /// Why the rights that it gives are not known now.
    pub(super) undecided: Option<String>,
}

impl<'g> Slice<'g> {
    fn of(groups: &'g [Group], number: usize, rights: Rights) -> Self {
        let groups = groups.get(..number).unwrap_or(groups);
        Self { groups, rights, gives: false, undecided: None }
    }
}

/// The groups that can be decided with one set of rights.
pub(super) fn slice<'g>(
    engine: &Engine,
    (writing, caller, now): (&dyn Writing, &Caller, &str),
    (request, groups): (&PushRequest, &'g [Group]),
    budget: &Budget<'_>,
) -> Result<Slice<'g>, Fault> {
    let rights = rights(writing, caller)?;
    let mut given = false;
    for (at, group) in groups.iter().enumerate() {
        given |= group.changes.iter().any(|change| engine.deciding.has(change));
        if !given || lacked(writing, &rights, group, request.schema_version)?.is_empty() {
            continue;
        }
        if at > 0 {
            return Ok(Slice::of(groups, at, rights));
        }
        let trial = Trial { engine, writing, caller, now, request, budget };
        let (rights, undecided) = match trial.own_rights(group, rights.clone())? {
            Ok(more) => (more, None),
            Err(why) => (rights, Some(why)),
        };
        return Ok(Slice { gives: true, undecided, ..Slice::of(groups, 1, rights) });
    }
    Ok(Slice::of(groups, groups.len(), rights))
}

/// The buckets into which the group puts rows without the right. An empty name stands for one that only the
/// database can write.
fn lacked(
    writing: &dyn Writing,
    rights: &Rights,
    group: &Group,
    version: i64,
) -> Result<Vec<String>, Fault> {
    let naming = Naming::of(writing, group.schema_version.unwrap_or(version))?;
    let mut lacked = Vec::new();
    for change in group.changes.iter().filter(|change| change.operation != Operation::Delete) {
        let Some(table) = writing.schema().table(&change.table_name) else { continue };
        let Ok(mut cells) = decode(table, change.data.as_deref(), &naming) else { continue };
        if change.operation == Operation::Create && cells.iter().all(|(at, _)| *at != table.key) {
            cells.extend(table.key_of(&change.id).map(|key| (table.key, key)));
        }
        if bucket::foreign(table, None, &cells, rights).is_some() {
            lacked.push(bucket::named(table, &cells).unwrap_or_default());
        }
    }
    lacked.sort_unstable();
    lacked.dedup();
    Ok(lacked)
}

/// Finds out which rights a group gives, without keeping what it writes.
struct Trial<'a> {
    engine: &'a Engine,
    writing: &'a dyn Writing,
    caller: &'a Caller,
    now: &'a str,
    request: &'a PushRequest,
    budget: &'a Budget<'a>,
}

impl Trial<'_> {
    /// The rights for a group that may give some to its own user.
    ///
    /// Those that its changes without buckets give, if these are accepted. Beyond, a group may found buckets
    /// in which no row is, if it leaves its user with the right: a new team and its members are in the bucket
    /// of this team. A bucket that has rows has members who decide.
    fn own_rights(
        &self,
        group: &Group,
        mut rights: Rights,
    ) -> Result<Result<Rights, String>, Fault> {
        let version = self.request.schema_version;
        let schema = self.writing.schema();
        let whole = Group { reads: Vec::new(), ..group.clone() };
        let mut without = whole.clone();
        without.changes.retain(|change| {
            schema.table(&change.table_name).is_some_and(|table| !is_by_bucket(schema, table))
        });
        match self.rights_after(&without, &rights)? {
            Ok(more) => rights = more.unwrap_or(rights),
            Err(why) => return Ok(Err(why)),
        }
        let founded = lacked(self.writing, &rights, group, version)?;
        if !founded.is_empty() && self.are_unused(&founded)? {
            match self.rights_after(&whole, &rights.with(&founded))? {
                Ok(Some(more)) if lacked(self.writing, &more, group, version)?.is_empty() => {
                    rights = more;
                }
                Ok(_) => {}
                Err(why) => return Ok(Err(why)),
            }
        }
        self.act(&rights)?;
        Ok(Ok(rights))
    }

    /// The user's rights after this group, evaluated with these; `None` if it is refused, or why that is not known.
    fn rights_after(
        &self,
        group: &Group,
        with: &Rights,
    ) -> Result<Result<Option<Rights>, String>, Fault> {
        let (conflicts, own) = (ConflictLog::new(None), OwnWrites::default());
        let evaluator = Evaluator {
            transaction: UserTransaction::new(
                self.writing,
                None,
                &self.caller.user,
                (with, self.now),
            ),
            client_id: &self.request.client_id,
            conflicts: &conflicts,
            checks: &self.engine.checks,
            budget: self.budget,
            own: &own,
        };
        self.budget.begin_group(0);
        self.writing.begin()?;
        self.act(with)?;
        let after = match evaluator.group(group, self.request.schema_version)? {
            Outcome::Accepted { .. } => Ok(Some(rights(self.writing, self.caller)?)),
            Outcome::Refused(_) => Ok(None),
            Outcome::Later(verdict) => Err(verdict.message.unwrap_or_default()),
            Outcome::Transient(why) => Err(why),
        };
        self.writing.undo()?;
        Ok(after)
    }

    /// Whether no live row is in any of these buckets.
    fn are_unused(&self, buckets: &[String]) -> Result<bool, Fault> {
        if buckets.iter().any(String::is_empty) {
            return Ok(false);
        }
        let further = FurtherBuckets { reads: buckets.to_vec(), writes: Vec::new() };
        self.writing.act_for(&self.caller.user, &further)?;
        let (room, scope) = (PageLimit { rows: 1, bytes: 1 }, ReadScope::of(buckets));
        for table in &self.writing.schema().tables {
            if !self.writing.page(table, None, room, &scope)?.rows.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets the rights for row level security, which cannot derive those to come.
    fn act(&self, Rights { reads, writes }: &Rights) -> Result<(), Fault> {
        let further = FurtherBuckets { reads: reads.clone(), writes: writes.clone() };
        self.writing.act_for(&self.caller.user, &further)
    }
}

/// Whether access to the table's rows depends on buckets that their contents name.
fn is_by_bucket(schema: &Schema, table: &Table) -> bool {
    let mut table = Some(table);
    // Bounded by the number of tables: no table is above itself.
    for _ in &schema.tables {
        let Some(one) = table else { return false };
        if bucket::column(one).is_some() {
            return true;
        }
        table = match one.access {
            Access::Chain { parent, .. } => schema.tables.get(parent),
            _ => None,
        };
    }
    false
}
