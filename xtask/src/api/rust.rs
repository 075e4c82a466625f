//! The public items of `rejoin-core`, from rustdoc's JSON.

use crate::process::{cargo, run};
use crate::workspace::root;
use anyhow::Result;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Rustdoc writes JSON only if unstable flags are allowed. They are allowed for rustdoc alone:
/// build scripts would run again if cargo saw the variable.
const RUSTDOC: &str = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";

pub(super) fn listing() -> Result<String> {
    let target = root().join("target");
    let rustdoc = target.join("rustdoc-json.sh");
    fs::write(&rustdoc, RUSTDOC)?;
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755))?;
    // By itself, as an app uses it: in the workspace its internals are public, for the tests.
    let of_core = ["rustdoc", "--package", "rejoin-core", "--lib", "--"];
    let as_json = ["-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"];
    let mut doc = cargo(&[&of_core[..], &as_json].concat(), &[]);
    doc.env("RUSTDOC", &rustdoc);
    run(doc)?;
    let api = public_api::Builder::from_rustdoc_json(target.join("doc/rejoin_core.json"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(format!("{api}\n"))
}
