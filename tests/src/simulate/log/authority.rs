//! The authority of a run: it has every bucket and every handler, and no network that loses messages.

use std::sync::Arc;

use rejoin_log::authority::corrections;
use rejoin_log::ids::{AuthorId, Name, UserId};
use rejoin_log::message::{Correct, Corrected, Fetched};
use rejoin_log::replica::memory::MemoryReplica;

use super::actions::{Actions, App};
use super::expected_server::ExpectedServer;
use super::ids;
use super::run::{Columns, unexpected};
use super::server::LogServer;
use crate::simulate::{Checked, broken};
use rejoin_log::replica::{self, Replica, check, fetch, publish};

/// An authority.
#[derive(Debug)]
pub(super) struct SimulatedAuthority {
    author: AuthorId,
    replica: Replica<MemoryReplica>,
    actions: Arc<Actions>,
    /// A correction in transit.
    late: Option<Correct>,
}

impl SimulatedAuthority {
    /// An authority that the server has appointed.
    pub(super) fn new(server: &mut LogServer) -> Checked<Self> {
        let author = ids::author(1_000, 0);
        server.register(author, &UserId(Name::from("authority")))?;
        server.appoint(author)?;
        let actions = Arc::new(Actions::new(App::Both));
        let replica =
            Replica::create(MemoryReplica::default(), author, actions.clone(), Arc::new(Columns))
                .map_err(unexpected)?;
        Ok(Self { author, replica, actions, late: None })
    }

    /// Restarts the authority.
    pub(super) fn restart(&mut self) -> Checked {
        let store = self.replica.store().clone();
        self.replica =
            Replica::open(store, self.actions.clone(), Arc::new(Columns)).map_err(unexpected)?;
        Ok(())
    }

    /// Delivers the late correction; returns the response.
    pub(super) fn deliver_late(
        &mut self,
        server: &mut LogServer,
        expected: &ExpectedServer,
        now: u64,
    ) -> Checked<Corrected> {
        match self.late.take() {
            Some(correct) => self.correct_with(server, expected, &correct, now),
            None => Ok(Corrected::default()),
        }
    }

    /// Checks that its rows are the fold of its items, as on a device.
    fn check_invariants(&self) -> Checked {
        let base = check::base_rows(&self.replica).map_err(unexpected)?;
        let fold = check::fold_over(&self.replica, base).map_err(unexpected)?;
        let rows = self.replica.rows().map_err(unexpected)?;
        if fold.into_iter().collect::<Vec<_>>() == rows {
            return Ok(());
        }
        broken!("rows-are-the-fold", "the rows of the authority are not its fold")
    }

    /// Fetches everything and sends the corrections; returns the response. A `late` correction
    /// arrives before the next call.
    pub(super) fn fetch_and_correct(
        &mut self,
        server: &mut LogServer,
        expected: &ExpectedServer,
        now: u64,
        late: bool,
    ) -> Checked<Corrected> {
        for _ in 0..100 {
            if replica::snapshot::needs_snapshot(&self.replica) {
                let whole = server.snapshot(self.author)?;
                replica::snapshot::take_snapshot(&mut self.replica, &whole).map_err(unexpected)?;
                continue;
            }
            let Some(request) = fetch::fetch_request(&self.replica, 100) else { break };
            let fetched = server.fetch(self.author, &request)?;
            fetch::take_fetched(&mut self.replica, &fetched).map_err(unexpected)?;
            if matches!(fetched, Fetched::Page(page) if !page.more) {
                break;
            }
        }
        self.check_invariants()?;
        let Some(correct) = corrections(&self.replica, usize::MAX).map_err(unexpected)? else {
            return Ok(Corrected::default());
        };
        if late {
            self.late = Some(correct);
            return Ok(Corrected::default());
        }
        self.correct_with(server, expected, &correct, now)
    }

    /// Passes corrections to the server, and takes the response.
    fn correct_with(
        &mut self,
        server: &mut LogServer,
        expected: &ExpectedServer,
        correct: &Correct,
        now: u64,
    ) -> Checked<Corrected> {
        let due = expected.count_current(correct);
        let done = server.correct(self.author, correct, now)?;
        let taken = done.taken;
        if taken > due {
            return broken!(
                "authority-decides",
                "{taken} corrections were taken, of which {due} replace what the authority read"
            );
        }
        publish::take_corrected(&mut self.replica, correct, &done).map_err(unexpected)?;
        self.check_invariants()?;
        Ok(done)
    }
}
