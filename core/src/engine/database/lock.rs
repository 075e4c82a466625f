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

/// The lock of a database, held until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Lets go by name, not only by closing: a child that another thread is starting just now has copies of all our files
    /// until it becomes its program, and the lock would live as long as they do.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the database goes when its file is closed");
        }
    }
}

/// Takes the lock.
pub(crate) fn take(database: &Path) -> Result<Lock> {
    let path = path_of(database);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| fault::of_file(&error, &path.display().to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Locked { path: database.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(fault::of_file(&error, &path.display().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_at_once_although_a_child_that_is_being_started_has_a_copy_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("app.db");
        let lock = take(&database).unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(take(&database), Err(Error::Locked { .. })));

        drop(lock);

        assert!(take(&database).is_ok());
        drop(copy);
    }
}
