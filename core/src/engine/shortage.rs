//! Resource limits for tests: disk space, and a file locked by another program.
//!
//! Compiled only for this crate's tests and under the feature `mutants`. Needs no special rights.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::Result;

/// Limits how many pages the file may grow: a write that needs another page fails with a full
/// disk. `None` removes the limit.
pub fn limit_room(engine: &Engine, pages: Option<i64>) -> Result<()> {
    let conn = engine.db.conn();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let most = match pages {
        // Free pages in the file can be used as well.
        Some(pages) => number("PRAGMA page_count")? + pages,
        None => i64::from(u32::MAX) - 1,
    };
    number(&format!("PRAGMA max_page_count = {most}"))?;
    Ok(())
}

/// Fails at once if another program writes the file, instead of waiting for it.
pub fn fail_when_locked(engine: &Engine) -> Result<()> {
    Ok(engine.db.conn().busy_timeout(Duration::ZERO)?)
}
