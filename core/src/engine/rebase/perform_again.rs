//! The app mends an action that is parked or waits (O12): it is taken out, and performed with other arguments, as a mutation of
//! its own at the end of the queue.
//!
//! What an action wrote follows from what it found, so its mending is another run and never an edit of what came out.

use std::sync::Arc;

use serde_json::Value as Json;

use super::work::missing;
use crate::engine::Engine;
use crate::engine::action::Performed;
use crate::engine::queue::store;
use crate::error::{ActionFault, Error, Result};
use crate::ids::MutationId;

impl Engine {
    /// Performs the newest version of an action of the queue with these arguments, instead of what was performed. All of it, or
    /// nothing. Works offline. What was parked because of the old one stays so, because of the new one.
    ///
    /// # Errors
    /// As `perform`; `UnknownMutation`; `Uncertain` for one that a server may have and that cannot withdraw; `Refused` for what is
    /// no action, and for one of which a plain server has other rows. Nothing was changed.
    pub fn perform_again(&mut self, id: MutationId, arguments: &Json) -> Result<Performed> {
        let entry = self.can_go(id)?;
        let step = store::read_step(self.db.conn(), entry.seq)?;
        let step = step.ok_or_else(|| missing(entry.seq))?;
        if !step.parts.accepted.is_empty() {
            return Err(Error::Refused {
                what: format!("to perform mutation {id} again"),
                why: String::from("the server has other rows of it; retry, edit or discard it"),
            });
        }
        let Some(intent) = step.intent else {
            return Err(Error::Refused {
                what: format!("to perform mutation {id} again"),
                why: String::from("it is no action; edit it"),
            });
        };
        let actions = Arc::clone(&self.actions);
        let Some(registered) = actions.newest(&intent.action) else {
            return Err(Error::Action { action: intent.action, fault: ActionFault::Unknown });
        };
        let arguments = registered.arguments(arguments.clone())?;
        self.replace(
            &entry,
            |work| work.give_up(&entry),
            |engine, ()| {
                let performed = engine.act(&actions, registered, &arguments)?;
                Ok((performed.id, performed))
            },
        )
    }
}
