//! The fault plan, derived from a seed. Pure; `run` executes it.
//!
//! Each device and the server have their own plan, so faults overlap. A target has one fault at a
//! time.

use std::time::Duration;

use clap::ValueEnum;

/// A kind of fault, or a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// Nothing fails.
    None,
    /// Kill a device with SIGKILL and restart it with its database file.
    Kill,
    /// Stop a device with SIGSTOP and continue it.
    Pause,
    /// Stall all bytes to the device.
    PartitionIn,
    /// Stall all bytes from the device.
    PartitionOut,
    /// Stall both directions.
    PartitionBoth,
    /// Close connections, including new ones.
    Disconnect,
    /// Kill the server with SIGKILL and restart it.
    ServerKill,
    /// Stop the server with SIGSTOP and continue it.
    ServerPause,
    /// Stop a device for up to a minute. `All` has the shorter [`Fault::Pause`].
    Freeze,
    /// All faults except `LongPause`, mixed.
    All,
}

/// The target of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Device(usize),
    Server,
}

/// The start or the end of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) target: Target,
    pub(crate) fault: Fault,
    pub(crate) begins: bool,
}

const OF_DEVICES: [Fault; 6] = [
    Fault::Kill,
    Fault::Pause,
    Fault::PartitionIn,
    Fault::PartitionOut,
    Fault::PartitionBoth,
    Fault::Disconnect,
];
const OF_THE_SERVER: [Fault; 2] = [Fault::ServerKill, Fault::ServerPause];

/// Ranges of the pauses between faults and of their lengths, in milliseconds.
struct Pace {
    gap: (u64, u64),
    length: (u64, u64),
}

/// A device has a fault about half of the time; some faults exceed every timeout of the client.
const DEVICE_PACE: Pace = Pace { gap: (300, 6_000), length: (200, 8_000) };
const FREEZE_PACE: Pace = Pace { gap: (300, 6_000), length: (1_000, 60_000) };
const SERVER_PACE: Pace = Pace { gap: (2_000, 8_000), length: (200, 4_000) };

/// The steps of a run, ordered by time. A fault ends at the latest with the run.
pub(crate) fn plan(seed: u64, fault: Fault, devices: usize, length: Duration) -> Vec<Step> {
    let of_kind = |kinds: &[Fault]| -> Vec<Fault> {
        kinds.iter().copied().filter(|kind| fault == Fault::All || fault == *kind).collect()
    };
    let (device_kinds, pace) = match fault {
        Fault::Freeze => (vec![fault], FREEZE_PACE),
        _ => (of_kind(&OF_DEVICES), DEVICE_PACE),
    };
    let server_kinds = of_kind(&OF_THE_SERVER);
    let mut steps = Vec::new();
    let mut random = fastrand::Rng::with_seed(seed);
    for device in 0..devices {
        let target = Target::Device(device);
        steps.extend(timeline(&mut random.fork(), target, &device_kinds, &pace, length));
    }
    steps.extend(timeline(&mut random, Target::Server, &server_kinds, &SERVER_PACE, length));
    steps.sort_by_key(|step| step.at);
    steps
}

fn timeline(
    random: &mut fastrand::Rng,
    target: Target,
    kinds: &[Fault],
    pace: &Pace,
    length: Duration,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = 0;
    while let Some(fault) = random.choice(kinds.iter().copied()) {
        at += random.u64(pace.gap.0..pace.gap.1);
        let begin = Duration::from_millis(at);
        at += random.u64(pace.length.0..pace.length.1);
        let end = Duration::from_millis(at);
        if begin >= length {
            break;
        }
        steps.push(Step { at: begin, target, fault, begins: true });
        if end < length {
            steps.push(Step { at: end, target, fault, begins: false });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Fault, plan};

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn plan_follows_from_its_seed() {
        let of = |seed| plan(seed, Fault::All, 5, MINUTE);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(plan(1, Fault::None, 5, MINUTE), []);
    }

    #[test]
    fn target_has_one_fault_at_a_time() {
        let mut present = BTreeMap::new();
        let steps = plan(3, Fault::All, 10, MINUTE);
        assert!(steps.len() > 100, "{}", steps.len());
        for step in steps {
            let fault = step.begins.then_some(step.fault);
            let before = present.insert(step.target, fault).flatten();
            assert_eq!(before, (!step.begins).then_some(step.fault), "{step:?}");
        }
    }

    #[test]
    fn plan_of_one_fault_has_only_that_fault() {
        let steps = plan(4, Fault::PartitionIn, 5, MINUTE);
        assert!(!steps.is_empty());
        assert!(steps.iter().all(|step| step.fault == Fault::PartitionIn));
    }
}
