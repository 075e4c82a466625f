//! The referee's word, and the operator's (L5).

use super::super::ids::{AuthorId, EntryId};
use super::super::message::Correct;
use super::super::store::StoreError;
use super::store::LogStore;
use super::{Server, ServerError};

impl<S: LogStore> Server<S> {
    /// Appoints the referee, or dismisses it. There is one at a time; what it has corrected stays corrected.
    pub fn appoint(&mut self, referee: Option<AuthorId>) -> Result<(), StoreError> {
        self.facts.referee = referee;
        self.store.set_facts(&self.facts)
    }

    /// Takes the referee's corrections, each if the content is still the one that it read. Answers how many were taken; the
    /// others were overtaken, and what overtook them is in the feed.
    pub fn correct(&mut self, request: &Correct, now: u64) -> Result<usize, ServerError> {
        let (_, membership) = self.person(request.referee)?;
        if self.facts.referee != Some(request.referee) {
            return Err(ServerError::NotTheReferee(request.referee));
        }
        if request.standing != self.standing(&membership) {
            return Ok(0);
        }
        let mut taken = 0;
        for correction in &request.corrections {
            let Some(mut entry) = self.store.entry(correction.id)? else { continue };
            if entry.version != correction.version {
                continue;
            }
            let former = std::mem::replace(&mut entry.content.effects, correction.effects.clone());
            entry.refereed = true;
            entry.version += 1;
            self.place(&entry, &former, now)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Gives an entry back to its author, who runs it again when he hears: the only way back from the referee, for the
    /// operator. Says whether it was the referee's.
    pub fn release(&mut self, id: EntryId, now: u64) -> Result<bool, StoreError> {
        match self.store.entry(id)? {
            Some(mut entry) if entry.refereed => {
                entry.refereed = false;
                entry.version += 1;
                let former = entry.content.effects.clone();
                self.place(&entry, &former, now)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
