//! Swift on Linux: the one on the PATH, or Debian 13's in a separate folder.
//!
//! Debian 12 and most other systems provide no Swift. The folder holds a minimal Debian 13 with
//! Swift, and commands run there by chroot in their own namespaces: their mounts and processes end
//! with them. The folders that they need (the current one, the temporary one, and those named by
//! cargo's and our variables) have the same paths inside. Installing and entering it requires root.

use super::Cached;
use crate::process::{output, succeeds};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian 13 provides Swift 6.0.
const TOOL: Cached = Cached { name: "swift", version: "debian13" };
const INSTALL: &str = include_str!("swift/install.sh");
const ENTER: &str = include_str!("swift/enter.sh");

/// An installed Swift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swift {
    /// On the PATH.
    Installed(PathBuf),
    /// In a folder, with the script that enters it.
    Folder { enter: PathBuf },
}

impl Swift {
    /// A command that can use this Swift: `swift` itself, or a program built with it.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        match self {
            Self::Installed(_) => Command::new(program.as_ref()),
            Self::Folder { enter } => {
                let mut command = Command::new(enter);
                command.arg(program.as_ref());
                command
            }
        }
    }

    fn place(self) -> PathBuf {
        match self {
            Self::Installed(path) => path,
            Self::Folder { enter } => enter.with_file_name("swift"),
        }
    }
}

/// The usable Swift, without installing one: `None` if there is none, or if entering it requires
/// root.
pub(crate) fn found() -> Result<Option<Swift>> {
    if let Some(installed) = on_the_path("swift") {
        return Ok(Some(Swift::Installed(installed)));
    }
    let Some(folder) = TOOL.found()? else {
        return Ok(None);
    };
    if !is_root()? {
        return Ok(None);
    }
    programs(&folder)?;
    Ok(Some(Swift::Folder { enter: folder.join("bin/enter") }))
}

/// Installs the folder unless there is a Swift, and verifies that it runs.
pub(crate) fn install() -> Result<PathBuf> {
    let swift = match found()? {
        Some(swift) => swift,
        None => Swift::Folder { enter: make()?.join("bin/enter") },
    };
    let mut version = swift.command("swift");
    version.arg("--version");
    if !succeeds(version)? {
        bail!("swift does not run; remove {} and install it again", swift.place().display());
    }
    Ok(swift.place())
}

fn make() -> Result<PathBuf> {
    if !is_root()? {
        bail!(
            "there is no swift on the PATH, and making a folder with it takes root (debootstrap, chroot): \
             run this as root, or install Swift 6 yourself"
        );
    }
    for (program, package) in [("debootstrap", "debootstrap"), ("unshare", "util-linux")] {
        if on_the_path(program).is_none() {
            bail!("{program} is missing: apt-get install {package}");
        }
    }
    TOOL.ensure(|folder| {
        let mut install = Command::new("unshare");
        install.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-eu",
            "-c",
            INSTALL,
            "install",
        ]);
        if !succeeds_quietly(install.arg(folder.join("root")))? {
            bail!("Debian 13 could not be installed into a folder; see the error above");
        }
        fs::create_dir(folder.join("bin"))?;
        programs(folder)
    })
}

/// The scripts next to the system, updated if an earlier version installed them.
fn programs(folder: &Path) -> Result<()> {
    let swift = "#!/bin/sh\nexec \"${0%/*}/enter\" swift \"$@\"\n";
    for (name, text) in [("enter", ENTER), ("swift", swift)] {
        let path = folder.join("bin").join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            // Renamed into place: another command may be reading the old one.
            let fresh = path.with_extension(std::process::id().to_string());
            fs::write(&fresh, text)?;
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
            fs::rename(fresh, path)?;
        }
    }
    Ok(())
}

/// Like `succeeds`, but prints the script's name instead of its text.
fn succeeds_quietly(command: &mut Command) -> Result<bool> {
    println!(
        "$ (Debian 13 with Swift into a folder: about a minute, 0.6 GB to download, 2.6 GB of disk)"
    );
    Ok(command.status().context("cannot start unshare")?.success())
}

fn is_root() -> Result<bool> {
    let mut id = Command::new("id");
    id.arg("-u");
    Ok(output(id)?.trim() == "0")
}

fn on_the_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::{ENTER, INSTALL, Swift, on_the_path};
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn command_runs_inside_the_folder_or_directly() {
        let installed = Swift::Installed("/usr/bin/swift".into()).command("swift");
        assert_eq!(installed.get_program(), "swift");
        let inside = Swift::Folder { enter: "/c/bin/enter".into() }.command("swift");
        assert_eq!(inside.get_program(), "/c/bin/enter");
        assert_eq!(inside.get_args().collect::<Vec<_>>(), ["swift"]);
    }

    #[test]
    fn scripts_are_well_formed() {
        assert!(on_the_path("sh").is_some());
        for script in [INSTALL, ENTER] {
            let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(shell.wait().unwrap().success());
        }
    }
}
