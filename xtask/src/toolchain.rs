//! `cargo xtask toolchain`: tools that no package manager provides in the required version, built
//! once and kept outside the tree.
//!
//! A tool is in `${REJOIN_CACHE:-${XDG_CACHE_HOME:-~/.cache}/rejoin}/<name>-<version>/`. It is
//! built under a temporary name and renamed when complete, so an interrupted install is never used.
//! Concurrent commands build it once.

pub(crate) mod cargo;
mod maven;
pub(crate) mod postgres;
pub(crate) mod powersync;
pub(crate) mod remark;
pub(crate) mod swift;
pub(crate) mod ubrn;
pub(crate) mod zig;

use crate::process::succeeds;
use anyhow::{Context as _, Result, bail};
use clap::builder::PossibleValuesParser;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask toolchain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The tool to install, unless it is already installed
    #[arg(value_name = "TOOL", value_parser = PossibleValuesParser::new(TOOLS.iter().map(|tool| tool.0)))]
    tool: String,
}

/// Installs the tool unless it is present, and returns its path.
type Install = fn() -> Result<PathBuf>;

/// The tools. A new one is a file in `toolchain/` and an entry here.
const TOOLS: &[(&str, Install)] = &[
    ("postgres", postgres::install),
    ("powersync", powersync::install),
    ("swift", swift::install),
    ("ubrn", ubrn::install),
    ("zig", zig::install),
];

/// Installs one tool and prints its folder.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let Some((name, install)) = TOOLS.iter().find(|(name, _)| *name == options.tool) else {
        bail!("no tool {}", options.tool);
    };
    println!("{name}: {}", install()?.display());
    Ok(ExitCode::SUCCESS)
}

/// A tool in the cache, by name and version: each version has its own folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cached {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Cached {
    /// Its folder, if it is completely installed.
    pub(crate) fn found(self) -> Result<Option<PathBuf>> {
        Ok(Some(self.folder_in(&cache()?)).filter(|folder| folder.is_dir()))
    }

    /// Its folder, installed now if it is missing: `make` fills an empty folder, which is renamed
    /// later, so nothing in it may contain its own path. Waits for a concurrent installation of the
    /// same tool.
    pub(crate) fn ensure(self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.ensure_in(&cache()?, make)
    }

    fn ensure_in(self, cache: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.folder_in(cache);
        fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
        // Held until this function ends, even by a panic or a kill; the file itself stays.
        let lock = File::create(folder.with_file_name(format!("{}.lock", self.title())))?;
        lock.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let partial = folder.with_file_name(format!("{}.partial", self.title()));
        clear(&partial)?;
        fs::create_dir(&partial)?;
        make(&partial).with_context(|| format!("{} was not made", self.title()))?;
        fs::rename(&partial, &folder)?;
        Ok(folder)
    }

    fn folder_in(self, cache: &Path) -> PathBuf {
        cache.join(self.title())
    }

    fn title(self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Removes an interrupted installation, after unmounting its mounts (such as `proc`).
fn clear(partial: &Path) -> Result<()> {
    if !partial.exists() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounted_below(&mounts, partial) {
        let mut unmount = Command::new("umount");
        unmount.arg(&mount);
        if !succeeds(unmount)? {
            bail!(
                "{} is mounted below what an interrupted install left; unmount it",
                mount.display()
            );
        }
    }
    fs::remove_dir_all(partial).with_context(|| format!("cannot remove {}", partial.display()))
}

/// The mounts below a folder, innermost first, from the lines of `/proc/self/mounts`.
fn mounted_below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = places.filter(|place| place.starts_with(folder)).collect();
    below.sort_unstable();
    below.reverse();
    below
}

/// The folder of all cached tools.
fn cache() -> Result<PathBuf> {
    cache_by(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn cache_by(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let in_home = || variable("HOME").map(|home| home.join(".cache"));
    let standard = || Some(variable("XDG_CACHE_HOME").or_else(in_home)?.join("rejoin"));
    let found = variable("REJOIN_CACHE").or_else(standard).map(std::path::absolute);
    found
        .transpose()?
        .context("neither REJOIN_CACHE nor XDG_CACHE_HOME nor HOME says where tools may be kept")
}

#[cfg(test)]
mod tests {
    use super::{Cached, cache_by, mounted_below};
    use anyhow::bail;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    const TOOL: Cached = Cached { name: "tool", version: "1.2" };

    #[test]
    fn tool_is_installed_once_and_found_afterwards() {
        let cache = tempfile::tempdir().unwrap();
        let times = AtomicU32::new(0);
        let make = |folder: &Path| {
            times.fetch_add(1, Ordering::Relaxed);
            Ok(fs::write(folder.join("program"), "x")?)
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let folder = TOOL.ensure_in(cache.path(), make).unwrap();
                    assert_eq!(folder, cache.path().join("tool-1.2"));
                    assert!(folder.join("program").is_file());
                });
            }
        });
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn interrupted_install_is_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let refused = TOOL.ensure_in(cache.path(), |folder| {
            fs::write(folder.join("half"), "x")?;
            bail!("the line is cut")
        });
        assert!(format!("{:#}", refused.unwrap_err()).contains("tool-1.2 was not made"));
        assert!(!cache.path().join("tool-1.2").exists());
        let folder = TOOL.ensure_in(cache.path(), |_| Ok(())).unwrap();
        assert!(!folder.join("half").exists(), "the next one begins with an empty folder");
    }

    #[test]
    fn cache_folder_follows_the_variables() {
        let table = [
            ("REJOIN_CACHE=/c XDG_CACHE_HOME=/x HOME=/h", Some("/c")),
            ("XDG_CACHE_HOME=/x HOME=/h", Some("/x/rejoin")),
            ("HOME=/h", Some("/h/.cache/rejoin")),
            ("REJOIN_CACHE=/c", Some("/c")),
            ("", None),
        ];
        for (set, expected) in table {
            let variable = |name: &str| {
                let mut set =
                    set.split_whitespace().filter_map(|variable| variable.split_once('='));
                set.find(|(other, _)| *other == name).map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(cache_by(variable).ok(), expected.map(PathBuf::from), "{set}");
        }
    }

    #[test]
    fn mounts_of_an_interrupted_install_are_found_inner_first() {
        let mounts = "proc /proc proc rw 0 0\nproc /c/a.partial/proc proc rw 0 0\n\
                      none /c/a.partial/proc/x tmpfs rw 0 0\nnone /c/a.partial2/proc proc rw 0 0\n";
        let found = mounted_below(mounts, Path::new("/c/a.partial"));
        assert_eq!(found, [Path::new("/c/a.partial/proc/x"), Path::new("/c/a.partial/proc")]);
    }
}
