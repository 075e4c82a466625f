//! A watchdog for stages: a stage that exceeds its limit is killed with all its processes, and
//! counts as failed.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Interval at which remaining processes are killed after the limit, since a stage may start
/// another command.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs `work`; returns its result, and whether it was stopped after `longest`.
///
/// The work runs in this process; only its child processes, on which it waits, are killed. Where
/// the system does not list them, this process exits as failed.
pub(crate) fn within<T>(longest: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    watched(longest, || end_below(std::process::id()), work)
}

fn watched<T>(longest: Duration, end: impl Fn() + Send, work: impl FnOnce() -> T) -> (T, bool) {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut wait = longest;
            let mut barked = false;
            while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                if !barked {
                    println!("longer than {} s: ended by the watchdog", longest.as_secs());
                }
                (wait, barked) = (AGAIN, true);
                end();
            }
            barked
        });
        let result = work();
        drop(done);
        (result, watch.join().unwrap_or(true))
    })
}

fn end_below(process: u32) {
    let Some(below) = descendants(process) else {
        println!("0 passed, 1 failed, 0 skipped");
        std::process::exit(1);
    };
    if below.is_empty() {
        return;
    }
    // Minimal systems have `kill` only as a builtin of the shell.
    let line = below.iter().fold("kill -KILL".to_owned(), |line, id| format!("{line} {id}"));
    let _ = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status();
}

/// All descendants of a process; `None` without `/proc`.
fn descendants(of: u32) -> Option<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may have ended since it was listed.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        parents.extend(parent(&stat).map(|parent| (id, parent)));
    }
    (!parents.is_empty()).then(|| below(of, &parents))
}

/// The parent's id in a line of `/proc/<id>/stat`: `id (name) state parent ...`, where the name may
/// contain any character.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn below(of: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![of];
    let mut at = 0;
    while let Some(&id) = found.get(at) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == id).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::{below, end_below, parent, watched};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[test]
    fn work_that_ends_in_time_is_not_stopped() {
        assert_eq!(watched(Duration::from_mins(1), || panic!("in time"), || 7), (7, false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn hanging_work_is_killed_with_its_children() {
        let script = "sleep 600 & sleep 600; echo over";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let id = shell.id();
        // Waits for every process that holds the pipe, including the one in the background.
        let wait = || shell.wait_with_output().unwrap();
        let (output, barked) = watched(Duration::from_millis(200), || end_below(id), wait);
        assert!(barked);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "over\n");
    }

    #[test]
    fn parent_is_read_from_a_process_table_line() {
        let table = [
            ("7 (sh) S 3 7 7 0 -1", Some(3)),
            ("7 (a b) c) R 12 7 7", Some(12)),
            ("7 (sh)", None),
            ("", None),
        ];
        for (stat, expected) in table {
            assert_eq!(parent(stat), expected, "{stat}");
        }
    }

    #[test]
    fn descendants_of_all_generations_are_found() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (9, 8)];
        assert_eq!(below(2, &parents), [3, 4]);
        assert_eq!(below(1, &parents), [2, 5, 3, 6, 4]);
        assert!(below(9, &parents).is_empty());
    }
}
