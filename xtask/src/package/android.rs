//! The native library of each Android ABI, and its checks.

use super::linker::{Linker, SYSTEM, config};
use crate::built::Built;
use crate::library::{self, Oversize, rust_std};
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

/// An ABI of Android: its names in the archive, in Rust, in the NDK and in zig, and the largest
/// accepted library, slightly above the measured one. The goal is 6 MB (docs/library.md).
#[derive(Debug)]
pub(super) struct Abi {
    pub(super) name: &'static str,
    pub(super) rust: &'static str,
    pub(super) clang: &'static str,
    pub(super) zig: &'static str,
    limit: u64,
}

const ABIS: [Abi; 4] = [
    Abi {
        name: "arm64-v8a",
        rust: "aarch64-linux-android",
        clang: "aarch64-linux-android",
        zig: "aarch64-linux-musl",
        limit: 7_800_000,
    },
    Abi {
        name: "armeabi-v7a",
        rust: "armv7-linux-androideabi",
        clang: "armv7a-linux-androideabi",
        zig: "arm-linux-musleabi",
        limit: 6_100_000,
    },
    Abi {
        name: "x86_64",
        rust: "x86_64-linux-android",
        clang: "x86_64-linux-android",
        zig: "x86_64-linux-musl",
        limit: 9_000_000,
    },
    Abi {
        name: "x86",
        rust: "i686-linux-android",
        clang: "i686-linux-android",
        zig: "x86-linux-musl",
        limit: 8_800_000,
    },
];

const LIBRARY: &str = "librejoin_ffi.so";

/// The Rust targets of all ABIs.
pub(super) fn targets() -> Vec<&'static str> {
    ABIS.iter().map(|abi| abi.rust).collect()
}

/// Builds and checks the libraries. Those of an NDK are in `jni`, where Maven looks for them; those
/// for inspection never are.
pub(super) fn libraries(folder: &Path, oversize: Oversize) -> Result<Count> {
    let linker = match Linker::find(&folder.join("stubs"))? {
        Ok(linker) => linker,
        Err(missing) => return Ok(Count::skipped(&missing)),
    };
    let place = folder.join(if linker.is_ndk() { "jni" } else { "inspection" });
    let mut count = Count::default();
    for abi in &ABIS {
        // One ABI that cannot be built does not hide the others.
        let built = library(abi, &linker, folder, (&place.join(abi.name), oversize));
        count += built.unwrap_or_else(|error| {
            println!("FAILED: {}: {error:#}", abi.name);
            Count::one(false)
        });
    }
    if count.failed > 0 && linker.is_ndk() {
        // An archive has all ABIs or none.
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    Ok(count)
}

/// Builds the library of one ABI into `place`, and checks it.
fn library(
    abi: &Abi,
    linker: &Linker,
    folder: &Path,
    (place, oversize): (&Path, Oversize),
) -> Result<Count> {
    match rust_std::missing(abi.rust)? {
        None => {}
        Some(missing) if linker.is_ndk() => bail!("{missing}"),
        Some(missing) => return Ok(Count::skipped(&format!("{}: {missing}", abi.name))),
    }
    let file = folder.join(format!("cargo-{}.toml", abi.name));
    fs::write(&file, config(abi.rust, &linker.tools(abi)?)?)?;
    let file = file.to_str().context("the path of the workspace is not UTF-8")?;
    let fixed = ["rustc", "--profile", "shipping", "--package", "rejoin-bindings", "--lib"];
    let cdylib = ["--crate-type", "cdylib", "--config", file, "--target", abi.rust];
    let built = Built::by(&[&fixed[..], &cdylib].concat())?;
    fs::create_dir_all(place)?;
    let library = place.join(LIBRARY);
    fs::copy(built.file(LIBRARY)?, &library)?;
    if !linker.is_ndk() {
        println!("{}: not loadable, for inspection only", abi.name);
    }
    let mut count = library::checked(&library, (abi.limit, oversize))?;
    count += library::claim(
        "it needs only libraries of Android",
        &library::needs_only(&library, &SYSTEM),
    );
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{ABIS, Linker, config};

    #[test]
    fn clang_of_each_abi_is_named_as_in_the_ndk() {
        let ndk = Linker::Ndk("/ndk/bin".into());
        let expected = [
            "aarch64-linux-android24-clang",
            "armv7a-linux-androideabi24-clang",
            "x86_64-linux-android24-clang",
            "i686-linux-android24-clang",
        ];
        for (abi, clang) in ABIS.iter().zip(expected) {
            let config = config(abi.rust, &ndk.tools(abi).unwrap()).unwrap();
            let linker = format!("linker = \"/ndk/bin/{clang}\"");
            assert!(config.contains(&linker), "{}: {config}", abi.name);
            assert!(config.contains("-Clink-arg=-Wl,--pack-dyn-relocs=android"), "{config}");
        }
    }
}
