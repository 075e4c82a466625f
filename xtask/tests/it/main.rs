//! Stages on a machine that lacks a tool of theirs: they are skipped, and none fails.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Commands with a stage, and the programs without which they do nothing. Not `android`, which needs those of
/// `kotlin` and writes files before it looks for them.
const STAGES: [(&str, &str, &[&str]); 10] = [
    ("test", "kotlin-build", &["java", "mvn"]),
    ("test", "kotlin", &["java", "mvn"]),
    ("test", "npm", &["node", "npm"]),
    ("test", "javascript", &["node", "npm"]),
    ("test", "react-native", &["node", "npm"]),
    ("deep", "npm-package", &["node", "npm"]),
    ("test", "links", &["node", "npm"]),
    ("test", "swift", &["swift"]),
    ("deep", "apple", &["swift"]),
    ("test", "instructions", &["valgrind"]),
];

#[test]
fn stage_without_a_tool_is_skipped_in_each_combination() {
    for (list, stage, tools) in STAGES {
        for present in 0..(1_u32 << tools.len()) - 1 {
            let there = tools.iter().enumerate().filter(|(at, _)| present >> at & 1 == 1);
            let there: Vec<&str> = there.map(|(_, tool)| *tool).collect();
            let (failed, skipped, log) = run(list, stage, &there);
            assert!(failed == 0 && skipped > 0, "{stage} with only {there:?}:\n{log}");
        }
    }
}

/// Runs a stage with these tools of the machine, Rust, and an empty cache of tools.
fn run(list: &str, stage: &str, tools: &[&str]) -> (u64, u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    for tool in tools.iter().chain(&["git"]) {
        if let Some(found) = on_the_path(tool) {
            symlink(found, programs.join(tool)).unwrap();
        }
    }
    let cargo = std::env::var("CARGO").unwrap();
    let path = [programs.as_path(), Path::new(&cargo).parent().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args([list, "--only", stage])
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("REJOIN_CACHE", folder.path().join("cache"))
        .env_remove("CI")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let closing = log
        .lines()
        .rfind(|line| line.ends_with(" skipped"))
        .unwrap_or_else(|| panic!("{stage}: {log}"));
    let mut counts =
        closing.split(", ").map(|count| count.split(' ').next().unwrap().parse().unwrap());
    (counts.nth(1).unwrap(), counts.next().unwrap(), log)
}

fn on_the_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}
