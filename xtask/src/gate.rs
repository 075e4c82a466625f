//! Runs stages, two at a time, each in its own process; prints a table and the closing line.
//!
//! A stage starts, in the order of its list, when all stages before it have ended and all that it
//! needs have passed. A failed stage ends only the stages that need its result. The output of a
//! stage goes to `target/gate/NAME.log`; its end is printed if the stage fails. A stage that exceeds
//! its time limit is killed with all its processes, and counts as failed. The stages are defined in
//! `stages.rs`.

use crate::report::{Count, Row, close, skips_allowed};
use crate::workspace;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_current_process_group, kill_process_group};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Stages that run at the same time.
const LANES: usize = 2;

/// Poll interval of running stages.
const TICK: Duration = Duration::from_millis(100);

/// Number of log lines printed for a failed stage.
const TAIL: usize = 200;

/// Set for stages of a run, which use what its `build` stage has built.
pub(crate) const IN_GATE: &str = "REJOIN_GATE";

/// One check or test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    /// After this time a run stops it.
    limit: Duration,
    /// Stages whose result it uses: they must have passed before it.
    pub(crate) needs: &'static [&'static str],
    /// Stages that must have ended before it, passed or not: they write the same folders, hold
    /// cargo's lock on the build folder, or fill a cache.
    pub(crate) after: &'static [&'static str],
    /// Runs it in this process.
    pub(crate) run: fn() -> Result<Count>,
}

impl Stage {
    pub(crate) const fn new(name: &'static str, minutes: u64, run: fn() -> Result<Count>) -> Self {
        Self { name, limit: Duration::from_mins(minutes), needs: &[], after: &[], run }
    }

    pub(crate) const fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    pub(crate) const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }
}

/// The folder for the logs of a run.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("target/gate")
}

/// Runs stages and prints the table.
pub(crate) fn run(stages: &[Stage]) -> Result<ExitCode> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let program = std::env::current_exe()?;
    let rows = run_in(&folder, stages, |stage| {
        let mut command = Command::new(&program);
        command.args(["stage", stage.name]).env(IN_GATE, "1");
        command
    });
    Ok(close(&rows, skips_allowed()))
}

/// Ends this process, a stage of a run, with all that it has started when the run ends or is
/// interrupted: the run holds the other end of standard input.
pub(crate) fn end_with_the_run() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        kill_current_process_group(Signal::KILL)
    });
}

/// Runs each stage with the command made for it.
fn run_in(folder: &Path, stages: &[Stage], command: impl Fn(&Stage) -> Command + Sync) -> Vec<Row> {
    let (mut waiting, mut running) = (stages.to_vec(), Vec::new());
    let mut rows: Vec<Row> = Vec::new();
    let (sender, ended) = channel();
    let command = &command;
    thread::scope(|scope| {
        loop {
            let has_failed =
                |name: &&str| rows.iter().any(|row| row.stage == *name && row.count.failed > 0);
            if let Some(at) = waiting.iter().position(|stage| stage.needs.iter().any(has_failed)) {
                let error = "not run, because a stage that it needs failed";
                rows.push(Row::of(waiting.remove(at).name, || bail!(error)));
            } else if let Some(at) = next(&waiting, &running) {
                let (stage, sender) = (waiting.remove(at), sender.clone());
                running.push(stage.name);
                scope.spawn(move || sender.send(run_one(folder, stage, command(&stage))));
            } else if running.is_empty() {
                return rows;
            } else if let Ok(row) = ended.recv() {
                running.retain(|name| *name != row.stage);
                rows.push(row);
            }
        }
    })
}

/// The next stage that can start now. Stages that were not requested are not waited for.
fn next(waiting: &[Stage], running: &[&str]) -> Option<usize> {
    let is_pending =
        |name: &&str| running.contains(name) || waiting.iter().any(|stage| stage.name == *name);
    let can_start = |stage: &Stage| !stage.needs.iter().chain(stage.after).any(is_pending);
    if running.len() < LANES { waiting.iter().position(can_start) } else { None }
}

/// Runs a stage, whose log ends with its closing line.
fn run_one(folder: &Path, stage: Stage, mut command: Command) -> Row {
    println!("{} ...", stage.name);
    let path = folder.join(format!("{}.log", stage.name));
    let mut log = String::new();
    let row = Row::of(stage.name, || {
        let output = File::create(&path).with_context(|| path.display().to_string())?;
        command.stdout(output.try_clone()?).stderr(output);
        let ended = end_within(stage.limit, command);
        log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        ended?;
        log.lines().next_back().and_then(Count::read).context("it ended without a closing line")
    });
    println!("{}: {} in {:.0} s", row.stage, row.count, row.seconds);
    if row.count.failed > 0 {
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        let (number, path) = (tail.len(), path.display());
        println!("--- the last {number} lines of {path}\n{}\n---", tail.join("\n"));
    }
    row
}

/// Waits until the command has ended, or kills it with its process group.
fn end_within(limit: Duration, mut command: Command) -> Result<()> {
    let begun = Instant::now();
    let mut child = command.process_group(0).stdin(Stdio::piped()).spawn()?;
    while child.try_wait()?.is_none() {
        if begun.elapsed() > limit {
            kill_process_group(Pid::from_child(&child), Signal::KILL)?;
            child.wait()?;
            bail!("killed after its limit of {} s", limit.as_secs());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Stage, end_within, run_in};
    use crate::report::{Count, Row};
    use std::fs;
    use std::io::read_to_string;
    use std::process::Command;
    use std::time::Duration;

    const fn stage(name: &'static str) -> Stage {
        Stage::new(name, 1, || Ok(Count { passed: 1, failed: 0, skipped: 0 }))
    }

    /// Runs stages that are a line of shell; `$0` is the stage.
    fn run(stages: &[Stage], script: &str) -> (Vec<Row>, String) {
        let folder = tempfile::tempdir().unwrap();
        let rows = run_in(folder.path(), stages, |stage| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script, stage.name]).current_dir(folder.path());
            shell
        });
        (rows, fs::read_to_string(folder.path().join("order")).unwrap_or_default())
    }

    #[test]
    fn stages_run_two_at_a_time_after_those_they_need() {
        let stages = [stage("a"), stage("b").needs(&["a"]), stage("c").after(&["a"])];
        // `b` ends only after `c` has started, or fails after a minute.
        let script = r#"
            echo "+$0" >>order; tries=600
            while [ $0 = b ] && [ $tries -gt 0 ] && ! grep -q +c order; do tries=$((tries - 1)); sleep 0.1; done
            [ $tries -gt 0 ] || exit
            echo "-$0" >>order; echo '1 passed, 0 failed, 2 skipped'"#;
        let (rows, order) = run(&stages, script);
        let expected = Count { passed: 1, failed: 0, skipped: 2 };
        assert!(rows.len() == 3 && rows.iter().all(|row| row.count == expected), "{rows:?}");
        let at = |mark: &str| order.lines().position(|line| line == mark).unwrap();
        assert!(at("-a") < at("+b") && at("-a") < at("+c"), "{order}");
    }

    #[test]
    fn failed_stage_ends_only_those_that_need_it() {
        let stages = [
            stage("a"),
            stage("b").needs(&["a"]),
            stage("c").needs(&["b"]),
            stage("d").after(&["a", "c"]),
        ];
        let script = r#"echo "+$0" >>order; [ $0 = a ] || echo '1 passed, 0 failed, 0 skipped'"#;
        let (rows, order) = run(&stages, script);
        assert_eq!(order, "+a\n+d\n", "a stage without a closing line has failed");
        let failed = |name: &str| rows.iter().any(|row| row.stage == name && row.count.failed == 1);
        assert!(["a", "b", "c"].into_iter().all(failed) && !failed("d"), "{rows:?}");
    }

    #[test]
    fn stage_beyond_its_limit_is_killed_with_its_processes() {
        let (output, writer) = std::io::pipe().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & sleep 600"]).stdout(writer);
        assert!(end_within(Duration::from_millis(200), shell).is_err());
        // Ends when no process has the pipe open, including the one in the background.
        assert_eq!(read_to_string(output).unwrap(), "");
        let hanging = Stage { limit: Duration::from_millis(200), ..stage("a") };
        let (rows, _) = run(
            &[hanging, stage("b")],
            "[ $0 = b ] || sleep 600; echo '1 passed, 0 failed, 0 skipped'",
        );
        assert_eq!(rows.iter().filter(|row| row.count.failed == 1 && row.stage == "a").count(), 1);
        assert_eq!(rows.len(), 2, "{rows:?}");
    }
}
