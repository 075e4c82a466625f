//! Resets the file: for another user, or to fetch all rows again.
//!
//! A reset is one transaction: after a crash or an error it was done completely or not at all.
//! Pending mutations are removed only if the app has named them. The synced tables stay, empty, so
//! the app can continue. Assigned numbers are never reused. Responses to earlier requests are
//! dropped, because a session checks `Engine::resets` before it applies one.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Connection;

use super::database::{OURS, Triggers};
use super::entries::list;
use super::log;
use super::queue::mutation::Mutation;
use super::queue::{Awaiting, Staged, store, verdict};
use super::schema::app_trigger;
use super::schema::model::{Schema, Table};
use super::schema::sql::quoted;
use super::staging::{self, Staging};
use super::subscription;
use crate::death::{self, Failpoint};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::error::{Error, InputFault, QueueFault, Result};
use crate::ids::MutationId;

/// What a reset keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Everything except the server's rows: pending mutations, the history, the user, local-only
    /// tables, subscriptions to streams. The next sync fetches the rows like a first sync.
    Pending,
    /// Local-only tables. Rows, queue, history, subscriptions, device id and user are removed:
    /// another user can take the file.
    Local,
    /// The tables, all of them empty, and their schema.
    Nothing,
}

/// What a reset removed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Emptied {
    /// The removed queue; empty if the queue was kept.
    pub given_up: Vec<Mutation>,
    /// Number of rows of synced tables.
    pub rows: u64,
    /// Number of rows of local-only tables.
    pub local_rows: u64,
}

/// Metadata that any reset keeps: the tables, numbers that must not be reused, and what was
/// imported from an old file, so that it is not imported for the next user.
const KEPT: &str = "'manifest', 'schema_version', 'schema_hash', 'rules_hash', 'request', \
                    'last_given', 'left_out', 'search_indexes', 'synchro_taken', 'trigger_disabled', \
                    'user_version'";

/// Metadata about the sync position, for a Rejoin server and for a plain one.
const OF_ROWS: &str = "'cursor', 'held', 'recheck', 'snapshot', 'snapshot_due', 'first_sync', \
                       'plain_checkpoint', 'plain_last_pull', 'plain_buckets', \
                       'log_other_server'";

/// Removes what `keep` does not keep. If the queue is removed, `give_up` names every pending or
/// parked mutation; unknown names are ignored, because they may have been accepted meanwhile.
/// Works offline.
///
/// # Errors
/// `Unsent` if a mutation is not named; `Refused` if something is named and the queue stays;
/// those of writing the file. Nothing was changed.
pub fn reset(engine: &mut Engine, keep: Keep, give_up: &[MutationId]) -> Result<Emptied> {
    check_named(engine, keep, give_up)?;
    let emptied = match keep {
        Keep::Pending => Emptied { rows: drop_base(engine)?, ..Emptied::default() },
        Keep::Local | Keep::Nothing => {
            let waiting = engine.pending()?;
            let (rows, local_rows) = remove_everything(engine, keep)?;
            Emptied { given_up: waiting, rows, local_rows }
        }
    };
    engine.resets += 1;
    subscription::publish(engine)?;
    Ok(emptied)
}

fn check_named(engine: &Engine, keep: Keep, give_up: &[MutationId]) -> Result<()> {
    if keep == Keep::Pending {
        return if give_up.is_empty() { Ok(()) } else { Err(kept()) };
    }
    let named: HashSet<&MutationId> = give_up.iter().collect();
    let in_log: Vec<MutationId> = list::pending(engine)?.into_iter().map(|one| one.id).collect();
    let waiting = engine.queue.entries().map(|entry| &entry.id).chain(&in_log);
    let unnamed = waiting.filter(|id| !named.contains(id)).count();
    if unnamed == 0 {
        return Ok(());
    }
    Err(Error::Queue(QueueFault::Unsent { waiting: unnamed as u64 }))
}

/// Empties the base and applies the pending mutations to the empty tables.
fn drop_base(engine: &mut Engine) -> Result<u64> {
    let mut rows = 0;
    engine.rebase(Origin::Local, Triggers::Fire, |work, _| {
        work.undo_all()?;
        work.rows.settle()?;
        staging::clear(Staging { conn: work.conn, schema: work.schema })?;
        rows = empty(work.conn, work.schema.in_rows())?;
        death::pass(Failpoint::MidReset);
        keep_log_position(work.conn)?;
        // Its rows are compared with the snapshot, so that they need not be emptied.
        log::require_snapshot(work.conn)?;
        forget(work.conn, &format!("key IN ({OF_ROWS})"))?;
        subscription::forget_states(work.conn)?;
        for table in work.schema.in_rows() {
            work.touched.table(&table.name);
        }
        Ok(())
    })?;
    engine.log.reload(&engine.schema);
    Ok(rows)
}

fn remove_everything(engine: &mut Engine, keep: Keep) -> Result<(u64, u64)> {
    // The tables that the app's triggers fill are emptied as well, so these need not run.
    let triggers = if keep == Keep::Nothing { Triggers::Rest } else { Triggers::Fire };
    engine.write_with(Origin::Local, triggers, |engine| {
        let conn = engine.db.conn();
        staging::clear(Staging::of(engine))?;
        let rows = empty(conn, engine.schema.tables.values())?;
        for table in engine.schema.tables.values() {
            engine.touched.table(&table.name);
        }
        let mut local_rows = 0;
        if keep == Keep::Nothing {
            let tables = local_tables(conn, &engine.schema)?;
            local_rows = empty_local(conn, &tables)?;
            for table in &tables {
                engine.touched.table(table);
            }
        }
        death::pass(Failpoint::MidReset);
        store::keep_last(conn, engine.queue.last())?;
        store::clear(conn)?;
        log::clear(conn)?;
        engine.log.reload(&engine.schema);
        forget(conn, &format!("key NOT IN ({KEPT})"))?;
        verdict::forget_all(conn)?;
        subscription::forget_all(conn)?;
        forget_queue(engine);
        engine.touched.queue();
        Ok((rows, local_rows))
    })
}

/// Clears the queue in memory at the commit.
fn forget_queue(engine: &mut Engine) {
    let left = engine.queue.entries().map(|entry| Staged::Left(entry.seq));
    let records = engine.queue.records().iter().map(|record| Staged::Unrecorded(record.place));
    let cancels = engine.queue.cancels().keys().map(|seq| Staged::Settled(*seq));
    let staged: Vec<Staged> = left.chain(records).chain(cancels).collect();
    for staged in staged {
        engine.queue.stage(staged);
    }
    engine.queue.stage(Staged::Awaiting(Awaiting::new()));
    for id in engine.queue.states().read().entries.ids() {
        engine.touched.entry(id, None);
    }
}

fn kept() -> Error {
    Error::InvalidInput(InputFault::Refused {
        what: String::from("discarding mutations in a reset that keeps the queue"),
        reason: String::from("discard them first, or keep less"),
    })
}

/// Empties these tables. An app trigger that fails is dropped and recorded, as with rows of
/// the server: one user's rows must not stay visible to the next.
fn empty<'t>(conn: &Connection, tables: impl Iterator<Item = &'t Arc<Table>>) -> Result<u64> {
    let mut rows = 0;
    for table in tables {
        let sql = format!("{OURS}DELETE FROM {}", quoted(&table.name));
        let attempt = || conn.execute(&sql, []);
        let gone = match attempt().map_err(Error::from) {
            Ok(gone) => gone,
            Err(error) => app_trigger::without_failing(conn, &table.name, error, attempt)?,
        };
        rows += gone as u64;
    }
    Ok(rows)
}

/// The app's own tables, without the internal tables of full-text indexes, which are dropped with
/// them.
fn local_tables(conn: &Connection, schema: &Schema) -> Result<Vec<String>> {
    let sql = format!(
        "{OURS}SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'rejoin\\_%' ESCAPE '\\' ORDER BY name"
    );
    let mut statement = conn.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    let mut all = names.collect::<rusqlite::Result<Vec<String>>>()?;
    all.retain(|name| schema.named(name).is_none());
    Ok(all)
}

/// Empties tables in an order that their FOREIGN KEYs allow: repeats until no further table can be
/// emptied.
fn empty_local(conn: &Connection, tables: &[String]) -> Result<u64> {
    conn.execute_batch(&format!("{OURS}PRAGMA defer_foreign_keys = ON"))?;
    let (mut rows, mut left) = (0, tables.to_vec());
    while !left.is_empty() {
        let (before, mut refused) = (left.len(), None);
        left.retain(|table| match empty_one(conn, table) {
            Ok(gone) => {
                rows += gone as u64;
                false
            }
            Err(error) => {
                refused = Some(error);
                true
            }
        });
        if let (true, Some(error)) = (left.len() == before, refused) {
            return Err(error.into());
        }
    }
    Ok(rows)
}

fn empty_one(conn: &Connection, table: &str) -> rusqlite::Result<usize> {
    let name = quoted(table);
    match conn.execute(&format!("{OURS}DELETE FROM {name}"), []) {
        // A module without rows of its own, such as a vocabulary.
        Err(error) if error.to_string().ends_with("may not be modified") => Ok(0),
        // A contentless full-text index cannot look up what a DELETE removes.
        Err(_) if is_index(conn, table)? => {
            conn.execute(&format!("{OURS}INSERT INTO {name} ({name}) VALUES ('delete-all')"), [])
        }
        done => done,
    }
}

fn is_index(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "/*rejoin*/SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 \
               AND sql LIKE 'CREATE VIRTUAL TABLE%fts5%')";
    conn.query_row(sql, [table], |row| row.get(0))
}

/// Removes the cursor but keeps the log position for the next register. Otherwise a restored server
/// would not be detected, and what it has lost would not be sent again.
fn keep_log_position(conn: &Connection) -> Result<()> {
    let sql = "/*rejoin*/INSERT INTO rejoin_meta (key, value) \
               SELECT 'witness', value FROM rejoin_meta WHERE key = 'cursor' ON CONFLICT (key) DO NOTHING";
    conn.execute(sql, [])?;
    Ok(())
}

fn forget(conn: &Connection, which: &str) -> Result<()> {
    let sql = format!("{OURS}DELETE FROM rejoin_meta WHERE {which}");
    conn.execute(&sql, [])?;
    Ok(())
}
