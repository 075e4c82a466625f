//! A simulated disk: counts the calls that change files, makes chosen calls fail, and simulates
//! power cuts.
//!
//! A call is a write, a truncation, a sync, a removal, or the opening of a file. After a power cut
//! every call of every open file fails. A test drops these files, and [`Disk::restore_power`]
//! replaces the files with a possible state after the cut.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rusqlite::ffi;

use crate::image::{Change, Image, Style};
use crate::shim;

/// A fault at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Power cut: neither this call nor any later one has an effect.
    PowerCut,
    /// I/O error: a write is partial, all other calls have no effect.
    Io,
    /// Disk full: a write is partial and no file can be created; all other calls work.
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

/// A folder with simulated faults, until this is dropped.
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
    /// Power-cycle number. Files opened in an earlier one keep failing.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    from: u64,
    upto: u64,
}

/// An open file on a simulated disk.
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
    /// Puts all files that SQLite opens in a folder from now on onto a simulated disk.
    ///
    /// # Panics
    /// The folder is missing, or as for [`crate::install`].
    pub fn watch(folder: &Path) -> Self {
        shim::install();
        let folder = folder.canonicalize().expect("the folder exists");
        let disk = Arc::new(Watched { folder, state: Mutex::default() });
        lock(&DISKS).push(Arc::clone(&disk));
        Self(disk)
    }

    /// Makes `times` calls fail, starting with call `at` from now (the first is 1).
    pub fn fail(&self, fault: Fault, at: u64, times: u64) {
        let mut state = lock(&self.0.state);
        let upto = at.saturating_add(times);
        (state.calls, state.struck) = (0, 0);
        state.plan = Some(Plan { fault, from: at, upto });
    }

    /// Ends the failures; returns the number of failed calls.
    pub fn recover(&self) -> u64 {
        let mut state = lock(&self.0.state);
        state.plan = None;
        state.struck
    }

    /// Number of calls since [`Disk::fail`], and how many of them failed.
    pub fn calls(&self) -> (u64, u64) {
        let state = lock(&self.0.state);
        (state.calls, state.struck)
    }

    /// Makes all previous writes durable.
    pub fn sync_all(&self) {
        let mut state = lock(&self.0.state);
        for image in state.files.values_mut() {
            image.sync();
        }
        state.sync_folder();
    }

    /// Cuts the power if it is not cut yet, and replaces the files with a possible state after the
    /// cut. Open files keep failing.
    ///
    /// # Panics
    /// A file cannot be written.
    pub fn restore_power(&self, style: Style, rng: &mut Rng) {
        let mut state = lock(&self.0.state);
        for (path, image) in std::mem::take(&mut state.files) {
            match image.rebuild(style, rng) {
                // The code under test may have removed the folder of a copy without SQLite.
                Some(content) if path.parent().is_some_and(Path::exists) => {
                    std::fs::write(&path, content).expect("the file can be written");
                }
                _ => drop(std::fs::remove_file(&path)),
            }
            // The WAL index (`-shm`) is shared memory and is lost. Its name derives from the
            // database.
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

/// The simulated disk of a file, if it has one.
pub(crate) fn of(path: &Path) -> Option<Arc<Watched>> {
    lock(&DISKS).iter().find(|disk| path.starts_with(&disk.folder)).cloned()
}

impl Watched {
    /// Decides whether a file can be opened.
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

    /// Decides whether a file can be removed; `remove` removes it.
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
    /// Whether the power was cut since the file was opened.
    pub(crate) fn is_dead(&self) -> bool {
        let state = lock(&self.disk.state);
        state.is_dead || state.generation != self.generation
    }

    /// Writes with `write`, which receives the number of bytes to write.
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
            // The write may have been in progress at the power cut.
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
        // SQLite syncs the folder only with the first sync of a log or journal.
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
    /// Counts a call and returns the error code if it fails. `grows` if it needs disk space.
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
