//! Programs from crates.io used by the gate: compiled once, without optimisation, in a minute or
//! two each.

use super::Cached;
use crate::process::{cargo, succeeds, version};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that cargo runs as a subcommand.
pub(crate) struct Subcommand {
    tool: Cached,
    /// Its name as a subcommand: `nextest` for `cargo-nextest`.
    name: &'static str,
    /// Further arguments of `cargo install`.
    features: &'static [&'static str],
}

/// Runs Rust's tests, each in its own process.
pub(crate) const NEXTEST: Subcommand = subcommand("cargo-nextest", "0.9.151", "nextest");
/// Checks licences and duplicate versions of dependencies.
pub(crate) const DENY: Subcommand = subcommand("cargo-deny", "0.20.2", "deny");
/// Checks links of the documentation site. Not a subcommand, but installed in the same way.
pub(crate) const HYPERLINK: Subcommand = subcommand("hyperlink", "0.3.2", "");
/// Builds the documentation site, without its web server. Not a subcommand either.
pub(crate) const MDBOOK: Subcommand =
    subcommand("mdbook", "0.5.4", "").features(&["--no-default-features", "--features", "search"]);
/// Mutates product code and checks whether a test fails. For the deep run.
pub(crate) const MUTANTS: Subcommand = subcommand("cargo-mutants", "27.1.0", "mutants");

const fn subcommand(name: &'static str, version: &'static str, short: &'static str) -> Subcommand {
    Subcommand { tool: Cached { name, version }, name: short, features: &[] }
}

impl Subcommand {
    const fn features(self, features: &'static [&'static str]) -> Self {
        Self { features, ..self }
    }

    /// The program in the cache or on the PATH, if there is one.
    pub(crate) fn found(&self) -> Result<Option<PathBuf>> {
        let name = self.tool.name;
        let on_the_path = || version(name).map(|_| name.into());
        Ok(self.tool.found()?.map(|folder| program_in(&folder, name)).or_else(on_the_path))
    }

    /// The program in the cache, compiled now if it is not there.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let Cached { name, version } = self.tool;
        let folder = self.tool.ensure(|folder| {
            println!("{name} {version} is compiled once, into the cache of tools");
            let mut install =
                cargo(&["install", "--locked", "--debug", name, "--version", version], &[]);
            install
                .args(self.features)
                .arg("--root")
                .arg(folder)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false")
                .env_remove("CARGO_TARGET_DIR");
            ensure!(succeeds(install)?, "cargo could not install {name} {version}");
            Ok(())
        })?;
        Ok(program_in(&folder, name))
    }

    /// A command that runs the program in the cache, compiled now if it is not there.
    pub(crate) fn command(&self) -> Result<Command> {
        Ok(self.command_at(&self.ensure()?))
    }

    /// A command that runs a program that was found.
    pub(crate) fn command_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if !self.name.is_empty() {
            command.arg(self.name);
        }
        command
    }
}

fn program_in(folder: &Path, name: &str) -> PathBuf {
    folder.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
