//! The workspace according to cargo and git: its root, packages and files.

use crate::process;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the workspace's manifest, queried from cargo at run time: a target folder shared
/// by two checkouts may hold an xtask compiled in the other one.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let compiled_in = || env!("CARGO_MANIFEST_DIR").into();
        let xtask: PathBuf =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled_in, Into::into);
        xtask.parent().map(Path::to_owned).unwrap_or(xtask)
    })
}

/// Makes a folder, or empties it.
pub(crate) fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A text file of the project: its path from the root with forward slashes, and its contents.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether it has exactly this extension.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether it is Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Whether it is a hand-written source in any of our languages: rules do not apply to generated
    /// code.
    pub(crate) fn is_written(&self) -> bool {
        const GENERATED: [&str; 3] =
            ["/dev/rejoin/ffi/", "swift/Sources/RejoinFFI/", "/generated/"];
        let is_source = ["rs", "kt", "swift", "ts", "tsx"].iter().any(|it| self.has_extension(it));
        is_source && !GENERATED.iter().any(|folder| self.path.contains(folder))
    }

    /// Whether it is compiled for tests only, by its location: an integration test, or `mod
    /// tests;`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
    }
}

/// The paths of all files of the project: tracked ones, and new ones that are not ignored.
pub(crate) fn paths() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = process::output(git).context("the list of files needs a git checkout")?;
    let paths = listing.split('\0').filter(|path| !path.is_empty());
    // A deleted tracked file is listed until the deletion is committed.
    Ok(paths.filter(|path| root().join(path).is_file()).map(str::to_owned).collect())
}

/// All text files of the project.
pub(crate) fn files() -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths()? {
        if let Ok(text) = std::fs::read_to_string(root().join(&path)) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

/// A package in the output of `cargo metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    /// `None` for the workspace's own packages.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

impl Package {
    /// The folder of its sources.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }
}

/// A declared dependency of a package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for normal dependencies; else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Whether it belongs to an optional feature.
    pub(crate) optional: bool,
}

impl Dependency {
    /// Whether only tests use it.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// All packages of the workspace and their dependencies, on any platform.
pub(crate) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let metadata = process::cargo(&["metadata", "--format-version", "1", "--locked"], &[]);
    let metadata: Metadata = serde_json::from_str(&process::output(metadata)?)?;
    Ok(metadata.packages)
}
