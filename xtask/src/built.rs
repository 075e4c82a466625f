//! What cargo builds for the tests: one build of the whole workspace, with one set of features,
//! which all stages use.

use crate::gate;
use crate::process::{cargo, for_each_line};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The list of files that the `build` stage writes for later stages.
const LIST: &str = "built";

/// Files built by cargo: programs and libraries.
#[derive(Debug)]
pub(crate) struct Built(Vec<PathBuf>);

impl Built {
    /// Builds everything, tests included, and writes the list.
    pub(crate) fn all() -> Result<Self> {
        let built = Self::by(&["build", "--workspace", "--all-targets"])?;
        let list: Vec<&str> = built.0.iter().filter_map(|path| path.to_str()).collect();
        fs::create_dir_all(gate::folder())?;
        fs::write(gate::folder().join(LIST), list.join("\n"))?;
        Ok(built)
    }

    /// The result of this run's `build` stage; outside a run, builds programs and libraries now.
    pub(crate) fn now() -> Result<Self> {
        if std::env::var_os(gate::IN_GATE).is_none() {
            return Self::by(&["build", "--workspace"]);
        }
        let list = fs::read_to_string(gate::folder().join(LIST)).context("nothing was built")?;
        Ok(Self(list.lines().map(PathBuf::from).collect()))
    }

    /// Runs a cargo command and collects the files in its messages.
    pub(crate) fn by(arguments: &[&str]) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Artifact {
            filenames: Vec<PathBuf>,
        }
        let mut files = Vec::new();
        let messages = ["--message-format=json-render-diagnostics".to_owned()];
        let well = for_each_line(cargo(arguments, &messages), |line| {
            let made = serde_json::from_str::<Artifact>(line).ok();
            files.extend(made.into_iter().flat_map(|made| made.filenames));
        })?;
        ensure!(well, "the build failed");
        Ok(Self(files))
    }

    /// A command that runs a program of the workspace.
    pub(crate) fn program(&self, name: &str) -> Result<Command> {
        self.path(name).map(Command::new)
    }

    /// The path of a program of the workspace.
    pub(crate) fn path(&self, name: &str) -> Result<&Path> {
        self.file(&format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// The library that the other languages load.
    pub(crate) fn library(&self) -> Result<&Path> {
        let [prefix, suffix] = [std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX];
        self.file(&format!("{prefix}rejoin_ffi{suffix}"))
    }

    /// A file by its name.
    pub(crate) fn file(&self, name: &str) -> Result<&Path> {
        let mut files = self.0.iter().filter(|path| path.is_file());
        let found = files.find(|path| path.file_name().is_some_and(|file| file == name));
        found.map(PathBuf::as_path).with_context(|| format!("cargo made no {name}"))
    }
}
