//! Reads Mach-O files: what a linked library exports and imports, and for which system each object
//! was compiled. It decides nothing; `checks` does.

use anyhow::{Context as _, Result};
use object::macho::{PLATFORM_IOS, PLATFORM_IOSSIMULATOR, PLATFORM_MACOS, Platform, Version};
use object::read::NameOrOrdinal;
use object::read::archive::ArchiveFile;
use object::read::macho::{LoadCommandVariant, MachOFile64};
use object::{Endianness, Object as _};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// The platform and the minimum version in an object's `LC_BUILD_VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) platform: Platform,
    pub(super) minimum: Version,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.platform {
            PLATFORM_MACOS => f.write_str("macOS")?,
            PLATFORM_IOS => f.write_str("iOS")?,
            PLATFORM_IOSSIMULATOR => f.write_str("the iOS simulator")?,
            Platform(other) => write!(f, "platform {other}")?,
        }
        write!(f, " {}.{}", self.minimum.major(), self.minimum.minor())
    }
}

/// A linked library. Names are those of C: without the underscore in front and the variant behind
/// a `$`.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) install_name: String,
    pub(super) stamp: Option<Stamp>,
    pub(super) exports: BTreeSet<String>,
    /// Names after the file name of their library: `libSystem.B.dylib stat`.
    pub(super) imports: BTreeSet<String>,
    /// File names of the libraries that it loads.
    pub(super) loads: BTreeSet<String>,
}

type File<'data> = MachOFile64<'data, Endianness>;

/// Reads a library of one architecture.
pub(super) fn read(path: &Path) -> Result<Library> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    library(&bytes).with_context(|| format!("{} is not a Mach-O library", path.display()))
}

fn library(bytes: &[u8]) -> Result<Library> {
    let file = File::parse(bytes)?;
    let (mut install_name, mut loads) = (String::new(), BTreeSet::new());
    let mut commands = file.macho_load_commands()?;
    while let Some(command) = commands.next()? {
        if let LoadCommandVariant::IdDylib(id) = command.variant()? {
            install_name = text(command.string(file.endian(), id.dylib.name)?);
        } else if let Some(dylib) = command.dylib()? {
            loads.insert(file_name(command.string(file.endian(), dylib.dylib.name)?));
        }
    }
    let (mut exports, mut imports) = (BTreeSet::new(), BTreeSet::new());
    for export in file.exports()? {
        exports.insert(c_name(export?.name()));
    }
    for import in file.imports()? {
        let import = import?;
        imports.insert(format!("{} {}", file_name(import.library()), c_name(import.name())));
    }
    Ok(Library { install_name, stamp: stamp(&file)?, exports, imports, loads })
}

/// The stamp of each object in a static library, by the object's name. Other members are left out:
/// Rust's whole-program pass also keeps LLVM bitcode in archives.
pub(super) fn stamps(path: &Path) -> Result<Vec<(String, Option<Stamp>)>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let archive = ArchiveFile::parse(&*bytes)?;
    let mut stamps = Vec::new();
    for member in archive.members() {
        let member = member?;
        if let Ok(file) = File::parse(member.data(&*bytes)?) {
            stamps.push((text(member.name()), stamp(&file)?));
        }
    }
    Ok(stamps)
}

fn stamp(file: &File<'_>) -> Result<Option<Stamp>> {
    let endian = file.endian();
    let stamp = |(version, _): (&object::macho::BuildVersionCommand<Endianness>, _)| Stamp {
        platform: version.platform.get(endian),
        minimum: version.minos.get(endian),
    };
    Ok(file.build_version()?.map(stamp))
}

fn c_name(name: NameOrOrdinal<&[u8]>) -> String {
    let NameOrOrdinal::Name(name) = name else { return "(a number)".to_owned() };
    let name = text(name);
    let name = name.strip_prefix('_').unwrap_or(&name);
    name.split('$').next().unwrap_or(name).to_owned()
}

fn file_name(path: &[u8]) -> String {
    let path = text(path);
    path.rsplit('/').next().unwrap_or(&path).to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{NameOrOrdinal, c_name, file_name, stamps};
    use std::fs;

    /// An object with one load command: its build version.
    fn object(platform: u32) -> Vec<u8> {
        const OBJECT: [u32; 8] = [0xfeed_facf, 0x0100_000c, 0, 1, 1, 24, 0, 0];
        let version = [0x32, 24, platform, 16 << 16, 0, 0];
        OBJECT.into_iter().chain(version).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn objects_of_an_archive_name_their_system() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = b"!<arch>\n".to_vec();
        for (name, bytes) in
            [("a.o", object(2)), ("b.bc", b"BC\xc0\xde".to_vec()), ("c.o", object(1))]
        {
            let size = bytes.len();
            archive.extend(format!("{:<16}{:<32}{size:<10}`\n", format!("{name}/"), "0").bytes());
            archive.extend(bytes);
        }
        let file = folder.path().join("a.a");
        fs::write(&file, archive).unwrap();
        let stamps = stamps(&file).unwrap();
        let texts = stamps.iter().map(|(name, stamp)| format!("{name}: {}", stamp.unwrap()));
        assert_eq!(texts.collect::<Vec<_>>(), ["a.o: iOS 16.0", "c.o: macOS 16.0"]);
    }

    #[test]
    fn names_are_those_of_c() {
        assert_eq!(c_name(NameOrOrdinal::Name(b"_stat$INODE64")), "stat");
        assert_eq!(c_name(NameOrOrdinal::Name(b"___error")), "__error");
        assert_eq!(file_name(b"/usr/lib/libSystem.B.dylib"), "libSystem.B.dylib");
    }
}
