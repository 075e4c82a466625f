//! The checks of one linked library: the system that it is for, what it exports, imports and
//! declares, and its size.

use super::link::Built;
use super::macho::{self, Library, Stamp};
use super::{NAME, System, Target, privacy};
use crate::library::{Oversize, SURFACE, claim, megabytes, size_claim};
use crate::report::Count;
use crate::workspace::root;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries that ours may load, and the names that it may import, each after its library. A new one
/// needs a look: does the oldest supported system have it, does Apple require a reason for it?
const IMPORTS: &str = include_str!("imports.txt");

/// Checks the library of a target.
pub(super) fn library(
    system: &System,
    (target, oversize): (&Target, Oversize),
    built: &Built,
) -> Result<Count> {
    let size = built.library.metadata()?.len();
    println!("{}: {} ({size} bytes)", target.rust, megabytes(size));
    let library = macho::read(&built.library)?;
    let stamp = system.stamp();
    let mut count = claim(&format!("it is for {stamp}"), &is_for(library.stamp, stamp));
    count += claim("its C code is for the same", &objects(&built.archives, stamp));
    count += claim("its install name is that of the framework", &install_name(&library));
    count += claim("it exports the functions of its header and no others", &exports(&library));
    count += claim("it imports only names in imports.txt", &imports(&library));
    let imported = library.imports.iter().filter_map(|import| Some(import.split_once(' ')?.1));
    let privacy = privacy::declares(&imported.collect());
    count += claim("its privacy manifest declares what it uses", &privacy);
    count += size_claim(size, (target.limit, oversize));
    Ok(count)
}

fn is_for(found: Option<Stamp>, expected: Stamp) -> Result<()> {
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => bail!("it is for {found}"),
        None => bail!("it names no system"),
    }
}

/// Every object of C and assembly is for the system.
fn objects(archives: &[PathBuf], expected: Stamp) -> Result<()> {
    let mut number = 0;
    for archive in archives {
        for (object, stamp) in macho::stamps(archive)? {
            is_for(stamp, expected)
                .with_context(|| format!("{object} in {}", archive.display()))?;
            number += 1;
        }
    }
    println!("{number} objects in {} static libraries", archives.len());
    ensure!(number > 0, "there is none: were the archives found?");
    Ok(())
}

fn install_name(library: &Library) -> Result<()> {
    let expected = format!("@rpath/{NAME}.framework/{NAME}");
    ensure!(library.install_name == expected, "it is {}", library.install_name);
    Ok(())
}

fn exports(library: &Library) -> Result<()> {
    let header = fs::read_to_string(header())?;
    surface(&library.exports, &header)
}

/// The C header of the module.
pub(super) fn header() -> PathBuf {
    root().join("swift/Sources").join(NAME).join(Path::new(NAME).with_extension("h"))
}

/// Every function of the header is exported, and nothing else than functions of ours and the
/// generator's metadata.
fn surface(exports: &BTreeSet<String>, header: &str) -> Result<()> {
    let is_ours = |name: &&str| SURFACE.iter().any(|beginning| name.starts_with(beginning));
    let words = header.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let declared: BTreeSet<&str> = words.filter(is_ours).collect();
    println!("{} names are exported, {} declared", exports.len(), declared.len());
    let others: Vec<&str> =
        exports.iter().map(String::as_str).filter(|name| !is_ours(name)).collect();
    ensure!(others.is_empty(), "others than ours are exported: {}", others.join(", "));
    let missing: Vec<&str> = declared.into_iter().filter(|name| !exports.contains(*name)).collect();
    ensure!(missing.is_empty(), "the header declares more: {}", missing.join(", "));
    Ok(())
}

/// Every import and every loaded library is in the list.
fn imports(library: &Library) -> Result<()> {
    let known: BTreeSet<&str> = IMPORTS.lines().collect();
    println!("{} names are imported", library.imports.len());
    let found = library.imports.iter().chain(&library.loads).map(String::as_str);
    let new: Vec<&str> = found.filter(|name| !known.contains(name)).collect();
    ensure!(new.is_empty(), "new imports:\n{}", new.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{IMPORTS, Library, imports, is_for, surface};
    use crate::package::apple::SLICES;

    const HEADER: &str = "void uniffi_rejoin_a(void);\nuint8_t ffi_rejoin_b(\n);\nvoid other();";

    fn set(names: &[&str]) -> std::collections::BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn exports_must_be_those_of_the_header() {
        let exact = set(&["uniffi_rejoin_a", "ffi_rejoin_b", "UNIFFI_META_A"]);
        assert!(surface(&exact, HEADER).is_ok());
        let leaky = set(&["uniffi_rejoin_a", "ffi_rejoin_b", "sqlite3_open"]);
        let error = surface(&leaky, HEADER).unwrap_err().to_string();
        assert_eq!(error, "others than ours are exported: sqlite3_open");
        let error = surface(&set(&["ffi_rejoin_b"]), HEADER).unwrap_err().to_string();
        assert_eq!(error, "the header declares more: uniffi_rejoin_a");
    }

    #[test]
    fn new_import_and_new_library_are_refused_by_name() {
        let library = |import: &str, load: &str| Library {
            install_name: String::new(),
            stamp: None,
            exports: set(&[]),
            imports: set(&[import]),
            loads: set(&[load]),
        };
        assert!(imports(&library("libSystem.B.dylib stat", "libSystem.B.dylib")).is_ok());
        let error = imports(&library("libSystem.B.dylib fork", "libz.1.dylib")).unwrap_err();
        assert_eq!(error.to_string(), "new imports:\nlibSystem.B.dylib fork\nlibz.1.dylib");
    }

    #[test]
    fn object_for_another_system_is_refused() {
        let [ios, simulator, macos] = SLICES.map(|slice| slice.system.stamp());
        assert!(is_for(Some(ios), ios).is_ok());
        assert_eq!(is_for(Some(macos), ios).unwrap_err().to_string(), "it is for macOS 13.0");
        assert!(is_for(Some(simulator), ios).is_err());
        assert_eq!(is_for(None, ios).unwrap_err().to_string(), "it names no system");
    }

    #[test]
    fn list_of_imports_is_sorted() {
        assert!(IMPORTS.lines().is_sorted());
    }
}
