//! What a release is made of: the signed `XCFramework` as a zip, its checksum, and the distribution
//! repository that names both. It publishes nothing; the workflow `release-swift` drafts a release.

use super::{XCFRAMEWORK, distribution};
use crate::library::claim;
use crate::process::{output, succeeds};
use crate::report::Count;
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Names the identity in the keychain; without it the frameworks stay unsigned.
const IDENTITY: &str = "REJOIN_SIGNING_IDENTITY";

/// Signs, zips, and fills the distribution repository.
pub(crate) fn make(folder: &Path) -> Result<Count> {
    let framework = folder.join(XCFRAMEWORK);
    if !framework.is_dir() {
        return Ok(Count::skipped("a release needs frameworks linked by Xcode"));
    }
    if let Some(identity) = std::env::var_os(IDENTITY).filter(|identity| !identity.is_empty()) {
        let mut sign = Command::new("codesign");
        sign.args(["--timestamp", "--sign"]).arg(identity).arg(&framework);
        ensure!(succeeds(sign)?, "the frameworks were not signed");
    } else {
        println!("{IDENTITY} is not set: the frameworks are unsigned");
    }
    let archive = folder.join(format!("{XCFRAMEWORK}.zip"));
    // Unlike zip, it keeps the symbolic links of macOS's framework without an option for it.
    let mut zip = Command::new("ditto");
    zip.args(["-c", "-k", "--keepParent"]).arg(&framework).arg(&archive);
    ensure!(succeeds(zip)?, "the frameworks were not zipped");
    let checksum = checksum(&archive)?;
    println!("{checksum}  {XCFRAMEWORK}.zip");
    fs::write(folder.join("checksum"), &checksum)?;
    let mut swift = Command::new("swift");
    swift.args(["package", "compute-checksum"]).arg(&archive);
    let same = || {
        let theirs = output(swift)?;
        ensure!(theirs.trim() == checksum, "it computes {}", theirs.trim());
        Ok(())
    };
    let count = claim("its checksum is the one that swift computes", &same());
    distribution::write(folder, &checksum)?;
    Ok(count)
}

/// The checksum of `swift package compute-checksum`: SHA-256 in hexadecimal.
fn checksum(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::checksum;
    use crate::process::output;
    use crate::toolchain::swift;
    use std::fs;

    #[test]
    fn checksum_is_the_one_that_swift_computes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zip");
        fs::write(&file, "abc").unwrap();
        let ours = checksum(&file).unwrap();
        assert_eq!(ours, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        if let Some(swift) = swift::found().unwrap() {
            let mut theirs = swift.command("swift");
            theirs.args(["package", "compute-checksum"]).arg(&file);
            assert_eq!(output(theirs).unwrap().trim(), ours);
        }
    }
}
