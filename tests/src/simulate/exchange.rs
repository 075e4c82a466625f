//! What the models `rows` and `plain` share: steps, devices with wrong clocks, and their exchanges
//! with a server.

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::{Mutation, ParkReason};
use rejoin_core::host::Host as _;
use rejoin_protocol::Manifest;

use super::{Checked, broken};
use crate::{Device, Fault, Moment};

/// One step: plain data, with its own random seed.
#[derive(Debug, Clone)]
pub struct Step<K> {
    /// Its number in the run; written values contain it.
    pub number: u32,
    /// Seed of its random choices.
    pub seed: u64,
    /// Its kind.
    pub kind: K,
}

/// In half of the cases one of these faults, and the exchange that meets it, below `limit`.
pub(super) fn fault(rng: &mut Rng, faults: &[Fault], limit: usize) -> Option<(usize, Fault)> {
    let fault = *rng.choice(faults)?;
    rng.bool().then(|| (rng.usize(..limit), fault))
}

/// A device of a run, whose clock may be wrong.
pub(super) fn device(
    user: &str,
    seed: u64,
    bundled: impl FnOnce(&mut Rng) -> Option<Manifest>,
    rng: &mut Rng,
) -> Device {
    let page = [1, 2, 3, 5, 100][rng.usize(..5)];
    let batch = [1, 2, 4, 100, 100][rng.usize(..5)];
    let device = Device::with(user, seed, bundled(rng), |config| {
        config.page_size = page;
        config.batch_size = batch;
    });
    move_clock(&device, [0, 0, 0, -400, -2, 2, 30, 9000][rng.usize(..8)]);
    device
}

/// The clock of a device jumps.
pub(super) fn jump_clock(device: &Device, rng: &mut Rng) {
    move_clock(device, [-9000, -30, -1, 1, 30, 9000][rng.usize(..6)]);
}

fn move_clock(device: &Device, hours: i64) {
    device.host.set(device.host.now_micros() + hours * 3_600_000_000);
}

/// A run whose devices exchange requests with one server.
pub(super) trait ExchangeRun {
    /// Runs one exchange of a device, and checks what it did.
    fn exchange(&mut self, at: usize, fault: Option<Fault>) -> Checked<anyhow::Result<Moment>>;

    /// Runs exchanges, fewer if the pass ends; the one of the given number meets the fault.
    fn exchanges(&mut self, at: usize, times: usize, fault: Option<(usize, Fault)>) -> Checked {
        for time in 0..times {
            let fault = fault.and_then(|(when, fault)| (when == time).then_some(fault));
            match self.exchange(at, fault)? {
                Ok(Moment::Leaving(_)) => {}
                Ok(Moment::Finished(_)) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Runs one pass, to its end or its first error, which is returned.
    fn pass(&mut self, at: usize) -> Checked<anyhow::Result<()>> {
        // Far more than any pass needs.
        for _ in 0..400 {
            match self.exchange(at, None)? {
                Ok(Moment::Finished(_)) => return Ok(Ok(())),
                Ok(Moment::Leaving(_)) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        broken!("pass-ends", "a pass of {at} does not end")
    }
}

/// The event that a mutation is parked.
pub(super) fn parked_event(parked: &Mutation) -> &'static str {
    let detail = parked.detail.as_deref().unwrap_or_default();
    match parked.reason {
        Some(ParkReason::Conflicted) if detail.contains("superseded") => {
            "parked: superseded by a later edit"
        }
        Some(ParkReason::Conflicted) => "parked as conflicted",
        Some(ParkReason::Rejected) if detail.contains("column.unknown") => {
            "parked: names a removed column"
        }
        Some(ParkReason::Rejected) if detail.contains("poison") => "parked as poison",
        Some(ParkReason::Rejected) => "parked as rejected",
        Some(ParkReason::Refused) if detail.contains("expired") => "parked as expired",
        Some(ParkReason::Refused) => "parked as refused",
        Some(ParkReason::Depends) => "parked for a dependency",
        Some(ParkReason::Unreplayable) => "parked: an action that cannot run again",
        Some(ParkReason::PartlyAccepted) => "parked remainders",
        Some(ParkReason::ServerFault) | None => "parked for another reason",
    }
}
