//! What a device pushes, in its order: it waits for verdicts that it depends on, and is applied whole and to the columns
//! meant. What an undo pushes takes back no edit but its own.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::engine::capture::patch::{ColumnPatch, PatchKind, RowPatch};
use rejoin_core::engine::queue::mutation::{Mutation, ParkReason};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::{MutationId, Seq};
use rejoin_protocol::wire::push::{Group, Operation};
use serde_json::value::RawValue;

use super::book::Doing;
use super::exceptions::FOLLOWS;
use super::history::{Name, Rows};
use super::schema::TINT;
use super::sight;
use super::site::{Offered, cells};
use super::world::World;
use crate::simulate::{Checked, broken};

/// What was given up after it was sent.
#[derive(Debug, Clone)]
pub(super) struct Withdrawn {
    pub(super) id: MutationId,
    pub(super) seq: Seq,
    pub(super) rows: Vec<Name>,
}

/// What was offered so far.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Devices that have sent a mutation: copies of a file send the same.
    senders: BTreeMap<String, BTreeSet<usize>>,
}

impl Offers {
    /// Whether nobody but this device ever sent it.
    pub(super) fn is_of_one(&self, id: MutationId) -> bool {
        self.senders.get(&id.to_string()).is_none_or(|devices| devices.len() == 1)
    }
}

impl World<'_> {
    /// Looks at what was pushed since the last look.
    pub(super) fn look_at_pushes(&mut self, at: usize) -> Checked {
        for push in self.site.pushes.take() {
            self.waits_for_the_word(at, &push)?;
            self.is_after_what_it_read(&push)?;
            let schema = self.seats[at].device.engine().schema().clone();
            for Offered { group, fresh, .. } in &push {
                self.offers.senders.entry(group.id.clone()).or_default().insert(at);
                if *fresh {
                    self.is_meant(&schema, group)?;
                }
            }
        }
        Ok(())
    }

    /// O4: what read what an earlier action wrote is accepted only after that.
    fn is_after_what_it_read(&self, push: &[Offered]) -> Checked {
        let doing = |id: &str| {
            let written = self.book.of(MutationId::parse(id)?)?;
            written.doing.clone().filter(|_| !self.is_excepted(FOLLOWS, written))
        };
        for (at, one) in push.iter().enumerate() {
            let told = doing(&one.group.id).filter(|_| one.fresh);
            let Some(Doing::Tell(_, of)) = told else { continue };
            for earlier in push[..at].iter().filter(|earlier| !earlier.accepted) {
                if matches!(doing(&earlier.group.id), Some(Doing::Take(tally, _)) if tally == of) {
                    let (id, took) = (&one.group.id, &earlier.group.id);
                    return broken!(
                        FOLLOWS,
                        "{id} told of what {took} took, which was not accepted"
                    );
                }
            }
        }
        Ok(())
    }

    /// S1, S2: what was accepted went where it was meant to go, and all of it did.
    fn is_meant(&self, schema: &Schema, group: &Group) -> Checked {
        let Some(written) = MutationId::parse(&group.id).and_then(|id| self.book.of(id)) else {
            return Ok(());
        };
        for change in &group.changes {
            let sent = cells(change.data.as_deref().map(RawValue::get));
            let is_tint = change.table_name == "marks" && sent.iter().any(|(name, _)| name == TINT);
            // A row that is brought back has more in it than was written.
            let (meant, is) = (written.tint, self.site.identity());
            if is_tint && meant.is_some() && meant != is {
                return broken!(
                    "column-is-the-one-meant",
                    "{} meant column {meant:?}, and wrote {is:?}",
                    group.id
                );
            }
            let name = (change.table_name.clone(), change.id.clone());
            let mut rows = written.first.effect.rows.iter();
            let of_row = |patch: &&RowPatch| sight::name(schema, patch).as_ref() == Some(&name);
            let Some(patch) = rows.find(of_row).filter(|_| written.first.action.is_none()) else {
                continue;
            };
            let table = schema.table(patch.row.table);
            let is_open = |column: &&ColumnPatch| {
                let at = table.and_then(|table| table.position(column.column));
                let known = table.zip(at).map(|(table, at)| &table.columns[at]);
                column.is_change() && known.is_none_or(|column| !column.protected)
            };
            let open = patch.columns.iter().filter(is_open).count();
            let is_update =
                patch.kind == PatchKind::Update && change.operation == Operation::Update;
            if is_update && sent.len() < open {
                return broken!(
                    "mutation-is-applied-whole",
                    "{} wrote {patch:?}, and was taken for {sent:?}",
                    group.id
                );
            }
        }
        Ok(())
    }

    /// O12: what follows upon rows of something that was given up is not sent before the server's word on that.
    fn waits_for_the_word(&self, at: usize, push: &[Offered]) -> Checked {
        for open in &self.seats[at].open {
            let follows = |group: &&Group| {
                group.seq > open.seq.0
                    && group.id != open.id.to_string()
                    && named(group).iter().any(|name| open.rows.contains(name))
            };
            if let Some(group) = push.iter().map(|one| &one.group).find(follows) {
                return broken!(
                    "follower-waits-for-verdict",
                    "{} was given up and is open: {group:?}",
                    open.id
                );
            }
        }
        Ok(())
    }

    /// O12: nor is it held against what comes in meanwhile.
    pub(super) fn waits_unjudged(&self, at: usize, parked: &Mutation) -> Checked {
        let Some(written) = self.book.of(parked.id) else { return Ok(()) };
        if parked.reason != Some(ParkReason::Conflicted) || written.rows.len() > 1 {
            return Ok(());
        }
        let open = self.open_at(at);
        match open.iter().find(|open| open.rows.iter().any(|name| written.rows.contains(name))) {
            None => Ok(()),
            Some(open) => broken!(
                "follower-is-not-compared",
                "{} was given up and is open, and this is parked: {parked:?}",
                open.id
            ),
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

    /// O13: an undo takes back what the mutation did to the server, where that still stands, and nothing else.
    pub(super) fn takes_back_its_own(
        &mut self,
        at: usize,
        id: MutationId,
        made: MutationId,
        view: &Rows,
    ) -> Checked {
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
                return broken!(
                    "undo-takes-back-its-own-edit",
                    "{id} did nothing to {name:?}, and its undo does"
                );
            };
            let wrote: BTreeMap<_, _> = sight::written(&schema, own).into_iter().collect();
            let stood = view.get(&name);
            let back = match patch.kind {
                PatchKind::Update => sight::written(&schema, patch),
                PatchKind::Delete => sight::written(&schema, own),
                PatchKind::Insert => continue,
            };
            for (column, _) in back.iter().filter(|(column, _)| is_told(column)) {
                let mine = wrote.get(column);
                let stands = stood.and_then(|row| row.get(column)).cloned();
                if mine != Some(&stands) {
                    return broken!(
                        "undo-takes-back-its-own-edit",
                        "{id} wrote {mine:?} into {name:?}, its undo finds {stands:?}"
                    );
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
