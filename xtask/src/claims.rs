//! Programs that verify claims (the demo, the interop authority, the simulation) as tests: every
//! claim must hold, and a fault injected into one must be detected.
//!
//! The lines they print are counted: `[ok] 3. ...` for a claim that held, `[BROKEN] 3. ...` for one
//! that did not.

use crate::process::{announce, for_each_line};
use crate::report::Count;
use anyhow::{Result, ensure};
use std::process::{Command, Stdio};

/// Concurrent runs; each is a server and two devices.
const AT_ONCE: usize = 2;

/// The number of a claim in a line with this mark.
fn numbered(line: &str, mark: &str) -> Option<u32> {
    let (number, _) = line.trim_start().strip_prefix(mark)?.split_once('.')?;
    number.trim().parse().ok()
}

/// Runs the program with its output shown; returns the counts and the numbers of the claims that
/// held.
pub(crate) fn hold(command: Command) -> Result<(Count, Vec<u32>)> {
    let (mut held, mut count) = (Vec::new(), Count::default());
    let well = for_each_line(command, |line| {
        println!("{line}");
        held.extend(numbered(line, "[ok]"));
        count.failed += u64::from(numbered(line, "[BROKEN]").is_some());
    })?;
    count.passed = held.len() as u64;
    Ok((count.failed_unless(well && !held.is_empty()), held))
}

/// Each claim must hold without a fault, and a fault injected into each must be noticed.
pub(crate) fn faults(command: impl Fn(Option<u32>) -> Result<Command>) -> Result<Count> {
    let (mut count, claims) = hold(command(None)?)?;
    count += notice(&claims, |claim| command(Some(claim)))?;
    Ok(count)
}

/// Injects a fault into each claim in turn: the program must fail and name this claim.
pub(crate) fn notice(claims: &[u32], command: impl Fn(u32) -> Result<Command>) -> Result<Count> {
    ensure!(!claims.is_empty(), "there is no claim to inject a fault into");
    let mut count = Count::default();
    for claims in claims.chunks(AT_ONCE) {
        let mut runs = Vec::new();
        for claim in claims {
            let mut command = command(*claim)?;
            announce(&command);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            runs.push((*claim, command.env("RUST_BACKTRACE", "0").spawn()?));
        }
        for (claim, run) in runs {
            let output = run.wait_with_output()?;
            let text =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let mut broken = text.lines().filter_map(|line| numbered(line, "[BROKEN]"));
            let is_noticed = !output.status.success() && broken.any(|broken| broken == claim);
            if !is_noticed {
                println!("{text}a fault in claim {claim} was not noticed");
            }
            count += Count::one(is_noticed);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{hold, notice};
    use crate::report::Count;
    use std::process::Command;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn counts(passed: u64, failed: u64) -> Count {
        Count { passed, failed, skipped: 0 }
    }

    #[test]
    fn claims_of_a_program_are_counted() {
        let table = [
            ("echo '  [ok]  1. a'; echo '[ok] 12. b. c'; echo 'so [ok] 3. d'", counts(2, 0)),
            ("echo '[ok] 1. a'; echo '[BROKEN] 2. b'; exit 1", counts(1, 1)),
            ("echo '[ok] 1. a'; exit 3", counts(1, 1)),
            ("echo 'nothing claimed'", counts(0, 1)),
        ];
        for (script, expected) in table {
            assert_eq!(hold(shell(script)).unwrap().0, expected, "{script}");
        }
        assert_eq!(hold(shell(table[0].0)).unwrap().1, [1, 12]);
    }

    #[test]
    fn undetected_fault_is_a_failure() {
        let table = [
            ("echo \"[BROKEN] $N. x\"; exit 1", counts(3, 0)),
            ("echo \"[BROKEN] $N. x\"", counts(0, 3)),
            ("exit 1", counts(0, 3)),
            ("echo '[BROKEN] 2. x'; exit 1", counts(1, 2)),
        ];
        for (script, expected) in table {
            let injected = |claim| Ok(shell(&format!("N={claim}; {script}")));
            assert_eq!(notice(&[1, 2, 3], injected).unwrap(), expected, "{script}");
        }
        assert!(notice(&[], |_| Ok(shell("exit 1"))).is_err());
    }
}
