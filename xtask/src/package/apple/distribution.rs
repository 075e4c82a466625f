//! The distribution repository, from the template in `swift/dist`: small, so that SwiftPM does not
//! clone the whole project to build an app.

use super::XCFRAMEWORK;
use crate::process::succeeds;
use crate::workspace::root;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

const TEMPLATE: [&str; 2] = ["Package.swift", "README.md"];
const SOURCES: [&str; 3] = ["Rejoin", "RejoinFFI", "RejoinUI"];
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const RELEASES: &str = "https://github.com/rejoin-dev/rejoin/releases/download";

/// Writes it into `dist` of the folder, which has the files that accompany the frameworks.
pub(super) fn write(folder: &Path, checksum: &str) -> Result<()> {
    let place = folder.join("dist");
    fill(&place, checksum)?;
    let sources = place.join("Sources");
    fs::create_dir_all(&sources)?;
    let mut copy = Command::new("cp");
    copy.arg("-R").args(SOURCES.map(|name| root().join("swift/Sources").join(name))).arg(sources);
    ensure!(succeeds(copy)?, "the Swift sources were not copied");
    let accompanying = ["THIRD-PARTY-LICENSES", "rejoin.cdx.json"].map(|name| folder.join(name));
    for file in LICENCES.map(|name| root().join(name)).iter().chain(&accompanying) {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(file, place.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    println!("{}: push it as the tag {}", place.display(), env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Fills in version, address and checksum.
fn fill(place: &Path, checksum: &str) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let url = format!("{RELEASES}/v{version}/{XCFRAMEWORK}.zip");
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    for name in TEMPLATE {
        let text = fs::read_to_string(root().join("swift/dist").join(name))?;
        let values = [("@VERSION@", version), ("@URL@", &url), ("@CHECKSUM@", checksum)];
        let filled = values.iter().fold(text, |text, (key, value)| text.replace(key, value));
        fs::write(place.join(name), filled)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fill;
    use crate::process::output;
    use crate::toolchain::swift;
    use std::fs;

    #[test]
    fn distribution_names_the_release_by_address_and_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let checksum = "0123456789abcdef".repeat(4);
        fill(folder.path(), &checksum).unwrap();
        let manifest = fs::read_to_string(folder.path().join("Package.swift")).unwrap();
        let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(manifest.contains(&checksum) && !manifest.contains('@'), "{manifest}");
        assert!(readme.contains("CRejoinFFI.xcframework.zip") && !readme.contains('@'), "{readme}");
        let Some(swift) = swift::found().unwrap() else { return };
        let mut dump = swift.command("swift");
        dump.args(["package", "dump-package", "--package-path"]).arg(folder.path());
        let package: serde_json::Value = serde_json::from_str(&output(dump).unwrap()).unwrap();
        let targets = package["targets"].as_array().unwrap();
        let binary = targets.iter().find(|target| target["type"] == "binary").unwrap();
        assert_eq!(binary["checksum"], checksum.as_str());
        assert_eq!(package["products"].as_array().unwrap().len(), 2);
    }
}
