//! Exchanges and passes of a device, and writes between them.

use fastrand::Rng;
use rejoin_core::sync::session::Phase;

use super::invariants::CheckCause;
use super::run::RowsRun;
use crate::simulate::exchange::ExchangeRun;
use crate::simulate::{Checked, broken};
use crate::{Fault, Moment};

impl RowsRun<'_> {
    /// Writes while a push has no response, or between it and the following pull.
    pub(super) fn write_mid_pass(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        self.server.sender.set(at);
        if rng.bool() {
            self.write(at, number + 1_000, rng)?;
        }
        let undecided = rng.bool();
        for _ in 0..8 {
            let fault = (rng.u8(..3) == 0).then_some(Fault::AnswerLost);
            match self.slots[at].device.prepare() {
                Ok(Moment::Leaving(Phase::Pulling)) | Err(_) => break,
                Ok(Moment::Leaving(Phase::Pushing)) if undecided && fault.is_none() => {
                    self.check_device(at, &CheckCause::Exchanged)?;
                    if self.slots[at].device.push_undecided(&self.server).is_ok() {
                        self.report.count("a push on which nothing was decided");
                    }
                    self.check_device(at, &CheckCause::Exchanged)?;
                }
                Ok(Moment::Leaving(Phase::Pushing)) => {
                    let _ = self.exchange(at, fault)?;
                }
                Ok(Moment::Leaving(_)) => {
                    let _ = self.exchange(at, None)?;
                }
                Ok(Moment::Finished(_)) => {}
            }
        }
        self.check_device(at, &CheckCause::Exchanged)?;
        for part in 0..rng.u32(1..4) {
            if rng.bool() {
                self.write(at, number + 2_000 + 100 * part, rng)?;
            } else {
                self.perform(at, rng)?;
            }
            if rng.u8(..3) == 0 {
                self.write_outside(number + 3_000 + 100 * part, rng);
            }
            if rng.u8(..3) == 0 {
                self.write_tally_outside(at);
            }
        }
        self.report.count("writes in the middle of a pass");
        self.exchanges(at, rng.usize(1..4), None)
    }

    /// Checks what one exchange did; `received` says whether the device processed the answer.
    pub(super) fn after_exchange(&mut self, at: usize, received: bool) -> Checked {
        self.server.wire.write_to(self.report);
        if let Some(wrong) = self.server.take_violation() {
            return Err(wrong);
        }
        self.check_pushes(at, received)?;
        self.check_overwritten(at)?;
        let schema_changed =
            self.server.schema_changed.take().then(|| self.slots[at].state.base.clone());
        self.check_device(at, &CheckCause::Exchanged)?;
        let Some(before) = schema_changed else { return Ok(()) };
        self.report.count("an answer of another schema");
        let after = &self.slots[at].state.base;
        if before == *after {
            return Ok(());
        }
        broken!(
            "other-schema-applies-nothing",
            "an answer of another schema changed {before:?} at {at} to {after:?}"
        )
    }

    /// A device sends its mutations with this fault.
    pub(super) fn send_with(&mut self, at: usize, fault: Fault) -> Checked {
        for _ in 0..6 {
            self.server.sender.set(at);
            let is_push =
                matches!(self.slots[at].device.prepare(), Ok(Moment::Leaving(Phase::Pushing)));
            let ended = self.exchange(at, is_push.then_some(fault))?.is_err();
            if is_push || ended {
                break;
            }
        }
        Ok(())
    }

    /// Runs passes until one succeeds.
    pub(super) fn sync(&mut self, at: usize) -> Checked {
        let mut last = String::new();
        for _ in 0..6 {
            let Err(error) = self.pass(at)? else { return Ok(()) };
            last = error.to_string();
        }
        broken!("pass-succeeds", "none of six passes of {at} succeeds: {last}")
    }
}

impl ExchangeRun for RowsRun<'_> {
    fn exchange(&mut self, at: usize, fault: Option<Fault>) -> Checked<anyhow::Result<Moment>> {
        self.server.sender.set(at);
        let slot = &mut self.slots[at];
        slot.device.faults.clear();
        slot.device.faults.extend(fault);
        let open = self.open_withdrawals(at);
        let slot = &mut self.slots[at];
        slot.open = open;
        self.server.pulled.set(usize::MAX);
        let prepared = slot.device.prepare();
        if matches!(prepared, Ok(Moment::Leaving(Phase::Pushing))) {
            // A staged snapshot may have just been merged: the sent mutations are based on it.
            self.check_device(at, &CheckCause::Exchanged)?;
        }
        let slot = &mut self.slots[at];
        let moment = match prepared {
            Ok(Moment::Leaving(_)) => slot.device.step(&self.server),
            over => over,
        };
        if moment.is_ok() && self.server.pulled.get() != usize::MAX {
            (slot.pulled, slot.stale) = (self.server.pulled.get(), false);
            slot.header.clone_from(&self.server.header.borrow());
        }
        self.report.trace(|| match &moment {
            Ok(moment) => format!("   {at} {fault:?} {moment:?}"),
            // The position of the cut depends on the digits of the server's random tags.
            Err(_) if fault == Some(Fault::CutBody) => format!("   {at} {fault:?}"),
            Err(error) => format!("   {at} {fault:?} {error:#}"),
        });
        if let (Some(fault), Ok(Moment::Leaving(_)) | Err(_)) = (fault, &moment) {
            self.report.count(event_name(fault));
        }
        self.after_exchange(at, moment.is_ok())?;
        self.slots[at].open.clear();
        if let Ok(Moment::Finished(_)) = moment {
            self.slots[at].is_reset = false;
            self.slots[at].known = self.slots[at].pulled;
            self.slots[at].epoch = self.epoch;
            self.check_base(at)?;
        }
        Ok(moment)
    }
}

fn event_name(fault: Fault) -> &'static str {
    match fault {
        Fault::RequestLost => "a request lost",
        Fault::AnswerLost => "an answer lost",
        Fault::Doubled => "a request doubled",
        Fault::Late => "a late request",
        Fault::Failed => "500 before any work",
        Fault::FailedAfterwards => "500 after the work",
        Fault::Unavailable => "503",
        Fault::CutBody => "an answer cut",
        Fault::Html => "an HTML page",
        Fault::TooLarge => "413",
    }
}
