//! What pushes say one after another: nothing is offered as it was found in conflict, nobody is beset for ever, an action is
//! taken only while what it read still stands, and what follows upon something that was given up waits for the server's word.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::engine::capture::patch::{PatchKind, RowPatch};
use rejoin_core::engine::queue::mutation::{Mutation, ParkReason};
use rejoin_core::ids::{MutationId, Seq};
use rejoin_protocol::wire::push::{Ending, Group, Verdict};
use serde_json::value::RawValue;

use super::book::{Doing, number};
use super::history::{Name, Rows};
use super::sight;
use super::site::cells;
use super::world::World;

/// Conflicts after which an edit goes over whatever stands there, or is the app's to decide of.
const CONFLICTS: u32 = 4;

/// A push that the server answered, as its witness saw it.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) groups: Vec<Group>,
    pub(super) verdicts: Vec<Verdict>,
    /// Those that were accepted just now.
    pub(super) fresh: BTreeSet<String>,
    /// The rows before it.
    pub(super) before: Rows,
    /// The server's changes after it.
    pub(super) tick: usize,
}

/// What was given up after it was sent.
#[derive(Debug, Clone)]
pub(super) struct Withdrawn {
    pub(super) id: MutationId,
    pub(super) seq: Seq,
    pub(super) rows: Vec<Name>,
}

/// The conflicts of a mutation since its app decided of anything.
#[derive(Debug)]
struct Conflicts {
    attempt: i64,
    /// What it compared and wrote, and the server's changes after it.
    content: String,
    tick: usize,
    times: u32,
}

/// What was offered so far.
#[derive(Debug, Default)]
pub(super) struct Offers {
    conflicts: BTreeMap<(usize, String), Conflicts>,
    /// Devices that have sent a mutation: copies of a file send the same.
    senders: BTreeMap<String, BTreeSet<usize>>,
    /// What the app offered again: an action among it has read what its author saw then.
    pub(super) retried: BTreeSet<MutationId>,
    /// Cells that a mutation was accepted for, and what they had before.
    displaced: BTreeMap<(String, Name, String), Option<String>>,
    /// Whether a restored server has forgotten what would show a device that it was restored.
    pub(super) is_past_proof: bool,
}

impl Offers {
    /// Somebody decided of something, or sees other rows now.
    pub(super) fn begin_anew(&mut self) {
        self.conflicts.clear();
    }

    /// Whether nobody but this device ever sent it.
    pub(super) fn is_of_one(&self, id: MutationId) -> bool {
        self.senders.get(&id.to_string()).is_none_or(|devices| devices.len() == 1)
    }
}

impl World<'_> {
    /// Looks at what was pushed since the last look.
    pub(super) fn look_at_pushes(&mut self, at: usize) -> Result<(), String> {
        for push in self.site.pushes.take() {
            self.is_another_offer(at, &push)?;
            self.has_read_what_stands(&push)?;
            self.waits_for_the_word(at, &push)?;
            self.note_displaced(&push);
        }
        Ok(())
    }

    /// O10: what was in conflict is not offered again while its rows are as they were; and not for ever.
    fn is_another_offer(&mut self, at: usize, push: &Pushed) -> Result<(), String> {
        for group in &push.groups {
            self.offers.senders.entry(group.id.clone()).or_default().insert(at);
        }
        for group in &push.groups {
            let ended = push.verdicts.iter().find(|verdict| verdict.id == group.id);
            if ended.is_none_or(|verdict| verdict.verdict != Ending::Conflict)
                || self.offers.senders[&group.id].len() > 1
            {
                continue;
            }
            let (attempt, tick, content) = (group.attempt, push.tick, content(group));
            let mut times = 1;
            if let Some(before) = self.offers.conflicts.get(&(at, group.id.clone())) {
                // Also an earlier one, which comes late.
                if before.attempt >= attempt {
                    continue;
                }
                times += before.times;
                let rows = named(group);
                let history = self.site.history();
                let mut since = history.changes.iter().skip(before.tick);
                if before.content == content && !since.any(|change| rows.contains(&change.name)) {
                    return Err(format!(
                        "O10: nothing has changed, and it is offered again: {group:?}"
                    ));
                }
            }
            if times > CONFLICTS && !group.old_only {
                return Err(format!("O10: {times} conflicts, and it does not insist: {group:?}"));
            }
            self.offers
                .conflicts
                .insert((at, group.id.clone()), Conflicts { attempt, content, tick, times });
        }
        Ok(())
    }

    /// O8: what an action has read by key is what stood there when it was accepted.
    fn has_read_what_stands(&self, push: &Pushed) -> Result<(), String> {
        // Another life of the server is offered what was accepted as it was.
        if self.restored {
            return Ok(());
        }
        let rows = push.before.iter().filter(|(name, _)| name.0 == "tallies");
        let mut tallies: BTreeMap<&str, Option<i64>> =
            rows.map(|(name, row)| (name.1.as_str(), number(row, "m"))).collect();
        for group in push.groups.iter().filter(|group| push.fresh.contains(&group.id)) {
            let written = MutationId::parse(&group.id).and_then(|id| self.book.of(id));
            let written = written.filter(|one| !self.offers.retried.contains(&one.id));
            if let Some(Doing::Vouch(_, of, m)) = written.and_then(|one| one.doing.as_ref())
                && let Some(is) = tallies.get(of.as_str()).filter(|is| **is != Some(*m))
            {
                return Err(format!("O8: {} vouches for {m} of {of}, which has {is:?}", group.id));
            }
            for change in group.changes.iter().filter(|change| change.table_name == "tallies") {
                let mut sent = cells(change.data.as_deref().map(RawValue::get)).into_iter();
                if let Some((_, m)) = sent.find(|(column, _)| column == "m") {
                    tallies.insert(&change.id, m.and_then(|m| m.parse().ok()));
                }
            }
        }
        Ok(())
    }

    /// O12: what follows upon rows of something that was given up is not sent before the server's word on that.
    fn waits_for_the_word(&self, at: usize, push: &Pushed) -> Result<(), String> {
        for open in &self.seats[at].open {
            let follows = |group: &&Group| {
                group.seq > open.seq.0
                    && group.id != open.id.to_string()
                    && named(group).iter().any(|name| open.rows.contains(name))
            };
            if let Some(group) = push.groups.iter().find(follows) {
                return Err(format!("O12: {} was given up and is open: {group:?}", open.id));
            }
        }
        Ok(())
    }

    /// O12: nor is it held against what comes in meanwhile.
    pub(super) fn waits_unjudged(&self, at: usize, parked: &Mutation) -> Result<(), String> {
        let Some(written) = self.book.of(parked.id) else { return Ok(()) };
        if parked.reason != Some(ParkReason::Conflicted) || written.rows.len() > 1 {
            return Ok(());
        }
        let open = self.open_at(at);
        match open.iter().find(|open| open.rows.iter().any(|name| written.rows.contains(name))) {
            None => Ok(()),
            Some(open) => Err(format!(
                "O12: {} was given up and is open, and this is parked: {parked:?}",
                open.id
            )),
        }
    }

    /// What a device has given up, and has no word on.
    pub(super) fn open_at(&self, at: usize) -> Vec<Withdrawn> {
        let seat = &self.seats[at];
        if seat.withdrawn.is_empty() {
            return Vec::new();
        }
        let open = seat.device.raw("SELECT group_concat(lower(hex(id)), ' ') FROM rejoin_cancel");
        let is_open = |one: &&Withdrawn| open.contains(&one.id.to_string().replace('-', ""));
        seat.withdrawn.iter().filter(is_open).cloned().collect()
    }

    fn note_displaced(&mut self, push: &Pushed) {
        let fresh = || push.groups.iter().filter(|group| push.fresh.contains(&group.id));
        for group in fresh() {
            for change in &group.changes {
                let name = (change.table_name.clone(), change.id.clone());
                let row = push.before.get(&name);
                let Some(row) =
                    row.filter(|_| fresh().filter(|one| named(one).contains(&name)).count() == 1)
                else {
                    continue;
                };
                for (column, _) in cells(change.data.as_deref().map(RawValue::get)) {
                    let was = row.get(&column).cloned();
                    self.offers.displaced.insert((group.id.clone(), name.clone(), column), was);
                }
            }
        }
    }

    /// O13: an undo takes back what the mutation did to the server, where that still stands, and nothing else.
    pub(super) fn takes_back_its_own(
        &mut self,
        at: usize,
        id: MutationId,
        made: MutationId,
        view: &Rows,
    ) -> Result<(), String> {
        let schema = self.seats[at].device.engine().schema().clone();
        let (Some(done), Some(undo)) = (self.book.of(id), self.book.of(made)) else {
            return Ok(());
        };
        if done.first.action.is_some() {
            return Ok(());
        }
        let row_of = |patch: &RowPatch| sight::name(&schema, patch);
        for patch in &undo.first.effect.rows {
            let name = row_of(patch);
            let Some(name) = name else { continue };
            let own = done.first.effect.rows.iter().find(|own| row_of(own).as_ref() == Some(&name));
            let Some(own) = own else {
                return Err(format!("O13: {id} did nothing to {name:?}, and its undo does"));
            };
            let wrote: BTreeMap<_, _> = sight::written(&schema, own).into_iter().collect();
            let stood = view.get(&name);
            let back: BTreeMap<_, _> = match patch.kind {
                PatchKind::Update => sight::written(&schema, patch).into_iter().collect(),
                PatchKind::Delete => wrote.clone(),
                PatchKind::Insert => continue,
            };
            for (column, back) in back.iter().filter(|(column, _)| is_told(column)) {
                let mine = wrote.get(column);
                let stands = stood.and_then(|row| row.get(column)).cloned();
                if mine != Some(&stands) {
                    return Err(format!(
                        "O13: {id} wrote {mine:?} into {name:?}, its undo finds {stands:?}"
                    ));
                }
                let key = (id.to_string(), name.clone(), column.clone());
                let was = self.offers.displaced.get(&key);
                let is_known = !self.restored && self.offers.is_of_one(id);
                let is_wrong = |was: &&Option<String>| Some(*was) == mine || *was != back;
                if patch.kind == PatchKind::Update
                    && let Some(was) = was.filter(|_| is_known).filter(is_wrong)
                {
                    return Err(format!(
                        "O13: {id} displaced {was:?} by {mine:?} in {name:?}, and goes back to {back:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn is_told(column: &str) -> bool {
    ["name", "note", "level"].contains(&column)
}

fn named(group: &Group) -> Vec<Name> {
    let changes = group.changes.iter().map(|one| (one.table_name.clone(), one.id.clone()));
    let reads = group.reads.iter().map(|one| (one.table_name.clone(), one.id.clone()));
    changes.chain(reads).collect()
}

fn content(group: &Group) -> String {
    format!("{:?} {:?}", group.changes, group.reads)
}
