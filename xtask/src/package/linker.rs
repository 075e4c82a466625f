//! What compiles C and links for Android: the NDK, or substitutes whose result can only be inspected.
//!
//! Without an NDK, Rust's own lld links against empty libraries and zig compiles C with the headers
//! of another C library. Segments, exports and sizes are then as they would be; the library cannot
//! be loaded by a device.

use super::android::Abi;
use crate::library::zig;
use crate::process::{output, succeeds};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first Android version that the libraries support (Android 7).
const API: u32 = 24;

/// Packed relocations, which Android reads since API 23.
const PACKED: &str = "--pack-dyn-relocs=android";

/// Names of the libraries of Android that ours may need; empty ones stand for them without an NDK.
pub(super) const SYSTEM: [&str; 4] = ["libc.so", "libm.so", "libdl.so", "liblog.so"];

/// The variable by which the NDK's installers and CI images name its folder.
const NDK_HOME: &str = "ANDROID_NDK_HOME";

/// Fails without an NDK: a package without native libraries cannot open a database.
pub(super) fn require_ndk() -> Result<()> {
    ensure!(
        std::env::var_os(NDK_HOME).is_some_and(|home| !home.is_empty()),
        "{NDK_HOME} is not set, and the packages for Android need an NDK. Install one (`sdkmanager --install \"ndk;VERSION\"`), \
         set {NDK_HOME} to its folder and run this again. Without one, `cargo xtask package jvm` makes the packages for the JVM, \
         and `--check` links libraries that can only be inspected"
    );
    Ok(())
}

/// Where the tools come from.
#[derive(Debug)]
pub(super) enum Linker {
    /// The `bin` folder of the NDK's clang.
    Ndk(PathBuf),
    /// Substitutes: Rust's lld, and a folder for stubs and compiler scripts.
    Inspection { lld: PathBuf, zig: PathBuf, stubs: PathBuf },
}

/// The tools for one ABI.
#[derive(Debug, PartialEq)]
pub(super) struct Tools {
    linker: PathBuf,
    flags: Vec<String>,
    cc: PathBuf,
    ar: PathBuf,
}

impl Linker {
    /// The NDK if there is one; otherwise the substitutes, or which of them is missing.
    pub(super) fn find(stubs: &Path) -> Result<Result<Self, String>> {
        if let Some(home) = std::env::var_os(NDK_HOME).filter(|home| !home.is_empty()) {
            return ndk(Path::new(&home)).map(Self::Ndk).map(Ok);
        }
        println!("{NDK_HOME} is not set: the libraries are linked for inspection only");
        let found = substitutes()?;
        Ok(found.map(|(lld, zig)| Self::Inspection { lld, zig, stubs: stubs.to_owned() }))
    }

    /// Whether a device can load what it links.
    pub(super) fn is_ndk(&self) -> bool {
        matches!(self, Self::Ndk(_))
    }

    /// The tools for an ABI, written if they are scripts and stubs.
    pub(super) fn tools(&self, abi: &Abi) -> Result<Tools> {
        match self {
            Self::Ndk(bin) => {
                let clang = bin.join(format!("{}{API}-clang", abi.clang));
                let ar = bin.join("llvm-ar");
                let flags = vec![format!("-Clink-arg=-Wl,{PACKED}")];
                Ok(Tools { linker: clang.clone(), flags, cc: clang, ar })
            }
            Self::Inspection { lld, zig, stubs } => {
                let folder = stubs.join(abi.name);
                fs::create_dir_all(&folder)?;
                let cc = zig::script(zig, "cc", abi.zig, &folder)?;
                let ar = zig::script(zig, "ar", abi.zig, &folder)?;
                stub(&cc, &folder)?;
                let flags = vec![
                    "-Clinker-flavor=ld.lld".to_owned(),
                    format!("-Lnative={}", folder.display()),
                    "-Clink-arg=--unresolved-symbols=ignore-all".to_owned(),
                    format!("-Clink-arg={PACKED}"),
                ];
                Ok(Tools { linker: lld.clone(), flags, cc, ar })
            }
        }
    }
}

/// Rust's lld and zig, which link and compile C for inspection on any system; or which is missing.
pub(super) fn substitutes() -> Result<Result<(PathBuf, PathBuf), String>> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir"]);
    let lld = PathBuf::from(output(rustc)?.trim()).with_file_name("bin/rust-lld");
    if !lld.is_file() {
        return Ok(Err("this Rust has no rust-lld: install it by rustup".to_owned()));
    }
    Ok(zig::ensure().map(|zig| (lld, zig)).map_err(|error| format!("{error:#}")))
}

/// The `bin` folder of an NDK's clang.
fn ndk(home: &Path) -> Result<PathBuf> {
    let prebuilt = home.join("toolchains/llvm/prebuilt");
    let hosts = fs::read_dir(&prebuilt).with_context(|| {
        format!("{NDK_HOME} names no NDK: {} cannot be read", prebuilt.display())
    })?;
    let mut bins = hosts.filter_map(Result::ok).map(|host| host.path().join("bin"));
    let found = bins.find(|bin| bin.is_dir());
    found.with_context(|| {
        format!("the NDK has no compiler for this machine in {}", prebuilt.display())
    })
}

/// Empty libraries in place of Android's, and an empty unwinder.
fn stub(cc: &Path, folder: &Path) -> Result<()> {
    let empty = folder.join("empty.c");
    fs::write(&empty, "")?;
    fs::write(folder.join("libunwind.a"), "!<arch>\n")?;
    for name in SYSTEM {
        let mut link = Command::new(cc);
        link.args(["-shared", "-nostdlib", &format!("-Wl,-soname,{name}"), "-o"]);
        link.arg(folder.join(name)).arg(&empty);
        if !succeeds(link)? {
            bail!("zig cannot link an empty {name}");
        }
    }
    Ok(())
}

/// Cargo's configuration for a target.
pub(super) fn config(target: &str, tools: &Tools) -> Result<String> {
    #[derive(serde::Serialize)]
    struct Config<'a> {
        env: BTreeMap<String, &'a Path>,
        target: BTreeMap<&'a str, Target<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Target<'a> {
        linker: &'a Path,
        rustflags: &'a [String],
    }
    let variable = target.replace('-', "_");
    let programs = [("CC", &tools.cc), ("AR", &tools.ar)];
    let env = programs.map(|(name, program)| (format!("{name}_{variable}"), program.as_path()));
    let linker = Target { linker: &tools.linker, rustflags: &tools.flags };
    let config = Config { env: env.into(), target: [(target, linker)].into() };
    toml::to_string(&config).context("a path of a tool is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::{Tools, config, ndk};
    use std::fs;

    #[test]
    fn config_names_linker_flags_and_compilers_of_the_target() {
        let tools = Tools {
            linker: "/x/ld".into(),
            flags: vec!["-Clinker-flavor=ld.lld".to_owned()],
            cc: "/x/cc".into(),
            ar: "/x/a r".into(),
        };
        let parsed: toml::Table = config("i686-linux-android", &tools).unwrap().parse().unwrap();
        let target = &parsed["target"]["i686-linux-android"];
        assert_eq!(target["linker"].as_str(), Some("/x/ld"));
        assert_eq!(target["rustflags"][0].as_str(), Some("-Clinker-flavor=ld.lld"));
        assert_eq!(parsed["env"]["CC_i686_linux_android"].as_str(), Some("/x/cc"));
        assert_eq!(parsed["env"]["AR_i686_linux_android"].as_str(), Some("/x/a r"));
    }

    #[test]
    fn folder_without_an_ndk_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let error = ndk(home.path()).unwrap_err().to_string();
        assert!(error.starts_with("ANDROID_NDK_HOME names no NDK"), "{error}");
        let bin = home.path().join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        fs::create_dir_all(&bin).unwrap();
        assert_eq!(ndk(home.path()).unwrap(), bin);
    }
}
