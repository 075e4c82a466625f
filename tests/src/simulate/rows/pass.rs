//! Exchanges and passes of a device, and writes between them.

use anyhow::Result as Done;
use fastrand::Rng;
use rejoin_core::sync::session::Phase;

use super::laws::Why;
use super::world::World;
use crate::simulate::{Checked, broken};
use crate::{Fault, Moment};

impl World<'_> {
    /// Writes while a push has no response, or between it and the following pull.
    pub(super) fn midway(&mut self, at: usize, number: u32, rng: &mut Rng) -> Checked {
        self.site.who.set(at);
        if rng.bool() {
            self.write(at, number + 1_000, rng)?;
        }
        let undecided = rng.bool();
        for _ in 0..8 {
            let fault = (rng.u8(..3) == 0).then_some(Fault::AnswerLost);
            match self.seats[at].device.prepare() {
                Ok(Moment::Leaving(Phase::Pulling)) | Err(_) => break,
                Ok(Moment::Leaving(Phase::Pushing)) if undecided && fault.is_none() => {
                    self.look(at, &Why::Exchanged)?;
                    if self.seats[at].device.push_undecided(&self.site).is_ok() {
                        self.report.count("a push on which nothing was decided");
                    }
                    self.look(at, &Why::Exchanged)?;
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
        self.look(at, &Why::Exchanged)?;
        for part in 0..rng.u32(1..4) {
            if rng.bool() {
                self.write(at, number + 2_000 + 100 * part, rng)?;
            } else {
                self.perform(at, rng)?;
            }
            if rng.u8(..3) == 0 {
                self.outside(number + 3_000 + 100 * part, rng);
            }
            if rng.u8(..3) == 0 {
                self.take_outside(at);
            }
        }
        self.report.count("writes in the middle of a pass");
        self.exchanges(at, rng.usize(1..4), None)
    }

    pub(super) fn exchanges(
        &mut self,
        at: usize,
        times: usize,
        fault: Option<(usize, Fault)>,
    ) -> Checked {
        for time in 0..times {
            let fault = fault.and_then(|(when, fault)| (when == time).then_some(fault));
            match self.exchange(at, fault)? {
                Ok(Moment::Leaving(_)) => {}
                Ok(Moment::Finished(_)) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// One exchange.
    fn exchange(&mut self, at: usize, fault: Option<Fault>) -> Checked<Done<Moment>> {
        self.site.who.set(at);
        let seat = &mut self.seats[at];
        seat.device.faults.clear();
        seat.device.faults.extend(fault);
        let open = self.open_at(at);
        let seat = &mut self.seats[at];
        seat.open = open;
        self.site.pulled.set(usize::MAX);
        let prepared = seat.device.prepare();
        if matches!(prepared, Ok(Moment::Leaving(Phase::Pushing))) {
            // A staged snapshot may have just been merged: the sent mutations are based on it.
            self.look(at, &Why::Exchanged)?;
        }
        let seat = &mut self.seats[at];
        let moment = match prepared {
            Ok(Moment::Leaving(_)) => seat.device.step(&self.site),
            over => over,
        };
        if moment.is_ok() && self.site.pulled.get() != usize::MAX {
            (seat.pulled, seat.stale) = (self.site.pulled.get(), false);
        }
        self.report.say(|| match &moment {
            Ok(moment) => format!("   {at} {fault:?} {moment:?}"),
            // The position of the cut depends on the digits of the server's random tags.
            Err(_) if fault == Some(Fault::CutBody) => format!("   {at} {fault:?}"),
            Err(error) => format!("   {at} {fault:?} {error:#}"),
        });
        if let (Some(fault), Ok(Moment::Leaving(_)) | Err(_)) = (fault, &moment) {
            self.report.count(word(fault));
        }
        self.after_exchange(at, moment.is_ok())?;
        self.seats[at].open.clear();
        if let Ok(Moment::Finished(_)) = moment {
            self.seats[at].is_reset = false;
            self.seats[at].known = self.seats[at].pulled;
            self.seats[at].epoch = self.epoch;
            self.agrees_with_server(at)?;
        }
        Ok(moment)
    }

    /// Checks what one exchange did; `received` says whether the device processed the answer.
    pub(super) fn after_exchange(&mut self, at: usize, received: bool) -> Checked {
        self.site.wire.tell(self.report);
        for seen in self.site.take_seen() {
            self.report.count(seen);
        }
        if let Some(wrong) = self.site.take_wrong() {
            return Err(wrong);
        }
        self.look_at_pushes(at, received)?;
        self.look_at_writing(at)?;
        let moved = self.site.moved.take().then(|| self.seats[at].sight.base.clone());
        self.look(at, &Why::Exchanged)?;
        let Some(before) = moved else { return Ok(()) };
        self.report.count("an answer of another schema");
        let after = &self.seats[at].sight.base;
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
            self.site.who.set(at);
            let is_push =
                matches!(self.seats[at].device.prepare(), Ok(Moment::Leaving(Phase::Pushing)));
            let ended = self.exchange(at, is_push.then_some(fault))?.is_err();
            if is_push || ended {
                break;
            }
        }
        Ok(())
    }

    /// Runs one pass, to its end or its first error, which is returned.
    fn pass(&mut self, at: usize) -> Checked<Option<String>> {
        // Far more than any pass needs.
        for _ in 0..300 {
            match self.exchange(at, None)? {
                Ok(Moment::Finished(_)) => return Ok(None),
                Ok(Moment::Leaving(_)) => {}
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        broken!("pass-ends", "a pass of {at} does not end")
    }

    /// Runs passes until one succeeds.
    pub(super) fn sync(&mut self, at: usize) -> Checked {
        let mut last = String::new();
        for _ in 0..6 {
            let Some(error) = self.pass(at)? else { return Ok(()) };
            last = error;
        }
        broken!("pass-succeeds", "none of six passes of {at} succeeds: {last}")
    }
}

fn word(fault: Fault) -> &'static str {
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
