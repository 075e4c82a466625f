//! Whose file this session speaks of, and whose credentials the next requests are signed with (D10).

use super::Session;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::plain;
use crate::sync::subject::Signer;

impl Session {
    /// The requests from here on are signed with credentials that name `who`.
    /// Other ones than before: the device registers before it sends anything else, so that a server of ours says whose they
    /// are. A request that waits for its answer stays what it was; the caller ends the pass.
    ///
    /// # Errors
    /// `WrongUser` where the file was last in step with a plain server, which does not say whom it takes a device for, and
    /// with another user's credentials: nothing is sent with these. `Refused` there, where it is not known whose they are.
    pub fn signed_by(&mut self, engine: &Engine, who: Signer) -> Result<()> {
        if self.who != who {
            self.who = who;
            self.peer = None;
        }
        plain::register::check(engine, &self.who)
    }
    /// Refuses to go on in a file that was reset since the pass began: what was asked is not this file's question any more, and
    /// the credentials may be the former user's.
    pub(super) fn same_file(&self, engine: &Engine) -> Result<()> {
        if self.resets == engine.resets() {
            return Ok(());
        }
        let why = "the file was reset in the middle of a pass; the next one begins anew";
        Err(Error::Offline(why.to_owned()))
    }

    /// Forgets what was learned of a file that was reset since.
    pub(super) fn follow_reset(&mut self, engine: &Engine) {
        if self.resets != engine.resets() {
            let (who, resets) = (std::mem::take(&mut self.who), engine.resets());
            *self = Self { who, resets, ..Self::new(self.config.clone()) };
        }
    }
}
