//! Child processes: each is printed before it runs, has no standard input, and runs at the
//! workspace's root.

use anyhow::{Context as _, Result, ensure};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

/// A `cargo` command of fixed and further arguments, with the cargo that runs xtask, so with the
/// pinned toolchain.
pub(crate) fn cargo(fixed: &[&str], further: &[String]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(fixed).args(further);
    command
}

/// The command at the workspace's root, unless it has a folder, and without standard input.
fn prepared(mut command: Command) -> Command {
    if command.get_current_dir().is_none() {
        command.current_dir(crate::workspace::root());
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end with its output shown; returns whether it succeeded.
pub(crate) fn succeeds(command: Command) -> Result<bool> {
    announce(&command);
    let mut command = prepared(command);
    let status = command.status();
    Ok(status.with_context(|| format!("cannot start {}", line(&command)))?.success())
}

/// Runs to the end with its output shown; it must succeed.
pub(crate) fn run(command: Command) -> Result<()> {
    let line = line(&command);
    ensure!(succeeds(command)?, "{line} failed");
    Ok(())
}

/// Runs to the end and passes each line of its standard output to `each`; returns whether it
/// succeeded.
pub(crate) fn for_each_line(command: Command, mut each: impl FnMut(&str)) -> Result<bool> {
    announce(&command);
    let mut command = prepared(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(&command)))?;
    let stdout = child.stdout.take().context("a piped child has a standard output")?;
    let mut reader = BufReader::new(stdout);
    let mut bytes = Vec::new();
    // Bytes, not `lines()`: a test may print invalid UTF-8, and its result must still be counted.
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        each(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    Ok(child.wait()?.success())
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: Command) -> Result<String> {
    let mut command = prepared(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(&command)))?;
    ensure!(output.status.success(), "{} ended with {}", line(&command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote no UTF-8", line(&command)))
}

/// What a program prints as its version; `None` if it is missing or fails.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first of these programs that cannot be started, as a message.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|program| version(program).is_none());
    missing.map(|program| format!("there is no {program} on the PATH"))
}

/// Arguments that another program parses.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Passed {
    /// Passed on unchanged, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Replaces this process by the command.
pub(crate) fn become_it(mut command: Command) -> Result<ExitCode> {
    announce(&command);
    let error = command.current_dir(crate::workspace::root()).exec();
    Err(error).with_context(|| format!("cannot start {}", line(&command)))
}

pub(crate) fn announce(command: &Command) {
    println!("$ {}", line(command));
}

/// The command as typed in a shell: its variables, name and arguments.
fn line(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}='{}'", name.to_string_lossy(), value?.to_string_lossy()))
    });
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    set.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{cargo, line, missing, version};

    #[test]
    fn command_is_printed_as_typed_in_a_shell() {
        let mut command = cargo(&["doc", "--no-deps"], &["--quiet".to_owned()]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet");
    }

    #[test]
    fn missing_program_has_no_version() {
        let cargo = std::env::var("CARGO").unwrap();
        assert!(version(&cargo).unwrap().starts_with("cargo "));
        let message = Some("there is no no-such-program on the PATH".to_owned());
        assert_eq!(missing(&[&cargo, "no-such-program"]), message);
    }
}
