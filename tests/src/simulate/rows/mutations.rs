//! The model's own record of what each device did, by the ids that the app was given, and of the
//! outcome.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::engine::queue::mutation::Mutation;
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;
use rejoin_protocol::manifest::ColumnIdentity;
use serde_json::{Value as Json, json};

use super::device_state::{apply_recorded, name, put};
use super::history::{Name, Row, Rows, is_live};
use super::setting::is_light;

/// An action with its arguments; a second implementation of what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ActionCall {
    /// Decrements a tally's `m`.
    Take(String, i64),
    /// Decrements its `n`, and inserts a row that records it.
    Count(String, i64),
    /// Writes a tally's `m` into the note of a mark.
    CopyNumber(String, String),
    /// Writes an expected value of a tally's `m` into the note of a mark.
    Vouch(String, String, i64),
    /// Writes the notes of all marks.
    Sign(String),
    /// Writes a mark or an item, depending on a tally's `m`.
    Weigh(String, String),
    /// Reads a table that no action may read.
    Quote(String),
}

impl ActionCall {
    pub(super) fn name_and_arguments(&self) -> (&'static str, Json) {
        match self {
            Self::Take(id, by) => ("take", json!({"id": id, "by": by})),
            Self::Count(id, by) => ("count", json!({"id": id, "by": by})),
            Self::CopyNumber(id, of) => ("copy_number", json!({"id": id, "of": of})),
            Self::Vouch(id, of, m) => ("vouch", json!({"id": id, "of": of, "m": m})),
            Self::Sign(name) => ("sign", json!({"as": name})),
            Self::Weigh(id, of) => ("weigh", json!({"id": id, "of": of})),
            Self::Quote(id) => ("quote", json!({"id": id})),
        }
    }

    /// The row whose number it reads; for `sign` a row that is not a number.
    pub(super) fn reads(&self) -> Name {
        let (Self::Take(of, _)
        | Self::Count(of, _)
        | Self::CopyNumber(_, of)
        | Self::Vouch(_, of, _)
        | Self::Sign(of)
        | Self::Weigh(_, of)
        | Self::Quote(of)) = self;
        ("tallies".to_owned(), of.clone())
    }

    /// The rows that it may write beside that one, and beside one that it creates.
    pub(super) fn writes(&self) -> impl Iterator<Item = Name> {
        let id = match self {
            Self::CopyNumber(id, _) | Self::Vouch(id, ..) | Self::Weigh(id, _) => Some(id.clone()),
            _ => None,
        };
        let named = |id: String| ["items", "marks"].map(|table| (table.to_owned(), id.clone()));
        id.into_iter().flat_map(named)
    }

    /// Runs it on rows, as the engine should have done; a row that it creates has the engine's key.
    pub(super) fn run(
        &self,
        rows: &mut Rows,
        schema: &Schema,
        one: &Mutation,
    ) -> Result<(), String> {
        match self {
            Self::Take(id, by) => {
                let row = tally(rows, id).ok_or("there is no tally")?;
                let m = number(row, "m").filter(|m| m >= by).ok_or("there is too little")?;
                put(row, "m", Some((m - by).to_string()));
            }
            Self::Count(id, by) => {
                let mut made = Rows::new();
                apply_recorded(&mut made, schema, one, &mut BTreeSet::new());
                let row = tally(rows, id).ok_or("there is no tally")?;
                let n = number(row, "n").map(|n| (n - by).to_string());
                put(row, "n", n);
                rows.extend(made.into_iter().filter(|(name, _)| name.0 == "takings"));
            }
            Self::CopyNumber(id, of) => {
                let m = tally(rows, of).and_then(|row| row.get("m").cloned());
                let name = ("marks".to_owned(), id.clone());
                let row = rows.get_mut(&name).ok_or("there is no mark")?;
                put(row, "note", m.map(|m| format!("m{m}")));
            }
            Self::Vouch(id, of, m) => {
                let is = tally(rows, of).and_then(|row| number(row, "m"));
                is.filter(|is| is == m).ok_or("it has changed")?;
                let row = rows.get_mut(&("marks".to_owned(), id.clone()));
                put(row.ok_or("there is no mark")?, "note", Some(format!("v{m}")));
            }
            Self::Sign(name) => {
                for (_, row) in rows.iter_mut().filter(|(one, _)| one.0 == "marks") {
                    put(row, "note", Some(name.clone()));
                }
            }
            Self::Weigh(id, of) => weigh(rows, id, of),
            Self::Quote(_) => return Err("it reads a table that only this device has".to_owned()),
        }
        Ok(())
    }
}

fn weigh(rows: &mut Rows, id: &str, of: &str) {
    let m = tally(rows, of).and_then(|row| number(row, "m")).unwrap_or_default();
    let light = is_light(m);
    let name = (if light { "items" } else { "marks" }.to_owned(), id.to_owned());
    match rows.get_mut(&name) {
        Some(item) if light && is_live(item) => put(item, "name", Some("light".to_owned())),
        Some(mark) if !light => put(mark, "name", Some("heavy".to_owned())),
        _ => {}
    }
}

fn tally<'r>(rows: &'r mut Rows, id: &str) -> Option<&'r mut Row> {
    rows.get_mut(&("tallies".to_owned(), id.to_owned()))
}

/// A cell as a number.
pub(super) fn number(row: &Row, column: &str) -> Option<i64> {
    row.get(column)?.parse().ok()
}

/// What a mutation wrote: row, column, new value.
pub(super) type Cell = (Name, String, Option<String>);

/// A mutation that a device made.
#[allow(clippy::struct_excessive_bools)] // Each is an independent fact.
#[derive(Debug, Clone)]
pub(super) struct WrittenMutation {
    pub(super) id: MutationId,
    pub(super) user: String,
    pub(super) call: Option<ActionCall>,
    /// Its content at first.
    pub(super) first: Mutation,
    pub(super) rows: Vec<Name>,
    /// The number of the server's changes that its device certainly knew when it was made, or
    /// offered again.
    pub(super) known: usize,
    /// The number of restores of the server before its device's last complete pass.
    pub(super) epoch: usize,
    /// Whether it was in a file that was copied, pending or accepted.
    pub(super) copied: bool,
    /// Whether it was written on the empty tables after a reset.
    pub(super) after_reset: bool,
    /// The write times of the rows that its author saw, by their versions.
    pub(super) saw: BTreeMap<Name, i64>,
    /// Whether its user may have had no right to it since it was written.
    pub(super) lost_right: bool,
    /// Whether the server's rules never accept it.
    pub(super) bad: bool,
    /// Whether it reverts something: an undo, or the reverse of a withdrawn mutation.
    pub(super) reverse: bool,
    /// Whether it is an edit that contains what an action wrote.
    pub(super) has_action: bool,
    /// The cells that it wrote at first, by the names on its device.
    pub(super) cells: Vec<Cell>,
    /// The columns of `marks` on its device.
    pub(super) columns: Vec<ColumnIdentity>,
    /// Whether it edited that column before the server had filled it.
    pub(super) gained: bool,
    /// Whether an app discarded it.
    pub(super) discarded: bool,
    /// Whether it left the queue because the server has its content under another id. It is offered
    /// to a restored server again.
    pub(super) accepted_under_other_id: bool,
    /// Whether it was offered again on a missing row: that is another conflict.
    pub(super) retried_on_missing_row: bool,
    /// Whether it was ever offered again: an action in it has then read what its author saw.
    pub(super) retried: bool,
}

/// All mutations.
#[derive(Debug, Default)]
pub(super) struct MutationLog {
    pub(super) written: Vec<WrittenMutation>,
}

impl MutationLog {
    pub(super) fn get(&self, id: MutationId) -> Option<&WrittenMutation> {
        self.written.iter().find(|one| one.id == id)
    }

    pub(super) fn get_mut(&mut self, id: MutationId) -> Option<&mut WrittenMutation> {
        self.written.iter_mut().find(|one| one.id == id)
    }

    /// Whether an action wrote other rows when it ran again.
    pub(super) fn record_new_rows(&mut self, one: &Mutation, schema: &Schema) -> bool {
        let Some(written) = self.get_mut(one.id).filter(|_| one.action.is_some()) else {
            return false;
        };
        let before = written.rows.len();
        for name in one.effect.rows.iter().filter_map(|patch| name(schema, patch)) {
            if !written.rows.contains(&name) {
                written.rows.push(name);
            }
        }
        written.rows.len() > before
    }

    pub(super) fn call(&self, one: &Mutation) -> Option<ActionCall> {
        one.action.as_ref()?;
        self.get(one.id)?.call.clone()
    }
}
