//! Rights that a push gives to its own user: a device that was offline sends a new project, its members and
//! the first tasks of it in one push.
//!
//! A transaction has the rights of its beginning. So it ends before the first group that puts a row into a
//! bucket without the right, if an earlier group has written a table that decides about rights. A group that
//! does both has the rights that its other changes give, if these are accepted without them.

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
use crate::model::{Access, Rights, Schema, Table};
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
        if !given || !needs_more(writing, &rights, group, request.schema_version)? {
            continue;
        }
        if at > 0 {
            return Ok(Slice { groups: groups.get(..at).unwrap_or(groups), rights, gives: false });
        }
        let transaction = UserTransaction::new(writing, None, &caller.user, (&rights, now));
        let more = own(engine, (transaction, caller), (request, group), budget)?;
        let groups = groups.get(..1).unwrap_or(groups);
        return Ok(Slice { groups, rights: more.unwrap_or(rights), gives: true });
    }
    Ok(Slice { groups, rights, gives: false })
}

/// Whether the group puts a row into a bucket without the right.
fn needs_more(
    writing: &dyn Writing,
    rights: &Rights,
    group: &Group,
    version: i64,
) -> Result<bool, Fault> {
    let naming = Naming::of(writing, group.schema_version.unwrap_or(version))?;
    Ok(group.changes.iter().any(|change| {
        let table = writing.schema().table(&change.table_name);
        let cells = table.map(|table| (table, decode(table, change.data.as_deref(), &naming)));
        change.operation != Operation::Delete
            && matches!(cells, Some((table, Ok(cells)))
                if bucket::foreign(table, None, &cells, rights).is_some())
    }))
}

/// The rights after the changes of the group that depend on no bucket; `None` if these are not accepted.
/// Nothing stays written.
fn own(
    engine: &Engine,
    (transaction, caller): (UserTransaction<'_>, &Caller),
    (request, group): (&PushRequest, &Group),
    budget: &Budget<'_>,
) -> Result<Option<Rights>, Fault> {
    let writing = transaction.writing;
    let mut first = group.clone();
    first.reads.clear();
    first.changes.retain(|change| {
        let table = writing.schema().table(&change.table_name);
        table.is_some_and(|table| !is_by_bucket(writing.schema(), table))
    });
    let (conflicts, own) = (ConflictLog::new(None), OwnWrites::default());
    let (client_id, checks) = (request.client_id.as_str(), &engine.checks);
    let evaluator =
        Evaluator { transaction, client_id, conflicts: &conflicts, checks, budget, own: &own };
    budget.begin_group(0);
    writing.begin()?;
    let outcome = evaluator.group(&first, request.schema_version)?;
    let is_accepted = matches!(outcome, Outcome::Accepted { .. });
    let rights = is_accepted.then(|| rights(writing, caller)).transpose()?;
    writing.undo()?;
    if let Some(Rights { reads, writes }) = rights.clone() {
        // Row level security cannot derive them yet.
        writing.act_for(&caller.user, &FurtherBuckets { reads, writes })?;
    }
    Ok(rights)
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
