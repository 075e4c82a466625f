//! The files that are open in this process, each once (D12).
//!
//! Promise: whoever opens a file that is open is given what is open already; whoever opens one that is just being opened or
//! closed waits for that file, and for no other. A file is known by its canonical path and by its inode.
//!
//! Border: the list's lock is held to look at the list, never while a file is worked on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::Handle;

static FILES: Mutex<Files> = Mutex::new(Files { entries: Vec::new(), next: 0 });
/// Told when one of them was opened or closed.
static CHANGED: Condvar = Condvar::new();

struct Files {
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    number: u64,
    path: PathBuf,
    /// As far as there was a file when it was entered.
    identity: Option<Identity>,
    stage: Stage,
}

enum Stage {
    Opening,
    Open(Weak<Handle>),
    Closing,
}

/// What the file system knows a file by: device and inode.
type Identity = (u64, u64);

/// What became of asking for a file.
pub(super) enum Entrance {
    /// It is open.
    Shared(Arc<Handle>),
    /// It is the asker's to open.
    Free(Place),
}

/// A file's place in the list. When it is left, or dropped, the file can be opened again.
pub(super) struct Place {
    number: u64,
}

/// Waits until the file, by its canonical path, is open or free.
pub(super) fn enter(path: &Path) -> Entrance {
    let mut files = files();
    loop {
        let identity = identity(path);
        let Some(entry) = files.entries.iter().find(|entry| entry.is(path, identity)) else {
            let number = files.next;
            files.next += 1;
            let path = path.to_owned();
            files.entries.push(Entry { number, path, identity, stage: Stage::Opening });
            return Entrance::Free(Place { number });
        };
        if let Stage::Open(handle) = &entry.stage
            && let Some(handle) = handle.upgrade()
        {
            return Entrance::Shared(handle);
        }
        files = CHANGED.wait(files).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Entry {
    fn is(&self, path: &Path, identity: Option<Identity>) -> bool {
        // A file that was just made had no inode when it was entered.
        let own = || self.identity.or_else(|| self::identity(&self.path));
        self.path == path || (identity.is_some() && own() == identity)
    }
}

impl Place {
    /// From now on `handle` is what others are given.
    pub(super) fn opened(&self, handle: &Arc<Handle>) {
        self.set(Stage::Open(Arc::downgrade(handle)));
    }

    /// From now on others wait until it is closed.
    pub(super) fn closing(&self) {
        self.set(Stage::Closing);
    }

    /// It is closed, and its locks are gone.
    pub(super) fn leave(&self) {
        files().entries.retain(|entry| entry.number != self.number);
        CHANGED.notify_all();
    }

    fn set(&self, stage: Stage) {
        let mut files = files();
        let entry = files.entries.iter_mut().find(|entry| entry.number == self.number);
        if let Some(entry) = entry {
            entry.stage = stage;
            if entry.identity.is_none() {
                entry.identity = identity(&entry.path);
            }
        }
        drop(files);
        CHANGED.notify_all();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

fn files() -> MutexGuard<'static, Files> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    use super::*;
    use crate::runtime;

    /// Enters on a thread of its own; tells whether the file was free.
    fn entering(path: &Path) -> Receiver<bool> {
        let (path, (tell, told)) = (path.to_owned(), mpsc::channel());
        runtime::thread("enter", move || {
            let entered = enter(&path);
            tell.send(matches!(entered, Entrance::Free(_))).unwrap();
        })
        .unwrap();
        told
    }

    #[test]
    fn a_file_that_is_being_opened_or_closed_is_waited_for_and_no_other_is() {
        const PATIENCE: Duration = Duration::from_secs(20);
        let folder = tempfile::tempdir().unwrap();
        let (slow, other) = (folder.path().join("slow.db"), folder.path().join("other.db"));
        let Entrance::Free(place) = enter(&slow) else { panic!("nobody has it") };
        let second = entering(&slow);
        assert_eq!(entering(&other).recv_timeout(PATIENCE), Ok(true));
        place.closing();
        assert_eq!(entering(&other).recv_timeout(PATIENCE), Ok(true));
        assert!(second.try_recv().is_err(), "it is not free yet");
        drop(place);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(true));
    }
}
