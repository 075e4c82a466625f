//! Tests of the log over real files: the contract of a replica's store, every shape of a table, the
//! rebase's property, failures at each call, and costs that must not depend on the log's length.

mod cost;
mod failing;
mod failures;
mod property;
mod shapes;

use std::cell::Cell;

use rejoin_log::replica_store_contract;
use tempfile::TempDir;

use super::SqliteReplica;
use crate::engine::Engine;
use crate::engine::capture::guard::CaptureOff;
use crate::engine::change::Touched;
use crate::engine::tests::{engine, in_log, table};
use crate::error::Error;

/// A file with the tables of the tests of `rejoin-log`, and what a store borrows.
#[allow(dead_code)] // The folder and the guard are only kept.
pub(super) struct LogFile {
    folder: TempDir,
    pub(super) engine: Engine,
    touched: Touched,
    failure: Cell<Option<Error>>,
    off: CaptureOff,
}

impl LogFile {
    pub(super) fn new() -> Self {
        let columns = [
            ("id", "string"),
            ("buckets", "string"),
            ("text", "string"),
            ("number", "int64"),
            ("owner", "string"),
        ];
        let tables =
            ["d", "k", "q", "r", "s"].map(|name| in_log(table(name, &columns, Vec::new())));
        Self::of(engine(tables.into()))
    }

    pub(super) fn of((folder, engine): (TempDir, Engine)) -> Self {
        let (touched, failure, off) = (Touched::default(), Cell::new(None), engine.capture.off());
        Self { folder, engine, touched, failure, off }
    }

    /// The store, with capture off.
    pub(super) fn store(&mut self) -> SqliteReplica<'_> {
        let Engine { db, schema, log, .. } = &self.engine;
        SqliteReplica::new(db.conn(), (schema, &log.tables), &mut self.touched, &self.failure)
    }
}

replica_store_contract!(LogFile::new().store());
