//! One process per file: a lock file beside the database, locked while the engine is open.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::fault;
use crate::error::{Error, Result, StorageFault};

/// The path of a database's lock file. The file stays when the lock is released: removing it would
/// race with the next holder.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-rejoin-lock");
    PathBuf::from(name)
}

/// The lock of a database, held until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Unlocks explicitly, not only by closing: a child process that another thread is starting has
    /// copies of our file handles until it executes its program, and would keep the lock that long.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the database is released when its file is closed");
        }
    }
}

/// Takes the lock.
pub(crate) fn take(database: &Path) -> Result<Lock> {
    let path = path_of(database);
    let file = create(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Storage(StorageFault::Locked { path: database.display().to_string() }))
        }
        Err(TryLockError::Error(error)) => Err(fault::of_file(&error, &path.display().to_string())),
    }
}

/// Opens a file, or creates it for this user alone: SQLite gives the files beside a database the
/// database's rights.
pub(super) fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| fault::of_file(&error, &path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lock_is_free_while_a_child_process_starts() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("app.db");
        let lock = take(&database).unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(take(&database), Err(Error::Storage(StorageFault::Locked { .. }))));

        drop(lock);

        assert!(take(&database).is_ok());
        drop(copy);
    }
}
