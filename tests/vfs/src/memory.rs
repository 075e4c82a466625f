//! SQLite's allocator, which fails at the n-th allocation of a thread. Other threads and Rust's own
//! allocations are not affected.

#![allow(unsafe_code)] // An allocator for SQLite is a table of C functions.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

type Malloc = unsafe extern "C" fn(c_int) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void;

/// SQLite's default allocator.
static REAL: OnceLock<(Malloc, Realloc)> = OnceLock::new();

thread_local! {
    /// Allocations of this thread, and the range of those that fail.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FAILING: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Makes `times` of this thread's allocations in SQLite fail, starting with the `at`-th from now
/// (the first is 1). No allocation fails if `times` is zero.
pub fn fail_allocations(at: u64, times: u64) {
    COUNT.set(0);
    FAILING.set((at, at.saturating_add(times)));
}

/// The allocations of this thread since [`fail_allocations`].
pub fn allocations() -> u64 {
    COUNT.get()
}

fn fails() -> bool {
    let count = COUNT.get() + 1;
    COUNT.set(count);
    let (from, upto) = FAILING.get();
    (from..upto).contains(&count)
}

/// Wraps SQLite's allocator; must be called before any other use of SQLite.
pub(crate) fn install() {
    // SAFETY: SQLite fills the table or returns an error, and copies the table that it is given.
    unsafe {
        let mut methods: ffi::sqlite3_mem_methods = std::mem::zeroed();
        let got = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods);
        assert_eq!(got, ffi::SQLITE_OK, "SQLite was used before its allocator was replaced");
        let ours =
            ffi::sqlite3_mem_methods { xMalloc: Some(malloc), xRealloc: Some(realloc), ..methods };
        if let (Some(malloc), Some(realloc)) = (methods.xMalloc, methods.xRealloc) {
            REAL.get_or_init(|| (malloc, realloc));
        }
        let set = ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const ours);
        assert_eq!(set, ffi::SQLITE_OK, "SQLite accepts the allocator");
    }
}

unsafe extern "C" fn malloc(size: c_int) -> *mut c_void {
    match REAL.get() {
        // SAFETY: SQLite's own function with SQLite's own argument.
        Some((real, _)) if !fails() => unsafe { real(size) },
        _ => ptr::null_mut(),
    }
}

unsafe extern "C" fn realloc(old: *mut c_void, size: c_int) -> *mut c_void {
    match REAL.get() {
        // SAFETY: SQLite's own function with SQLite's own arguments.
        Some((_, real)) if !fails() => unsafe { real(old, size) },
        _ => ptr::null_mut(),
    }
}
