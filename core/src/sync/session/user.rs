//! Whose credentials the next requests are signed with, as far as the device can read it (D10).

use super::Session;
use crate::engine::Engine;
use crate::error::Result;
use crate::sync::plain;

impl Session {
    /// The requests from here on are signed with credentials that name `who`; `None` where only the server can read them.
    /// Other ones than before: the device registers before it sends anything else, so that a server of ours says whose they
    /// are. A request that waits for its answer stays what it was; the caller ends the pass.
    ///
    /// # Errors
    /// `WrongUser` where the file was last in step with a plain server, which does not say whom it takes a device for, and
    /// with another user's credentials: nothing is sent with these.
    pub fn signed_by(&mut self, engine: &Engine, who: Option<String>) -> Result<()> {
        if self.who != who {
            self.who = who;
            self.peer = None;
        }
        plain::register::check(engine, self.who.as_deref())
    }
}
