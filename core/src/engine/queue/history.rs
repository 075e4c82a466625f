//! What the file remembers of accepted mutations, to show it.

use rusqlite::Connection;

use super::store::{damaged, id};
use crate::engine::capture::encode;
use crate::engine::capture::patch::Effect;
use crate::engine::database::fault;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// An accepted mutation.
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) time_ms: i64,
    pub(crate) action: Option<String>,
    pub(crate) attempt: i64,
    pub(crate) accepted_ms: i64,
    pub(crate) effect: Effect,
}

/// What the history holds, oldest first.
pub(crate) fn read_all(conn: &Connection) -> Result<Vec<Kept>> {
    let sql = "/*rejoin*/SELECT seq, id, time_ms, action, attempt, accepted_ms, effect \
               FROM rejoin_history ORDER BY seq";
    let mut statement = conn.prepare(sql).map_err(fault::of)?;
    let mut rows = statement.query([]).map_err(fault::of)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault::of)? {
        let effect = row.get_ref(6).map_err(fault::of)?.as_blob().map_err(|_| damaged("effect"))?;
        all.push(Kept {
            seq: Seq(row.get(0).map_err(fault::of)?),
            id: id(row, 1)?.ok_or_else(|| damaged("mutation id"))?,
            time_ms: row.get(2).map_err(fault::of)?,
            action: row.get(3).map_err(fault::of)?,
            attempt: row.get(4).map_err(fault::of)?,
            accepted_ms: row.get(5).map_err(fault::of)?,
            effect: encode::decode(effect)?,
        });
    }
    Ok(all)
}
