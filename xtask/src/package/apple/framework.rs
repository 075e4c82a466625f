//! The files of a framework and of the `XCFramework` around all of them.
//!
//! A framework for macOS has a folder per version and symbolic links to the current one; on iOS
//! everything is at the top.

use super::link::{Built, combine};
use super::{NAME, Slice, System, checks, privacy};
use anyhow::{Context as _, Result};
use plist::{Dictionary, Value};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const MODULE: &str =
    "framework module CRejoinFFI {\n    header \"CRejoinFFI.h\"\n    export *\n}\n";

/// Writes the framework of these libraries, one per processor, and its `dSYM` if they have one.
pub(super) fn write(system: &System, built: &[Built], place: &Path) -> Result<()> {
    let framework = place.join(NAME).with_extension("framework");
    let contents = if system.is_macos() { framework.join("Versions/A") } else { framework.clone() };
    let resources = if system.is_macos() { contents.join("Resources") } else { contents.clone() };
    for folder in [&resources, &contents.join("Headers"), &contents.join("Modules")] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let libraries: Vec<&Path> = built.iter().map(|built| built.library.as_path()).collect();
    combine(&libraries, &contents.join(NAME))?;
    fs::copy(checks::header(), contents.join("Headers").join(format!("{NAME}.h")))?;
    fs::write(contents.join("Modules/module.modulemap"), MODULE)?;
    fs::write(resources.join("PrivacyInfo.xcprivacy"), privacy::MANIFEST)?;
    fs::write(resources.join("Info.plist"), xml(&bundle(system))?)?;
    if system.is_macos() {
        symlink("A", framework.join("Versions/Current"))?;
        for name in [NAME, "Headers", "Modules", "Resources"] {
            symlink(Path::new("Versions/Current").join(name), framework.join(name))?;
        }
    }
    let symbols: Vec<&Path> = built.iter().filter_map(|built| built.symbols.as_deref()).collect();
    symbols_of(&symbols, &place.join("dSYMs").join(format!("{NAME}.framework.dSYM")))
}

/// Combines the `dSYM`s of several processors.
fn symbols_of(all: &[&Path], into: &Path) -> Result<()> {
    let Some(first) = all.first() else { return Ok(()) };
    let folder = into.join("Contents/Resources/DWARF");
    fs::create_dir_all(&folder)?;
    fs::copy(first.join("Contents/Info.plist"), into.join("Contents/Info.plist"))?;
    let file = |symbols: &&Path| -> Result<PathBuf> {
        let mut files = fs::read_dir(symbols.join("Contents/Resources/DWARF"))?;
        Ok(files.next().with_context(|| format!("{} is empty", symbols.display()))??.path())
    };
    let files = all.iter().map(file).collect::<Result<Vec<_>>>()?;
    combine(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &folder.join(NAME))
}

/// `Info.plist` of a framework.
fn bundle(system: &System) -> Value {
    let minimum = if system.is_macos() { "LSMinimumSystemVersion" } else { "MinimumOSVersion" };
    let version = env!("CARGO_PKG_VERSION");
    dictionary([
        ("CFBundleDevelopmentRegion", "en".into()),
        ("CFBundleExecutable", NAME.into()),
        ("CFBundleIdentifier", "dev.rejoin.CRejoinFFI".into()),
        ("CFBundleInfoDictionaryVersion", "6.0".into()),
        ("CFBundleName", NAME.into()),
        ("CFBundlePackageType", "FMWK".into()),
        ("CFBundleShortVersionString", version.into()),
        ("CFBundleSupportedPlatforms", Value::Array(vec![system.bundle.into()])),
        ("CFBundleVersion", version.into()),
        (minimum, system.minimum().into()),
    ])
}

/// `Info.plist` of the `XCFramework`: where the library of each system and processor is.
pub(super) fn index(slices: &[Slice]) -> Result<Vec<u8>> {
    let library = |slice: &Slice| {
        let framework = format!("{NAME}.framework");
        let binary = if slice.system.is_macos() { "Versions/A/" } else { "" };
        let architectures = slice.targets.iter().map(|target| target.architecture().into());
        let mut keys = vec![
            ("BinaryPath", format!("{framework}/{binary}{NAME}").into()),
            ("DebugSymbolsPath", "dSYMs".into()),
            ("LibraryIdentifier", slice.name.into()),
            ("LibraryPath", framework.into()),
            ("SupportedArchitectures", Value::Array(architectures.collect())),
            ("SupportedPlatform", slice.system.name.into()),
        ];
        keys.extend(
            slice.system.variant.map(|variant| ("SupportedPlatformVariant", variant.into())),
        );
        dictionary(keys)
    };
    xml(&dictionary([
        ("AvailableLibraries", Value::Array(slices.iter().map(library).collect())),
        ("CFBundlePackageType", "XFWK".into()),
        ("XCFrameworkFormatVersion", "1.0".into()),
    ]))
}

fn dictionary(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Dictionary(
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Dictionary>(),
    )
}

fn xml(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.to_writer_xml(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Built, Value, index, write};
    use crate::package::apple::{SLICES, XCFRAMEWORK};
    use crate::process::succeeds;
    use crate::toolchain::swift;
    use std::fs;

    const MANIFEST: &str = "// swift-tools-version: 6.0\nimport PackageDescription\n\
        let package = Package(name: \"A\", targets: [.binaryTarget(name: \"CRejoinFFI\", \
        path: \"CRejoinFFI.xcframework\")])\n";

    fn library(folder: &std::path::Path) -> [Built; 1] {
        let library = folder.join("librejoin_ffi.dylib");
        fs::write(&library, "code").unwrap();
        [Built { library, symbols: None, archives: Vec::new() }]
    }

    #[test]
    fn framework_for_ios_is_flat() {
        let folder = tempfile::tempdir().unwrap();
        write(&SLICES[0].system, &library(folder.path()), folder.path()).unwrap();
        let framework = folder.path().join("CRejoinFFI.framework");
        for file in [
            "CRejoinFFI",
            "Headers/CRejoinFFI.h",
            "Modules/module.modulemap",
            "PrivacyInfo.xcprivacy",
        ] {
            assert!(framework.join(file).is_file(), "{file}");
        }
        let info = Value::from_file(framework.join("Info.plist")).unwrap();
        let info = info.as_dictionary().unwrap();
        assert_eq!(info["MinimumOSVersion"].as_string(), Some("16.0"));
        assert_eq!(info["CFBundleSupportedPlatforms"].as_array().unwrap(), &["iPhoneOS".into()]);
    }

    #[test]
    fn framework_for_macos_has_links_to_its_version() {
        let folder = tempfile::tempdir().unwrap();
        write(&SLICES[2].system, &library(folder.path()), folder.path()).unwrap();
        let framework = folder.path().join("CRejoinFFI.framework");
        for file in ["CRejoinFFI", "Headers/CRejoinFFI.h", "Resources/PrivacyInfo.xcprivacy"] {
            assert!(framework.join(file).is_file(), "{file}");
            assert!(framework.join("Versions/A").join(file).is_file(), "{file}");
        }
        let link = fs::read_link(framework.join("CRejoinFFI")).unwrap();
        assert_eq!(link.to_str(), Some("Versions/Current/CRejoinFFI"));
    }

    #[test]
    fn index_names_the_library_of_each_slice() {
        let index = Value::from_reader_xml(&*index(&SLICES).unwrap()).unwrap();
        let libraries = index.as_dictionary().unwrap()["AvailableLibraries"].as_array().unwrap();
        let key =
            |slice: usize, key: &str| libraries[slice].as_dictionary().unwrap().get(key).cloned();
        assert_eq!(libraries.len(), 3);
        assert_eq!(key(0, "SupportedPlatformVariant"), None);
        assert_eq!(key(1, "SupportedPlatformVariant"), Some("simulator".into()));
        let both = Value::Array(vec!["arm64".into(), "x86_64".into()]);
        assert_eq!(key(1, "SupportedArchitectures"), Some(both));
        let binary = "CRejoinFFI.framework/Versions/A/CRejoinFFI";
        assert_eq!(key(2, "BinaryPath"), Some(binary.into()));
    }

    #[test]
    fn swift_accepts_the_index() {
        let Some(swift) = swift::found().unwrap() else { return };
        let folder = tempfile::tempdir().unwrap();
        let frameworks = folder.path().join(XCFRAMEWORK);
        for slice in &SLICES {
            write(&slice.system, &library(folder.path()), &frameworks.join(slice.name)).unwrap();
        }
        fs::write(folder.path().join("Package.swift"), MANIFEST).unwrap();
        let accepts = |index: Vec<u8>| {
            fs::write(frameworks.join("Info.plist"), index).unwrap();
            let mut resolve = swift.command("swift");
            resolve.args(["package", "resolve", "--package-path"]).arg(folder.path());
            succeeds(resolve).unwrap()
        };
        let index = index(&SLICES).unwrap();
        let other =
            String::from_utf8(index.clone()).unwrap().replace("SupportedPlatform<", "Other<");
        assert!(accepts(index));
        assert!(!accepts(other.into_bytes()));
    }
}
