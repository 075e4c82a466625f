//! Mutations that were discarded while a server may have had them.
//!
//! They are not part of the queue, and the app does not see them. Mutations that depend on them
//! wait, because their conflicts cannot be detected before the server has answered. The rows of
//! `rejoin_cancel` are authoritative.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, params};

use super::after::Links;
use super::mutation::MutationState;
use super::store::{damaged, id, run};
use super::view::QueueView;
use super::{Staged, store};
use crate::engine::rows::encode;
use crate::engine::rows::patch::RowKey;
use crate::engine::rows::row_index::IndexedEffect;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

/// Metadata key: whether the server supports cancelling.
pub(crate) const SERVER_CANCELS: &str = "server_cancels";

/// A cancelled mutation that waits for the server's answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cancelled {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) attempt: i64,
    pub(crate) root: MutationId,
    pub(crate) effect: IndexedEffect,
    /// Whether an action wrote it.
    pub(crate) of_action: bool,
}

/// All cancelled mutations, by queue position.
pub(crate) type Cancels = BTreeMap<Seq, Cancelled>;

/// Whether an unanswered one names the row; `answered` are those whose answer is in this batch.
pub(crate) fn is_open_at(cancels: &Cancels, answered: &HashSet<Seq>, row: &RowKey) -> bool {
    let mut open = cancels.values().filter(|one| !answered.contains(&one.seq));
    open.any(|one| one.effect.find(row).is_some())
}

/// Reads all cancelled mutations.
pub(super) fn load(conn: &Connection) -> Result<Vec<Cancelled>> {
    let sql = "/*rejoin*/SELECT seq, id, root, effect, attempt, of_action \
               FROM rejoin_cancel ORDER BY seq";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let effect: Vec<u8> = row.get(3)?;
        all.push(Cancelled {
            seq: Seq(row.get(0)?),
            id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
            root: id(row, 2)?.ok_or_else(|| damaged("mutation id"))?,
            effect: encode::decode(&effect)?.into(),
            attempt: row.get(4)?,
            of_action: row.get(5)?,
        });
    }
    Ok(all)
}

/// Stores one.
pub(crate) fn write(conn: &Connection, one: &Cancelled) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_cancel (seq, id, root, effect, attempt, of_action) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (mine, root) = (one.id.0.as_bytes(), one.root.0.as_bytes());
    let effect = encode::encode(&one.effect);
    run(conn, sql, params![one.seq.0, mine, root, effect, one.attempt, one.of_action])
}

/// Removes one after the server's answer.
pub(crate) fn remove(conn: &Connection, seq: Seq) -> Result<()> {
    run(conn, "/*rejoin*/DELETE FROM rejoin_cancel WHERE seq = ?1", [seq.0])
}

impl QueueView<'_> {
    /// Mutations that depend on a cancelled mutation and wait for the server's answer.
    pub(super) fn held_by_cancels(&self) -> Result<BTreeSet<Seq>> {
        self.dependents(self.queue.cancels(), &HashSet::new())
    }

    /// The given mutations, which wait for a later sync, and those that depend on them. The server
    /// may already have decided one without a verdict: a dependent one could then be accepted and
    /// enter the base, below an edit that is still applied over it.
    pub(crate) fn held_by(&self, aside: &HashSet<Seq>) -> Result<HashSet<Seq>> {
        let dependents = self.dependents(&BTreeMap::new(), aside)?;
        Ok(dependents.into_iter().chain(aside.iter().copied()).collect())
    }

    /// Mutations that must wait for a cancelled one, or for one of these.
    fn dependents(
        &self,
        cancels: &BTreeMap<Seq, Cancelled>,
        aside: &HashSet<Seq>,
    ) -> Result<BTreeSet<Seq>> {
        let mut held = BTreeSet::new();
        if cancels.is_empty() && aside.is_empty() {
            return Ok(held);
        }
        let mut links = Links::new(self.schema);
        let live = self.queue.entries().filter(|entry| entry.state != MutationState::Parked);
        let mut all: Vec<Seq> = live.map(|entry| entry.seq).collect();
        all.extend(cancels.keys());
        all.sort_unstable();
        for seq in all {
            if let Some(cancelled) = cancels.get(&seq) {
                links.add(seq, &cancelled.effect, &[]);
                continue;
            }
            let missing = || Error::Internal(format!("mutation {} is not in the queue", seq.0));
            let effect = store::read_effect(self.conn, seq)?.ok_or_else(missing)?;
            let reads = self.queue.entry(seq).map_or(&[][..], |entry| &entry.reads);
            let before = links.before(&effect, reads);
            let waits =
                |seq| cancels.contains_key(seq) || aside.contains(seq) || held.contains(seq);
            if before.iter().any(waits) {
                held.insert(seq);
            }
            links.add(seq, &effect, reads);
        }
        Ok(held)
    }
}

/// The changes in memory for a cancelled mutation.
pub(crate) fn given_up(one: Cancelled) -> [Staged; 2] {
    [Staged::Left(one.seq), Staged::Cancelled(one)]
}
