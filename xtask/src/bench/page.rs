//! `--page`: writes the table of a benchmark into `docs/performance.md`, with the measured commit.
//!
//! The page has a block for each command, from `<!-- bench: server --lag -->` to `<!-- end -->`,
//! which is replaced as a whole. The text around the blocks is written by hand.

use crate::process::{for_each_line, output};
use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};

/// The page.
const PAGE: &str = "docs/performance.md";

const END: &str = "<!-- end -->";

/// Runs `cargo xtask bench` with the other arguments, and writes its output into their block.
pub(super) fn write(arguments: &[String]) -> Result<ExitCode> {
    let path = workspace::root().join(PAGE);
    let page = fs::read_to_string(&path).context(PAGE)?;
    // Before the measurement: refuse a command without a block.
    replaced(&page, arguments, "")?;
    let commit = commit()?;
    let mut bench = Command::new(std::env::current_exe()?);
    bench.arg("bench").args(arguments);
    let mut table = String::new();
    let well = for_each_line(bench, |line| {
        println!("{line}");
        if !line.starts_with("$ ") && !line.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{line}");
        }
    })?;
    ensure!(well, "the bench failed; the page is as it was");
    let block = format!(
        "`cargo xtask bench {}` at commit {commit}, {} cores, {}:\n\n```text\n{table}```\n",
        arguments.join(" "),
        std::thread::available_parallelism()?,
        std::env::consts::ARCH,
    );
    fs::write(&path, replaced(&page, arguments, &block)?).context(PAGE)?;
    Ok(ExitCode::SUCCESS)
}

/// The measured commit and its date; notes uncommitted changes.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments);
        output(git)
    };
    let named = git(&["log", "-1", "--format=%h (%cs)"])?;
    let changed = git(&["status", "--porcelain", "--", ".", &format!(":!{PAGE}")])?;
    let suffix = if changed.is_empty() { "" } else { " with changes" };
    Ok(format!("{}{suffix}", named.trim()))
}

/// The page with a new block for a command.
fn replaced(page: &str, arguments: &[String], block: &str) -> Result<String> {
    let begin = format!("<!-- bench: {} -->\n", arguments.join(" "));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let places = page.lines().filter(|line| line.starts_with("<!-- bench: "));
    let (before, after) = parts.with_context(|| {
        let places = places.collect::<Vec<_>>().join(", ");
        format!("{PAGE} has no place for this command; it has {places}")
    })?;
    Ok(format!("{before}{begin}{block}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn block_of_the_command_is_replaced_and_no_other() {
        let page =
            "a\n<!-- bench: x -->\nold\n<!-- end -->\nb\n<!-- bench: y -->\nkept\n<!-- end -->\n";
        let x = replaced(page, &["x".into()], "new\n").unwrap();
        assert_eq!(x, page.replace("old", "new"));
        let unknown = replaced(page, &["z".into()], "new\n").unwrap_err().to_string();
        assert!(unknown.contains("<!-- bench: x -->, <!-- bench: y -->"), "{unknown}");
    }
}
