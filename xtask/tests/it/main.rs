//! The house from outside. Here: `.ci/run` told with a cargo that only pretends: what it counts, what it says last, and with which code it ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod promises;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the script where `cargo xtask check` and `cargo xtask test` are these lines of shell; `$4` is the file that
/// takes the rows of the table. The library is always good.
fn ci(check: &str, test: &str) -> Output {
    let bin = tempfile::tempdir().unwrap();
    let library = r"printf 'library\t1\t0\t0\t1.0\n' >>$5";
    let cargo = format!(
        "case \"$1 $2\" in\n'xtask check') {check};;\n'xtask test') {test};;\n\
         'xtask library') {library};;\nesac\n"
    );
    program(bin.path(), "cargo", &cargo);
    program(bin.path(), "rustc", "echo rustc 0.0.0\n");
    program(bin.path(), "rustup", "echo rustfmt; echo clippy\n");
    // Nothing is installed or fetched by a test of the script.
    for tool in ["java", "mvn", "node", "npm", "swift", "debootstrap", "apt-get", "pip3"] {
        program(bin.path(), tool, "");
    }
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let script = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../.ci/run");
    Command::new("bash").arg(script).env("PATH", path).output().unwrap()
}

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn ci_closes_with_the_sum_of_its_parts_and_fails_with_any() {
    let good = r"printf 'rules\t3\t0\t0\t1.5\n' >>$4";
    let two = r"printf 'a\t5\t0\t0\t1.0\nb\t7\t0\t0\t2.0\n' >>$4";
    let failing = r"printf 'a\t5\t2\t0\t1.0\n' >>$4; exit 1";
    let skipping = r"printf 'a\t5\t0\t1\t1.0\n' >>$4; exit 1";
    let table = [
        ("all is well", good, two, "16 passed, 0 failed, 0 skipped", true),
        ("a test fails", good, failing, "9 passed, 2 failed, 0 skipped", false),
        (
            "a rule fails, the tests still run",
            failing,
            two,
            "18 passed, 2 failed, 0 skipped",
            false,
        ),
        ("a test is skipped", good, skipping, "9 passed, 1 failed, 1 skipped", false),
        ("a part does not even start", good, "exit 101", "4 passed, 1 failed, 0 skipped", false),
        ("a part says nothing", good, "exit 0", "4 passed, 1 failed, 0 skipped", false),
    ];
    for (what, check, test, closing, well) in table {
        let output = ci(check, test);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.lines().last(), Some(closing), "{what}: {said}");
        assert_eq!(output.status.success(), well, "{what}: {said}");
    }
}

#[test]
fn ci_lists_every_stage_with_its_time() {
    let good = r"printf 'rules\t3\t0\t0\t1.5\n' >>$4";
    let output = ci(good, r"printf 'stories\t5\t0\t0\t61.5\n' >>$4");
    let said = String::from_utf8(output.stdout).unwrap();
    let row = |stage: &str| {
        let line = said.lines().find(|line| line.starts_with(stage)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("rules"), ["rules", "3", "0", "0", "1.5"], "{said}");
    assert_eq!(row("stories"), ["stories", "5", "0", "0", "61.5"], "{said}");
    assert_eq!(row("all"), ["all", "9", "0", "0", "64.0"], "{said}");
}
