//! Loads an SQLite extension of another library, so that the benchmarks can measure it. The only
//! part of the benchmarks with `unsafe`.

use std::path::Path;

use rusqlite::{Connection, LoadExtensionGuard, Result};

/// Loads the extension in this file, which begins at this function.
///
/// # Errors
///
/// Fails if the file is not an extension, or the extension refuses the connection.
pub fn load(connection: &Connection, file: &Path, entry: &str) -> Result<()> {
    // SAFETY: the file is a release of the measured library, made to be loaded by SQLite; no other
    // SQL runs while loading is allowed.
    unsafe {
        let _allowed = LoadExtensionGuard::new(connection)?;
        connection.load_extension(file, Some(entry))
    }
}
