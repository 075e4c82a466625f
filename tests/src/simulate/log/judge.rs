//! The authority of a run: it has every bucket and every handler, and no network that loses messages.

use std::sync::Arc;

use rejoin_log::authority::corrections;
use rejoin_log::ids::{AuthorId, Name, UserId};
use rejoin_log::message::{Correct, Corrected, Fetched};
use rejoin_log::replica::memory::MemoryReplica;

use super::central::Central;
use super::deed::{Actions, App};
use super::mirror::Mirror;
use super::words;
use super::world::{Columns, unexpected};
use crate::simulate::{Checked, broken};
use rejoin_log::replica::{self, Replica, check, fetch, publish};

/// An authority.
#[derive(Debug)]
pub(super) struct Judge {
    author: AuthorId,
    authority: Replica<MemoryReplica>,
    actions: Arc<Actions>,
    /// A correction in transit.
    late: Option<Correct>,
}

impl Judge {
    /// An authority that the server has appointed.
    pub(super) fn new(server: &mut Central) -> Checked<Self> {
        let author = words::author(1_000, 0);
        server.register(author, &UserId(Name::from("authority")))?;
        server.appoint(author)?;
        let actions = Arc::new(Actions::new(App::Both));
        let authority =
            Replica::create(MemoryReplica::default(), author, actions.clone(), Arc::new(Columns))
                .map_err(unexpected)?;
        Ok(Self { author, authority, actions, late: None })
    }

    /// Restarts the authority.
    pub(super) fn restart(&mut self) -> Checked {
        let store = self.authority.store().clone();
        self.authority =
            Replica::open(store, self.actions.clone(), Arc::new(Columns)).map_err(unexpected)?;
        Ok(())
    }

    /// Delivers the late correction; returns the response.
    pub(super) fn late_word(
        &mut self,
        server: &mut Central,
        mirror: &Mirror,
        now: u64,
    ) -> Checked<Corrected> {
        match self.late.take() {
            Some(correct) => self.correct_with(server, mirror, &correct, now),
            None => Ok(Corrected::default()),
        }
    }

    /// Checks that its rows are the fold of its items, as on a device.
    fn holds(&self) -> Checked {
        let base = check::base_rows(&self.authority).map_err(unexpected)?;
        let fold = check::fold_over(&self.authority, base).map_err(unexpected)?;
        let rows = self.authority.rows().map_err(unexpected)?;
        if fold.into_iter().collect::<Vec<_>>() == rows {
            return Ok(());
        }
        broken!("rows-are-the-fold", "the rows of the authority are not its fold")
    }

    /// Fetches everything and sends the corrections; returns the response. A `late` correction
    /// arrives before the next call.
    pub(super) fn look(
        &mut self,
        server: &mut Central,
        mirror: &Mirror,
        now: u64,
        late: bool,
    ) -> Checked<Corrected> {
        for _ in 0..100 {
            if replica::snapshot::needs_snapshot(&self.authority) {
                let whole = server.snapshot(self.author)?;
                replica::snapshot::take_snapshot(&mut self.authority, &whole)
                    .map_err(unexpected)?;
                continue;
            }
            let Some(request) = fetch::fetch_request(&self.authority, 100) else { break };
            let fetched = server.fetch(self.author, &request)?;
            fetch::take_fetched(&mut self.authority, &fetched).map_err(unexpected)?;
            if matches!(fetched, Fetched::Page(page) if !page.more) {
                break;
            }
        }
        self.holds()?;
        let Some(correct) = corrections(&self.authority, usize::MAX).map_err(unexpected)? else {
            return Ok(Corrected::default());
        };
        if late {
            self.late = Some(correct);
            return Ok(Corrected::default());
        }
        self.correct_with(server, mirror, &correct, now)
    }

    /// Passes corrections to the server, and takes the response.
    fn correct_with(
        &mut self,
        server: &mut Central,
        mirror: &Mirror,
        correct: &Correct,
        now: u64,
    ) -> Checked<Corrected> {
        let due = mirror.still_read(correct);
        let done = server.correct(self.author, correct, now)?;
        let taken = done.taken;
        if taken > due {
            return broken!(
                "authority-decides",
                "{taken} corrections were taken, of which {due} replace what the authority read"
            );
        }
        publish::take_corrected(&mut self.authority, correct, &done).map_err(unexpected)?;
        self.holds()?;
        Ok(done)
    }
}
