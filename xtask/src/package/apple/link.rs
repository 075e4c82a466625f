//! What compiles C and links for Apple's systems: Xcode, or substitutes whose result can only be
//! inspected.
//!
//! Without Xcode, Rust's own lld links against the stubs of `substitutes`, and zig compiles C. Load
//! commands, exports, imports and sizes are as they would be. Nothing is signed, and nothing runs.

use super::{NAME, System, Target, substitutes};
use crate::package::linker;
use crate::process::{cargo, for_each_line, succeeds};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rust then runs Xcode's `dsymutil`, before it strips the library.
const DSYM: [&str; 2] =
    ["profile.shipping.debug=\"line-tables-only\"", "profile.shipping.split-debuginfo=\"packed\""];

/// Where the tools come from.
#[derive(Debug)]
pub(super) enum Linker {
    Xcode,
    /// Substitutes: Rust's lld, and a folder for stubs and compiler scripts.
    Inspection {
        lld: PathBuf,
        zig: PathBuf,
        stubs: PathBuf,
    },
}

/// What cargo has built for one target.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) library: PathBuf,
    /// Its `dSYM`, with Xcode.
    pub(super) symbols: Option<PathBuf>,
    /// The C code in it, as static libraries.
    pub(super) archives: Vec<PathBuf>,
}

impl Linker {
    /// Xcode on a Mac; elsewhere the substitutes, or which of them is missing.
    pub(super) fn find(stubs: &Path) -> Result<Result<Self, String>> {
        if cfg!(target_os = "macos") {
            return Ok(Ok(Self::Xcode));
        }
        let found = linker::substitutes()?;
        Ok(found.map(|(lld, zig)| Self::Inspection { lld, zig, stubs: stubs.to_owned() }))
    }

    /// Whether an app can use what it links.
    pub(super) fn is_xcode(&self) -> bool {
        matches!(self, Self::Xcode)
    }

    /// Builds the library of a target.
    pub(super) fn build(&self, system: &System, target: &Target) -> Result<Built> {
        let fixed = ["rustc", "--profile", "shipping", "--package", "rejoin-bindings", "--lib"];
        let cdylib = ["--crate-type", "cdylib", "--target", target.rust];
        let messages = ["--message-format=json-render-diagnostics".to_owned()];
        let mut rustc = cargo(&[&fixed[..], &cdylib].concat(), &messages);
        rustc.env(system.variable, system.minimum());
        let name = format!("-install_name,@rpath/{NAME}.framework/{NAME}");
        let flags = match self {
            Self::Xcode => {
                rustc.args(DSYM.iter().flat_map(|set| ["--config", set]));
                vec![format!("-Clink-arg=-Wl,{name}")]
            }
            Self::Inspection { lld, zig, stubs } => {
                let folder = stubs.join(target.rust);
                fs::create_dir_all(&folder)?;
                rustc.envs(substitutes::variables(lld, zig, (system, target), &folder)?);
                let folder = folder.display();
                let mut flags = vec![
                    "-Clinker-flavor=ld64.lld".to_owned(),
                    format!("-Lnative={folder}"),
                    format!("-Clink-arg=-F{folder}"),
                ];
                flags.extend(name.split(',').map(|argument| format!("-Clink-arg={argument}")));
                flags
            }
        };
        // Separated by a byte that no path contains.
        rustc.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        let built = built(rustc)?;
        ensure!(built.symbols.is_some() || !self.is_xcode(), "cargo made no dSYM");
        Ok(built)
    }
}

/// Runs cargo and collects what it reports: files, and the folders of build scripts.
fn built(rustc: Command) -> Result<Built> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        filenames: Vec<PathBuf>,
        out_dir: Option<PathBuf>,
    }
    let (mut files, mut archives) = (Vec::new(), Vec::new());
    let well = for_each_line(rustc, |line| {
        let Ok(message) = serde_json::from_str::<Message>(line) else { return };
        files.extend(message.filenames);
        let made = message.out_dir.and_then(|folder| fs::read_dir(folder).ok());
        let made = made.into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
        archives.extend(made.filter(|file| file.extension().is_some_and(|kind| kind == "a")));
    })?;
    ensure!(well, "the build failed");
    let mut named = |name: &str| {
        let found = files.iter().position(|file| file.file_name().is_some_and(|file| file == name));
        found.map(|place| files.swap_remove(place))
    };
    let library = named("librejoin_ffi.dylib").context("cargo made no library")?;
    Ok(Built { library, symbols: named("librejoin_ffi.dylib.dSYM"), archives })
}

/// Combines libraries of several processors into one file, by `lipo`.
pub(super) fn combine(files: &[&Path], into: &Path) -> Result<()> {
    if let [only] = files {
        fs::copy(only, into).with_context(|| format!("cannot copy {}", only.display()))?;
        return Ok(());
    }
    let mut lipo = Command::new("xcrun");
    lipo.args(["lipo", "-create"]).args(files).arg("-output").arg(into);
    ensure!(succeeds(lipo)?, "lipo cannot make {}", into.display());
    Ok(())
}
