//! Temporary folder for the copy of an old file: each call has its own, so that no call waits for
//! another.
//!
//! It is removed at the end of the call. The next opening of the file beside it removes what a
//! crash has left, but not a copy that is still in use by a call that began before the file was
//! closed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// The folders in use. Never locked while something is copied.
static IN_USE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// A folder with a copy; removed on drop.
#[derive(Debug)]
pub(crate) struct Copy(PathBuf);

impl Copy {
    /// Creates an empty folder beside `ours` that only this user may read.
    pub(crate) fn beside(ours: &Path) -> io::Result<Self> {
        let all = folder_of(ours);
        let mut in_use = in_use();
        private(&all).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
        for number in 0_u32.. {
            let folder = all.join(number.to_string());
            match private(&folder) {
                Ok(()) => {
                    in_use.insert(folder.clone());
                    return Ok(Self(folder));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        remove(&self.0);
        let mut in_use = in_use();
        in_use.remove(&self.0);
        self.0.parent().map(remove_if_empty);
    }
}

/// Removes the copies that a crash has left. Costs one system call if there are none.
pub(crate) fn clear_away(ours: &Path) {
    let all = folder_of(ours);
    let Ok(entries) = fs::read_dir(&all) else { return };
    let in_use = in_use();
    for folder in entries.flatten().map(|entry| entry.path()) {
        if !in_use.contains(&folder) {
            remove(&folder);
        }
    }
    remove_if_empty(&all);
}

fn in_use() -> MutexGuard<'static, HashSet<PathBuf>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, "the copy of an old database is removed at the next open");
    }
}

/// Removes the parent folder unless it contains another copy.
fn remove_if_empty(all: &Path) {
    drop(fs::remove_dir(all));
}

/// The folder of all copies: one for each file, so that finding them needs no listing.
fn folder_of(ours: &Path) -> PathBuf {
    let mut name = ours.file_name().unwrap_or_default().to_owned();
    name.push("-rejoin-import");
    ours.with_file_name(name)
}

/// Makes the copy private, whatever the permissions of the old file's folder.
fn private(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_a_crash_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("app.db");
        // A process that ended during a copy.
        let all = folder.path().join("app.db-rejoin-import");
        fs::create_dir_all(all.join("0")).unwrap();
        fs::write(all.join("0/old.db"), "half").unwrap();
        // A folder of another application.
        fs::create_dir(folder.path().join("bapp.db-rejoin-import")).unwrap();
        let one = Copy::beside(&ours).unwrap();
        let two = Copy::beside(&ours).unwrap();
        let other = Copy::beside(&folder.path().join("other.db")).unwrap();
        for copy in [&one, &two, &other] {
            fs::write(copy.file("old.db"), "whole").unwrap();
        }
        assert_ne!(one.0, two.0);
        // The file is opened again while both calls still copy.
        clear_away(&ours);
        assert!(!all.join("0").exists());
        for copy in [&one, &two, &other] {
            assert_eq!(fs::read(copy.file("old.db")).unwrap(), b"whole");
        }
        drop(one);
        assert_eq!(fs::read(two.file("old.db")).unwrap(), b"whole");
        drop((two, other));
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "only folders of others are left");
    }
}
