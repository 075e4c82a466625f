//! The folder that holds the copy of an old file for a while: each call has its own, so that no call waits for another.
//!
//! It goes with the call. What a crash has left goes when the file beside it is opened next; a copy that is in use then, by a
//! call that began before the file was closed, is let alone.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// The folders in use. The lock is held to look at it, never while something is copied.
static IN_USE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// A folder with a copy, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Copy(PathBuf);

impl Copy {
    /// An empty folder beside `ours`, which nobody else may read.
    pub(crate) fn beside(ours: &Path) -> io::Result<Self> {
        let mut in_use = in_use();
        for number in 0_u32.. {
            let mut name = start_of(ours);
            name.push(number.to_string());
            let folder = ours.with_file_name(name);
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
        in_use().remove(&self.0);
    }
}

/// Removes the copies that a crash has left.
pub(crate) fn clear_away(ours: &Path) {
    let Some(entries) = ours.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    let start = start_of(ours);
    let is_copy = |name: &OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
        rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
    };
    let copies = entries.flatten().map(|entry| entry.file_name()).filter(is_copy);
    let copies = copies.map(|name| ours.with_file_name(name));
    let left: Vec<PathBuf> = {
        let in_use = in_use();
        copies.filter(|folder| !in_use.contains(folder)).collect()
    };
    for folder in &left {
        remove(folder);
    }
}

fn in_use() -> MutexGuard<'static, HashSet<PathBuf>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, "the copy of an old database goes when the file is opened next");
    }
}

fn start_of(ours: &Path) -> OsString {
    let mut name = ours.file_name().unwrap_or_default().to_owned();
    name.push("-rejoin-import-");
    name
}

/// Nobody else reads the copy, whatever the old file's folder allows.
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
    fn each_call_has_a_folder_of_its_own_and_only_what_a_crash_left_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("app.db");
        // A process that ended in the middle of a copy.
        fs::create_dir(folder.path().join("app.db-rejoin-import-0")).unwrap();
        fs::write(folder.path().join("app.db-rejoin-import-0/old.db"), "half").unwrap();
        // What is somebody else's.
        for other in ["app.db-rejoin-import-", "app.db-rejoin-import-1x", "bapp.db-rejoin-import-1"]
        {
            fs::create_dir(folder.path().join(other)).unwrap();
        }
        let one = Copy::beside(&ours).unwrap();
        let two = Copy::beside(&ours).unwrap();
        let other = Copy::beside(&folder.path().join("other.db")).unwrap();
        for copy in [&one, &two, &other] {
            fs::write(copy.file("old.db"), "whole").unwrap();
        }
        assert_ne!(one.0, two.0);
        // The file is opened again while both calls still copy.
        clear_away(&ours);
        for copy in [&one, &two, &other] {
            assert_eq!(fs::read(copy.file("old.db")).unwrap(), b"whole");
        }
        drop(one);
        assert_eq!(fs::read(two.file("old.db")).unwrap(), b"whole");
        drop((two, other));
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 3, "what is not ours stays, and nothing else");
    }
}
