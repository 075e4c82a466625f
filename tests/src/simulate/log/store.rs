//! The store of a device: in memory, or an SQLite file through the engine.
//!
//! A copy of a file is what a crash would leave: the file and its write-ahead log as they are on
//! disk, without closing them.

use std::path::Path;
use std::sync::Arc;

use rejoin_core::engine::change::Origin;
use rejoin_core::engine::replica::{SqliteReplica, read_log, write_log};
use rejoin_core::engine::{Engine, OpenOptions};
use rejoin_core::host::TestHost;
use rejoin_log::ids::{EntryId, Name};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::SnapshotPage;
use rejoin_log::rebase::{Footprint, StepIndex};
use rejoin_log::replica::LogError;
use rejoin_log::replica::memory::MemoryReplica;
use rejoin_log::replica::store::{Facts, Record, ReplicaStore, Waiting};
use rejoin_log::row::{LogRow, RowName};
use rejoin_log::store::{LogRows, StoreError, Table};
use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{ColumnManifest, SyncModel, TableExtension, TableManifest};
use tempfile::TempDir;

use super::actions::{ITEM, MINE, NOTE};
use super::run::unexpected;
use crate::simulate::Checked;

/// A store of either kind.
#[derive(Debug)]
pub(super) enum DeviceStore {
    Memory(Box<MemoryReplica>),
    File(Box<FileStore>),
}

/// A store in a file; each call is one transaction.
#[derive(Debug)]
pub(super) struct FileStore {
    engine: Engine,
    folder: TempDir,
}

const FILE: &str = "device.db";

impl DeviceStore {
    pub(super) fn new(in_file: bool) -> Checked<Self> {
        if !in_file {
            return Ok(Self::Memory(Box::default()));
        }
        FileStore::open(tempfile::tempdir().map_err(unexpected)?)
    }

    /// A copy, as after a crash.
    pub(super) fn copied(&self) -> Checked<Self> {
        let file = match self {
            Self::Memory(store) => return Ok(Self::Memory(store.clone())),
            Self::File(file) => file,
        };
        let folder = tempfile::tempdir().map_err(unexpected)?;
        copy_database(file.folder.path(), folder.path(), FILE).map_err(unexpected)?;
        FileStore::open(folder)
    }
}

/// Copies a database and its write-ahead log as they are on disk.
pub(super) fn copy_database(from: &Path, to: &Path, file: &str) -> std::io::Result<()> {
    for name in [file.to_owned(), format!("{file}-wal")] {
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

impl FileStore {
    fn open(folder: TempDir) -> Checked<DeviceStore> {
        let tables = [ITEM, NOTE, MINE].map(table).into();
        let manifest = Some(Manifest::new(1, tables));
        let options = OpenOptions { path: folder.path().join(FILE), manifest };
        let engine = Engine::open(&options, Arc::new(TestHost::new(1))).map_err(unexpected)?;
        Ok(DeviceStore::File(Box::new(Self { engine, folder })))
    }

    fn read<T>(
        &self,
        body: impl FnOnce(SqliteReplica<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        of_file(read_log(&self.engine, |store| body(store).map_err(LogError::Store)))
    }

    fn write(
        &mut self,
        body: impl FnOnce(SqliteReplica<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let write = |store: SqliteReplica<'_>| body(store).map_err(LogError::Store);
        of_file(write_log(&mut self.engine, Origin::Local, write))
    }
}

fn of_file<T>(result: Result<Result<T, LogError>, rejoin_core::Error>) -> Result<T, StoreError> {
    let text = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    Err(StoreError(text))
}

/// A table with the columns of the simulated rows.
fn table(name: &str) -> TableManifest {
    let kinds = [("n", "int64"), ("id", "string"), ("b", "string")];
    let kinds = kinds.into_iter().chain(["also", "v", "o"].map(|name| (name, "string")));
    let column = |(name, kind): (&str, &str)| ColumnManifest {
        name: name.to_owned(),
        logical_type: kind.to_owned(),
        db_type: kind.to_owned(),
        nullable: true,
        default_kind: String::from("none"),
        is_primary_key: name == "id",
        ..ColumnManifest::default()
    };
    TableManifest {
        table_name: name.to_owned(),
        push_policy: String::from("owner_only"),
        updated_at_column: String::from("updated_at"),
        deleted_at_column: String::from("deleted_at"),
        primary_key: vec![String::from("id")],
        columns: kinds.map(column).collect(),
        rejoin: Some(TableExtension { sync: SyncModel::Log, ..TableExtension::default() }),
        ..TableManifest::default()
    }
}

/// Methods that pass the call on.
macro_rules! passed {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
            match self {
                Self::Memory(store) => store.$name($($arg),*),
                Self::File(file) => file.read(|store| store.$name($($arg),*)),
            }
        })*
    };
    (mut $($name:ident($($arg:ident: $kind:ty),*);)*) => {
        $(fn $name(&mut self, $($arg: $kind),*) -> Result<(), StoreError> {
            match self {
                Self::Memory(store) => store.$name($($arg),*),
                Self::File(file) => file.write(|mut store| store.$name($($arg),*)),
            }
        })*
    };
    (steps $($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
            match self {
                Self::Memory(store) => store.steps().$name($($arg),*),
                Self::File(file) => file.read(|store| store.steps().$name($($arg),*)),
            }
        })*
    };
    (mut steps $($name:ident($($arg:ident: $kind:ty),*);)*) => {
        $(fn $name(&mut self, $($arg: $kind),*) -> Result<(), StoreError> {
            match self {
                Self::Memory(store) => store.steps_mut().$name($($arg),*),
                Self::File(file) => file.write(|mut store| store.steps_mut().$name($($arg),*)),
            }
        })*
    };
}

impl LogRows for DeviceStore {
    passed! {
        row(row: &RowName) -> Option<LogRow>;
        table(table: &Name) -> Vec<(RowName, LogRow)>;
    }
}

impl Table for DeviceStore {
    passed! { all_rows() -> Vec<(RowName, LogRow)>; }
    passed! { mut put_row(row: &RowName, image: Option<&LogRow>); }
}

impl ReplicaStore for DeviceStore {
    passed! {
        facts() -> Option<Facts>;
        record(id: EntryId) -> Option<Record>;
        ids(up_to: &Key) -> Vec<EntryId>;
        own_ids() -> Vec<EntryId>;
        waiting_ids(what: Waiting, limit: usize) -> Vec<EntryId>;
        page_after(number: u64) -> Option<(u64, SnapshotPage)>;
        names_between(after: Option<&RowName>, through: Option<&RowName>) -> Vec<RowName>;
    }
    passed! { mut
        set_facts(facts: &Facts);
        put_record(id: EntryId, record: &Record);
        remove_record(id: EntryId);
        put_page(page: &SnapshotPage);
        clear_pages();
    }

    fn steps(&self) -> &dyn StepIndex {
        self
    }

    fn steps_mut(&mut self) -> &mut dyn StepIndex {
        self
    }
}

impl StepIndex for DeviceStore {
    passed! { mut steps
        put(step: &Key, footprint: &Footprint);
        remove(step: &Key);
    }
    passed! { steps
        get(step: &Key) -> Option<Footprint>;
        keys() -> Vec<Key>;
        last() -> Option<Key>;
        naming(row: &RowName, after: &Key) -> Vec<Key>;
        reading(table: &Name, after: &Key) -> Vec<Key>;
        writing(table: &Name, after: &Key) -> Vec<Key>;
    }
}
