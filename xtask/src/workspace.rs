//! The workspace as cargo and git see it: its root, its packages, its files, its test binaries.

use crate::process;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the workspace's manifest. Asked of cargo at run time: a target folder that two checkouts share may
/// hold an xtask that was compiled in the other one.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let compiled_in = || env!("CARGO_MANIFEST_DIR").into();
        let xtask: PathBuf =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled_in, Into::into);
        xtask.parent().map(Path::to_owned).unwrap_or(xtask)
    })
}

/// One text file of the project: its path from the root with forward slashes, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether its name ends in `.` and this, as written.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether it is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Whether it is a source that people write, in any of our languages: generated code is not held to the house rules.
    pub(crate) fn is_written(&self) -> bool {
        const GENERATED: [&str; 3] =
            ["/dev/rejoin/ffi/", "swift/Sources/RejoinFFI/", "/src/generated/"];
        let is_source = ["rs", "kt", "swift", "ts", "tsx"].iter().any(|it| self.has_extension(it));
        is_source && !GENERATED.iter().any(|folder| self.path.contains(folder))
    }

    /// Whether all of it is compiled for tests only, by its place: an integration test, or `mod tests;`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
    }
}

/// All text files of the project: tracked ones, and new ones that no ignore rule hides. Binary files are left out.
pub(crate) fn files() -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = process::output(git).context("the file rules need a git checkout")?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // A tracked file that was deleted and not yet committed is still listed.
        let Ok(bytes) = std::fs::read(root().join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// What `cargo metadata` tells of one package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// None for the workspace's own packages.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) manifest_path: PathBuf,
}

impl Package {
    /// Its folder from the root, with forward slashes (`core`, `examples/demo`).
    pub(crate) fn folder(&self) -> String {
        let folder = self.manifest_path.parent().unwrap_or(root());
        let folder = folder.strip_prefix(root()).unwrap_or(folder);
        folder.to_string_lossy().replace('\\', "/")
    }
}

/// One dependency that a package declares.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None for what is built in; else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Behind a feature that whoever builds may leave off.
    pub(crate) optional: bool,
}

impl Dependency {
    /// Whether only tests see it.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// Every package of the workspace and of what it builds upon, on any platform.
pub(crate) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let metadata = process::cargo(&["metadata", "--format-version", "1", "--locked"], &[]);
    let metadata: Metadata = serde_json::from_str(&process::output(metadata)?)?;
    Ok(metadata.packages)
}

/// One built test binary.
#[derive(Debug)]
pub(crate) struct TestBinary {
    pub(crate) package: String,
    pub(crate) folder: PathBuf,
    pub(crate) executable: PathBuf,
}

/// Builds every test of the workspace and says where the binaries are; None if the build failed (cargo has then
/// said why).
pub(crate) fn build_tests() -> Result<Option<Vec<TestBinary>>> {
    let fixed =
        ["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"];
    let mut binaries = Vec::new();
    let built = process::for_each_line(process::cargo(&fixed, &[]), |line| {
        binaries.extend(test_binary(line));
    })?;
    Ok(built.then_some(binaries))
}

/// The test binary of one line of cargo's JSON messages, if it tells of one.
fn test_binary(line: &str) -> Option<TestBinary> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    #[derive(Deserialize)]
    struct Manifest {
        package: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let executable = artifact.executable.filter(|_| artifact.profile.test)?;
    let manifest = std::fs::read_to_string(&artifact.manifest_path).ok()?;
    let manifest: Manifest = toml::from_str(&manifest).ok()?;
    let folder = artifact.manifest_path.parent()?.to_owned();
    Some(TestBinary { package: manifest.package.name, folder, executable })
}

#[cfg(test)]
mod tests {
    use super::{root, test_binary};

    #[test]
    fn only_test_binaries_are_taken_from_the_messages_of_cargo() {
        let manifest = root().join("xtask/Cargo.toml");
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":{manifest:?},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = test_binary(&message(true, r#""target/deps/xtask-1""#)).unwrap();
        assert_eq!(found.package, "xtask");
        assert_eq!(found.folder, root().join("xtask"));
        assert!(test_binary(&message(false, r#""target/xtask""#)).is_none());
        assert!(test_binary(&message(true, "null")).is_none());
        assert!(test_binary(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
