//! The engine as dynamic frameworks for Apple's systems, and their checks.
//!
//! With Xcode, the slices become `CRejoinFFI.xcframework`, which Package.swift prefers to a release.
//! On Linux, the libraries whose standard library rustup has are linked for inspection only, into a
//! folder that no manifest names. `package` decides whether a release is made of the frameworks.

mod checks;
mod distribution;
mod framework;
mod link;
mod macho;
mod privacy;
pub(super) mod release;
pub(super) mod smoke;
mod substitutes;

use super::npm;
use crate::library::{Oversize, rust_std};
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use link::Linker;
use macho::Stamp;
use object::macho::{PLATFORM_IOS, PLATFORM_IOSSIMULATOR, PLATFORM_MACOS, Platform, Version};
use std::fs;
use std::path::Path;

/// The framework, its library and its module.
const NAME: &str = "CRejoinFFI";
pub(super) const XCFRAMEWORK: &str = "CRejoinFFI.xcframework";

/// A system of Apple, with its names in an `XCFramework` and in the `Info.plist` of a framework.
#[derive(Debug)]
struct System {
    name: &'static str,
    variant: Option<&'static str>,
    bundle: &'static str,
    platform: Platform,
    /// The first supported major version, and the variable by which compilers get it.
    minimum: u16,
    variable: &'static str,
}

impl System {
    fn minimum(&self) -> String {
        format!("{}.0", self.minimum)
    }

    fn stamp(&self) -> Stamp {
        Stamp { platform: self.platform, minimum: Version::new(self.minimum, 0, 0) }
    }

    fn is_macos(&self) -> bool {
        self.platform == PLATFORM_MACOS
    }
}

/// A Rust target, and the largest accepted library, slightly above the measured one. The goal is
/// 6 MB (docs/library.md).
#[derive(Debug)]
struct Target {
    rust: &'static str,
    limit: u64,
}

impl Target {
    fn processor(&self) -> &'static str {
        self.rust.split('-').next().unwrap_or(self.rust)
    }

    /// Apple's name of the processor.
    fn architecture(&self) -> &'static str {
        if self.processor() == "aarch64" { "arm64" } else { self.processor() }
    }
}

/// A framework for one system and one or two processors.
#[derive(Debug)]
struct Slice {
    name: &'static str,
    system: System,
    targets: &'static [Target],
}

const SLICES: [Slice; 3] = [
    Slice {
        name: "ios-arm64",
        system: System {
            name: "ios",
            variant: None,
            bundle: "iPhoneOS",
            platform: PLATFORM_IOS,
            minimum: 16,
            variable: "IPHONEOS_DEPLOYMENT_TARGET",
        },
        targets: &[Target { rust: "aarch64-apple-ios", limit: 8_000_000 }],
    },
    Slice {
        name: "ios-arm64_x86_64-simulator",
        system: System {
            name: "ios",
            variant: Some("simulator"),
            bundle: "iPhoneSimulator",
            platform: PLATFORM_IOSSIMULATOR,
            minimum: 16,
            variable: "IPHONEOS_DEPLOYMENT_TARGET",
        },
        targets: &[
            Target { rust: "aarch64-apple-ios-sim", limit: 8_000_000 },
            Target { rust: "x86_64-apple-ios", limit: 8_700_000 },
        ],
    },
    Slice {
        name: "macos-arm64_x86_64",
        system: System {
            name: "macos",
            variant: None,
            bundle: "MacOSX",
            platform: PLATFORM_MACOS,
            minimum: 13,
            variable: "MACOSX_DEPLOYMENT_TARGET",
        },
        targets: &[
            Target { rust: "aarch64-apple-darwin", limit: 8_000_000 },
            Target { rust: "x86_64-apple-darwin", limit: 8_700_000 },
        ],
    },
];

/// The Rust targets of all slices.
pub(super) fn targets() -> Vec<&'static str> {
    SLICES.iter().flat_map(|slice| slice.targets).map(|target| target.rust).collect()
}

/// Builds and checks all slices.
pub(super) fn frameworks(folder: &Path, oversize: Oversize) -> Result<Count> {
    let linker = match Linker::find(&folder.join("stubs"))? {
        Ok(linker) => linker,
        Err(missing) => return Ok(Count::skipped(&missing)),
    };
    let place = folder.join(if linker.is_xcode() { "slices" } else { "inspection" });
    let mut count = Count::default();
    for slice in &SLICES {
        // One slice that cannot be built does not hide the others.
        count += framework(slice, &linker, (&place, oversize)).unwrap_or_else(|error| {
            println!("FAILED: {}: {error:#}", slice.name);
            Count::one(false)
        });
    }
    if linker.is_xcode() && count.failed == 0 {
        fs::write(place.join("Info.plist"), framework::index(&SLICES)?)?;
        fs::rename(&place, folder.join(XCFRAMEWORK)).context("cannot name the XCFramework")?;
    }
    Ok(count)
}

/// Copies the slices for iOS: an npm package has no symbolic links, and those for macOS have some.
pub(super) fn only_ios(from: &Path, to: &Path) -> Result<()> {
    let slices = SLICES.split(|slice| slice.system.is_macos()).next().unwrap_or_default();
    for slice in slices {
        npm::copy(&from.join(slice.name), &to.join(slice.name))?;
    }
    Ok(fs::write(to.join("Info.plist"), framework::index(slices)?)?)
}

/// Builds and checks the libraries of a slice. With Xcode they become one framework; libraries for
/// inspection get one each.
fn framework(
    slice: &Slice,
    linker: &Linker,
    (place, oversize): (&Path, Oversize),
) -> Result<Count> {
    let mut count = Count::default();
    let mut all = Vec::new();
    for target in slice.targets {
        match rust_std::missing(target.rust)? {
            None => {}
            Some(missing) if linker.is_xcode() => bail!("{}: {missing}", target.rust),
            Some(missing) => {
                count += Count::skipped(&format!("{}: {missing}", target.rust));
                continue;
            }
        }
        let built = linker.build(&slice.system, target)?;
        count += checks::library(&slice.system, (target, oversize), &built)?;
        if linker.is_xcode() {
            all.push(built);
        } else {
            println!("{}: unsigned, linked without Apple's SDK, for inspection only", target.rust);
            framework::write(&slice.system, &[built], &place.join(target.rust))?;
        }
    }
    if linker.is_xcode() {
        framework::write(&slice.system, &all, &place.join(slice.name))?;
    }
    Ok(count)
}
