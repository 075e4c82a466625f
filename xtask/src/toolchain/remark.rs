//! remark, a reader of Markdown, with its check of links and a parser of YAML. npm fetches them in
//! seconds.

use super::Cached;
use crate::process::succeeds;
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;

const TOOL: Cached = Cached { name: "remark", version: "12.0.1-13.1.0" };
const PACKAGES: [&str; 2] = ["remark-cli@12.0.1", "remark-validate-links@13.1.0"];

/// Its folder, installed now if it is missing. Needs Node and npm.
pub(crate) fn installed() -> Result<PathBuf> {
    TOOL.ensure(|folder| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
        npm.arg(folder).args(PACKAGES);
        ensure!(succeeds(npm)?, "npm cannot fetch {PACKAGES:?}");
        Ok(())
    })
}

/// A command that fails if a link of the given pages leads to no file or no heading. Needs Node and
/// npm.
pub(crate) fn links() -> Result<Command> {
    let modules = installed()?.join("node_modules");
    let mut node = Command::new("node");
    node.arg(modules.join("remark-cli/cli.js"));
    node.args(["--no-config", "--no-stdout", "--quiet", "--frail", "--use"]);
    // The repository's own address is not asked for: every link is a path.
    node.arg(format!(
        "{}=repository:false",
        modules.join("remark-validate-links/index.js").display()
    ));
    Ok(node)
}
