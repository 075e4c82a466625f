//! A crash at a named point, inside this process: the file is copied as it is there, and later
//! writes do not count.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rejoin_core::death;

/// A database and its log, byte for byte.
pub(super) type Files = [Option<Vec<u8>>; 2];

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    /// Number of points that are still passed.
    places: usize,
    files: Option<Files>,
}

thread_local! {
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// A crash that is armed on this thread.
#[derive(Debug)]
pub(super) struct Watch;

#[allow(clippy::unused_self)] // The guard belongs to this thread: the points are passed on the same thread.
impl Watch {
    /// Crashes the device with this file at the given point that it passes, counted from 0.
    pub(super) fn begin(path: &Path, places: usize) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| death::watch(|_| pass()));
        WAITING.set(Some(Waiting { path: path.to_owned(), places, files: None }));
        Self
    }

    /// Whether it has crashed.
    pub(super) fn is_dead(&self) -> bool {
        WAITING.with_borrow(|waiting| waiting.as_ref().is_some_and(|one| one.files.is_some()))
    }

    /// The files at the crash; `None` if there was none.
    pub(super) fn end(self) -> Option<Files> {
        WAITING.take()?.files
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WAITING.set(None);
    }
}

fn pass() {
    WAITING.with_borrow_mut(|waiting| {
        let Some(waiting) = waiting.as_mut().filter(|one| one.files.is_none()) else { return };
        let Some(left) = waiting.places.checked_sub(1) else {
            let mut log = waiting.path.clone().into_os_string();
            log.push("-wal");
            let read = |path: &Path| std::fs::read(path).ok();
            waiting.files = Some([read(&waiting.path), read(Path::new(&log))]);
            return;
        };
        waiting.places = left;
    });
}
