//! `cargo xtask library`: builds the library as shipped in packages, and checks it.
//!
//! It exports only the FFI symbols: an app has its own SQLite in its process, and two with the same
//! names would crash. Its segments are aligned to 16 KiB, as newer Android devices require. It is
//! stripped, and its size is printed. `package` applies the same checks to Android's.

pub(crate) mod rust_std;

use crate::built::Built;
use crate::process::output;
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Memory pages of newer Android devices.
const PAGE: u64 = 16 << 10;

/// Maximum size of the stripped library, slightly above the current one. The goal is 6 MB;
/// docs/library.md shows the progress.
const LIMIT: u64 = 10_800_000;

/// Prefixes of exported names: calls, their checksums, and generator metadata.
const SURFACE: [&str; 3] = ["ffi_rejoin_", "uniffi_rejoin_", "UNIFFI_META_"];

/// The library as shipped.
pub(crate) fn shipped() -> Result<Count> {
    if !cfg!(target_os = "linux") {
        return Ok(Count::skipped("the library's surface and segments are checked on Linux only"));
    }
    let library = build()?;
    let mut count = checked(&library)?;
    count += claim("its size is within the limit", &small(library.metadata()?.len(), LIMIT));
    Ok(count)
}

/// Builds the library with the profile and flags of the packages.
fn build() -> Result<PathBuf> {
    // Android's flag in `.cargo/config.toml`; here it shows that the linker honours it.
    let flags = format!(
        "target.'cfg(target_os = \"linux\")'.rustflags = ['-C', 'link-arg=-Wl,-z,max-page-size={PAGE}']"
    );
    let fixed = ["rustc", "--profile", "shipping", "--package", "rejoin-bindings", "--lib"];
    let cdylib = ["--crate-type", "cdylib", "--config", &flags];
    Built::by("shipping", &[&fixed[..], &cdylib].concat())?.library()
}

/// The checks of a built library on any system.
pub(crate) fn checked(library: &Path) -> Result<Count> {
    let size = library.metadata().with_context(|| library.display().to_string())?.len();
    println!("{}: {}", library.display(), megabytes(size));
    let mut count = claim("only the FFI symbols are exported", &surface(library));
    count += claim("its segments are aligned to 16 KiB", &alignment(library));
    Ok(count)
}

/// Prints whether a claim about a library held.
pub(crate) fn claim(claim: &str, held: &Result<()>) -> Count {
    match held {
        Ok(()) => println!("ok: {claim}"),
        Err(error) => println!("FAILED: {claim}: {error:#}"),
    }
    Count::one(held.is_ok())
}

/// Loads no other libraries than these.
pub(crate) fn needs_only(library: &Path, allowed: &[&str]) -> Result<()> {
    let mut readelf = Command::new("readelf");
    readelf.args(["-dW"]).arg(library);
    let table = output(readelf)?;
    let names = needed(&table);
    println!("needs: {}", names.join(", "));
    match names.iter().find(|name| !allowed.contains(name)) {
        None => Ok(()),
        Some(other) => bail!("it needs {other}, which is not among {}", allowed.join(", ")),
    }
}

/// The names of the needed libraries in `readelf`'s dynamic section.
fn needed(table: &str) -> Vec<&str> {
    let lines = table.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| line.rsplit_once('[')?.1.strip_suffix(']')).collect()
}

/// Exports only the FFI symbols.
fn surface(library: &Path) -> Result<()> {
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "--format=posix"]).arg(library);
    let names = output(nm)?;
    let (surface, others): (Vec<&str>, Vec<&str>) = names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .partition(|name| SURFACE.iter().any(|beginning| name.starts_with(beginning)));
    println!("{} names are exported", surface.len() + others.len());
    if !others.is_empty() {
        bail!("others than ours are exported: {}", others.join(", "));
    }
    if surface.is_empty() {
        bail!("nothing is exported; was it stripped of its surface?");
    }
    Ok(())
}

/// All loaded segments are aligned to the largest page size.
fn alignment(library: &Path) -> Result<()> {
    let mut readelf = Command::new("readelf");
    readelf.args(["-lW"]).arg(library);
    let headers = output(readelf)?;
    let aligned = |line: &str| {
        let number = line.split_whitespace().last()?.strip_prefix("0x")?;
        u64::from_str_radix(number, 16).ok()
    };
    let loaded: Vec<&str> =
        headers.lines().filter(|line| line.trim_start().starts_with("LOAD")).collect();
    if loaded.is_empty() {
        bail!("no segment is loaded");
    }
    match loaded.iter().find(|line| aligned(line).is_none_or(|aligned| aligned < PAGE)) {
        None => Ok(()),
        Some(line) => bail!("a segment is aligned to less than {PAGE:#x}: {}", line.trim()),
    }
}

/// At most this size.
fn small(size: u64, limit: u64) -> Result<()> {
    if size > limit {
        bail!("{} are more than {}", megabytes(size), megabytes(limit));
    }
    Ok(())
}

/// A size as printed.
fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::{LIMIT, alignment, checked, megabytes, needed, needs_only, small, surface};
    use crate::report::Count;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const OURS: &str =
        "int ffi_rejoin_ffi_a(void){return 1;} int uniffi_rejoin_ffi_b(void){return 2;}";
    const LEAK: &str = "int sqlite3_open(void){return 3;}";

    /// A library with these functions.
    fn library(folder: &Path, code: &str, page: u64) -> PathBuf {
        let (source, library) = (folder.join("a.c"), folder.join("a.so"));
        std::fs::write(&source, code).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", &format!("-Wl,-z,max-page-size={page}"), "-o"]);
        assert!(cc.arg(&library).arg(&source).status().unwrap().success());
        library
    }

    #[test]
    fn library_that_exports_sqlite_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let leaky = library(folder.path(), &format!("{OURS} {LEAK}"), 16384);
        let error = surface(&leaky).unwrap_err().to_string();
        assert!(error.ends_with("others than ours are exported: sqlite3_open"), "{error}");
        assert_eq!(checked(&leaky).unwrap(), Count { passed: 1, failed: 1, skipped: 0 });
        let empty = library(folder.path(), "static int a;", 16384);
        assert!(surface(&empty).unwrap_err().to_string().contains("nothing is exported"));
    }

    #[test]
    fn library_aligned_to_small_pages_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let old = library(folder.path(), OURS, 4096);
        let error = alignment(&old).unwrap_err().to_string();
        assert!(error.contains("aligned to less than 0x4000"), "{error}");
        assert_eq!(checked(&old).unwrap(), Count { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn library_that_is_too_large_is_refused() {
        assert!(small(LIMIT, LIMIT).is_ok());
        let error = small(9_500_000, 9_400_000).unwrap_err().to_string();
        assert_eq!(error, "9.50 MB are more than 9.40 MB");
        assert_eq!(megabytes(1), "0.00 MB");
    }

    #[test]
    fn library_with_our_symbols_and_large_pages_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let good = library(folder.path(), OURS, 16384);
        assert_eq!(checked(&good).unwrap(), Count { passed: 2, failed: 0, skipped: 0 });
    }

    #[test]
    fn library_that_needs_another_is_refused_by_name() {
        let table = " 0x01 (NEEDED)  Shared library: [libc.so]\n 0x0e (SONAME)  Library soname: [a]\n\
                     \x20 0x01 (NEEDED)  Shared library: [libz.so]\n";
        assert_eq!(needed(table), ["libc.so", "libz.so"]);
        let folder = tempfile::tempdir().unwrap();
        let good = library(folder.path(), OURS, 16384);
        assert!(needs_only(&good, &["libc.so.6"]).is_ok());
    }
}
