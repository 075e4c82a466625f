//! `cargo xtask toolchain ubrn`: uniffi-bindgen-react-native, which generates the TypeScript and
//! C++, and the runtime with which Node loads the library.
//!
//! Both come from the npm package, pinned by hash, and are compiled, since npm has no build of this
//! version for Node. Only the workspace members for Node are built, which takes a third of the
//! time.

use super::Cached;
use crate::process::{cargo, output, succeeds};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package's release for the pinned UniFFI; `r` counts changes of our build.
const TOOL: Cached = Cached { name: "ubrn", version: "0.31.0-5-r2" };
const PACKAGE: &str = "uniffi-bindgen-react-native@0.31.0-5";
const INTEGRITY: &str = "sha512-YtL3gTe+RVXAQx/2P2Iuypic/CunRZC65Cs47v//YRfwWNYU4Ufd1jT3rqxSrH5b5QFCYblP89Nf/9ssZRvNgg==";

const GENERATOR: &str = "ubrn-generate";
const RUNTIME: &str = "uniffi-runtime-napi.node";

/// Files added to the unpacked package: a smaller workspace, and a program around the generator's
/// library.
const OVERLAY: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("ubrn/workspace.toml")),
    ("Cargo.lock", include_str!("ubrn/Cargo.lock")),
    ("generate/Cargo.toml", include_str!("ubrn/generate.toml")),
    ("generate/src/main.rs", include_str!("ubrn/generate.rs")),
];

/// Without its feature `wasm`, which takes most of the build time, the library does not compile and
/// supports only `jsi`; only `napi` has a way to find the library. The file to edit, its text, and the replacement.
const EDITED: &str = "crates/ubrn_bindgen/src/cli.rs";
const EDITS: [(&str, &str); 2] = [
    (
        "        Default::default()\n    }",
        "        let flavor = if self.lib_resolution.is_some() { AbiFlavor::Napi } else { AbiFlavor::Jsi };\n        SwitchArgs { flavor }\n    }",
    ),
    (
        "&& ubrn_common::has_wasm_bindgen_imports(source_path).unwrap_or(false)",
        "&& source_path.as_str().is_empty()",
    ),
];

/// For what the code is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// TypeScript and C++, for React Native.
    Jsi,
    /// TypeScript, for Node.
    Napi,
}

/// The installed generator and runtime.
#[derive(Debug, Clone)]
pub(crate) struct Ubrn {
    folder: PathBuf,
}

impl Ubrn {
    /// The tool if it is in the cache.
    pub(crate) fn found() -> Result<Option<Self>> {
        Ok(TOOL.found()?.map(|folder| Self { folder }))
    }

    /// The tool, built now if it is not in the cache: needs npm and, the first time, a few minutes.
    pub(crate) fn ensure() -> Result<Self> {
        Ok(Self { folder: TOOL.ensure(make)? })
    }

    /// The addon that Node loads; `REJOIN_NODE_RUNTIME` gives its path to the package.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.folder.join(RUNTIME)
    }

    /// A command that generates the code of `library` into `folder`; `manifest` is the workspace
    /// of the library.
    pub(crate) fn generate(
        &self,
        flavor: Flavor,
        manifest: &Path,
        library: &Path,
        folder: &Path,
    ) -> Command {
        let flavor = match flavor {
            Flavor::Jsi => "jsi",
            Flavor::Napi => "napi",
        };
        let mut command = Command::new(self.folder.join(GENERATOR));
        command.arg(flavor).args([manifest, library, folder]);
        command
    }
}

/// Installs the tool and returns its path.
pub(crate) fn install() -> Result<PathBuf> {
    Ok(Ubrn::ensure()?.folder)
}

/// Unpacks and builds in a folder next to the two resulting files.
fn make(folder: &Path) -> Result<()> {
    let build = folder.join("build");
    fs::create_dir(&build)?;
    unpack(&build)?;
    lay_over(&build)?;
    let mut compile =
        cargo(&["build", "--locked", "-p", GENERATOR, "-p", "uniffi-runtime-napi"], &[]);
    compile.arg("--manifest-path").arg(build.join("Cargo.toml"));
    // Variables of the current build must not affect this one.
    compile.arg("--target-dir").arg(build.join("target")).env_remove("RUSTFLAGS");
    ensure!(succeeds(compile)?, "{PACKAGE} does not compile");
    let products = build.join("target/debug");
    let addon = format!(
        "{}uniffi_runtime_napi{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    fs::copy(products.join(addon), folder.join(RUNTIME))?;
    let program = format!("{GENERATOR}{}", std::env::consts::EXE_SUFFIX);
    fs::copy(products.join(&program), folder.join(program))?;
    Ok(fs::remove_dir_all(build)?)
}

/// Downloads and unpacks the package, and verifies its hash.
fn unpack(build: &Path) -> Result<()> {
    let mut pack = Command::new("npm");
    pack.args(["pack", "--json", "--loglevel=error", PACKAGE, "--pack-destination"]).arg(build);
    let answer = output(pack).context("npm is needed to fetch it")?;
    let (integrity, file) = packed(&answer).context("npm pack answers otherwise than expected")?;
    if integrity != INTEGRITY {
        bail!("{PACKAGE} is not what it was: {integrity} instead of {INTEGRITY}");
    }
    let mut tar = Command::new("tar");
    tar.args(["-x", "--strip-components=1", "-f"]).arg(build.join(file)).arg("-C").arg(build);
    ensure!(succeeds(tar)?, "{PACKAGE} cannot be unpacked");
    Ok(())
}

/// The hash and the file name in the output of `npm pack --json`.
fn packed(answer: &str) -> Option<(String, String)> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let text = |name: &str| Some(answer.get(0)?.get(name)?.as_str()?.to_owned());
    Some((text("integrity")?, text("filename")?))
}

fn lay_over(build: &Path) -> Result<()> {
    for (path, text) in OVERLAY {
        let path = build.join(path);
        fs::create_dir_all(path.parent().unwrap_or(build))?;
        fs::write(path, text)?;
    }
    let path = build.join(EDITED);
    let edited = edited(&fs::read_to_string(&path)?)?;
    Ok(fs::write(path, edited)?)
}

fn edited(text: &str) -> Result<String> {
    EDITS.iter().try_fold(text.to_owned(), |text, (from, to)| {
        ensure!(
            text.matches(from).count() == 1,
            "{EDITED} is not the file that the edits were made for"
        );
        Ok(text.replace(from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::{edited, packed};

    #[test]
    fn npm_output_gives_hash_and_file() {
        let answer = r#"[{"id": "a@1", "integrity": "sha512-x", "filename": "a-1.tgz"}]"#;
        assert_eq!(packed(answer), Some(("sha512-x".to_owned(), "a-1.tgz".to_owned())));
        for other in ["", "[]", "{}", r#"[{"integrity": "x"}]"#] {
            assert_eq!(packed(other), None, "{other}");
        }
    }

    #[test]
    fn unexpected_file_is_not_edited() {
        let known = "f() {\n        Default::default()\n    }\n\
                     a && ubrn_common::has_wasm_bindgen_imports(source_path).unwrap_or(false);";
        let text = edited(known).unwrap();
        assert!(text.contains("AbiFlavor::Napi") && !text.contains("wasm_bindgen"), "{text}");
        assert!(edited("f() {}").is_err());
        assert!(edited(&format!("{known}\n{known}")).is_err());
    }
}
