//! A device with an old and a new app, and a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rejoin_core::{Client, Config, Manifest, SynchroImport};
use rejoin_tests::{Backend, OldApp};
use tempfile::TempDir;

use crate::client::{PATIENCE, Served};

/// An old and a new app in one folder of a device.
pub(super) struct Migration {
    pub(super) folder: TempDir,
    pub(super) backend: Backend,
    served: Served,
}

impl Migration {
    pub(super) fn new() -> Self {
        let backend = Backend::new();
        let served = Served::new(&backend);
        Self { folder: TempDir::new().unwrap(), backend, served }
    }

    /// With an old app that shares these rows with the server.
    pub(super) fn with(shared: &[&str]) -> (Self, OldApp) {
        let migration = Self::new();
        let old = OldApp::new(&migration.path("old.db"));
        for id in shared {
            migration.shared(&old, id);
        }
        (migration, old)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether a copy of an old file is beside the new one.
    pub(super) fn holds_a_copy(&self) -> bool {
        let names =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.into_iter().any(|name| name.to_string_lossy().contains("rejoin-import"))
    }

    /// Adds a row to the server and to the old app.
    fn shared(&self, old: &OldApp, id: &str) {
        self.backend.outside(&format!(
            "INSERT INTO places (id, name, note, score, user_id) VALUES ('{id}', 'Name', 'Note', 3, 'ana')"
        ));
        self.pulled(old, id);
    }

    /// Updates the row in the old app to the server's present values.
    pub(super) fn pulled(&self, old: &OldApp, id: &str) {
        let row = self.backend.see(&format!(
            "SELECT quote(name) || ', ' || quote(note) || ', ' || quote(score) || ', ' || quote(user_id) || ', '
             || quote(replace(updated_at, 'Z', '+00:00')) FROM places WHERE id = '{id}'"
        ));
        old.pulled(&format!(
            "INSERT OR REPLACE INTO places (id, name, note, score, user_id, updated_at) VALUES ('{id}', {row})"
        ));
    }

    pub(super) fn config(&self, schema: Option<Manifest>) -> Config {
        let mut config = Config::new(self.path("app.db"));
        config.server = Some(self.served.url.clone());
        config.user_id = Some("ana".to_owned());
        config.schema = schema;
        config.sync_interval = Duration::from_hours(1);
        config
    }

    pub(super) fn open(&self) -> App {
        App(Client::open(self.config(Some(self.backend.manifest()))).wait().unwrap())
    }

    pub(super) fn see(&self) -> String {
        self.backend.see("SELECT id, name, note, score FROM places ORDER BY id")
    }
}

/// The new app.
pub(crate) struct App(pub(crate) Client);

impl App {
    pub(crate) fn import(&self, path: &Path) -> SynchroImport {
        self.0.storage().import_synchro(path).wait().unwrap()
    }

    pub(crate) fn sync(&self) -> rejoin_core::SyncReport {
        self.0.sync().run(Some(PATIENCE)).wait().unwrap()
    }

    pub(crate) fn see(&self, sql: &str) -> String {
        let rows = self.0.query(sql, ()).wait().unwrap();
        let cell = |value: rejoin_core::Value| match value {
            rejoin_core::Value::Null => "-".to_owned(),
            value => value.to_id().unwrap_or_else(|| format!("{value:?}")),
        };
        let width = rows.columns().len();
        let line = |row: rejoin_core::Row<'_>| {
            let cells = (0..width).map(|at| cell(row.get(at).unwrap()));
            cells.collect::<Vec<_>>().join("|")
        };
        rows.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn places(&self) -> String {
        self.see("SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id")
    }

    pub(crate) fn pending(&self) -> Vec<rejoin_core::PendingMutation> {
        self.0.queue().all().wait().unwrap()
    }
}

/// Rows, creates, updates and deletes of a table.
pub(crate) fn counts(report: &SynchroImport, table: &str) -> (u64, u64, u64, u64) {
    let found = report.tables.iter().find(|found| found.name == table).unwrap();
    (found.rows, found.creates, found.updates, found.deletes)
}
