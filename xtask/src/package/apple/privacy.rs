//! Apple's required-reason APIs: which a library imports, and which `PrivacyInfo.xcprivacy` declares.
//!
//! Apple's list also has names of Foundation and UIKit (file attributes, user defaults, keyboards),
//! which a library in Rust and C does not import.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The privacy manifest that each framework contains.
pub(super) const MANIFEST: &str = include_str!("PrivacyInfo.xcprivacy");

/// Categories, and their C functions as of 2026.
const REQUIRED: [(&str, &[&str]); 3] = [
    (
        "NSPrivacyAccessedAPICategoryFileTimestamp",
        &[
            "stat",
            "lstat",
            "fstat",
            "fstatat",
            "getattrlist",
            "fgetattrlist",
            "getattrlistat",
            "getattrlistbulk",
        ],
    ),
    (
        "NSPrivacyAccessedAPICategoryDiskSpace",
        &[
            "statfs",
            "fstatfs",
            "statvfs",
            "fstatvfs",
            "getattrlist",
            "fgetattrlist",
            "getattrlistat",
        ],
    ),
    ("NSPrivacyAccessedAPICategorySystemBootTime", &["mach_absolute_time"]),
];

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "NSPrivacyAccessedAPITypes")]
    accessed: Vec<Accessed>,
}

#[derive(Deserialize)]
struct Accessed {
    #[serde(rename = "NSPrivacyAccessedAPIType")]
    category: String,
    #[serde(rename = "NSPrivacyAccessedAPITypeReasons")]
    reasons: Vec<String>,
}

/// The manifest declares the categories of the imported functions, and no others.
pub(super) fn declares(imported: &BTreeSet<&str>) -> Result<()> {
    let declared = declared(MANIFEST)?;
    let used: BTreeSet<&str> = REQUIRED
        .iter()
        .filter(|(_, functions)| functions.iter().any(|function| imported.contains(function)))
        .map(|(category, _)| *category)
        .collect();
    if !declared.iter().eq(&used) {
        bail!("it declares {declared:?}, and the library uses {used:?}");
    }
    Ok(())
}

/// The categories in a privacy manifest; each needs a reason.
fn declared(manifest: &str) -> Result<BTreeSet<String>> {
    let manifest: Manifest =
        plist::from_bytes(manifest.as_bytes()).context("the privacy manifest is not readable")?;
    if let Some(empty) = manifest.accessed.iter().find(|accessed| accessed.reasons.is_empty()) {
        bail!("the privacy manifest has no reason for {}", empty.category);
    }
    Ok(manifest.accessed.into_iter().map(|accessed| accessed.category).collect())
}

#[cfg(test)]
mod tests {
    use super::{MANIFEST, declared, declares};

    #[test]
    fn privacy_manifest_and_imports_must_agree() {
        assert!(declares(&["stat", "fstatfs", "write"].into()).is_ok());
        let missing = declares(&["stat", "fstatfs", "mach_absolute_time"].into()).unwrap_err();
        assert!(missing.to_string().contains("SystemBootTime"), "{missing}");
        let unused = declares(&["stat", "write"].into()).unwrap_err();
        assert!(unused.to_string().contains("DiskSpace"), "{unused}");
    }

    #[test]
    fn privacy_category_without_a_reason_is_refused() {
        let empty = MANIFEST.replace("<string>C617.1</string>", "");
        let error = declared(&empty).unwrap_err().to_string();
        assert!(
            error.ends_with("no reason for NSPrivacyAccessedAPICategoryFileTimestamp"),
            "{error}"
        );
    }
}
