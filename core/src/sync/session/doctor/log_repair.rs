//! The repair of damaged rows of the log: the server sends their base and the entries that touch
//! them. Without that, a snapshot repairs them.

use rejoin_log::message::rows::{RowsAnswer, RowsRequest};
use rejoin_log::row::RowName;
use rejoin_protocol::limits::LOG_PAGE;
use rejoin_protocol::wire::path;

use crate::engine::Engine;
use crate::engine::entries::{self, exchange};
use crate::error::Result;
use crate::sync::request::{Phase, Response};
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::session::log;
use crate::sync::session::pass::{Next, Pass};
use crate::sync::session::peer::unrequested;

/// The rows of the log that a check repairs.
#[derive(Debug, Default)]
pub(super) struct LogRepair {
    rows: Vec<RowName>,
    running: Option<RowsRequest>,
    /// Whether a snapshot was requested, which repairs all rows.
    by_snapshot: bool,
}

impl LogRepair {
    /// Repairs these rows next.
    pub(super) fn start(&mut self, engine: &mut Engine, rows: Vec<RowName>) -> Result<()> {
        self.rows = rows;
        if self.rows.len() > LOG_PAGE { self.by_snapshot(engine) } else { Ok(()) }
    }

    /// Repairs by a snapshot what is not repaired; returns `false` if that was done already.
    pub(super) fn start_again(&mut self, engine: &mut Engine) -> Result<bool> {
        let is_new = !self.by_snapshot;
        if is_new {
            self.by_snapshot(engine)?;
        }
        Ok(is_new)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The request; `None` without any. It is one, so that no action runs on rows that are not repaired
    /// yet.
    pub(super) fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(None);
        }
        let Some(request) = exchange::rows_request(engine, rows)? else { return Ok(None) };
        pass.count_pull()?;
        let body = log::body(engine, &request)?;
        self.running = Some(request);
        Ok(Some(pass.send(Phase::Pulling, path::LOG_ROWS, true, Some(body))))
    }

    pub(super) fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep> {
        let request = self.running.take().ok_or_else(unrequested)?;
        if response.status != 200 {
            return match answer::refusal(response)? {
                NextStep::Smaller => self.by_snapshot(engine).map(|()| NextStep::Onward),
                next => Ok(next),
            };
        }
        match log::read(response)? {
            RowsAnswer::Resync => self.by_snapshot(engine).map(|()| NextStep::Onward),
            RowsAnswer::Rows(rows) => {
                let taken = exchange::take_rows(engine, &request, &rows)?;
                log::count(engine, pass, taken)
            }
        }
    }

    fn by_snapshot(&mut self, engine: &mut Engine) -> Result<()> {
        self.rows.clear();
        self.by_snapshot = true;
        entries::require_snapshot(engine)
    }
}
