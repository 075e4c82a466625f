//! The C functions between SQLite and its file system. They ask [`crate::disk`] before each call
//! that changes a file and forward the rest. A sync never reaches the real disk.

#![allow(unsafe_code)] // SQLite's file system interface is in C.
#![allow(clippy::similar_names)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{ptr, slice};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use crate::disk::{self, Handle};
use crate::memory;

/// An open file. SQLite's own file follows it, in the same allocation by SQLite.
#[repr(C)]
struct ShimFile {
    base: sqlite3_file,
    /// Null for a file that is not on a simulated disk.
    handle: *mut Handle,
}

static REAL: AtomicPtr<sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());
static INSTALLED: Once = Once::new();

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 2 has a WAL but no memory mapping: every byte passes through these functions.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(take_lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Installs the default file system of this process, with its allocator; once.
///
/// # Panics
/// SQLite was used before: a test must call this first.
pub fn install() {
    INSTALLED.call_once(|| {
        memory::install();
        // SAFETY: SQLite's file system exists as long as the process, and so does ours, which is leaked.
        unsafe {
            let real = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!real.is_null(), "SQLite has a file system");
            REAL.store(real, Ordering::Release);
            let shim = size_of::<ShimFile>();
            let vfs = Box::new(sqlite3_vfs {
                szOsFile: (*real).szOsFile + c_int::try_from(shim).unwrap_or(c_int::MAX),
                pNext: ptr::null_mut(),
                zName: c"rejoin-power".as_ptr(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                ..*real
            });
            let registered = ffi::sqlite3_vfs_register(Box::into_raw(vfs), 1);
            assert_eq!(registered, ffi::SQLITE_OK, "SQLite accepts the file system");
        }
    });
}

/// SQLite's own file that follows one of ours.
unsafe fn behind(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: SQLite allocated both, ours first (`szOsFile`).
    unsafe { file.byte_add(size_of::<ShimFile>()) }
}

unsafe fn handle<'a>(file: *mut sqlite3_file) -> Option<&'a Handle> {
    // SAFETY: `open` stored a handle or null there, and only `close` frees it.
    unsafe { (*file.cast::<ShimFile>()).handle.as_ref() }
}

unsafe fn path_of<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: SQLite passes a null-terminated text, or null.
    let name = unsafe { name.as_ref().map(|name| CStr::from_ptr(name)) }?;
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

/// Forwards a call to SQLite's own file.
macro_rules! real {
    ($file:expr, $method:ident $(, $arg:expr)*) => {{
        // SAFETY: SQLite's own file is open, and the arguments are from SQLite.
        unsafe {
            let real = behind($file);
            match (*real).pMethods.as_ref().and_then(|methods| methods.$method) {
                Some(method) => method(real $(, $arg)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// Defines a function that forwards its call, and fails after a power cut.
macro_rules! powered {
    ($name:ident, $method:ident $(, $arg:ident: $kind:ty)*) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $kind)*) -> c_int {
            // SAFETY: SQLite passes a file created by `open`.
            if unsafe { handle(file) }.is_some_and(Handle::is_dead) {
                return ffi::SQLITE_IOERR;
            }
            real!(file, $method $(, $arg)*)
        }
    };
}

/// Defines a function that always forwards its call: locks must be released even after a power cut.
macro_rules! unpowered {
    ($name:ident, $method:ident $(, $arg:ident: $kind:ty)*) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $kind)*) -> c_int {
            real!(file, $method $(, $arg)*)
        }
    };
}

powered!(read, xRead, into: *mut c_void, length: c_int, at: sqlite3_int64);
powered!(file_size, xFileSize, size: *mut sqlite3_int64);
powered!(take_lock, xLock, level: c_int);
powered!(check_reserved_lock, xCheckReservedLock, out: *mut c_int);
powered!(shm_map, xShmMap, page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
unpowered!(unlock, xUnlock, level: c_int);
unpowered!(file_control, xFileControl, op: c_int, arg: *mut c_void);
unpowered!(sector_size, xSectorSize);
unpowered!(shm_lock, xShmLock, offset: c_int, count: c_int, flags: c_int);
unpowered!(shm_unmap, xShmUnmap, delete: c_int);

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: as in `real!`; this one returns nothing.
    unsafe {
        let real = behind(file);
        if let Some(barrier) = (*real).pMethods.as_ref().and_then(|methods| methods.xShmBarrier) {
            barrier(real);
        }
    }
}

/// Claims no guarantee that the simulated disk does not keep.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes a file created by `open`, and this many bytes.
    let (handle, bytes) = unsafe {
        let length = usize::try_from(length).unwrap_or_default();
        (handle(file), slice::from_raw_parts(from.cast::<u8>(), length))
    };
    let Some(handle) = handle else { return real!(file, xWrite, from, length, at) };
    handle.write(usize::try_from(at).unwrap_or_default(), bytes, |kept| {
        real!(file, xWrite, from, c_int::try_from(kept).unwrap_or(length), at)
    })
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes a file created by `open`.
    match unsafe { handle(file) } {
        Some(handle) => handle
            .truncate(usize::try_from(size).unwrap_or_default(), || real!(file, xTruncate, size)),
        None => real!(file, xTruncate, size),
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite passes a file created by `open`.
    unsafe { handle(file) }.map_or(ffi::SQLITE_OK, Handle::sync)
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = real!(file, xClose);
    // SAFETY: `open` stored a box there, or null; SQLite no longer uses the file.
    unsafe {
        let handle = (*file.cast::<ShimFile>()).handle;
        (*file.cast::<ShimFile>()).handle = ptr::null_mut();
        if !handle.is_null() {
            drop(Box::from_raw(handle));
        }
    }
    code
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let shim = file.cast::<ShimFile>();
    // SAFETY: SQLite allocated `szOsFile` bytes; without methods it does not use the file again.
    let path = unsafe {
        (*file).pMethods = ptr::null();
        (*shim).handle = ptr::null_mut();
        (*behind(file)).pMethods = ptr::null();
        path_of(name).map(PathBuf::from)
    };
    let mut handle = None;
    if let Some((disk, path)) = path.and_then(|path| Some((disk::of(&path)?, path))) {
        match disk.open(path, flags & ffi::SQLITE_OPEN_CREATE != 0) {
            Ok(opened) => handle = Some(Box::new(opened)),
            Err(code) => return code,
        }
    }
    // SAFETY: SQLite's function with its own file system and the memory of its own file.
    let code = unsafe {
        let real = REAL.load(Ordering::Acquire);
        (*real)
            .xOpen
            .map_or(ffi::SQLITE_CANTOPEN, |open| open(real, name, behind(file), flags, out))
    };
    if code != ffi::SQLITE_OK {
        // Usually there is nothing to close, and this has no effect.
        let _ = real!(file, xClose);
        return code;
    }
    // SAFETY: SQLite allocated `szOsFile` bytes, and reads them when this returns.
    unsafe {
        (*file).pMethods = &raw const METHODS;
        (*shim).handle = handle.map_or(ptr::null_mut(), Box::into_raw);
    }
    code
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite's function with its own file system and name.
    let remove = || unsafe {
        let real = REAL.load(Ordering::Acquire);
        // Never synced: the real machine does not lose power.
        (*real).xDelete.map_or(ffi::SQLITE_IOERR, |delete| delete(real, name, 0))
    };
    // SAFETY: the name from SQLite.
    let path = unsafe { path_of(name) };
    match path.and_then(|path| Some((disk::of(path)?, path))) {
        Some((disk, path)) => disk.delete(path, sync != 0, remove),
        None => remove(),
    }
}

unsafe extern "C" fn access(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the name from SQLite; SQLite's function with its own file system.
    unsafe {
        if path_of(name).and_then(disk::of).is_some_and(|disk| disk.is_dead()) {
            return ffi::SQLITE_IOERR_ACCESS;
        }
        let real = REAL.load(Ordering::Acquire);
        (*real).xAccess.map_or(ffi::SQLITE_IOERR, |access| access(real, name, flags, out))
    }
}
