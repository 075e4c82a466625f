//! Where the engine calls the host's hooks: within a push, before the work of a device that was away, and after the work.
//!
//! What a hook does can undo its own group and nothing else: a panic is caught, and never taken for a yes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Group, Operation, Verdict};
use rejoin_protocol::wire::row::RowImage;
use rejoin_protocol::{Value, time};

use super::contest::Contest;
use super::judge::{Judge, Outcome, Stop};
use super::push::{Push, ended};
use super::{Caller, Engine};
use crate::error::{Fault, Refusal};
use crate::hooks::{
    Accepted, Changed, Conflict, Hooks, Incompatible, Pulled, Settled, SnapshotReason,
    SnapshotRequired, Veto, Within,
};
use crate::model::{Client, Row, StaleClient, Table};
use crate::store::{Reading, Writing, read};

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// What a device is told where a hook failed.
const UNDECIDED: &str = "the server could not decide now";

/// What a host says of changes that are written.
pub(super) enum Heard {
    Stays,
    Refused(String),
    Later(String),
}

/// Asks the host whether what is written stays. The caller holds the savepoint that takes it back.
pub(super) fn hear(
    hooks: &dyn Hooks,
    accepted: &Accepted<'_>,
    writing: &dyn Writing,
) -> Result<Heard, Fault> {
    let within = Within::new(writing);
    let said = catch_unwind(AssertUnwindSafe(|| hooks.accepted(accepted, &within)));
    if let Some(fault) = within.fault() {
        return Err(fault);
    }
    Ok(match said {
        Ok(Ok(())) => Heard::Stays,
        Ok(Err(Veto::Refuse(why))) => Heard::Refused(why),
        Ok(Err(Veto::Later(why))) => Heard::Later(why),
        Ok(Err(Veto::Failed(why))) => {
            tracing::warn!(why, mutation = accepted.mutation, "the hook `accepted` failed");
            Heard::Later(String::from(UNDECIDED))
        }
        Err(_) => {
            tracing::error!(mutation = accepted.mutation, "the hook `accepted` panicked");
            Heard::Later(String::from(UNDECIDED))
        }
    })
}

impl Push<'_> {
    /// What becomes of a judged group when the host has been asked about it.
    pub(super) fn heard(&self, group: &Group, judged: Outcome) -> Result<Outcome, Fault> {
        let (Some(hooks), Outcome::Accepted { displaced }) = (self.hooks, &judged) else {
            return Ok(judged);
        };
        match hear(hooks, &self.accepted(group, displaced), self.writing)? {
            Heard::Stays => Ok(judged),
            Heard::Refused(why) => {
                Ok(Outcome::Refused(ended(group, Ending::Rejected, code::HOOK_REFUSED, &why)))
            }
            Heard::Later(why) => {
                let verdict = ended(group, Ending::Retry, code::HOOK_LATER, &why);
                Ok(Outcome::Later(Verdict { retryable: true, ..verdict }))
            }
        }
    }

    /// A delete that found no row is none of its changes: nothing shows that the row was ever this user's.
    fn accepted<'g>(&'g self, group: &'g Group, displaced: &[RowImage]) -> Accepted<'g> {
        let is_real = |change: &&Change| {
            let found_none = |row: &RowImage| {
                row.absent && row.table_name == change.table_name && row.id == change.id
            };
            change.operation != Operation::Delete || !displaced.iter().any(found_none)
        };
        let changed = |change: &'g Change| Changed {
            table: &change.table_name,
            id: &change.id,
            operation: change.operation,
        };
        Accepted {
            user: &self.caller.user,
            client_id: self.client_id,
            mutation: Some(&group.id),
            action: group.action.as_ref(),
            now: self.now,
            changes: group.changes.iter().filter(is_real).map(changed).collect(),
        }
    }
}

/// The conflicts of a push, for the host; nothing is noted where there is none.
#[derive(Default)]
pub(super) struct Met(Option<RefCell<Vec<Conflict>>>);

impl Met {
    pub(super) fn new(hooks: Option<&dyn Hooks>) -> Self {
        Self(hooks.map(|_| RefCell::default()))
    }

    /// A conflict, made only if somebody wants to hear of it.
    pub(super) fn note(&self, conflict: impl FnOnce() -> Option<Conflict>) {
        if let Some(met) = &self.0 {
            let conflict = conflict();
            met.borrow_mut().extend(conflict);
        }
    }

    /// What was undone since so many were noted went over no row.
    pub(super) fn undone(&self, begun: usize) {
        self.keep(begun, |conflict| conflict.settled != Settled::Written);
    }

    /// Nothing was decided since so many were noted.
    pub(super) fn undecided(&self, begun: usize) {
        self.keep(begun, |_| false);
    }

    fn keep(&self, begun: usize, holds: impl FnMut(&Conflict) -> bool) {
        let Some(met) = &self.0 else { return };
        let mut met = met.borrow_mut();
        let begun = begun.min(met.len());
        let since = met.split_off(begun);
        met.extend(since.into_iter().filter(holds));
    }

    /// Whether a row was kept against a change since so many were noted.
    fn has_kept(&self, noted: usize, table: &str, id: &str) -> bool {
        let is_it = |conflict: &Conflict| {
            conflict.settled == Settled::Kept && conflict.table == table && conflict.id == id
        };
        self.0.as_ref().is_some_and(|met| met.borrow().iter().skip(noted).any(is_it))
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |met| met.borrow().len())
    }

    pub(super) fn into_all(self) -> Vec<Conflict> {
        self.0.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// Whether a code tells of somebody else's change. A row that is not this user's to see is nobody's conflict.
pub(super) fn contended(word: &str) -> Option<&'static str> {
    let all = [code::ROW_CHANGED, code::ROW_EXISTS, code::ROW_DELETED, code::ROW_SUPERSEDED];
    all.into_iter().find(|known| *known == word)
}

/// The cells by the names of their columns.
pub(super) fn by_name<'c>(
    table: &Table,
    cells: impl Iterator<Item = (usize, &'c Value)>,
) -> BTreeMap<String, Value> {
    let named = cells.filter_map(|(at, value)| {
        table.columns.get(at).map(|column| (column.name.clone(), value.clone()))
    });
    named.collect()
}

impl Judge<'_> {
    /// Notes how a change that met another row has ended.
    pub(super) fn note_contest(
        &self,
        contest: &Contest<'_>,
        row: &Row,
        why: &(&'static str, Option<String>),
        done: &Result<(), Stop>,
    ) {
        self.met.note(|| {
            let Contest { group, change, table, data, .. } = *contest;
            let settled = match done {
                Ok(()) => Settled::Written,
                Err(Stop::Verdict(why)) if why.0 == Ending::Conflict => Settled::Kept,
                Err(Stop::Verdict(why)) if why.1 == code::RESOLVER_REFUSED => Settled::Refused,
                Err(_) => return None,
            };
            let told = match done {
                Err(Stop::Verdict(why)) => why.1, // `row.superseded`, say.
                _ => why.0,
            };
            Some(Conflict {
                user: self.user.to_owned(),
                client_id: self.client_id.to_owned(),
                mutation: Some(group.id.clone()),
                table: table.name.clone(),
                id: change.id.clone(),
                column: why.1.clone(),
                operation: Some(change.operation),
                code: contended(told).or_else(|| contended(why.0))?,
                present: by_name(table, row.cells.iter().enumerate()),
                sent: by_name(table, data.iter().map(|(at, value)| (*at, value))),
                settled,
            })
        });
    }

    /// Notes a conflict of which only the verdict tells: of an action, or with a row that is gone.
    pub(super) fn note_verdict(&self, group: &Group, verdict: &Verdict, noted: usize) {
        if verdict.verdict != Ending::Conflict {
            return;
        }
        self.met.note(|| {
            let (table, id) = (verdict.table_name.clone()?, verdict.record_id.clone()?);
            if self.met.has_kept(noted, &table, &id) {
                return None;
            }
            let mut changes = group.changes.iter();
            let change = changes.find(|change| change.table_name == table && change.id == id);
            Some(Conflict {
                user: self.user.to_owned(),
                client_id: self.client_id.to_owned(),
                mutation: Some(group.id.clone()),
                table,
                id,
                column: verdict.column.clone(),
                operation: change.map(|change| change.operation),
                code: contended(verdict.code.as_deref()?)?,
                present: BTreeMap::new(),
                sent: BTreeMap::new(),
                settled: Settled::Kept,
            })
        });
    }
}

impl Engine {
    /// Tells the host, if it wants to hear; what becomes of it there changes no answer.
    pub(crate) fn tell(&self, told: impl FnOnce(&dyn Hooks)) {
        let Some(hooks) = &self.hooks else { return };
        if catch_unwind(AssertUnwindSafe(|| told(&**hooks))).is_err() {
            tracing::error!("a hook panicked");
        }
    }

    pub(super) fn tell_conflicts(&self, met: &[Conflict]) {
        for conflict in met {
            self.tell(|hooks| hooks.conflict(conflict));
        }
    }

    pub(super) fn tell_pulled(
        &self,
        caller: &Caller,
        client_id: &str,
        (position, rows, has_more): (i64, usize, bool),
    ) {
        self.tell(|hooks| {
            let user = &caller.user;
            hooks.pull_complete(&Pulled { user, client_id, position, rows, has_more });
        });
    }

    /// Tells of a device that was told to take a snapshot. The log is asked for its end only if somebody hears.
    pub(super) fn tell_snapshot(
        &self,
        caller: &Caller,
        client_id: &str,
        position: Option<i64>,
        reason: SnapshotReason,
    ) {
        if self.hooks.is_none() {
            return;
        }
        let log = read(&*self.store, |reading: &dyn Reading| reading.log_state());
        let watermark = log.map_or(0, |log| log.watermark);
        let user = &caller.user;
        self.tell(|hooks| {
            let told = SnapshotRequired { user, client_id, position, watermark, reason };
            hooks.snapshot_required(&told);
        });
    }

    /// Tells of an app that is too old, if it was refused for that.
    pub(crate) fn tell_incompatible(
        &self,
        fault: &Fault,
        user: &str,
        client_id: Option<&str>,
        app_version: &str,
    ) {
        let is_too_old = |refusal: &Refusal| refusal.code == code::UPGRADE_REQUIRED;
        if let (Fault::Refused(refusal), Some(least)) = (fault, &self.min_app_version)
            && is_too_old(refusal)
        {
            self.tell(|hooks| {
                hooks.schema_incompatible(&Incompatible { user, client_id, app_version, least });
            });
        }
    }

    /// Stops the work where the host is to be asked first, whether a device that was away for longer than the log is kept
    /// comes in ([`asking`](Self::asking)).
    pub(super) fn let_in(
        &self,
        caller: &Caller,
        client_id: &str,
        client: &Client,
    ) -> Result<(), Fault> {
        if self.hooks.is_none() || caller.let_in {
            return Ok(());
        }
        let last = client.last_pull_at.as_ref().max(client.last_push_at.as_ref());
        let Some((last, at)) = last.and_then(|last| Some((last, time::parse(last)?))) else {
            return Ok(()); // It has never been here.
        };
        if self.clock.now() - at <= DAY * i64::from(self.retention.log_days) {
            return Ok(());
        }
        Err(Fault::Stale(Box::new(StaleClient {
            user: caller.user.clone(),
            client_id: client_id.to_owned(),
            last_sync_at: last.clone(),
        })))
    }

    /// Runs the work, and where it stopped for a device that was away asks the host, outside the transaction; then runs it
    /// once more.
    pub(crate) fn asking<T>(
        &self,
        caller: &Caller,
        work: impl Fn(&Caller) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (client, hooks) = match (work(caller), &self.hooks) {
            (Err(Fault::Stale(client)), Some(hooks)) => (client, hooks),
            (done, _) => return done,
        };
        match catch_unwind(AssertUnwindSafe(|| hooks.stale_client(&client))) {
            Ok(true) => work(&Caller { let_in: true, ..caller.clone() }),
            Ok(false) => {
                let message = "this device was away for longer than this server lets in";
                Err(Refusal::new(403, code::CLIENT_STALE, message).into())
            }
            Err(_) => Err(Fault::Transient(String::from("the hook `stale_client` panicked"))),
        }
    }
}
