//! The native library of each Android ABI by an NDK, and its checks.

use crate::built::Built;
use crate::library;
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// An ABI of Android: its names in the archive, in Rust and in the NDK.
type Abi = (&'static str, &'static str, &'static str);

const ABIS: [Abi; 4] = [
    ("arm64-v8a", "aarch64-linux-android", "aarch64-linux-android24-clang"),
    ("armeabi-v7a", "armv7-linux-androideabi", "armv7a-linux-androideabi24-clang"),
    ("x86_64", "x86_64-linux-android", "x86_64-linux-android24-clang"),
    ("x86", "i686-linux-android", "i686-linux-android24-clang"),
];

const LIBRARY: &str = "librejoin_ffi.so";

/// The libraries of Android that ours may need.
const SYSTEM: [&str; 4] = ["libc.so", "libm.so", "libdl.so", "liblog.so"];

/// The variable by which the NDK's installers and CI images name its folder.
const NDK_HOME: &str = "ANDROID_NDK_HOME";

/// The Rust targets of all ABIs.
pub(super) fn targets() -> Vec<&'static str> {
    ABIS.iter().map(|(_, rust, _)| *rust).collect()
}

/// The `bin` folder of the NDK's clang. A package without native libraries cannot open a database.
pub(super) fn ndk() -> Result<PathBuf> {
    let home = std::env::var_os(NDK_HOME).filter(|home| !home.is_empty()).with_context(|| {
        format!(
            "{NDK_HOME} is not set, and the packages for Android need an NDK. Install one (`sdkmanager --install \"ndk;VERSION\"`), \
             set {NDK_HOME} to its folder and run this again. Without one, `cargo xtask package jvm` makes the packages for the JVM"
        )
    })?;
    clang_in(Path::new(&home))
}

fn clang_in(home: &Path) -> Result<PathBuf> {
    let prebuilt = home.join("toolchains/llvm/prebuilt");
    let hosts = fs::read_dir(&prebuilt).with_context(|| {
        format!("{NDK_HOME} names no NDK: {} cannot be read", prebuilt.display())
    })?;
    let mut bins = hosts.filter_map(Result::ok).map(|host| host.path().join("bin"));
    let found = bins.find(|bin| bin.is_dir());
    found.with_context(|| format!("no compiler for this machine in {}", prebuilt.display()))
}

/// Builds and checks the libraries in `jni`, where Maven looks for them.
pub(super) fn libraries(ndk: &Path, folder: &Path) -> Result<Count> {
    let jni = folder.join("jni");
    let mut count = Count::default();
    for abi @ (name, ..) in ABIS {
        // One ABI that cannot be built does not hide the others.
        count += library(abi, ndk, &jni.join(name)).unwrap_or_else(|error| {
            println!("FAILED: {name}: {error:#}");
            Count::one(false)
        });
    }
    if count.failed > 0 && jni.is_dir() {
        // An archive has all ABIs or none.
        fs::remove_dir_all(jni)?;
    }
    Ok(count)
}

/// Builds the library of one ABI into `place`, and checks it.
fn library(abi: Abi, ndk: &Path, place: &Path) -> Result<Count> {
    if let Some(missing) = library::missing_std(abi.1)? {
        bail!("{missing}");
    }
    let fixed = ["rustc", "--profile", "shipping", "--package", "rejoin-bindings", "--lib"];
    let cdylib = ["--crate-type", "cdylib", "--target", abi.1];
    let config = config(abi, ndk);
    let config: Vec<&str> = config.iter().flat_map(|set| ["--config", set]).collect();
    let built =
        Built::by(&format!("{}/shipping", abi.1), &[&fixed[..], &cdylib, &config].concat())?;
    fs::create_dir_all(place)?;
    let library = place.join(LIBRARY);
    fs::copy(built.file(LIBRARY)?, &library)?;
    let mut count = library::checked(&library)?;
    count += library::claim(
        "it needs only libraries of Android",
        &library::needs_only(&library, &SYSTEM),
    );
    Ok(count)
}

/// The settings by which cargo finds the compiler, the archiver and the linker of an ABI. Android
/// reads packed relocations since API 23.
fn config((_, rust, clang): Abi, ndk: &Path) -> [String; 4] {
    let (variable, ndk) = (rust.replace('-', "_"), ndk.display());
    [
        format!("env.CC_{variable}='{ndk}/{clang}'"),
        format!("env.AR_{variable}='{ndk}/llvm-ar'"),
        format!("target.{rust}.linker='{ndk}/{clang}'"),
        format!("target.{rust}.rustflags=['-Clink-arg=-Wl,--pack-dyn-relocs=android']"),
    ]
}

#[cfg(test)]
mod tests {
    use super::{ABIS, clang_in, config};
    use std::path::Path;

    #[test]
    fn compiler_and_linker_of_an_abi_are_those_of_the_ndk() {
        let config = config(ABIS[1], Path::new("/ndk/bin")).join("\n");
        let parsed: toml::Table = config.parse().unwrap();
        let clang = Some("/ndk/bin/armv7a-linux-androideabi24-clang");
        assert_eq!(parsed["env"]["CC_armv7_linux_androideabi"].as_str(), clang);
        assert_eq!(parsed["target"]["armv7-linux-androideabi"]["linker"].as_str(), clang);
    }

    #[test]
    fn folder_without_an_ndk_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let error = clang_in(home.path()).unwrap_err().to_string();
        assert!(error.starts_with("ANDROID_NDK_HOME names no NDK"), "{error}");
        let bin = home.path().join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        std::fs::create_dir_all(&bin).unwrap();
        assert_eq!(clang_in(home.path()).unwrap(), bin);
    }
}
