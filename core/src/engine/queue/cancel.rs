//! Mutations that were given up while a server may have had them (O12).
//!
//! They are no part of the queue any more, and of nothing that an app is shown. What follows from them waits, because until the
//! server's word is known nobody can say on what it would be judged. The rows of `rejoin_cancel` are the truth.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, params};

use super::after::Links;
use super::mutation::State;
use super::store::{damaged, id, run};
use super::view::QueueView;
use super::{Staged, store};
use crate::engine::database::fault;
use crate::engine::rows::encode;
use crate::engine::rows::patch::{Effect, RowKey};
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};

/// The fact that the server withdraws what it is asked to.
pub(crate) const SERVER_CANCELS: &str = "server_cancels";

/// One that waits for the server's word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cancelled {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) attempt: i64,
    pub(crate) root: MutationId,
    pub(crate) effect: Effect,
    /// Whether an action wrote it.
    pub(crate) of_action: bool,
}

/// All, by their places.
pub(crate) type Cancels = BTreeMap<Seq, Cancelled>;

/// Whether one of them names a row, of which the server's word is not here just now.
pub(crate) fn is_open_at(cancels: &Cancels, told: &HashSet<Seq>, row: &RowKey) -> bool {
    let open = cancels.values().filter(|one| !told.contains(&one.seq));
    open.flat_map(|one| &one.effect.rows).any(|patch| patch.row == *row)
}

/// Reads them all.
pub(super) fn load(conn: &Connection) -> Result<Vec<Cancelled>> {
    let sql = "/*rejoin*/SELECT seq, id, root, effect, attempt, of_action \
               FROM rejoin_cancel ORDER BY seq";
    let mut statement = conn.prepare(sql).map_err(fault::of)?;
    let mut rows = statement.query([]).map_err(fault::of)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault::of)? {
        let effect: Vec<u8> = row.get(3).map_err(fault::of)?;
        all.push(Cancelled {
            seq: Seq(row.get(0).map_err(fault::of)?),
            id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
            root: id(row, 2)?.ok_or_else(|| damaged("mutation id"))?,
            effect: encode::decode(&effect)?,
            attempt: row.get(4).map_err(fault::of)?,
            of_action: row.get(5).map_err(fault::of)?,
        });
    }
    Ok(all)
}

/// Keeps one.
pub(crate) fn write(conn: &Connection, one: &Cancelled) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_cancel (seq, id, root, effect, attempt, of_action) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (mine, root) = (one.id.0.as_bytes(), one.root.0.as_bytes());
    let effect = encode::encode(&one.effect);
    run(conn, sql, params![one.seq.0, mine, root, effect, one.attempt, one.of_action])
}

/// Forgets one, of which the server's word is here.
pub(crate) fn remove(conn: &Connection, seq: Seq) -> Result<()> {
    run(conn, "/*rejoin*/DELETE FROM rejoin_cancel WHERE seq = ?1", [seq.0])
}

impl QueueView<'_> {
    /// The mutations that follow from something that was given up and may be the server's: they wait for its word.
    pub(super) fn held_by_cancels(&self) -> Result<BTreeSet<Seq>> {
        self.following(self.queue.cancels(), &HashSet::new())
    }

    /// These, which wait for a later pass, and what follows from them. Of one that has no verdict the server may know the
    /// end already: a follower could be accepted, and be in the base, under an edit that is still laid over it.
    pub(crate) fn held_by(&self, aside: &HashSet<Seq>) -> Result<HashSet<Seq>> {
        let following = self.following(&BTreeMap::new(), aside)?;
        Ok(following.into_iter().chain(aside.iter().copied()).collect())
    }

    /// What has to wait for something that was given up, or for one of these.
    fn following(
        &self,
        cancels: &BTreeMap<Seq, Cancelled>,
        aside: &HashSet<Seq>,
    ) -> Result<BTreeSet<Seq>> {
        let mut held = BTreeSet::new();
        if cancels.is_empty() && aside.is_empty() {
            return Ok(held);
        }
        let mut links = Links::new(self.schema);
        let live = self.queue.entries().filter(|entry| entry.state != State::Parked);
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

/// The change of the memory by one that was given up.
pub(crate) fn given_up(one: Cancelled) -> [Staged; 2] {
    [Staged::Left(one.seq), Staged::Cancelled(one)]
}
