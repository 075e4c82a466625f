//! What a push says, held against what the mutation is: what it sends is what it wrote, and what it believes the server had.

use rejoin_core::engine::capture::patch::{ColumnPatch, PatchKind, RowPatch};
use rejoin_core::engine::queue::mutation::{Mutation, State};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;
use rejoin_protocol::wire::push::{Change, Group, Operation};
use serde_json::value::RawValue;

use super::history::{Name, Rows};
use super::schema::TINT;
use super::sight;
use super::site::cells;
use super::world::World;

/// Columns of which no two writes are alike, but for those of actions.
const TOLD: [&str; 3] = ["name", "note", TINT];

impl World<'_> {
    /// R9, R10: what a push carries beside what was written is what a server had, and not what only this device believes.
    pub(super) fn says_what_was(&mut self, at: usize) -> Result<(), String> {
        let asked = self.site.asked.take();
        if asked.is_empty() {
            return Ok(());
        }
        let schema = self.seats[at].device.engine().schema().clone();
        for (group, accepted) in &asked {
            if *accepted {
                self.is_meant(&schema, group)?;
            }
            for change in &group.changes {
                self.has_had_version(at, change)?;
                self.brings_back_what_was(group, change)?;
            }
        }
        Ok(())
    }

    /// S1, S2: what was accepted went where it was meant to go, and all of it did.
    fn is_meant(&self, schema: &Schema, group: &Group) -> Result<(), String> {
        let Some(written) = MutationId::parse(&group.id).and_then(|id| self.book.of(id)) else {
            return Ok(());
        };
        for change in &group.changes {
            let sent = cells(change.data.as_deref().map(RawValue::get));
            let is_tint = change.table_name == "marks" && sent.iter().any(|(name, _)| name == TINT);
            // A row that is brought back has more in it than was written.
            let (meant, is) = (written.tint, self.site.identity());
            if is_tint && meant.is_some() && meant != is {
                return Err(format!("S1: {} meant column {meant:?}, and wrote {is:?}", group.id));
            }
            let name = named(change);
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
                return Err(format!(
                    "S2: {} wrote {patch:?}, and was taken for {sent:?}",
                    group.id
                ));
            }
        }
        Ok(())
    }

    /// R9: a version is that of the base, which came from a server: apps write times of their own into their rows.
    fn has_had_version(&self, at: usize, change: &Change) -> Result<(), String> {
        let Some(version) = &change.version else { return Ok(()) };
        let name = named(change);
        if self.site.history().ever(&name, "updated_at", version) {
            return Ok(());
        }
        Err(format!("R9: {at} says that {name:?} was of {version}, which no server gave it"))
    }

    /// R10: a row that is brought back has what this mutation wrote, and else what the server had: nothing of other edits.
    fn brings_back_what_was(&self, group: &Group, change: &Change) -> Result<(), String> {
        let written = MutationId::parse(&group.id).and_then(|id| self.book.of(id));
        let plain = written.filter(|one| one.first.action.is_none());
        let Some(written) = plain.filter(|_| change.operation == Operation::Create) else {
            return Ok(());
        };
        let name = named(change);
        for (column, value) in cells(change.data.as_deref().map(RawValue::get)) {
            let Some(text) = value.as_ref().filter(|_| TOLD.contains(&column.as_str())) else {
                continue;
            };
            if !written.cells.contains(&(name.clone(), column.clone(), value.clone()))
                && !self.site.history().ever(&name, &column, text)
            {
                return Err(format!(
                    "R10: {} brings {name:?} back with {column} {text}, which is another edit's",
                    group.id
                ));
            }
        }
        Ok(())
    }
}

fn named(change: &Change) -> Name {
    (change.table_name.clone(), change.id.clone())
}

/// R7: what a server may have is what was sent, until its verdict.
pub(super) fn is_as_sent(was: &Mutation, one: &Mutation) -> Result<(), String> {
    let is_sent = |one: &Mutation| matches!(one.state, State::Sent | State::Uncertain);
    if is_sent(was) && is_sent(one) && was.attempt == one.attempt && was.effect != one.effect {
        return Err(format!("R7: {one:?} has no verdict, and was sent as {:?}", was.effect));
    }
    Ok(())
}

/// R10: where a create was parked just now, no edit of its row goes on without it.
pub(super) fn leaves_none_behind(
    schema: &Schema,
    base: &Rows,
    queue: &[Mutation],
    parked: &Mutation,
) -> Result<(), String> {
    let of = |one: &Mutation, kind: PatchKind| -> Vec<Name> {
        let rows = one.effect.rows.iter().filter(|patch| patch.kind == kind);
        rows.filter_map(|patch| sight::name(schema, patch)).collect()
    };
    let mut made = of(parked, PatchKind::Insert);
    made.retain(|name| !base.contains_key(name));
    for one in queue.iter().filter(|one| one.state != State::Parked) {
        // Whatever made the row too is what later ones stand upon.
        let makes = of(one, PatchKind::Insert);
        made.retain(|name| !makes.contains(name));
        let is_left = one.seq > parked.seq && one.state == State::Pending && one.action.is_none();
        let edits = of(one, PatchKind::Update);
        if let Some(name) = made.iter().find(|name| is_left && edits.contains(name)) {
            return Err(format!("R10: {name:?} is parked with {parked:?}, and not {one:?}"));
        }
    }
    Ok(())
}
