//! Runs the demo as a process: twice in one folder, over PostgreSQL, with faults, and interrupted.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEMO: &str = env!("CARGO_BIN_EXE_rejoin-demo");

/// The processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|child| parent(*child) == Some(pid)).collect()
}

/// The fields of `/proc/PID/stat` after the process name, which is in parentheses.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// Whether a process runs; a zombie does not.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat[0] != "Z")
}

#[test]
fn demo_passes_twice_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = Command::new(DEMO).arg("--keep").current_dir(&folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(folder.path().join(".demo/server.db").exists(), "--keep keeps the files");
    }
}

fn demo(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(DEMO).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn demo_over_postgres_holds_every_claim() {
    let (succeeded, text) = demo(&["--postgres"]);
    assert!(succeeded && text.contains("[ok] 16."), "{text}");
}

#[test]
fn demo_over_postgres_detects_database_faults() {
    // An edit that the server has too early, a duplicate row, a changed row on a device.
    for claim in ["2", "4", "15"] {
        let (succeeded, text) = demo(&["--postgres", "--sabotage", claim]);
        assert!(!succeeded && text.contains(&format!("[BROKEN] {claim:>2}.")), "{text}");
    }
}

#[test]
fn demo_of_the_log_over_postgres_detects_a_fault() {
    let (succeeded, text) = demo(&["--log", "--postgres"]);
    assert!(succeeded && text.contains("[ok] 14."), "{text}");
    // An entry that the server has twice.
    let (succeeded, text) = demo(&["--log", "--postgres", "--sabotage", "13"]);
    assert!(!succeeded && text.contains("[BROKEN] 13."), "{text}");
}

#[test]
fn unknown_claim_number_is_rejected() {
    let output = Command::new(DEMO).args(["--sabotage", "99"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are claims 1 to"));
}

#[test]
fn interrupted_demo_leaves_no_process() {
    let mut demo = Command::new(DEMO).args(["--pace", "2"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("It listens on")).unwrap().unwrap();
    // The next chapter starts the devices; every child that runs at the interrupt must exit.
    lines.find(|line| line.as_ref().unwrap().contains("First sync")).unwrap().unwrap();
    let family = children(demo.id());
    assert!(!family.is_empty(), "the server runs");
    let sent = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert!(sent.success());
    demo.wait().unwrap();
    let started = Instant::now();
    while family.iter().any(|pid| runs(*pid)) {
        assert!(started.elapsed() < Duration::from_secs(10), "{family:?} are still running");
        std::thread::yield_now();
    }
}
