//! The check of a device's rows at the end of a pass, and their repair.
//!
//! Digests are compared by table and slice, then the rows of each slice that differs. A row that
//! differs is only suspected, since the server may have changed it meanwhile: the pass fetches what is
//! new, and a row that this did not change is damaged. Damaged rows are fetched again by name, those of
//! the log with the entries that touch them. Pending edits stay.
//!
//! The state is in memory, and a check ends with its pass: if that fails, so does the check, and later
//! passes sync as usual. Rows of the row model that were requested again are fetched by the next pass.

use std::collections::{BTreeSet, HashMap, HashSet};

use rejoin_log::ids::Name;
use rejoin_log::row::RowName as LogRowName;
use rejoin_protocol::digest::{Digest, read_hash, slice};
use rejoin_protocol::manifest::SyncModel;
use rejoin_protocol::wire::digest::{DigestAnswer, DigestAsk, RowHash, WireDigest};
use rejoin_protocol::wire::{RowName, path};

use super::pass::{Next, Pass, PassStep};
use super::peer::unrequested;
use crate::engine::log::key::value_of;
use crate::engine::rows::patch::RowKey;
use crate::engine::{Engine, entries};
use crate::error::{Result, SyncFault};
use crate::ids::TableNumber;
use crate::sync::doctor::{self, DoctorReport, TableCheck};
use crate::sync::request::{Phase, Response};
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::rows::digest::{Scan, base_hash};
use crate::sync::rows::fact::{self, RefetchReason};
use log_repair::LogRepair;

mod log_repair;

/// Number of rows that one step scans; takes a few milliseconds.
const STEP: usize = 4_000;

/// Number of differing slices whose rows are in memory at once.
const SLICES: usize = 32;

/// Maximum number of damaged rows of the row model that are fetched by name. More need a snapshot.
const NAMED: usize = 5_000;

/// A check in a pass.
#[derive(Debug, Default)]
pub(super) struct Doctor {
    /// The request that it is for; `None` before its first step.
    number: Option<i64>,
    stage: Stage,
    /// Tables that are not compared yet; `None` before the first step.
    tables: Option<Vec<TableNumber>>,
    comparison: Option<Comparison>,
    suspects: Vec<Suspect>,
    log: LogRepair,
    report: DoctorReport,
    running: Option<Running>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Compare,
    /// What is newer than the comparison has been fetched.
    Settled,
    /// The damaged rows are named; those of the log are being fetched.
    Fetching,
    /// The damaged rows have been fetched.
    Repaired,
}

/// The comparison of one table.
#[derive(Debug)]
struct Comparison {
    scan: Scan,
    is_scanned: bool,
    is_compared: bool,
    /// Slices that differ and whose rows are not compared yet.
    differing: Vec<u32>,
    /// Those of them whose rows are in the scan.
    listing: Vec<u32>,
}

#[derive(Debug)]
enum Running {
    Slices,
    Rows(u32),
}

/// A row that differs.
#[derive(Debug)]
struct Suspect {
    row: RowKey,
    id: String,
    /// Its hash on this device when it was compared.
    ours: Option<u64>,
}

impl Doctor {
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some() || self.log.is_running()
    }

    /// Whether this pass has a check to do.
    pub(super) fn is_due(&self, engine: &Engine) -> Result<bool> {
        Ok(self.number.is_some() || doctor::due(engine)?.is_some())
    }

    /// Begins again, for example with another schema.
    pub(super) fn begin_again(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    /// The next request or step; `None` after a change of the pass's step.
    pub(super) fn next(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<Option<Next>> {
        if self.number.is_none() {
            self.number = doctor::take(engine)?;
        }
        match self.stage {
            Stage::Compare => self.compare(engine, pass),
            Stage::Settled => self.settle(engine).map(|()| None),
            Stage::Fetching => {
                let next = self.log.next(engine, pass)?;
                if next.is_none() {
                    (self.stage, pass.step) = (Stage::Repaired, PassStep::Pull);
                }
                Ok(next)
            }
            Stage::Repaired => self.finish(engine, pass).map(|()| None),
        }
    }

    pub(super) fn answered(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        response: &Response,
    ) -> Result<NextStep> {
        if self.log.is_running() {
            return self.log.answered(engine, pass, response);
        }
        let running = self.running.take().ok_or_else(unrequested)?;
        if response.status != 200 {
            return answer::refusal(response);
        }
        let answer: DigestAnswer = answer::read(&response.body)?;
        let Some(comparison) = &mut self.comparison else { return Err(unrequested()) };
        match running {
            Running::Slices => comparison.take_slices(&answer.slices)?,
            Running::Rows(slice) => {
                self.suspects.extend(comparison.take_rows(engine, slice, &answer.rows)?);
            }
        }
        Ok(NextStep::Onward)
    }

    fn compare(&mut self, engine: &Engine, pass: &mut Pass) -> Result<Option<Next>> {
        let Some(comparison) = &mut self.comparison else {
            let tables = self.tables.get_or_insert_with(|| tables(engine));
            if let Some(table) = tables.pop().and_then(|number| engine.schema.table(number)) {
                self.comparison = Some(Comparison::of(Scan::new(engine, table)?));
                return Ok(Some(Next::Again));
            }
            self.stage = if self.suspects.is_empty() { Stage::Repaired } else { Stage::Settled };
            if self.stage == Stage::Settled {
                pass.step = PassStep::Pull; // What is new, before the suspects are looked at again.
            }
            return Ok(None);
        };
        if !comparison.is_scanned {
            comparison.is_scanned = !comparison.scan.step(engine, STEP)?;
            return Ok(Some(Next::Again));
        }
        let table = comparison.scan.table(engine)?.name.clone();
        if !comparison.is_compared {
            let rows = comparison.scan.slices.iter().map(|slice| slice.count).sum();
            self.report.tables.push(TableCheck { table, rows, ..TableCheck::default() });
            return self.ask(engine, pass, Running::Slices).map(Some);
        }
        if let Some(slice) = comparison.listing.pop() {
            return self.ask(engine, pass, Running::Rows(slice)).map(Some);
        }
        if !comparison.collect_next() {
            self.comparison = None;
        }
        Ok(Some(Next::Again))
    }

    fn ask(&mut self, engine: &Engine, pass: &mut Pass, asked: Running) -> Result<Next> {
        pass.count_pull()?;
        let (table, slices) = match (&self.comparison, self.report.tables.last()) {
            (Some(comparison), Some(check)) => (&check.table, comparison.scan.slices.len()),
            _ => return Err(unrequested()),
        };
        let slice = match asked {
            Running::Slices => None,
            Running::Rows(slice) => Some(slice),
        };
        let ask = DigestAsk {
            table: table.clone(),
            client_id: engine.meta(fact::CLIENT_ID)?.unwrap_or_default(),
            slices: u32::try_from(slices).ok(),
            slice,
        };
        self.running = Some(asked);
        Ok(pass.send(Phase::Pulling, &ask.path(path::DIGEST), true, None))
    }

    /// Leaves the damaged rows among the suspects, and requests them again.
    fn settle(&mut self, engine: &mut Engine) -> Result<()> {
        let mut damaged = Vec::new();
        for suspect in std::mem::take(&mut self.suspects) {
            if base_hash(engine, &suspect.row)? == suspect.ours {
                damaged.push(suspect);
            }
        }
        if damaged.is_empty() {
            self.stage = Stage::Repaired;
            return Ok(());
        }
        self.stage = Stage::Fetching;
        let (mut of_log, mut names) = (Vec::new(), Vec::new());
        for suspect in &damaged {
            let Some(table) = engine.schema.table(suspect.row.table) else { continue };
            if let Some(check) = self.report.of(&table.name) {
                check.differing += 1;
            }
            match table.sync {
                SyncModel::Log => {
                    of_log.push(LogRowName::new(table.name.as_str(), suspect.id.as_str()));
                }
                SyncModel::Rows => {
                    names.push(RowName { table_name: table.name.clone(), id: suspect.id.clone() });
                }
            }
        }
        tracing::warn!(
            rows = damaged.len(),
            "rows differ from the server's, and are fetched again"
        );
        self.suspects = damaged;
        if names.len() > NAMED {
            fact::write(engine, &fact::snapshot_due(RefetchReason::Resync))?;
        } else if !names.is_empty() {
            names.extend(fact::recheck(engine)?);
            fact::write(engine, &[fact::recheck_fact(&names)])?;
        }
        self.log.start(engine, of_log)
    }

    fn finish(&mut self, engine: &mut Engine, pass: &mut Pass) -> Result<()> {
        let (mut repaired, mut left) = (Vec::new(), false);
        for suspect in &self.suspects {
            let Some(table) = engine.schema.table(suspect.row.table) else { continue };
            if base_hash(engine, &suspect.row)? == suspect.ours {
                left |= table.sync == SyncModel::Log;
            } else {
                repaired.push(table.name.clone());
            }
        }
        if left && self.log.start_again(engine)? {
            pass.step = PassStep::Pull;
            return Ok(());
        }
        for table in &repaired {
            if let Some(check) = self.report.of(table) {
                check.repaired += 1;
            }
        }
        let Self { number, mut report, .. } = std::mem::take(self);
        report.tables.sort_by(|left, right| left.table.cmp(&right.table));
        pass.step = PassStep::Done;
        doctor::finish(engine, number.unwrap_or_default(), report)
    }
}

impl Comparison {
    fn of(scan: Scan) -> Self {
        Self {
            scan,
            is_scanned: false,
            is_compared: false,
            differing: Vec::new(),
            listing: Vec::new(),
        }
    }

    fn take_slices(&mut self, theirs: &[WireDigest]) -> Result<()> {
        if theirs.len() != self.scan.slices.len() {
            let why = "a digest without the requested slices; the server needs a newer release";
            return Err(SyncFault::Protocol(why.to_owned()).into());
        }
        let theirs: Vec<Option<Digest>> = theirs.iter().map(WireDigest::digest).collect();
        let both = self.scan.slices.iter().zip(theirs);
        let differs = both.enumerate().filter(|(_, (ours, theirs))| Some(**ours) != *theirs);
        self.differing = differs.filter_map(|(at, _)| u32::try_from(at).ok()).collect();
        self.is_compared = true;
        Ok(())
    }

    /// Starts the scan that collects the rows of the next differing slices; `false` without any.
    fn collect_next(&mut self) -> bool {
        let rest = self.differing.len().saturating_sub(SLICES);
        self.listing = self.differing.split_off(rest);
        let wanted: HashSet<u32> = self.listing.iter().copied().collect();
        self.is_scanned = wanted.is_empty();
        self.scan = self.scan.again(wanted);
        !self.listing.is_empty()
    }

    /// The rows of a slice that differ from the server's.
    fn take_rows(&self, engine: &Engine, of: u32, theirs: &[RowHash]) -> Result<Vec<Suspect>> {
        let slices = u32::try_from(self.scan.slices.len()).unwrap_or(1);
        let table = self.scan.table(engine)?;
        let theirs: HashMap<&str, Option<u64>> =
            theirs.iter().map(|row| (row.id.as_str(), read_hash(&row.hash))).collect();
        let ours = self.scan.rows.keys().map(String::as_str);
        let ours = ours.filter(|id| slice(id, slices) == of && !theirs.contains_key(id));
        let shown = |id: &str| self.scan.rows.get(id).copied();
        let differs = theirs.iter().filter(|(id, hash)| shown(id) != **hash).map(|(id, _)| *id);
        let unpublished = match table.sync {
            SyncModel::Log => entries::unpublished_rows(engine)?,
            SyncModel::Rows => BTreeSet::new(),
        };
        let mut suspects = Vec::new();
        for id in differs.chain(ours) {
            if unpublished.contains(&LogRowName::new(table.name.as_str(), id)) {
                continue;
            }
            // A key that this column cannot have names no row here.
            let Some(key) = value_of(table, &Name::from(id)) else { continue };
            let row = RowKey { table: table.number, key };
            let ours = base_hash(engine, &row)?;
            if ours != theirs.get(id).copied().flatten() {
                suspects.push(Suspect { row, id: id.to_owned(), ours });
            }
        }
        Ok(suspects)
    }
}

/// The synced tables of the server, of both models.
fn tables(engine: &Engine) -> Vec<TableNumber> {
    let schema = &engine.schema;
    let tables = schema.in_rows().chain(schema.in_log()).filter(|table| !table.is_removed());
    tables.map(|table| table.number).collect()
}
