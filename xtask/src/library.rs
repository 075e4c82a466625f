//! `cargo xtask library`: builds the library as shipped in packages, and checks it.
//!
//! It exports only the FFI symbols: an app has its own SQLite in its process, and two with the same
//! names would crash. Its segments are aligned to 16 KiB, as newer Android devices require. It is
//! stripped, and its size is printed. `package` applies the same checks to Android's.

use crate::built::Built;
use crate::process::{output, succeeds};
use crate::report::Count;
use anyhow::{Context as _, Result, bail, ensure};
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
    count += claim("its size is within the limit", &small(library.metadata()?.len()));
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
    let table = readelf("-dW", library)?;
    let needed = table.lines().filter(|line| line.contains("(NEEDED)"));
    let is_allowed = |line: &&str| allowed.iter().any(|name| line.ends_with(&format!("[{name}]")));
    match needed.into_iter().find(|line| !is_allowed(line)) {
        None => Ok(()),
        Some(other) => bail!("only {} may be needed: {other}", allowed.join(", ")),
    }
}

fn readelf(flags: &str, library: &Path) -> Result<String> {
    let mut readelf = Command::new("readelf");
    readelf.arg(flags).arg(library);
    output(readelf)
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
    ensure!(others.is_empty(), "others than ours are exported: {}", others.join(", "));
    ensure!(!surface.is_empty(), "nothing is exported; was it stripped of its surface?");
    Ok(())
}

/// All loaded segments are aligned to the largest page size.
fn alignment(library: &Path) -> Result<()> {
    let headers = readelf("-lW", library)?;
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

/// At most the limit.
fn small(size: u64) -> Result<()> {
    ensure!(size <= LIMIT, "{} are more than {}", megabytes(size), megabytes(LIMIT));
    Ok(())
}

/// Whether Rust's standard library for this target is installed.
pub(crate) fn has_std(target: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    Ok(Path::new(output(rustc)?.trim()).is_dir())
}

/// Why there is none, after rustup has tried to install it; `None` if there is one.
pub(crate) fn missing_std(target: &str) -> Result<Option<String>> {
    let mut add = Command::new("rustup");
    add.args(["target", "add", target]);
    let is_there = has_std(target)? || succeeds(add).unwrap_or(false);
    Ok((!is_there).then(|| format!("rustup target add {target}")))
}

/// A size as printed.
fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::{LIMIT, alignment, checked, needs_only, small, surface};
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
        let good = library(folder.path(), OURS, 16384);
        assert_eq!(checked(&good).unwrap(), Count { passed: 2, failed: 0, skipped: 0 });
        assert!(needs_only(&good, &["libc.so.6"]).is_ok());
    }

    #[test]
    fn library_that_is_too_large_is_refused() {
        assert!(small(LIMIT).is_ok());
        let error = small(LIMIT + 10_000).unwrap_err().to_string();
        assert_eq!(error, "10.81 MB are more than 10.80 MB");
    }
}
