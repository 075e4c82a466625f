//! Runs stages, two at a time, each in its own process; prints a table and the closing line.
//!
//! A stage starts, in the order of its list, when all stages before it have ended and all that it
//! needs have passed. A failed stage ends only the stages that need its result. The output of a
//! stage goes to `target/gate/NAME.log` and is printed if it fails. A stage that exceeds its time
//! limit is killed with all its processes, and counts as failed. The stages are defined in
//! `stages.rs`.

use crate::report::{Count, Report, Row, skips_allowed};
use crate::{watchdog, workspace};
use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Stages that run at the same time.
const LANES: usize = 2;

/// Poll interval of running stages.
const TICK: Duration = Duration::from_millis(100);

/// Time without output after which the running stages are listed.
const SILENCE: Duration = Duration::from_mins(1);

/// Number of log lines printed for a failed stage.
const TAIL: usize = 200;

/// Set for stages of a run, which use the files built by its `build` stage in `target/gate`.
pub(crate) const IN_GATE: &str = "REJOIN_GATE";

/// One check or test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    /// Minutes after which it is stopped.
    pub(crate) minutes: u64,
    /// Stages whose result it uses: they must have passed before it.
    pub(crate) needs: &'static [&'static str],
    /// Stages that must have ended before it, passed or not: they write the same folders, or fill
    /// a cache.
    pub(crate) after: &'static [&'static str],
    /// Whether it holds cargo's lock on the build folder for long: such stages run one at a time.
    pub(crate) locks: bool,
    /// Runs it in this process.
    pub(crate) run: fn() -> Result<Count>,
}

impl Stage {
    pub(crate) const fn new(name: &'static str, minutes: u64, run: fn() -> Result<Count>) -> Self {
        Self { name, minutes, needs: &[], after: &[], locks: false, run }
    }

    pub(crate) const fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    pub(crate) const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }

    pub(crate) const fn locks(self) -> Self {
        Self { locks: true, ..self }
    }
}

/// The folder for logs, rows and lists of a run.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("target/gate")
}

/// Runs one stage in this process, with its time limit.
pub(crate) fn run_here(stage: &Stage) -> Row {
    Row::of(stage.name, || {
        let (count, stopped) = watchdog::within(Duration::from_mins(stage.minutes), stage.run);
        Ok(count?.failed_unless(!stopped))
    })
}

/// Runs one stage in a process with this variable.
pub(crate) fn run_with(stage: &str, (name, value): (&str, &str)) -> Result<Count> {
    let row = folder().join(format!("{stage}-{name}.row"));
    let _ = fs::remove_file(&row);
    let mut command = Command::new(std::env::current_exe()?);
    let status = command.args(["stage", stage, "--row"]).arg(&row).env(name, value).status()?;
    let count = Row::read(&row).filter(|_| status.success()).map(|row| row.count);
    Ok(count.unwrap_or(Count::one(false)))
}

/// Runs stages in two lanes and prints the table.
pub(crate) fn run(stages: &[Stage]) -> Result<ExitCode> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let program = std::env::current_exe()?;
    let command = |stage: &Stage, row: &Path| {
        let mut command = Command::new(&program);
        command.args(["stage", stage.name, "--row"]).arg(row).env(IN_GATE, "1");
        command
    };
    Ok(run_in(&folder, stages, command)?.close(skips_allowed()))
}

/// Runs each stage with the command made for it and for the file of its row.
fn run_in(
    folder: &Path,
    stages: &[Stage],
    command: impl Fn(&Stage, &Path) -> Command,
) -> Result<Report> {
    let (mut waiting, mut running) = (stages.to_vec(), Vec::<Running>::new());
    let mut report = Report::default();
    let begun = Instant::now();
    let say = |text: &str| {
        let seconds = begun.elapsed().as_secs();
        println!("[{:>3}:{:02}] {text}", seconds / 60, seconds % 60);
    };
    let mut news = Instant::now();
    loop {
        if let Some(at) = waiting.iter().position(|stage| report.has_failed(stage.needs)) {
            let stage = waiting.remove(at).name;
            say(&format!("{stage}: not run, because a stage that it needs failed"));
            report.add(Row::failed(stage));
        } else if let Some(at) = next(&waiting, &running) {
            let stage = waiting.remove(at);
            say(&format!("{} ...", stage.name));
            running.push(Running::start(stage, folder, &command)?);
        } else if running.is_empty() {
            return Ok(report);
        } else if let Some((at, row)) = ended(&mut running)? {
            let Count { passed, failed, skipped } = row.count;
            let counts = format!("{passed} passed, {failed} failed, {skipped} skipped");
            say(&format!("{}: {counts} in {:.0} s", row.stage, row.seconds));
            let log = running.remove(at).log;
            if failed > 0 {
                print_tail(&log);
            }
            report.add(row);
            news = Instant::now();
        } else {
            sleep(TICK);
        }
        if news.elapsed() >= SILENCE {
            let names: Vec<&str> = running.iter().map(|running| running.stage.name).collect();
            say(&format!("still running: {}", names.join(", ")));
            news = Instant::now();
        }
    }
}

/// The next stage that can start now. Stages that were not requested are not waited for.
fn next(waiting: &[Stage], running: &[Running]) -> Option<usize> {
    let locked = running.iter().any(|running| running.stage.locks);
    let is_pending = |name: &&str| {
        let mut pending = waiting.iter().chain(running.iter().map(|running| &running.stage));
        pending.any(|stage| stage.name == *name)
    };
    let can_start = |stage: &Stage| {
        let mut before = stage.needs.iter().chain(stage.after);
        !(before.any(is_pending) || stage.locks && locked)
    };
    if running.len() < LANES { waiting.iter().position(can_start) } else { None }
}

/// A stage that has ended, and its row. A stage that leaves no row has failed.
fn ended(running: &mut [Running]) -> Result<Option<(usize, Row)>> {
    for (at, Running { stage, child, row, .. }) in running.iter_mut().enumerate() {
        if child.try_wait()?.is_some() {
            return Ok(Some((at, Row::read(row).unwrap_or_else(|| Row::failed(stage.name)))));
        }
    }
    Ok(None)
}

/// A stage running as a child process.
struct Running {
    stage: Stage,
    child: Child,
    log: PathBuf,
    row: PathBuf,
}

impl Running {
    fn start(
        stage: Stage,
        folder: &Path,
        command: impl Fn(&Stage, &Path) -> Command,
    ) -> Result<Self> {
        let log = folder.join(format!("{}.log", stage.name));
        let row = folder.join(format!("{}.row", stage.name));
        let _ = fs::remove_file(&row);
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = command(&stage, &row);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start a stage")?;
        Ok(Self { stage, child, log, row })
    }
}

fn print_tail(log: &Path) {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    println!("--- the last {} lines of {}", lines.len() - from, log.display());
    lines[from..].iter().for_each(|line| println!("{line}"));
    println!("---");
}

#[cfg(test)]
mod tests {
    use super::{Stage, run_in};
    use crate::report::Count;
    use std::fs;
    use std::process::Command;

    const fn stage(name: &'static str) -> Stage {
        Stage::new(name, 1, || Ok(Count::one(true)))
    }

    /// Runs stages that are a line of shell; `$0` is the stage, `$1` the file of its row.
    fn run(stages: &[Stage], script: &str) -> (Vec<(String, Count)>, String) {
        let folder = tempfile::tempdir().unwrap();
        let order = folder.path().join("order");
        let report = run_in(folder.path(), stages, |stage, row| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script, stage.name]).arg(row).current_dir(folder.path());
            shell
        });
        let rows = report.unwrap().rows.into_iter().map(|row| (row.stage, row.count)).collect();
        (rows, fs::read_to_string(order).unwrap_or_default())
    }

    #[test]
    fn stages_run_two_at_a_time_after_those_they_need() {
        let stages =
            [stage("a").locks(), stage("b").needs(&["a"]), stage("c").locks().after(&["a"])];
        // `b` ends only after `c` has started, or fails after a minute.
        let script = r#"
            echo "+$0" >>order; tries=600
            while [ $0 = b ] && [ $tries -gt 0 ] && ! grep -q +c order; do tries=$((tries - 1)); sleep 0.1; done
            [ $tries -gt 0 ] || exit
            echo "-$0" >>order; printf '%s\t1\t0\t0\t0.1\n' $0 >$1"#;
        let (rows, order) = run(&stages, script);
        assert!(rows.iter().all(|(_, count)| *count == Count::one(true)), "{rows:?}");
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
        let script = r#"echo "+$0" >>order; [ $0 = a ] || printf '%s\t1\t0\t0\t0.1\n' $0 >$1"#;
        let (rows, order) = run(&stages, script);
        assert_eq!(order, "+a\n+d\n", "a stage without a row has failed");
        let failed = |name: &str| rows.iter().any(|(row, count)| row == name && count.failed == 1);
        assert!(["a", "b", "c"].into_iter().all(failed) && !failed("d"), "{rows:?}");
    }
}
