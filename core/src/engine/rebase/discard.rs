//! The app gives a mutation up: only by name, and only what no server may have (I3).

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::queue::mutation::State;
use crate::error::{Error, Result};
use crate::ids::MutationId;

impl Engine {
    /// Removes a pending or parked mutation for good; what it wrote leaves the rows, and what stands on what it created is
    /// parked (R10). Works offline. Of a mutation that a plain server has accepted in part, that part stays accepted.
    ///
    /// With a plain server, one that was sent and has no verdict leaves the rows at once too. It is still sent until the
    /// server's word on it is known, and then taken back, should the server have it (P10). Such a server cannot tell in
    /// every case whether it has it: rarely (3 of 20,000 in our model) a value that was given up stays there.
    ///
    /// # Errors
    /// `UnknownMutation`; `Uncertain` for one that a Rejoin server may have: nothing was changed.
    pub fn discard(&mut self, id: MutationId) -> Result<()> {
        let entry = self.queue.find(id).ok_or(Error::UnknownMutation(id))?;
        let seq = entry.seq;
        match entry.state {
            State::Sent | State::Uncertain if self.queue.records().knows(seq) => {
                self.rebase(Origin::Local, Triggers::Fire, |work, _| work.hide(seq)).map(drop)
            }
            State::Sent | State::Uncertain => Err(Error::Uncertain(id)),
            State::Pending => {
                self.rebase(Origin::Local, Triggers::Fire, |work, _| work.discard(seq)).map(drop)
            }
            State::Parked => self
                .rebase(Origin::Local, Triggers::Fire, |work, _| work.discard_parked(seq))
                .map(drop),
        }
    }
}
