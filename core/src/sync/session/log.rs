//! The log's part of a pass, after the rows: snapshot, fetch and publish until nothing is left; the
//! authority sends its corrections, too.
//!
//! A server without the log leaves the entries pending, and the rows are synced as usual.

use std::collections::BTreeSet;
use std::time::Duration;

use rejoin_log::ids::EntryId;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotNext};
use rejoin_log::message::{
    self, Correct, Corrected, EntryVerdict, Fetched, Outcome, Published, Request, Verdict,
};
use rejoin_protocol::limits::LOG_OFFERS;
use rejoin_protocol::wire::{code, path};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::page::PageSize;
use super::pass::{Next, Pass};
use super::peer::unrequested;
use crate::engine::Engine;
use crate::engine::entries;
use crate::engine::entries::exchange::{self, LogRequest, Taken};
use crate::error::{Error, Result, SyncFault};
use crate::sync::request::{Phase, Response};
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::rows::register;

const LOST: &str = "the log of the server does not have what this device has seen: run `rejoin-server \
    log new-epoch` if the server was restored from a backup, else call resync";

/// State of the exchange in one pass.
#[derive(Debug, Default)]
pub(super) struct LogExchange {
    /// Rows of the next page of a snapshot.
    page: PageSize,
    most_rows: u32,
    /// Maximum number of entries in the next publish; halved after a 413. `None`: the default.
    batch: Option<usize>,
    /// Entries that a proxy on the way does not let through: they wait for the next pass.
    aside: BTreeSet<EntryId>,
    /// Whether the feed was fetched, or a snapshot taken, in this pass.
    is_current: bool,
    /// Whether the last response completed a snapshot.
    is_taken: bool,
    /// Whether corrections were sent in this pass that had no effect: the others wait for the next.
    is_corrected: bool,
    running: Option<Running>,
}

#[derive(Debug)]
enum Running {
    /// A page of so many rows.
    Snapshot(u32),
    Fetch,
    /// These entries, under this number.
    Publish(Vec<EntryId>, u64),
    /// These corrections.
    Correct(Correct),
}

impl LogExchange {
    /// Starts a pass: the server may have new entries.
    pub(super) fn start_pass(&mut self) {
        (self.is_current, self.is_corrected) = (false, false);
        self.is_taken = false;
        self.aside.clear();
    }

    /// The next request; `None` when the log is exchanged, or there is none.
    pub(super) fn next(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        (body_limit, most_rows): (usize, u32),
    ) -> Result<Option<Next>> {
        if !entries::has_tables(engine) {
            return Ok(None);
        }
        let page = pass.config.page_size.max(1);
        self.most_rows = most_rows;
        let rows = self.page.rows(page, most_rows);
        loop {
            pass.count_pull()?;
            let batch = self.batch.unwrap_or(LOG_OFFERS);
            let bounds = (rows, page, batch);
            let Some(request) = exchange::next(engine, self.is_current, bounds, &self.aside)?
            else {
                return Ok(None);
            };
            let (asked, phase, path, body) = match request {
                LogRequest::Snapshot(_) if self.is_taken => return Err(self.ignored()),
                LogRequest::Snapshot(request) => {
                    let body = body(engine, &request)?;
                    (Running::Snapshot(rows), Phase::Snapshot, path::LOG_SNAPSHOT, body)
                }
                LogRequest::Fetch(request) => {
                    (Running::Fetch, Phase::Pulling, path::LOG_FETCH, body(engine, &request)?)
                }
                LogRequest::Publish(request) => {
                    let ids: Vec<EntryId> =
                        request.offers.iter().map(|offer| offer.key.id).collect();
                    let body = body(engine, &request)?;
                    if body.len() > body_limit && ids.len() > 1 {
                        self.batch = Some(ids.len() / 2);
                        continue;
                    }
                    if body.len() > body_limit {
                        self.deny(engine, pass, &ids, request.number)?;
                        continue;
                    }
                    (Running::Publish(ids, request.number), Phase::Pushing, path::LOG_PUBLISH, body)
                }
                LogRequest::Correct(_) if self.is_corrected => return Ok(None),
                LogRequest::Correct(request) => {
                    let (count, body) = (request.corrections.len(), body(engine, &request)?);
                    if body.len() > body_limit && count > 1 {
                        self.batch = Some(count / 2);
                        continue;
                    }
                    (Running::Correct(request), Phase::Pushing, path::LOG_CORRECT, body)
                }
            };
            self.running = Some(asked);
            return Ok(Some(pass.send(phase, path, true, Some(body))));
        }
    }

    /// The device ignores a snapshot that is older than its rows.
    fn ignored(&mut self) -> Error {
        self.is_taken = false;
        Error::Sync(SyncFault::Protocol(LOST.to_owned()))
    }

    /// Whether a request of the log is running.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Applies the response to the running request.
    pub(super) fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep> {
        let running = self.running.take().ok_or_else(unrequested)?;
        if response.status != 200 {
            return self.refused(engine, pass, &running, response);
        }
        self.is_taken = false;
        let taken = match &running {
            Running::Snapshot(rows) => {
                let answer = read(response)?;
                let is_awaited = exchange::is_awaited(engine, &answer)?;
                self.is_current = is_last(&answer);
                self.is_taken = is_awaited && self.is_current;
                if !is_awaited {
                    pass.count_turn(NextStep::Onward)?;
                    return Ok(NextStep::Onward);
                }
                if self.is_current {
                    self.page = PageSize::default();
                } else if answer == SnapshotAnswer::Restart {
                    pass.count_turn(NextStep::Onward)?;
                    self.page = PageSize::default();
                } else {
                    let bounds = (pass.config.page_size, self.most_rows);
                    self.page.arrived(*rows, bounds, response.took);
                }
                exchange::take_snapshot_page(engine, &answer)?
            }
            Running::Fetch => {
                let answer = read(response)?;
                self.is_current = true;
                let taken = exchange::take_fetched(engine, &answer)?;
                if answer == Fetched::Resync {
                    pass.count_turn(NextStep::Onward)?;
                }
                taken
            }
            Running::Publish(ids, _) => {
                let taken = exchange::take_published(engine, ids, &read(response)?)?;
                if taken.accepted + taken.parked == 0 {
                    pass.count_turn(NextStep::Onward)?;
                }
                taken
            }
            Running::Correct(request) => {
                let done: Corrected = read(response)?;
                let (taken, refused) = (done.taken, done.refused.len());
                tracing::info!(taken, refused, "the authority has corrected entries");
                (self.is_current, self.is_corrected) = (false, taken + refused == 0);
                exchange::take_corrected(engine, request, &done)?
            }
        };
        count(engine, pass, taken)
    }

    /// The last request has no response.
    pub(super) fn lost(&mut self, took: Duration) {
        if let Some(Running::Snapshot(rows)) = self.running.take() {
            self.page.lost(rows, took);
        }
    }

    /// Parks an entry that no request to the server can hold.
    fn deny(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        ids: &[EntryId],
        number: u64,
    ) -> Result<()> {
        let verdict = |id: &EntryId| EntryVerdict { id: *id, verdict: Verdict::Denied };
        let outcome = Outcome::Verdicts { verdicts: ids.iter().map(verdict).collect() };
        let denied = Published { number, outcome };
        pass.report.parked += exchange::take_published(engine, ids, &denied)?.parked;
        self.batch = None;
        Ok(())
    }

    fn refused(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        running: &Running,
        response: &Response,
    ) -> Result<NextStep> {
        let sent = match running {
            Running::Publish(ids, _) => ids.len(),
            Running::Correct(request) => request.corrections.len(),
            Running::Snapshot(_) | Running::Fetch => 0,
        };
        let refusal = answer::refusal(response);
        if let (Running::Snapshot(rows), Err(error)) = (running, &refusal)
            && !matches!(error, Error::Sync(SyncFault::Unauthorized))
        {
            self.page.failed(*rows);
        }
        match (refusal, running) {
            // Dismissed since the last fetch. The next one requires a snapshot of the device's rows.
            (Err(Error::Sync(SyncFault::Server { code, .. })), Running::Correct(_))
                if code == code::LOG_REFUSED =>
            {
                (self.is_current, self.is_corrected) = (false, true);
                Ok(NextStep::Onward)
            }
            (Err(error), _) => Err(error),
            (Ok(NextStep::Smaller), _) if sent > 1 => {
                self.batch = Some(sent / 2);
                Ok(NextStep::Onward)
            }
            // Alone it is too large for the server, or for a proxy: no other entry may wait behind it.
            (Ok(NextStep::Smaller), Running::Publish(ids, number))
                if answer::is_too_large(response) =>
            {
                self.deny(engine, pass, ids, *number)?;
                Ok(NextStep::Onward)
            }
            (Ok(NextStep::Smaller), Running::Publish(ids, _)) => {
                self.aside.extend(ids);
                self.batch = None;
                Ok(NextStep::Onward)
            }
            (Ok(next), _) => Ok(next),
        }
    }
}

/// Counts what a response has changed.
pub(super) fn count(engine: &mut Engine, pass: &mut Pass, taken: Taken) -> Result<NextStep> {
    pass.report.accepted += taken.accepted;
    pass.report.parked += taken.parked;
    pass.report.pulled += taken.received;
    pass.progress.done += taken.received + taken.accepted;
    if taken.copied {
        register::replaced(engine)?;
        return Ok(NextStep::Register);
    }
    Ok(NextStep::Onward)
}

fn is_last(answer: &SnapshotAnswer) -> bool {
    matches!(answer, SnapshotAnswer::Page(page) if matches!(page.next, SnapshotNext::Cursor(_)))
}

pub(super) fn body<M: Serialize>(engine: &Engine, log: &M) -> Result<Vec<u8>> {
    let request = Request { client_id: entries::author(engine)?, log };
    serde_json::to_vec(&request).map_err(|error| Error::Internal(error.to_string()))
}

pub(super) fn read<M: DeserializeOwned>(response: &Response) -> Result<M> {
    message::read(&response.body).map_err(|error| {
        if error.source.is_data() {
            Error::Sync(SyncFault::Protocol(error.to_string()))
        } else {
            Error::Sync(SyncFault::Offline(format!("the answer is not the sync server's: {error}")))
        }
    })
}
