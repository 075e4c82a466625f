//! `cargo xtask demo`: builds and runs the demo; all arguments but ours are passed on.

use crate::built::Built;
use crate::claims;
use crate::language::{self, KOTLIN};
use crate::process::{become_it, cargo};
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use std::process::ExitCode;

/// Arguments of the demo.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// `--kotlin` adds a device written in Kotlin (needs a JDK and Maven); the others go to the demo, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Our flag; the demo's own `--kotlin` takes a file with the start command of the device.
const KOTLIN_FLAG: &str = "--kotlin";

/// Builds the demo, with cargo's own progress, and replaces this process where possible: Ctrl-C
/// then reaches the demo itself, which ends its server and devices.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let wants_kotlin = |argument: &&String| *argument == KOTLIN_FLAG;
    let mut arguments = options.arguments.clone();
    if let Some(at) = arguments.iter().position(|argument| wants_kotlin(&argument)) {
        if let Some(missing) = (KOTLIN.missing)()? {
            bail!("{KOTLIN_FLAG} needs a JDK and Maven: {missing}");
        }
        arguments.splice(at..=at, kotlin_device(&Built::now()?)?);
    }
    become_it(cargo(&["run", "--package", "rejoin-demo", "--"], &arguments))
}

/// The demo with devices in Rust: each claim must hold.
pub(crate) fn rust_holds() -> Result<Count> {
    Ok(claims::hold(Built::now()?.program("rejoin-demo")?)?.0)
}

/// The demo with every device available on this machine: each claim must hold. The same of the log
/// model, where a fault in each claim must be detected as well.
pub(crate) fn claims_hold() -> Result<Count> {
    let built = Built::now()?;
    let mut skipped = Count::default();
    let mut demo = built.program("rejoin-demo")?;
    if let Some(missing) = (KOTLIN.missing)()? {
        skipped += Count::skipped(&format!("the device in Kotlin: {missing}"));
    } else {
        demo.args(kotlin_device(&built)?);
    }
    let (mut count, _) = claims::hold(demo)?;
    count += skipped;
    count += faults_in(&built, &["--log".to_owned()])?;
    Ok(count)
}

/// A fault injected into each claim of the demo must be detected. Over SQLite, with the device in
/// Kotlin.
pub(crate) fn faults_are_noticed() -> Result<Count> {
    let built = Built::now()?;
    faults_in(&built, &kotlin_device(&built)?)
}

/// With these arguments each claim must hold, and a fault injected into each must be detected.
fn faults_in(built: &Built, arguments: &[String]) -> Result<Count> {
    claims::faults(|fault| {
        let mut demo = built.program("rejoin-demo")?;
        demo.args(arguments);
        demo.args(fault.iter().flat_map(|claim| ["--sabotage".to_owned(), claim.to_string()]));
        Ok(demo)
    })
}

/// The demo's arguments for a device in Kotlin. Its command line is in a file, because the class
/// path is long.
fn kotlin_device(built: &Built) -> Result<[String; 2]> {
    let device = (KOTLIN.device)(built)?;
    let file = built.folder().join("demo-kotlin.json");
    std::fs::write(&file, language::start_of(&device)?.to_string())?;
    let file = file.to_str().context("a path that is not Unicode")?.to_owned();
    Ok([KOTLIN_FLAG.to_owned(), file])
}
