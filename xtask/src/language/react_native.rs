//! What apps see of the npm packages besides their behaviour on Node: the packed files, their types
//! and size, the native parts as far as they compile here, and the reference.
//!
//! Metro bundles the packages and Hermes runs their decoders, but nothing here runs in an app.

use super::{javascript, variables};
use crate::built::Built;
use crate::library::claim;
use crate::process::{for_each_line, run};
use crate::report::{Count, skips_allowed};
use crate::toolchain::zig;
use crate::workspace::root;
use anyhow::Result;
use std::process::Command;

/// Programs that print a line for each check, below `react-native`.
const CHECKS: [&str; 2] = ["package-tests/run.mjs", "native-tests/run.mjs"];

/// Runs the checks, one program after the other.
pub(crate) fn checked() -> Result<Count> {
    if let Some(missing) = javascript::missing() {
        return Ok(Count::skipped(&format!("react-native: {missing}")));
    }
    let built = Built::now()?;
    let runtime = javascript::prepare()?;
    if !skips_allowed() {
        zig::install()?;
    }
    let mut count = claim("the reference of the npm packages has no warning", &reference());
    for program in CHECKS {
        let mut node = Command::new("node");
        node.arg(program).current_dir(javascript::folder());
        node.envs(variables(&built)?).env("REJOIN_NODE_RUNTIME", &runtime);
        count += counted(node)?;
    }
    Ok(count)
}

fn reference() -> Result<()> {
    let mut typedoc = javascript::npm(&["exec", "--workspace", "typedoc", "--", "typedoc"]);
    typedoc
        .args(["--logLevel", "Warn", "--out"])
        .arg(root().join("target/typescript-documentation"));
    run(typedoc)
}

/// Counts the lines `ok NAME`, `FAILED NAME: REASON` and `skipped NAME: REASON`.
pub(crate) fn counted(command: Command) -> Result<Count> {
    let mut count = Count::default();
    let well = for_each_line(command, |line| {
        match line.split_once(' ') {
            Some(("ok", _)) => count += Count::one(true),
            Some(("FAILED", _)) => count += Count::one(false),
            Some(("skipped", what)) => return count += Count::skipped(what),
            _ => {}
        }
        println!("{line}");
    })?;
    Ok(count.failed_unless(well))
}

#[cfg(test)]
mod tests {
    use super::counted;
    use std::process::Command;

    #[test]
    fn checks_are_counted_by_their_lines_and_a_crash_fails() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let count = counted(command).unwrap();
            (count.passed, count.failed, count.skipped)
        };
        assert_eq!(run("echo ok a; echo 'FAILED b: c'; echo 'skipped d: e'; echo f"), (1, 1, 1));
        assert_eq!(run("echo ok a; exit 1"), (1, 1, 0));
    }
}
