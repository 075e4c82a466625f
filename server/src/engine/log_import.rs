//! Import of a Synchrotron log into the tables of the log: all of a file, or nothing.
//!
//! An entry keeps its time, so entries that devices wrote since find their place. Afterwards each row
//! of the file is compared with the fold; a last entry sets the rows that differ. So the tables then
//! have the rows of the file, also if its log was cut, or lacks changes to NULL.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use rejoin_log::effect::{Effect, Effects};
use rejoin_log::ids::{AuthorId, Buckets, EntryId};
use rejoin_log::key::Key;
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::row::{LogRow, Placement as _, RowName};
use rejoin_log::server::import::{Import, ImportedEntry, import};
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

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Entries that are new in the log.
    pub entries: usize,
    /// Entries that the log had already.
    pub known: usize,
    /// Actions of the file that changed no row.
    pub empty: usize,
    /// Rows that the entries do not explain, which were set to what the file has.
    pub set_rows: usize,
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
            Work::new(&mut log, file, now, latest).read(path)
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
    write_set: Buckets,
    last: u64,
    done: Imported,
}

impl<'w, 't> Work<'w, 't> {
    fn new(log: &'w mut Log<'t>, into: Tables<'w>, now: u64, latest: u64) -> Self {
        Self {
            log,
            into,
            now,
            latest,
            waiting: Vec::new(),
            named: BTreeSet::new(),
            shown: BTreeSet::new(),
            repairs: Vec::new(),
            write_set: Buckets::default(),
            last: now,
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
        self.check(&entry.effects)?;
        self.last = self.last.max(entry.key.millis);
        self.named.extend(entry.effects.rows());
        self.waiting.push(entry);
        if self.waiting.len() == BATCH { self.place() } else { Ok(()) }
    }

    fn check(&self, effects: &Effects) -> Result<(), Found> {
        let fault = |error: LogRowError| ImportFault::Row { why: error.to_string() };
        Ok(fits(effects, self.into.columns).map_err(fault)?)
    }

    fn place(&mut self) -> Result<(), Found> {
        let entries = std::mem::take(&mut self.waiting);
        let (store, log, now) = (*self.log.store(), &mut *self.log, self.now);
        let count = entries.len();
        match store.batched(|| import(log, &entries, now))? {
            Import::New(new) => {
                self.done.entries += new;
                self.done.known += count - new;
                Ok(())
            }
            Import::TooOld(key) => Err(ImportFault::Horizon { id: key.id.to_string() }.into()),
        }
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
        for image in [present, image].into_iter().flatten() {
            self.write_set = self.write_set.with(&self.into.placement.buckets(&row, &image));
        }
        self.repairs.push((row, effect));
        if self.repairs.len() == BATCH { self.repair() } else { Ok(()) }
    }

    fn repair(&mut self) -> Result<(), Found> {
        let effects: Effects = std::mem::take(&mut self.repairs).into_iter().collect();
        let write_set = std::mem::take(&mut self.write_set);
        if effects.is_empty() {
            return Ok(());
        }
        self.done.set_rows += effects.rows().len();
        let (author, id) = (AuthorId(line::named("import")), EntryId(Uuid::new_v4()));
        let counter = self.log.facts().counter + 1;
        let key = Key { millis: self.last, counter, author, id };
        let entries = [ImportedEntry { key, effects, write_set }];
        match import(self.log, &entries, self.now)? {
            Import::New(_) => Ok(()),
            Import::TooOld(key) => Err(ImportFault::Horizon { id: key.id.to_string() }.into()),
        }
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
