//! The devices of all languages before one referee (`tests/interop`): what they claim must hold, and the referee must notice what
//! is broken on purpose.

use super::language::{self, JAVASCRIPT, KOTLIN, SWIFT, variables};
use super::story;
use crate::bindings::Built;
use crate::report::Count;
use anyhow::Result;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// The referee's story takes seconds; starting virtual machines on a busy computer takes more.
const LONGEST: Duration = Duration::from_mins(3);

/// All languages that this machine has, told once; then each claim broken once, between devices in Rust, which start at once. A
/// language that is missing is counted as skipped.
pub(super) fn stage() -> Result<Count> {
    let built = Built::now()?;
    let rust = Command::new(&built.device);
    let mut devices = BTreeMap::from([("rust", rust)]);
    let mut skipped = 0;
    for language in [KOTLIN, SWIFT, JAVASCRIPT] {
        if let Some(missing) = (language.missing)()? {
            println!("the device in {} is skipped: {missing}", language.name);
            skipped += 1;
        } else {
            devices.insert(language.name, (language.device)(&built)?);
        }
    }
    let twins =
        || BTreeMap::from(["rust", "rust-too"].map(|name| (name, Command::new(&built.device))));
    if devices.len() < 2 {
        devices = twins();
    }
    let (mut count, claims) = story::holds(referee(&built, &devices, None)?, LONGEST)?;
    count += story::notices(&claims, |claim| referee(&built, &twins(), Some(claim)))?;
    count.skipped += skipped;
    Ok(count)
}

/// The referee of these devices; what is set for one of them is set for all.
fn referee(
    built: &Built,
    devices: &BTreeMap<&str, Command>,
    sabotage: Option<u32>,
) -> Result<Command> {
    let mut referee = Command::new(&built.referee);
    referee.arg("--server").arg(&built.story_server).envs(variables(built));
    for (name, device) in devices {
        let how = language::how(device)?;
        referee.arg("--device").arg(format!("{name}={how}"));
        referee.envs(device.get_envs().filter_map(|(name, value)| Some((name, value?))));
    }
    if let Some(claim) = sabotage {
        referee.args(["--sabotage", &claim.to_string()]);
    }
    Ok(referee)
}
