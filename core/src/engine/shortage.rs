//! What a machine may lack, as tests make it: room on the disk, and a file that nobody else writes.
//!
//! Compiled only for this crate's tests and under the feature `mutants`. Neither needs rights that a test has not.

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::database::fault;
use crate::error::Result;

impl Engine {
    /// Lets the file grow by so many pages and no more: a write that needs another one finds the disk full. `None` takes the
    /// limit away.
    pub fn limit_room(&self, pages: Option<i64>) -> Result<()> {
        let conn = self.db.conn();
        let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let most = match pages {
            // Pages that are free in the file are room as well.
            Some(pages) => number("PRAGMA page_count").map_err(fault::of)? + pages,
            None => i64::from(u32::MAX) - 1,
        };
        number(&format!("PRAGMA max_page_count = {most}")).map(drop).map_err(fault::of)
    }

    /// Says at once that another program writes the file, instead of waiting for it.
    pub fn wait_for_nobody(&self) -> Result<()> {
        self.db.conn().busy_timeout(Duration::ZERO).map_err(fault::of)
    }
}
