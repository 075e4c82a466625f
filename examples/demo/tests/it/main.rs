//! The demo as a process among processes: told twice, and interrupted.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
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

/// What a telling over PostgreSQL says; `None`, and said so, where there is no PostgreSQL.
fn over_postgres(arguments: &[&str]) -> Option<(bool, String)> {
    let told = Command::new(DEMO).arg("--postgres").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let why = text.lines().find(|line| line.starts_with("skipped: "));
    if let Some(why) = why {
        // Beside the captured output: what was skipped is seen in every run.
        let _ = writeln!(std::io::stdout().lock(), "\n{why}");
        return None;
    }
    Some((told.status.success(), text + &String::from_utf8_lossy(&told.stderr)))
}

#[test]
fn over_postgresql_it_tells_the_same_story() {
    let Some((well, text)) = over_postgres(&[]) else { return };
    assert!(
        well && text.contains("Its tables are in a PostgreSQL") && text.contains("[ok] 16."),
        "{text}"
    );
}

#[test]
fn over_postgresql_it_notices_what_is_broken_in_the_database() {
    // Nothing of the server's, a row twice, the digest of a device's table.
    for claim in ["2", "4", "15"] {
        let Some((well, text)) = over_postgres(&["--sabotage", claim]) else { return };
        assert!(!well && text.contains(&format!("[BROKEN] {claim:>2}.")), "{text}");
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
