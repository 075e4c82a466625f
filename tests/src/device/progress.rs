//! Checks that there is no request loop without progress, at the end of every pass of a scenario
//! and of a simulation.
//!
//! The driver schedules the next pass by the report of this one. A pass that reports progress is
//! soon followed by another, so it must have changed the file: rows, queue or metadata. A pass that
//! reports none is followed by backoff, which the driver's own tests check.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rejoin_core::engine::Engine;
use rejoin_core::sync::session::PassReport;
use rusqlite::Connection;

/// Metadata that changes with each request, whatever it returns.
const FACTS: &str = "SELECT key, value FROM rejoin_meta
    WHERE key NOT IN ('request', 'plain_last_pull') ORDER BY key";

/// The file as it was when a pass began, read over a separate connection. The device drops it
/// before it closes the engine.
#[derive(Debug, Default)]
pub(super) struct Pass {
    conn: Option<Connection>,
    before: Option<u64>,
}

impl Pass {
    pub(super) fn begin(&mut self, engine: &Engine, path: &Path) {
        self.before = self.imprint(engine, path).ok();
    }

    /// Fails if the report claims progress that the file does not show.
    pub(super) fn check(
        &mut self,
        engine: &Engine,
        path: &Path,
        report: &PassReport,
    ) -> Result<()> {
        if !report.has_moved() {
            return Ok(());
        }
        let after = self.imprint(engine, path)?;
        if self.before == Some(after) {
            bail!("no-progress: a pass reports {report:?} and has changed nothing in the file");
        }
        Ok(())
    }

    /// Rows, queue, log and metadata as one hash.
    fn imprint(&mut self, engine: &Engine, path: &Path) -> Result<u64> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => Connection::open(path).context("the device's file")?,
        };
        let conn = self.conn.insert(conn);
        let tables = engine.schema().tables.values();
        let rows = tables.map(|table| format!("SELECT * FROM \"{}\"", table.name));
        let queue = [
            "SELECT id, reason, hex(effect), hex(undo) FROM rejoin_mutation ORDER BY seq",
            "SELECT count(*) FROM rejoin_history",
            "SELECT facts FROM rejoin_log_facts",
            "SELECT hex(id), record FROM rejoin_log_entry ORDER BY key",
            FACTS,
        ];
        let mut hasher = DefaultHasher::new();
        for sql in rows.chain(queue.map(str::to_owned)) {
            let mut statement = conn.prepare_cached(&sql)?;
            let lines = statement.query_map([], super::line)?;
            lines.collect::<rusqlite::Result<Vec<String>>>()?.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}
