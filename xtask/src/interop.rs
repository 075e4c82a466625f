//! Devices in all languages against one server (`tests/interop`): the authority checks that they
//! agree.

use crate::built::Built;
use crate::claims;
use crate::language::{self, JAVASCRIPT, KOTLIN, SWIFT};
use crate::report::Count;
use anyhow::Result;
use std::collections::BTreeMap;
use std::process::Command;

/// The devices by name, with their start commands.
type Devices = BTreeMap<&'static str, Command>;

/// One device per language of this machine. A device whose tools are missing is skipped.
pub(crate) fn agree() -> Result<Count> {
    let built = Built::now()?;
    let mut devices = Devices::from([("rust", device(&built)?)]);
    let mut skipped = Count::default();
    for language in [KOTLIN, SWIFT, JAVASCRIPT] {
        if let Some(missing) = (language.missing)()? {
            skipped += Count::skipped(&format!("the device in {}: {missing}", language.name));
        } else {
            devices.insert(language.name, (language.device)(&built)?);
        }
    }
    if devices.len() < 2 {
        devices = twins(&built)?;
    }
    let (mut count, _) = claims::hold(referee(&built, &devices, None)?)?;
    count += skipped;
    Ok(count)
}

/// A fault in each claim, with two devices in Rust, which start fast.
pub(crate) fn notice() -> Result<Count> {
    let built = Built::now()?;
    claims::faults(|fault| referee(&built, &twins(&built)?, fault))
}

fn device(built: &Built) -> Result<Command> {
    built.program("rejoin-interop-device")
}

fn twins(built: &Built) -> Result<Devices> {
    Ok(Devices::from([("rust", device(built)?), ("rust-too", device(built)?)]))
}

/// The authority's command for these devices; variables of one device are set for all.
fn referee(built: &Built, devices: &Devices, fault: Option<u32>) -> Result<Command> {
    let mut referee = built.program("rejoin-interop")?;
    referee.arg("--server").arg(built.path("rejoin-story-server")?);
    referee.envs(language::variables(built)?);
    for (name, device) in devices {
        referee.arg("--device").arg(format!("{name}={}", language::start_of(device)?));
        referee.envs(device.get_envs().filter_map(|(name, value)| Some((name, value?))));
    }
    if let Some(claim) = fault {
        referee.args(["--sabotage", &claim.to_string()]);
    }
    Ok(referee)
}
