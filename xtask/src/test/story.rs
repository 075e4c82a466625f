//! A program that makes claims (the demo, the referee of the devices) as a test: it must hold all of them, and must notice each
//! that is broken on purpose.
//!
//! What counts is what it tells: a line `[ok] 3. ...` for a claim that held, `[BROKEN] 3. ...` for one that did
//! not.

use crate::process::for_each_line;
use crate::report::Count;
use anyhow::{Result, bail};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// This many runs at a time; each is a server and two devices.
const AT_ONCE: usize = 2;

/// One telling of the story.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    /// The numbers of the claims that held.
    held: Vec<u32>,
    /// The numbers of the claims that did not.
    broken: Vec<u32>,
    /// Whether it ended with code 0.
    well: bool,
    text: String,
}

/// Tells the story once; each line is also handed to `each`.
fn tell(command: Command, mut each: impl FnMut(&str)) -> Result<Telling> {
    let mut telling = Telling::default();
    telling.well = for_each_line(command, |line| {
        each(line);
        telling.held.extend(numbered(line, "[ok]"));
        telling.broken.extend(numbered(line, "[BROKEN]"));
        telling.text.push_str(line);
        telling.text.push('\n');
    })?;
    Ok(telling)
}

/// The number of a claim in a line that begins with this mark.
fn numbered(line: &str, mark: &str) -> Option<u32> {
    let (number, _) = line.trim_start().strip_prefix(mark)?.split_once('.')?;
    number.trim().parse().ok()
}

/// Tells the story to whoever runs the tests: every claim held, and it did not take too long. The numbers of the
/// claims are what can be sabotaged. One that says that it is skipped, and why, claims nothing.
pub(crate) fn holds(command: Command, longest: Duration) -> Result<(Count, Vec<u32>)> {
    let start = Instant::now();
    let Telling { held, broken, well, text } = tell(command, |line| println!("{line}"))?;
    if held.is_empty()
        && broken.is_empty()
        && text.lines().any(|line| line.starts_with("skipped: "))
    {
        return Ok((Count { skipped: 1, ..Count::default() }, held));
    }
    let took = start.elapsed();
    let mut count = Count { passed: held.len() as u64, failed: broken.len() as u64, skipped: 0 };
    let in_time = took <= longest;
    println!("it took {} s, at most {} s", took.as_secs(), longest.as_secs());
    if count.failed == 0 && !(well && in_time && !held.is_empty()) {
        count.failed = 1;
    }
    Ok((count, held))
}

/// Breaks each claim in turn: the demo must fail, and must say that it was this claim.
pub(crate) fn notices(
    claims: &[u32],
    command: impl Fn(u32) -> Result<Command> + Sync,
) -> Result<Count> {
    if claims.is_empty() {
        bail!("there is no claim that could be broken");
    }
    let waiting = Mutex::new(claims.iter());
    let work = || -> Result<Count> {
        let mut count = Count::default();
        // A poisoned lock means that another worker panicked, which is shown by its own end.
        while let Some(&claim) = waiting.lock().ok().and_then(|mut claims| claims.next()) {
            let telling = tell(command(claim)?, |_| {})?;
            let noticed = !telling.well && telling.broken.contains(&claim);
            if !noticed {
                println!("{}claim {claim} was broken and nobody said so", telling.text);
            }
            count += Count::one(noticed);
        }
        Ok(count)
    };
    let mut count = Count::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => count += done?,
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(count)
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::{holds, notices};
    use crate::report::Count;
    use std::process::Command;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_mins(1);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn counts(passed: u64, failed: u64) -> Count {
        Count { passed, failed, skipped: 0 }
    }

    #[test]
    fn a_story_counts_its_claims() {
        let table = [
            ("echo '  [ok]  1. a'; echo '[ok] 12. b. c'; echo 'so [ok] 3. d'", counts(2, 0)),
            ("echo '[ok] 1. a'; echo '[BROKEN] 2. b'; exit 1", counts(1, 1)),
            ("echo '[ok] 1. a'; echo '[BROKEN] 2. b'", counts(1, 1)),
            ("echo '[ok] 1. a'; exit 3", counts(1, 1)),
            ("echo 'nothing claimed'", counts(0, 1)),
            ("echo 'skipped: no database'; exit 1", Count { skipped: 1, ..counts(0, 0) }),
            ("echo '[ok] 1. a'; echo 'skipped: the rest'; exit 1", counts(1, 1)),
        ];
        for (script, expected) in table {
            assert_eq!(holds(shell(script), MINUTE).unwrap().0, expected, "{script}");
        }
        assert_eq!(holds(shell(table[0].0), MINUTE).unwrap().1, [1, 12]);
        assert_eq!(holds(shell(table[0].0), Duration::ZERO).unwrap().0, counts(2, 1), "too slow");
    }

    #[test]
    fn a_sabotage_that_is_not_noticed_is_a_failure() {
        let table = [
            ("exit code and name", "echo \"[BROKEN] $N. x\"; exit 1", counts(3, 0)),
            ("no exit code", "echo \"[BROKEN] $N. x\"", counts(0, 3)),
            ("no name", "exit 1", counts(0, 3)),
            ("another's name", "echo '[BROKEN] 2. x'; exit 1", counts(1, 2)),
        ];
        for (what, script, expected) in table {
            let sabotage = |claim| Ok(shell(&format!("N={claim}; {script}")));
            assert_eq!(notices(&[1, 2, 3], sabotage).unwrap(), expected, "{what}");
        }
        assert!(notices(&[], |_| Ok(shell("exit 1"))).is_err());
    }
}
