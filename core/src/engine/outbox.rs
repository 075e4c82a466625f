//! The transactions around a request: mutations are committed as sent before the first byte leaves,
//! and as uncertain when the response is lost. Also the queries of the queue, the history and the
//! verdicts. `queue` decides which mutations are sent, and in which form.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::Engine;
use super::change::Origin;
use super::entries::list::{self, OwnState};
use super::queue::attempt::Faults;
use super::queue::faults::FaultLimit;
use super::queue::history::{self, HistoryBounds};
use super::queue::mutation::{Mutation, MutationState};
use super::queue::offer::Offer;
use super::queue::record::{self, Record};
use super::queue::verdict::{self, Verdicts};
use super::queue::view::QueueView;
use super::queue::{PendingCounts, Staged, store};
use super::row_state::RowSyncState;
use super::rows::patch::RowKey;
use crate::error::{Error, InputFault, Result};
use crate::ids::{MutationId, Seq};
use crate::value::Value;

impl Engine {
    /// The queue and the base below it, in the open transaction.
    pub(crate) fn queue_view(&self) -> QueueView<'_> {
        QueueView::new(self.db.conn(), &self.queue, &self.schema)
    }

    /// Every mutation of the queue, in every state, in order; then the entries of the log that the
    /// server lacks or has denied, in the order of the log.
    pub fn pending(&self) -> Result<Vec<Mutation>> {
        let mut pending = store::read_all(self.db.conn())?;
        pending.append(&mut list::pending(self)?);
        Ok(pending)
    }

    /// The number of mutations and entries by state.
    pub fn counts(&self) -> Result<PendingCounts> {
        list::counts(self)
    }

    /// A mutation of the queue, or an entry as in [`Engine::pending`]; `None` if it was accepted or
    /// discarded, or never existed.
    pub fn mutation(&self, id: MutationId) -> Result<Option<Mutation>> {
        match self.queue.find(id) {
            Some(entry) => store::read(self.db.conn(), entry.seq),
            None => Ok(list::find(self, id)?.and_then(OwnState::waiting)),
        }
    }

    /// Whether the history has this mutation as accepted; old ones are pruned.
    pub fn was_accepted(&self, id: MutationId) -> Result<bool> {
        history::is_in_history(self.db.conn(), id)
    }

    /// The sync state of a row, by mutations and entries. A row that does not exist and was never
    /// edited is synced.
    ///
    /// # Errors
    /// `NotSynced` if the table is not.
    pub fn row_sync_state(&self, table: &str, key: &Value) -> Result<RowSyncState> {
        let known = self
            .schema
            .named(table)
            .ok_or_else(|| Error::InvalidInput(InputFault::NotSynced(table.to_owned())))?;
        Ok(self.queue.states().read().state(&known.name, key))
    }

    /// The base row, in the order of the table's columns: without the edits in the queue. `None` if
    /// the base does not have it.
    pub fn base_row(&self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        self.queue_view().base_row(row)
    }

    /// Prepares what is sent with `request`, and commits it: no byte may be sent before that.
    /// Returns what is sent, in the given order; mutations that are neither pending nor uncertain
    /// are left out.
    pub fn mark_sent(&mut self, seqs: &[Seq], request: i64) -> Result<Vec<Offer>> {
        let again = seqs.iter().filter(|seq| self.queue.has_left(**seq)).count();
        let limit = (self.fault_limit, self.now_ms());
        let offers = self.write(Origin::Remote, |engine| {
            let mut settled = Vec::with_capacity(seqs.len());
            let view = engine.queue_view();
            let mut before = view.links(seqs)?;
            for seq in seqs {
                let entry = engine.queue.entry(*seq);
                let open =
                    |state| matches!(state, MutationState::Pending | MutationState::Uncertain);
                if entry.is_some_and(|entry| open(entry.state)) {
                    let after = before.remove(seq).unwrap_or_default();
                    settled.push((*seq, view.settle(*seq, after, request, limit)?));
                }
            }
            drop(view);
            let mut offers = Vec::with_capacity(settled.len());
            for (seq, (offer, frozen)) in settled {
                store::write_sent(engine.db.conn(), seq, request, &offer.hash, &frozen)?;
                let attempt = offer.mutation.attempt;
                engine.queue.stage(Staged::Moved(seq, MutationState::Sent, attempt));
                offers.push(offer);
            }
            engine.touched.queue();
            Ok(offers)
        })?;
        self.counters().sent_again(again);
        Ok(offers)
    }

    /// Marks the sent mutations of a lost request as uncertain.
    pub fn mark_uncertain(&mut self, request: i64) -> Result<()> {
        self.mark_lost(Some(request))
    }

    /// Marks all sent mutations as uncertain; no request may be running.
    pub(crate) fn mark_all_uncertain(&mut self) -> Result<()> {
        if self.queue.counts().sent == 0 {
            return Ok(());
        }
        self.mark_lost(None)
    }

    fn mark_lost(&mut self, request: Option<i64>) -> Result<()> {
        self.write(Origin::Remote, |engine| {
            for (seq, attempt) in store::lost(engine.db.conn(), request)? {
                engine.queue.stage(Staged::Moved(seq, MutationState::Uncertain, attempt));
                engine.touched.queue();
            }
            Ok(())
        })
    }

    /// Freezes records that are sent with `request`, and commits that.
    pub(crate) fn freeze_records(&mut self, records: &[Record], request: i64) -> Result<()> {
        let leaving: BTreeSet<Seq> = records.iter().flat_map(Record::live).collect();
        let again = leaving.iter().filter(|seq| self.queue.has_left(**seq)).count();
        self.write(Origin::Remote, |engine| {
            for record in records {
                record::write(engine.db.conn(), record)?;
                engine.queue.stage(Staged::Recorded(record.clone()));
            }
            // Once for each mutation: its row in the file contains all that it wrote.
            for seq in leaving {
                let Some(entry) = engine.queue.entry(seq) else { continue };
                let attempt = entry.attempt;
                store::write_leaving(engine.db.conn(), seq, request)?;
                engine.queue.stage(Staged::Moved(seq, MutationState::Sent, attempt));
            }
            engine.touched.queue();
            Ok(())
        })?;
        self.counters().sent_again(again);
        Ok(())
    }

    /// Unfreezes the records of a request that the server did not process: they may change again.
    pub(crate) fn thaw(&mut self, places: &[i64]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        self.write(Origin::Remote, |engine| {
            let thawed: Vec<Record> = places
                .iter()
                .filter_map(|place| engine.queue.records().get(*place))
                .cloned()
                .collect();
            let mut members = BTreeSet::new();
            for record in thawed.into_iter().filter(|record| !record.doubtful) {
                record::remove(engine.db.conn(), record.place)?;
                engine.queue.stage(Staged::Unrecorded(record.place));
                members.extend(record.live());
            }
            engine.thawed(&members, places)?;
            engine.touched.queue();
            Ok(())
        })
    }

    /// Sets mutations to pending, except those of which another record was sent before.
    fn thawed(&mut self, seqs: &BTreeSet<Seq>, places: &[i64]) -> Result<()> {
        let places: HashSet<i64> = places.iter().copied().collect();
        let others = self.queue.records().iter().filter(|one| !places.contains(&one.place));
        let left: HashSet<Seq> = others.flat_map(Record::live).collect();
        for seq in seqs {
            let has_left = left.contains(seq);
            let state = if has_left { MutationState::Uncertain } else { MutationState::Pending };
            let Some(entry) = self.queue.entry(*seq) else { continue };
            let attempt = entry.attempt;
            store::write_state(self.db.conn(), *seq, state)?;
            self.queue.stage(Staged::Moved(*seq, state, attempt));
        }
        Ok(())
    }

    /// Counts a failure of the server on a record. A record that already has its verdict is not
    /// counted.
    pub(crate) fn count_fault(&mut self, place: i64) -> Result<()> {
        let Some(mut record) = self.queue.records().get(place).cloned() else { return Ok(()) };
        record.faults = Some(Faults::counted(record.faults, self.now_ms()));
        self.write(Origin::Remote, |engine| {
            record::write(engine.db.conn(), &record)?;
            engine.queue.stage(Staged::Recorded(record));
            Ok(())
        })
    }

    /// Whether the server has failed too often, or for too long, with one more failure than these.
    pub(crate) fn is_last_fault(&self, before: Option<Faults>) -> bool {
        let now_ms = self.now_ms();
        self.fault_limit.is_reached(Faults::counted(before, now_ms), now_ms)
    }

    fn now_ms(&self) -> i64 {
        self.host.now_micros() / 1000
    }

    /// Sets how often, and for how long, the server may fail on one mutation before the mutation is
    /// parked as [`ServerFault`](super::queue::mutation::ParkReason::ServerFault), and a plain one on
    /// one record before it is parked as `poison`.
    pub fn set_fault_limit(&mut self, attempts: u32, age: Duration) {
        self.fault_limit = FaultLimit::of(attempts, age);
    }

    /// Removes accepted mutations beyond these bounds from the history, and returns how many. They
    /// can no longer be undone.
    pub fn prune(&mut self, bounds: &HistoryBounds) -> Result<usize> {
        self.write(Origin::Local, |engine| history::prune(engine.db.conn(), bounds))
    }

    /// Removes entries of the history that are older than the default age. Called after a sync
    /// whose pull has shown that the server still has the log that accepted them. A push does not
    /// show that: after a restore, what the server lost is sent again only after the next pull.
    pub(crate) fn prune_proven(&mut self) -> Result<()> {
        if history::is_over_age(self.db.conn())? {
            self.prune(&HistoryBounds::default())?;
        }
        Ok(())
    }

    /// Unacknowledged verdicts after a number, oldest first, at most `most`.
    pub fn verdicts(&self, after: i64, most: usize) -> Result<Verdicts> {
        verdict::read(self.db.conn(), &self.schema, after, most)
    }

    /// Removes the verdicts up to this number: the app has read them, and `verdicts` does not
    /// return them again.
    pub fn acknowledge_verdicts(&mut self, through: i64) -> Result<()> {
        self.write(Origin::Local, |engine| verdict::acknowledge_through(engine.db.conn(), through))
    }
}
