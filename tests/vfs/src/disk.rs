//! A disk that a test watches: counts the calls that change files, decides which of them fail, and loses power.
//!
//! A call is a write, a truncation, a sync, a removal, or the opening of a file. From a power cut on every call of every open
//! file fails, for good: a test lets go of them, and [`Disk::restore_power`] puts the files as the cut may have left them.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rusqlite::ffi;

use crate::image::{Change, Image, Style};
use crate::shim;

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power is cut: neither this call nor any later one has an effect.
    PowerCut,
    /// The disk fails: a write leaves a part, all else leaves nothing.
    Io,
    /// There is no room: a write leaves a part and a file is not made; all else works.
    Full,
}

/// A call that changes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Write,
    Truncate,
    Sync,
    Delete,
}

/// A folder whose files lose power and fail; watched until it is dropped.
#[derive(Debug)]
pub struct Disk(Arc<Watched>);

#[derive(Debug)]
pub(crate) struct Watched {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Image>,
    plan: Option<Plan>,
    calls: u64,
    struck: u64,
    is_dead: bool,
    /// Files that were opened before the power came back are of an earlier one, and stay dead.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    from: u64,
    upto: u64,
}

/// A file that is open on a watched disk.
#[derive(Debug)]
pub(crate) struct Handle {
    disk: Arc<Watched>,
    path: PathBuf,
    generation: u64,
}

static DISKS: Mutex<Vec<Arc<Watched>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Watches a folder: files that SQLite opens in it from now on are on this disk.
    ///
    /// # Panics
    /// If the folder is missing, or as [`crate::install`].
    pub fn watch(folder: &Path) -> Self {
        shim::install();
        let folder = folder.canonicalize().expect("the folder is there");
        let disk = Arc::new(Watched { folder, state: Mutex::default() });
        lock(&DISKS).push(Arc::clone(&disk));
        Self(disk)
    }

    /// Lets `times` calls fail, from call `at` on (the first is 1), counted from now.
    pub fn fail(&self, fault: Fault, at: u64, times: u64) {
        let mut state = lock(&self.0.state);
        let upto = at.saturating_add(times);
        (state.calls, state.struck) = (0, 0);
        state.plan = Some(Plan { fault, from: at, upto });
    }

    /// Ends the failures, and how many calls have failed.
    pub fn recover(&self) -> u64 {
        let mut state = lock(&self.0.state);
        state.plan = None;
        state.struck
    }

    /// How many calls there were since [`Disk::fail`], and how many of them failed.
    pub fn calls(&self) -> (u64, u64) {
        let state = lock(&self.0.state);
        (state.calls, state.struck)
    }

    /// All that was written so far reaches the disk.
    pub fn sync_all(&self) {
        let mut state = lock(&self.0.state);
        for image in state.files.values_mut() {
            image.sync();
        }
        state.sync_folder();
    }

    /// Cuts the power now, if it is not cut yet, and puts the files as that may have left them. What was open stays dead.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn restore_power(&self, style: Style, rng: &mut Rng) {
        let mut state = lock(&self.0.state);
        for (path, image) in std::mem::take(&mut state.files) {
            match image.rebuild(style, rng) {
                // The product may have removed the folder of a copy, without SQLite.
                Some(content) if path.parent().is_some_and(Path::exists) => {
                    std::fs::write(&path, content).expect("the file is put in place");
                }
                _ => drop(std::fs::remove_file(&path)),
            }
            // The index of the log is memory: it is gone. It has the name of its database.
            let mut index = path.into_os_string();
            index.push("-shm");
            drop(std::fs::remove_file(index));
        }
        state.generation += 1;
        (state.is_dead, state.plan) = (false, None);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).retain(|disk| !Arc::ptr_eq(disk, &self.0));
    }
}

/// The disk of a file, if it is on a watched one.
pub(crate) fn of(path: &Path) -> Option<Arc<Watched>> {
    lock(&DISKS).iter().find(|disk| path.starts_with(&disk.folder)).cloned()
}

impl Watched {
    /// A file is about to be opened: what becomes of that.
    pub(crate) fn open(self: Arc<Self>, path: PathBuf, may_create: bool) -> Result<Handle, c_int> {
        let mut state = lock(&self.state);
        let is_new = may_create && !path.exists();
        state.call(Call::Open, is_new)?;
        let image = match std::fs::read(&path) {
            Ok(content) => state.files.entry(path.clone()).or_insert_with(|| Image::found(content)),
            Err(_) => state.files.entry(path.clone()).or_default(),
        };
        if is_new {
            image.create();
        }
        let generation = state.generation;
        drop(state);
        Ok(Handle { disk: self, path, generation })
    }

    /// A name is removed, by `remove`.
    pub(crate) fn delete(
        &self,
        path: &Path,
        is_synced: bool,
        remove: impl FnOnce() -> c_int,
    ) -> c_int {
        let mut state = lock(&self.state);
        if let Err(code) = state.call(Call::Delete, false) {
            return code;
        }
        let code = remove();
        if code == ffi::SQLITE_OK {
            if let Some(image) = state.files.get_mut(path) {
                image.remove();
            }
            if is_synced {
                state.sync_folder();
            }
        }
        code
    }

    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.state).is_dead
    }
}

impl Handle {
    /// Whether the power was cut since this was opened.
    pub(crate) fn is_dead(&self) -> bool {
        let state = lock(&self.disk.state);
        state.is_dead || state.generation != self.generation
    }

    /// Writes by `write`, which is given how many of the bytes.
    pub(crate) fn write(
        &self,
        at: usize,
        bytes: &[u8],
        write: impl FnOnce(usize) -> c_int,
    ) -> c_int {
        let mut state = match self.alive() {
            Ok(state) => state,
            Err(code) => return code,
        };
        let called = state.call(Call::Write, true);
        if state.is_dead {
            // It may have been on its way to the disk when the power went.
            state.change(&self.path, Change::Write { at, bytes: bytes.to_vec() });
            return ffi::SQLITE_IOERR;
        }
        let length = if called.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let code = write(length);
        if code == ffi::SQLITE_OK {
            state.change(&self.path, Change::Write { at, bytes: bytes[..length].to_vec() });
        }
        called.err().unwrap_or(code)
    }

    pub(crate) fn truncate(&self, size: usize, truncate: impl FnOnce() -> c_int) -> c_int {
        let mut state = match self.alive() {
            Ok(state) => state,
            Err(code) => return code,
        };
        if let Err(code) = state.call(Call::Truncate, false) {
            return code;
        }
        let code = truncate();
        if code == ffi::SQLITE_OK {
            state.change(&self.path, Change::Truncate(size));
        }
        code
    }

    pub(crate) fn sync(&self) -> c_int {
        let mut state = match self.alive() {
            Ok(state) => state,
            Err(code) => return code,
        };
        if let Err(code) = state.call(Call::Sync, false) {
            return code;
        }
        let is_new = state.files.get_mut(&self.path).is_some_and(Image::sync);
        // SQLite syncs the folder with the first sync of a log or journal, and of no other file.
        let name = self.path.to_string_lossy();
        if is_new && (name.ends_with("-wal") || name.ends_with("-journal")) {
            state.sync_folder();
        }
        ffi::SQLITE_OK
    }

    fn alive(&self) -> Result<MutexGuard<'_, State>, c_int> {
        let state = lock(&self.disk.state);
        if state.is_dead || state.generation != self.generation {
            return Err(ffi::SQLITE_IOERR);
        }
        Ok(state)
    }
}

impl State {
    /// Counts a call, and says with which code it fails. `grows` if it needs room on the disk.
    fn call(&mut self, call: Call, grows: bool) -> Result<(), c_int> {
        if self.is_dead {
            return Err(ffi::SQLITE_IOERR);
        }
        self.calls += 1;
        let Some(plan) = self.plan.filter(|plan| (plan.from..plan.upto).contains(&self.calls))
        else {
            return Ok(());
        };
        let code = match (plan.fault, call) {
            (Fault::Full, Call::Write) if grows => ffi::SQLITE_FULL,
            (Fault::Full, Call::Open) if grows => ffi::SQLITE_CANTOPEN,
            (Fault::Full, _) => return Ok(()),
            (Fault::PowerCut, _) => {
                self.is_dead = true;
                ffi::SQLITE_IOERR
            }
            (Fault::Io, Call::Open) => ffi::SQLITE_CANTOPEN,
            (Fault::Io, Call::Write) => ffi::SQLITE_IOERR_WRITE,
            (Fault::Io, Call::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
            (Fault::Io, Call::Sync) => ffi::SQLITE_IOERR_FSYNC,
            (Fault::Io, Call::Delete) => ffi::SQLITE_IOERR_DELETE,
        };
        self.struck += 1;
        Err(code)
    }

    fn change(&mut self, path: &Path, change: Change) {
        if let Some(image) = self.files.get_mut(path) {
            image.change(change);
        }
    }

    fn sync_folder(&mut self) {
        self.files.retain(|_, image| image.is_live);
        self.files.values_mut().for_each(Image::sync_name);
    }
}
