//! What cargo builds for the tests: one build of the whole workspace, with one set of features,
//! which all stages use.

use crate::gate::IN_GATE;
use crate::process::{cargo, run};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the programs and libraries that cargo has built.
#[derive(Debug)]
pub(crate) struct Built(PathBuf);

impl Built {
    /// Builds everything, tests included.
    pub(crate) fn all() -> Result<Self> {
        Self::by("debug", &["build", "--workspace", "--all-targets"])
    }

    /// The result of this run's `build` stage; outside a run, builds programs and libraries now.
    pub(crate) fn now() -> Result<Self> {
        if std::env::var_os(IN_GATE).is_none() {
            return Self::by("debug", &["build", "--workspace"]);
        }
        Self::at("debug")
    }

    /// Runs a cargo command that builds into this folder of the target folder.
    pub(crate) fn by(folder: &str, arguments: &[&str]) -> Result<Self> {
        run(cargo(arguments, &[]))?;
        Self::at(folder)
    }

    /// The target folder is the one where cargo has built this program.
    fn at(folder: &str) -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("cargo builds xtask in a target folder")?;
        Ok(Self(target.join(folder)))
    }

    /// A command that runs a program of the workspace.
    pub(crate) fn program(&self, name: &str) -> Result<Command> {
        self.path(name).map(Command::new)
    }

    /// The path of a program of the workspace.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        self.file(&format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// The library that the other languages load.
    pub(crate) fn library(&self) -> Result<PathBuf> {
        let [prefix, suffix] = [std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX];
        self.file(&format!("{prefix}rejoin_ffi{suffix}"))
    }

    /// A file by its name.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        let file = Some(self.0.join(name)).filter(|file| file.is_file());
        file.with_context(|| format!("there is no {name} in {}", self.0.display()))
    }

    /// The folder itself, where the other languages look for the library.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}
