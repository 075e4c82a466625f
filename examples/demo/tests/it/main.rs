//! The demo as a process among processes: told twice, and interrupted.

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

/// What the system says of a process behind its name, which stands in parentheses and may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// A process that has ended and that nobody has asked about yet runs no more.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat[0] != "Z")
}

#[test]
fn told_twice_in_one_folder_it_holds_twice() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let told = Command::new(DEMO).arg("--keep").current_dir(&folder).output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
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
fn demo_over_postgres_notices_faults_in_the_database() {
    // A row of another user, a row twice, the digest of a device's table.
    for claim in ["2", "4", "15"] {
        let (succeeded, text) = demo(&["--postgres", "--sabotage", claim]);
        assert!(!succeeded && text.contains(&format!("[BROKEN] {claim:>2}.")), "{text}");
    }
}

#[test]
fn an_unknown_claim_cannot_be_sabotaged() {
    let told = Command::new(DEMO).args(["--sabotage", "99"]).output().unwrap();
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("there are claims 1 to"));
}

#[test]
fn interrupted_it_leaves_no_process_behind() {
    let mut demo = Command::new(DEMO).args(["--pace", "2"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("It listens on")).unwrap().unwrap();
    // The next chapter starts the devices; whoever is there when the interrupt comes must go.
    lines.find(|line| line.as_ref().unwrap().contains("First sync")).unwrap().unwrap();
    let family = children(demo.id());
    assert!(!family.is_empty(), "the server runs");
    let sent = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert!(sent.success());
    demo.wait().unwrap();
    let started = Instant::now();
    while family.iter().any(|pid| runs(*pid)) {
        assert!(started.elapsed() < Duration::from_secs(10), "{family:?} are still there");
        std::thread::yield_now();
    }
}
