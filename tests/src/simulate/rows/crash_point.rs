//! A crash at a named point, inside this process: the file is copied as it is there, and later
//! writes do not count.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rejoin_core::death;

/// A database and its log, byte for byte.
pub(super) type Files = [Option<Vec<u8>>; 2];

#[derive(Debug)]
struct ArmedCrash {
    path: PathBuf,
    /// Number of points that are still passed.
    places: usize,
    files: Option<Files>,
}

thread_local! {
    static ARMED: RefCell<Option<ArmedCrash>> = const { RefCell::new(None) };
}

/// A crash that is armed on this thread.
#[derive(Debug)]
pub(super) struct CrashPoint;

#[allow(clippy::unused_self)] // The guard belongs to this thread: the points are passed on the same thread.
impl CrashPoint {
    /// Crashes the device with this file at the given point that it passes, counted from 0.
    pub(super) fn arm(path: &Path, places: usize) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| death::watch(|_| pass_point()));
        ARMED.set(Some(ArmedCrash { path: path.to_owned(), places, files: None }));
        Self
    }

    /// Whether it has crashed.
    pub(super) fn has_crashed(&self) -> bool {
        ARMED.with_borrow(|armed| armed.as_ref().is_some_and(|one| one.files.is_some()))
    }

    /// The files at the crash; `None` if there was none.
    pub(super) fn take_files(self) -> Option<Files> {
        ARMED.take()?.files
    }
}

impl Drop for CrashPoint {
    fn drop(&mut self) {
        ARMED.set(None);
    }
}

fn pass_point() {
    ARMED.with_borrow_mut(|armed| {
        let Some(armed) = armed.as_mut().filter(|one| one.files.is_none()) else { return };
        let Some(left) = armed.places.checked_sub(1) else {
            let mut log = armed.path.clone().into_os_string();
            log.push("-wal");
            let read = |path: &Path| std::fs::read(path).ok();
            armed.files = Some([read(&armed.path), read(Path::new(&log))]);
            return;
        };
        armed.places = left;
    });
}
