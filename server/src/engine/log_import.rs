//! Import of a Synchrotron log into the tables of the log: all of a file, or nothing.
//!
//! An entry keeps its time, so entries that devices wrote since find their place. Afterwards each row
//! of the file is compared with the fold; a last entry sets the rows that differ. So the tables then
//! have the rows of the file, also if its log was cut, or lacks changes to NULL.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Name, UserId};
use rejoin_log::key::Key;
use rejoin_log::message::bounds::{self, OutOfBounds};
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::row::{LogRow, Placement as _, RowName};
use rejoin_log::server::import::{ImportedEntry, Placed, Writers, import, is_known, writers};
use rejoin_log::store::StoreError;
use uuid::Uuid;

use self::line::{Line, ReadTable};
use super::Engine;
use super::log_model::{Log, Stop, fault, millis, open, served};
use crate::error::{Fault, ImportFault, ServerError};
use crate::model::LogTable;
use crate::store::{LogRowError, fits, write};

mod line;

/// The entries that are placed together.
const BATCH: usize = 500;

/// Bytes of rows that are set by one entry, besides the last row: below the limit of an entry.
const BYTES: usize = 1 << 20;

/// How far a counter may be above those of the log: no client comes so far.
const COUNTERS: u64 = 1 << 32;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Entries that are new in the log.
    pub entries: usize,
    /// Entries that the log had already.
    pub known: usize,
    /// Entries that are older than what the log is compacted to: they are left out.
    pub old: usize,
    /// Actions of the file that changed no row.
    pub empty: usize,
    /// Rows that the entries do not explain, which were set to what the file has.
    pub set_rows: usize,
    /// Rows that differ from the file, and were left as they are: a device wrote them, or the log was
    /// compacted since an earlier import.
    pub kept_rows: usize,
}

/// Why an import stopped: what is wrong with the file, or a fault of the server.
enum Halt {
    File(ServerError),
    Stop(Stop),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Stop(Stop::Store(error))
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Stop(Stop::Fault(fault))
    }
}

/// Imports a file. Every database error and every line that is refused leaves the log as it was.
pub(crate) fn import_log(engine: &Engine, path: &Path) -> Result<Imported, ServerError> {
    let mut refused = None;
    let done = write(&*engine.store, &engine.now(), |writing| {
        served(writing)?;
        let store = writing.log();
        let manifest = &writing.schema().manifest;
        let columns = writing.log_tables();
        let tables = ReadTable::all(columns, manifest);
        let placement = ColumnPlacement::of(manifest);
        let ran = open(engine, writing, store, true).map_err(Halt::Stop).and_then(|mut log| {
            let now = millis(engine);
            let latest = now + u64::from(engine.limits.log_drift_ms);
            let file = Tables { columns, read: &tables, placement: &placement };
            let is_first = !is_known(&log, importer())?;
            Work::new(&mut log, file, now, latest, is_first).read(path)
        });
        ran.map_err(|halt| match halt {
            Halt::Stop(stop) => fault(&store, stop),
            Halt::File(error) => {
                refused = Some(error);
                Fault::Internal(String::from("the import was refused"))
            }
        })
    });
    match refused {
        Some(error) => Err(error),
        None => Ok(done?),
    }
}

/// The tables of the log.
struct Tables<'w> {
    columns: &'w [LogTable],
    read: &'w [ReadTable<'w>],
    placement: &'w ColumnPlacement,
}

/// The author of the entries that set rows.
fn importer() -> AuthorId {
    AuthorId(line::named("import"))
}

/// A running import.
struct Work<'w, 't> {
    log: &'w mut Log<'t>,
    into: Tables<'w>,
    now: u64,
    /// No entry may be later.
    latest: u64,
    waiting: Vec<ImportedEntry>,
    /// The rows that entries named and no line has shown yet.
    named: BTreeSet<RowName>,
    /// The tables of which there are rows in the file.
    shown: BTreeSet<String>,
    repairs: Vec<(RowName, Effect)>,
    /// The bytes of the repairs.
    bytes: usize,
    write_set: Buckets,
    /// Rows without an entry are set as well: no device wrote them before.
    is_first: bool,
    /// The time of the entries that set rows: after all imported entries that name them, so that an
    /// edit that a device made since counts.
    last: u64,
    done: Imported,
}

impl<'w, 't> Work<'w, 't> {
    fn new(log: &'w mut Log<'t>, into: Tables<'w>, now: u64, latest: u64, is_first: bool) -> Self {
        let last = log.facts().horizon.millis.saturating_add(1);
        Self {
            log,
            into,
            now,
            latest,
            waiting: Vec::new(),
            named: BTreeSet::new(),
            shown: BTreeSet::new(),
            repairs: Vec::new(),
            bytes: 0,
            write_set: Buckets::default(),
            is_first,
            last,
            done: Imported::default(),
        }
    }

    fn read(&mut self, path: &Path) -> Result<Imported, Halt> {
        let unreadable = |error: std::io::Error| {
            Halt::File(ServerError::ImportFile { path: path.to_owned(), why: error.to_string() })
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        for (at, text) in std::io::BufReader::new(file).lines().enumerate() {
            let text = text.map_err(unreadable)?;
            let refused = |why| Halt::File(ServerError::Import { line: at + 1, why });
            match Line::read(&text, self.into.read).map_err(refused)? {
                Line::Blank => {}
                Line::Action(entry) => self.action(entry).map_err(|halt| halt.at(at + 1))?,
                Line::Row(row, image) => self.row(row, image).map_err(|halt| halt.at(at + 1))?,
            }
        }
        self.place().map_err(|halt| halt.at(0))?;
        let left = std::mem::take(&mut self.named);
        for row in left {
            if self.shown.contains(row.table.as_str()) {
                self.compare(row, None).map_err(|halt| halt.at(0))?;
            }
        }
        self.repair().map_err(|halt| halt.at(0))?;
        self.log.register(importer(), UserId(Name::from("")))?;
        Ok(self.done)
    }

    fn action(&mut self, entry: ImportedEntry) -> Result<(), Found> {
        if entry.effects.is_empty() {
            self.done.empty += 1;
            return Ok(());
        }
        if !self.shown.is_empty() {
            return Err(ImportFault::Order.into());
        }
        if entry.key.millis > self.latest {
            return Err(ImportFault::Ahead { millis: entry.key.millis, now: self.now }.into());
        }
        let highest = self.log.facts().counter;
        if entry.key.counter > highest.saturating_add(COUNTERS) {
            return Err(ImportFault::Counter { counter: entry.key.counter, highest }.into());
        }
        self.check(&entry.effects)?;
        self.last = self.last.max(entry.key.millis);
        self.named.extend(entry.effects.rows());
        self.waiting.push(entry);
        if self.waiting.len() == BATCH { self.place() } else { Ok(()) }
    }

    fn check(&self, effects: &Effects) -> Result<(), Found> {
        let unfit = |error: LogRowError| ImportFault::Row { why: error.to_string() };
        fits(effects, self.into.columns).map_err(unfit)?;
        let large = |error: OutOfBounds| ImportFault::Row { why: error.to_string() };
        Ok(bounds::check_effects(effects).map_err(large)?)
    }

    fn place(&mut self) -> Result<(), Found> {
        let entries = std::mem::take(&mut self.waiting);
        if entries.is_empty() {
            return Ok(());
        }
        let (store, log, now) = (*self.log.store(), &mut *self.log, self.now);
        let Placed { new, old } = store.batched(|| import(log, &entries, now))?;
        self.done.entries += new;
        self.done.old += old;
        self.done.known += entries.len() - new - old;
        Ok(())
    }

    fn row(&mut self, row: RowName, image: LogRow) -> Result<(), Found> {
        self.place()?;
        self.shown.insert(row.table.to_string());
        self.named.remove(&row);
        self.check(&[(row.clone(), Effect::Insert(image.clone()))].into_iter().collect())?;
        self.compare(row, Some(image))
    }

    /// Has the row set at the end, if the log has another.
    fn compare(&mut self, row: RowName, image: Option<LogRow>) -> Result<(), Found> {
        let present = self.log.row(&row)?;
        let Some(effect) = Effect::between(present.as_ref(), image.as_ref()) else {
            return Ok(());
        };
        match writers(self.log, &row)? {
            Writers::Imports(key) => self.last = self.last.max(key.millis),
            Writers::None if self.is_first => {}
            Writers::None | Writers::Devices => {
                self.done.kept_rows += 1;
                return Ok(());
            }
        }
        for image in [present, image].into_iter().flatten() {
            self.write_set = self.write_set.with(&self.into.placement.buckets(&row, &image));
        }
        let effect: Effects = [(row, effect)].into_iter().collect();
        self.bytes += bounds::bytes_of(None, &effect);
        self.repairs.extend(effect.iter().map(|(row, effect)| (row.clone(), effect.clone())));
        if self.repairs.len() == BATCH || self.bytes > BYTES { self.repair() } else { Ok(()) }
    }

    fn repair(&mut self) -> Result<(), Found> {
        let effects: Effects = std::mem::take(&mut self.repairs).into_iter().collect();
        let write_set = std::mem::take(&mut self.write_set).into();
        self.bytes = 0;
        if effects.is_empty() {
            return Ok(());
        }
        self.done.set_rows += effects.rows().len();
        let id = EntryId(Uuid::new_v4());
        let counter = self.log.facts().counter.saturating_add(1);
        let key = Key { millis: self.last, counter, author: importer(), id };
        import(self.log, &[ImportedEntry { key, effects, write_set }], self.now)?;
        Ok(())
    }
}

/// What stopped the work on a line.
enum Found {
    File(ImportFault),
    Store(StoreError),
}

impl Found {
    fn at(self, line: usize) -> Halt {
        match self {
            Self::File(why) => Halt::File(ServerError::Import { line, why }),
            Self::Store(error) => error.into(),
        }
    }
}

impl From<ImportFault> for Found {
    fn from(fault: ImportFault) -> Self {
        Self::File(fault)
    }
}

impl From<StoreError> for Found {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
