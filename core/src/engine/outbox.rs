//! The transactions around a request: mutations are committed as sent before the first byte leaves (O5), and as uncertain when
//! the answer is lost. Also the queries of the queue, the history and the verdicts. Which mutations are sent, and in which
//! form, is decided in `queue`.

use std::collections::HashSet;
use std::time::Duration;

use super::Engine;
use super::change::Origin;
use super::queue::faults::FaultLimit;
use super::queue::history::{self, HistoryBounds};
use super::queue::mutation::{Mutation, State};
use super::queue::offer::Offer;
use super::queue::record::{self, Record};
use super::queue::verdict::{self, Verdicts};
use super::queue::view::QueueView;
use super::queue::{Staged, store};
use super::row_state::RowSyncState;
use super::rows::patch::RowKey;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};
use crate::value::Value;

impl Engine {
    /// The queue and the base under it, as they are in the transaction that is open.
    pub(crate) fn queue_view(&self) -> QueueView<'_> {
        QueueView { conn: self.db.conn(), queue: &self.queue, schema: &self.schema }
    }

    /// Every mutation of the queue, in every state, in order.
    pub fn pending(&self) -> Result<Vec<Mutation>> {
        store::read_all(self.db.conn())
    }

    /// A mutation of the queue; `None` if it is not there, because it was accepted or discarded or never was.
    pub fn mutation(&self, id: MutationId) -> Result<Option<Mutation>> {
        match self.queue.find(id) {
            Some(entry) => store::read(self.db.conn(), entry.seq),
            None => Ok(None),
        }
    }

    /// Whether the history has this mutation as accepted; old ones leave it (D11).
    pub fn was_accepted(&self, id: MutationId) -> Result<bool> {
        history::is_in_history(self.db.conn(), id)
    }

    /// What waits on a row. A row that is not there and was never edited is synced.
    ///
    /// # Errors
    /// `NotSynced` if the table is not.
    pub fn row_sync_state(&self, table: &str, key: &Value) -> Result<RowSyncState> {
        let known = self.schema.named(table).ok_or_else(|| Error::NotSynced(table.to_owned()))?;
        Ok(self.queue.states().read().state(&known.name, key))
    }

    /// The row in the base, in the order of the table's columns: without the edits that wait in the queue. `None` if the base
    /// does not have it.
    pub fn base_row(&self, row: &RowKey) -> Result<Option<Vec<Value>>> {
        self.queue_view().base_row(row)
    }

    /// Settles what is about to leave with `request`, and commits it (O5): only then may a byte be sent. What is offered,
    /// in the order given; mutations that are neither pending nor uncertain are left out.
    pub fn mark_sent(&mut self, seqs: &[Seq], request: i64) -> Result<Vec<Offer>> {
        let again = seqs.iter().filter(|seq| self.queue.has_left(**seq)).count();
        let limit = (self.fault_limit, self.host.now_micros() / 1000);
        let offers = self.write(Origin::Remote, |engine| {
            let mut before = engine.queue_view().links(seqs)?;
            let mut offers = Vec::with_capacity(seqs.len());
            for seq in seqs {
                let entry = engine.queue.entry(*seq);
                let open = |state| matches!(state, State::Pending | State::Uncertain);
                if !entry.is_some_and(|entry| open(entry.state)) {
                    continue;
                }
                let after = before.remove(seq).unwrap_or_default();
                let (offer, frozen) = engine.queue_view().settle(*seq, after, request, limit)?;
                store::write_sent(engine.db.conn(), *seq, request, &offer.hash, &frozen)?;
                let attempt = offer.mutation.attempt;
                engine.queue.stage(Staged::Moved(*seq, State::Sent, attempt));
                offers.push(offer);
            }
            engine.touched.queue();
            Ok(offers)
        })?;
        self.counters().sent_again(again);
        Ok(offers)
    }

    /// The request was lost, or its answer: what it carried and is still on its way is uncertain.
    pub fn mark_uncertain(&mut self, request: i64) -> Result<()> {
        self.write(Origin::Remote, |engine| {
            for (seq, attempt) in store::lost(engine.db.conn(), request)? {
                engine.queue.stage(Staged::Moved(seq, State::Uncertain, attempt));
                engine.touched.queue();
            }
            Ok(())
        })
    }

    /// Freezes records that leave with `request`, and commits it (O5).
    pub(crate) fn freeze_records(&mut self, records: &[Record], request: i64) -> Result<()> {
        let leaving: HashSet<Seq> = records.iter().flat_map(Record::live).collect();
        let again = leaving.into_iter().filter(|seq| self.queue.has_left(*seq)).count();
        self.write(Origin::Remote, |engine| {
            for record in records {
                let conn = engine.db.conn();
                record::write(conn, record)?;
                for seq in record.live() {
                    let Some(entry) = engine.queue.entry(seq) else { continue };
                    let attempt = entry.attempt;
                    store::write_leaving(conn, seq, request)?;
                    engine.queue.stage(Staged::Moved(seq, State::Sent, attempt));
                }
                engine.queue.stage(Staged::Recorded(record.clone()));
            }
            engine.touched.queue();
            Ok(())
        })?;
        self.counters().sent_again(again);
        Ok(())
    }

    /// Takes back what was frozen for a request that the server did not look at: it may change again.
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
            for record in thawed.into_iter().filter(|record| !record.doubtful) {
                record::remove(engine.db.conn(), record.place)?;
                engine.queue.stage(Staged::Unrecorded(record.place));
                for seq in record.live() {
                    engine.thawed(seq, places)?;
                }
            }
            engine.touched.queue();
            Ok(())
        })
    }

    /// A mutation waits again, unless another record of it left before.
    fn thawed(&mut self, seq: Seq, places: &[i64]) -> Result<()> {
        let mut others = self.queue.records().iter().filter(|one| !places.contains(&one.place));
        let left = others.any(|other| other.live().any(|member| member == seq));
        drop(others);
        let state = if left { State::Uncertain } else { State::Pending };
        let Some(entry) = self.queue.entry(seq) else { return Ok(()) };
        let attempt = entry.attempt;
        store::write_state(self.db.conn(), seq, state)?;
        self.queue.stage(Staged::Moved(seq, state, attempt));
        Ok(())
    }

    /// Counts a try of a record (P7); how many there are now. One that has its verdict by now is not counted.
    pub(crate) fn count_try(&mut self, place: i64) -> Result<Option<u32>> {
        let Some(mut record) = self.queue.records().get(place).cloned() else { return Ok(None) };
        record.tries += 1;
        let tries = record.tries;
        self.write(Origin::Remote, |engine| {
            record::write(engine.db.conn(), &record)?;
            engine.queue.stage(Staged::Recorded(record));
            Ok(Some(tries))
        })
    }

    /// Sets how often, and for how long, the server may fail on one mutation before the mutation is parked as
    /// [`ServerFault`](super::queue::mutation::ParkReason::ServerFault).
    pub fn set_fault_limit(&mut self, attempts: u32, age: Duration) {
        self.fault_limit = FaultLimit::of(attempts, age);
    }

    /// Removes accepted mutations beyond these bounds from the history, and returns how many. They cannot be undone any more.
    pub fn prune(&mut self, bounds: &HistoryBounds) -> Result<usize> {
        self.write(Origin::Local, |engine| history::prune(engine.db.conn(), bounds))
    }

    /// Removes entries of the history that are older than the default age. Called after a pass whose pull has shown that the
    /// server still has the log that accepted them. A push does not show that: the server may have been restored, and what it
    /// lost is sent again only after the next pull.
    pub(crate) fn prune_proven(&mut self) -> Result<()> {
        if history::is_over_age(self.db.conn())? {
            self.prune(&HistoryBounds::default())?;
        }
        Ok(())
    }

    /// Verdicts after a number that the app has not acknowledged, oldest first, at most so many.
    pub fn verdicts(&self, after: i64, most: usize) -> Result<Verdicts> {
        verdict::read(self.db.conn(), after, most)
    }

    /// Removes the verdicts up to this number: the app has read them, and `verdicts` does not return them again.
    pub fn acknowledge_verdicts(&mut self, through: i64) -> Result<()> {
        self.write(Origin::Local, |engine| verdict::acknowledge_through(engine.db.conn(), through))
    }
}
