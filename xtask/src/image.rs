//! The image of the server (`server/Dockerfile`) without a container engine, and the files that
//! deploy the server: `server/check-image.sh` and `server/check-yaml.mjs`.
//!
//! The binary is built here, for musl, in the dev profile.

use crate::built::Built;
use crate::language::JAVASCRIPT;
use crate::language::react_native::counted;
use crate::library::missing_std;
use crate::process::{self, succeeds};
use crate::report::Count;
use crate::toolchain::remark;
use crate::workspace::{File, files};
use anyhow::Result;
use rejoin_postgres::{Cluster, ClusterOptions, programs};
use std::net::TcpListener;
use std::process::Command;

const PROGRAM: &str = "rejoin-server";

/// The C compiler, as in the Dockerfile.
const COMPILER: &str = "env.TARGET_CC='musl-gcc'";

/// Builds the binary, runs it in its root folder, and checks the files that deploy it.
pub(crate) fn checked() -> Result<Count> {
    let mut count = yaml()?;
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if let Some(missing) = missing(&target)? {
        count += Count::skipped(&format!("the static binary: {missing}"));
        return Ok(count);
    }
    let fixed = ["build", "--package", PROGRAM, "--bin", PROGRAM, "--config", COMPILER];
    let built =
        Built::by(&format!("{target}/debug"), &[&fixed[..], &["--target", &target]].concat())?;
    let port = TcpListener::bind("0.0.0.0:0")?.local_addr()?.port();
    let mut check = Command::new("server/check-image.sh");
    check.arg(built.path(PROGRAM)?).arg(port.to_string());
    let cluster =
        programs().is_some().then(|| Cluster::start(&ClusterOptions::default())).transpose()?;
    check.args(cluster.as_ref().map(|cluster| cluster.url("postgres")));
    count += counted(check)?;
    Ok(count)
}

/// All YAML can be parsed, and the manifests for Kubernetes agree with each other.
fn yaml() -> Result<Count> {
    if let Some(missing) = (JAVASCRIPT.missing)()? {
        return Ok(Count::skipped(&format!("YAML: {missing}")));
    }
    let is_workflow = |file: &File| file.path.starts_with(".github/") && file.has_extension("yml");
    let files =
        files()?.into_iter().filter(|file| file.path == "compose.yaml" || is_workflow(file));
    let mut node = Command::new("node");
    node.arg("server/check-yaml.mjs").arg(remark::installed()?.join("node_modules/yaml"));
    node.args(files.map(|file| file.path));
    counted(node)
}

/// What is missing on this machine to build and run the binary.
fn missing(target: &str) -> Result<Option<String>> {
    if !cfg!(target_os = "linux") {
        return Ok(Some("it is built on Linux only".to_owned()));
    }
    if let Some(missing) = missing_std(target)? {
        return Ok(Some(missing));
    }
    let programs = ["musl-gcc", "bash", "curl", "jq", "sqlite3"];
    if let Some(missing) = process::missing(&programs) {
        return Ok(Some(missing));
    }
    let mut namespace = Command::new("unshare");
    namespace.args(["--map-root-user", "true"]);
    let is_allowed = succeeds(namespace).unwrap_or(false);
    Ok((!is_allowed).then(|| "this user cannot `unshare` a user namespace".to_owned()))
}

#[cfg(test)]
mod tests {
    const DOCKERFILE: &str = include_str!("../../server/Dockerfile");

    #[test]
    fn image_is_built_with_the_pinned_compiler() {
        let pinned: toml::Table = include_str!("../../rust-toolchain.toml").parse().unwrap();
        let version = pinned["toolchain"]["channel"].as_str().unwrap();
        assert!(DOCKERFILE.contains(&format!("\nFROM rust:{version}-slim-")), "{version}");
    }
}
