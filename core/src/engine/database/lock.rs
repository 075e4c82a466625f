//! One process per file (D12): a lock beside the database, held as long as the engine is open.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::fault;
use crate::error::{Error, Result};

/// Where the lock of a database stands. The file stays when the lock goes: removing it would race with the next holder.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-rejoin-lock");
    PathBuf::from(name)
}

/// Takes the lock; it is released when the file is dropped, also when the process dies.
pub(crate) fn take(database: &Path) -> Result<File> {
    let path = path_of(database);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| fault::of_file(&error, &path.display().to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Locked { path: database.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(fault::of_file(&error, &path.display().to_string())),
    }
}
