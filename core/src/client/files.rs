//! The files that are open in this process, each once.
//!
//! Opening a file that is open returns the open client; opening a file that is being opened or
//! closed waits for it. Files are compared by canonical path and inode.
//!
//! The list's lock is held only to read or change the list, never during work on a file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::Handle;

static FILES: Mutex<Files> = Mutex::new(Files { entries: Vec::new(), next: 0 });
/// Notified when a file was opened or closed.
static CHANGED: Condvar = Condvar::new();

struct Files {
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    number: u64,
    path: PathBuf,
    /// The file's identity, if it existed when it was entered.
    identity: Option<Identity>,
    stage: Stage,
}

enum Stage {
    Opening,
    Open(Weak<Handle>),
    Closing,
}

/// Device and inode.
type Identity = (u64, u64);

/// The result of [`enter`].
pub(super) enum OpenedFile {
    /// The file is open.
    Shared(Arc<Handle>),
    /// The caller must open it.
    Free(OpenFile),
}

/// A file's entry in the list. When it is removed or dropped, the file can be opened again.
pub(super) struct OpenFile {
    number: u64,
}

/// Waits until the file with this canonical path is open or free.
pub(super) fn enter(path: &Path) -> OpenedFile {
    let mut files = files();
    loop {
        let identity = identity(path);
        let Some(entry) = files.entries.iter().find(|entry| entry.is(path, identity)) else {
            let number = files.next;
            files.next += 1;
            let path = path.to_owned();
            files.entries.push(Entry { number, path, identity, stage: Stage::Opening });
            return OpenedFile::Free(OpenFile { number });
        };
        if let Stage::Open(handle) = &entry.stage
            && let Some(handle) = handle.upgrade()
        {
            return OpenedFile::Shared(handle);
        }
        files = CHANGED.wait(files).unwrap_or_else(PoisonError::into_inner);
    }
}

/// The open clients. Waits for files that are being opened, until `until` at most.
pub(super) fn all_open(until: Instant) -> Vec<Arc<Handle>> {
    let mut files = files();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let opens = |entry: &Entry| matches!(entry.stage, Stage::Opening);
        if left.is_zero() || !files.entries.iter().any(opens) {
            break;
        }
        files = CHANGED.wait_timeout(files, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    let handle = |entry: &Entry| match &entry.stage {
        Stage::Open(handle) => handle.upgrade(),
        Stage::Opening | Stage::Closing => None,
    };
    files.entries.iter().filter_map(handle).collect()
}

impl Entry {
    fn is(&self, path: &Path, identity: Option<Identity>) -> bool {
        // A new file had no inode when it was entered.
        let own = || self.identity.or_else(|| self::identity(&self.path));
        self.path == path || (identity.is_some() && own() == identity)
    }
}

impl OpenFile {
    /// From now on, [`enter`] returns `handle`.
    pub(super) fn opened(&self, handle: &Arc<Handle>) {
        self.set(Stage::Open(Arc::downgrade(handle)));
    }

    /// From now on, [`enter`] waits until the file is closed.
    pub(super) fn closing(&self) {
        self.set(Stage::Closing);
    }

    /// The file is closed and its locks are released.
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

impl Drop for OpenFile {
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

    /// Enters on another thread; the receiver gets whether the file was free.
    fn entering(path: &Path) -> Receiver<bool> {
        let (path, (sender, receiver)) = (path.to_owned(), mpsc::channel());
        runtime::thread("enter", move || {
            let entered = enter(&path);
            sender.send(matches!(entered, OpenedFile::Free(_))).unwrap();
        })
        .unwrap();
        receiver
    }

    #[test]
    fn enter_waits_only_for_a_file_being_opened_or_closed() {
        const PATIENCE: Duration = Duration::from_secs(20);
        let folder = tempfile::tempdir().unwrap();
        let (slow, other) = (folder.path().join("slow.db"), folder.path().join("other.db"));
        let OpenedFile::Free(place) = enter(&slow) else { panic!("the file is in use") };
        let second = entering(&slow);
        assert_eq!(entering(&other).recv_timeout(PATIENCE), Ok(true));
        place.closing();
        assert_eq!(entering(&other).recv_timeout(PATIENCE), Ok(true));
        assert!(second.try_recv().is_err(), "the file is still being opened");
        drop(place);
        assert_eq!(second.recv_timeout(PATIENCE), Ok(true));
    }
}
