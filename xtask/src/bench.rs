//! `cargo xtask bench`: builds the workloads in release and runs them; other languages and the
//! server have separate programs.

mod language;

use crate::built::Built;
use crate::process::{self, become_it, cargo, missing, succeeds};
use crate::report::Count;
use crate::toolchain::powersync;
use language::Language;
use std::process::ExitCode;

/// Arguments of the benchmarks, passed on unparsed.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// `kotlin`, `swift` or `javascript`; `server` with arguments of
    /// its own; `fanout` and `live` for `server --fanout` and `--live`; `log` for the workloads of the log model; `powersync` for the comparison
    /// with it; anything else is passed on unchanged, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Does not return where the system can replace the process, unless a language is given.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let [name] = options.arguments.as_slice()
        && let Some(language) = Language::named(name)
    {
        return language.bench();
    }
    match options.arguments.split_first().map(|(first, further)| (first.as_str(), further)) {
        Some(("server", further)) => return server(further),
        Some((name @ ("fanout" | "live"), further)) => {
            return server(&[&[format!("--{name}")], further].concat());
        }
        Some(("powersync", further)) => return powersync(further),
        _ => {}
    }
    let mut arguments = options.arguments.clone();
    if arguments.first().is_some_and(|first| first == "log") {
        arguments.splice(..1, ["--filter", "log:"].map(String::from));
    }
    let counts = options.arguments.iter().any(|argument| COUNTING.contains(&argument.as_str()));
    if counts {
        let mut bench = Built::now()?.program("rejoin-bench")?;
        bench.args(&arguments);
        return become_it(bench);
    }
    let fixed = ["run", "--release", "--package", "rejoin-bench", "--"];
    become_it(cargo(&fixed, &arguments))
}

/// Instruction counts are compared across commits, so any profile works. It is the build of the gate
/// that is counted, of the whole workspace: in it, crates share other code of the standard library.
const COUNTING: [&str; 2] = ["--gate", "--write-baseline"];

/// Fails if a workload needs more instructions than `bench/baseline.json` allows.
pub(crate) fn gate() -> anyhow::Result<Count> {
    if let Some(missing) = missing(&["valgrind"]) {
        return Ok(Count::skipped(&format!("instruction counts: {missing}")));
    }
    let mut bench = Built::now()?.program("rejoin-bench")?;
    bench.arg("--gate");
    Ok(Count::one(succeeds(bench)?))
}

/// The workloads that are compared with PowerSync.
fn powersync(further: &[String]) -> anyhow::Result<ExitCode> {
    let extension = powersync::extension(&powersync::install()?)?;
    let mut fixed = vec!["run", "--release", "--package", "rejoin-bench", "--"];
    if !further.iter().any(|argument| argument == "--filter") {
        fixed.extend(["--filter", "powersync: "]);
    }
    let mut bench = cargo(&fixed, further);
    bench.env("REJOIN_BENCH_POWERSYNC", extension);
    become_it(bench)
}

/// The server is measured as deployed: its binary, next to the benchmark program.
fn server(further: &[String]) -> anyhow::Result<ExitCode> {
    let both = ["--package", "rejoin-server", "--package", "rejoin-server-bench"];
    let build = ["build", "--release", "--bins"];
    process::run(cargo(&[&build[..], &both].concat(), &[]))?;
    let fixed = ["run", "--release", "--package", "rejoin-server-bench", "--"];
    become_it(cargo(&fixed, further))
}
