//! Migration while the server stays plain: an old app's file, a whole client, and a socket in
//! between; then an upgrade of the server.

use std::path::PathBuf;
use std::time::Duration;

use rejoin_core::{Client, Config, Error, SyncFault};
use rejoin_tests::{Backend, Door, Loss, OldApp, PlainBackend, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{PATIENCE, Served};
use crate::from_synchro::fixture::App;

/// A device with an old app, and its plain server.
struct PlainMigration {
    folder: TempDir,
    door: Door,
}

const COLUMNS: [&str; 4] = ["id", "name", "note", "score"];
const VISITS: [&str; 3] = ["id", "place_id", "day"];

impl PlainMigration {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), door: Door::before(PlainBackend::new()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rows of server and old app, and the user's offline edits: a create with a child, an edit, an
    /// edit of two columns, and a delete.
    fn old(&self) -> PathBuf {
        let old = OldApp::new(&self.path("old.db"));
        for id in ["a", "b", "c", "d"] {
            let row =
                json!({"id": id, "name": "Name", "note": "Note", "score": 3, "user_id": "ana"});
            self.door.plain(|plain| plain.insert("places", &row));
            let version = self.plain_row(id)["updated_at"].as_str().unwrap().to_owned();
            old.pulled(&format!(
                "INSERT INTO places (id, name, note, score, user_id, updated_at)
                 VALUES ('{id}', 'Name', 'Note', 3, 'ana', '{version}')"
            ));
        }
        old.run("INSERT INTO places (id, name, note) VALUES ('n', 'New', 'of the road')");
        old.run("INSERT INTO visits (id, place_id, day) VALUES ('v', 'n', '2026-01-02')");
        old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
        old.run("UPDATE places SET note = NULL, score = 5 WHERE id = 'b'");
        old.run("DELETE FROM places WHERE id = 'c'");
        old.end()
    }

    fn plain_row(&self, id: &str) -> Value {
        self.door.plain(|plain| plain.server().row("places", id).unwrap())
    }

    fn see(&self) -> (String, String) {
        self.door.plain(|plain| (plain.see("places", &COLUMNS), plain.see("visits", &VISITS)))
    }

    fn open(&self) -> App {
        let mut config = Config::new(self.path("app.db"));
        config.server = Some(self.door.url.clone());
        config.user_id = Some("ana".to_owned());
        config.schema = Some(self.door.plain(PlainBackend::manifest));
        config.sync_interval = Duration::from_hours(1);
        App(Client::open(config).wait().unwrap())
    }

    /// Upgrades the server to Rejoin; its rows do not change.
    fn upgrade(&self) -> (Backend, Served) {
        let text = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        let mut rows = Vec::new();
        for table in ["places", "visits"] {
            let live = self.door.plain(|plain| plain.server().live(table));
            for row in live.values().filter_map(Value::as_object) {
                let columns = row.keys().cloned().collect::<Vec<_>>().join(", ");
                let values = row.iter().map(|(_, value)| text(value)).collect::<Vec<_>>();
                let values = values.join(", ");
                rows.push(format!("INSERT INTO {table} ({columns}) VALUES ({values})"));
            }
        }
        let ours = Backend::over(Store::Sqlite, &rows.join(";"));
        let served = Served::new(&ours);
        self.door.upgrade(served.url.trim_start_matches("http://").parse().unwrap());
        (ours, served)
    }
}

const PLACES_AFTER: &str = "a|Renamed|Note|3 b|Name|-|5 d|Name|Note|3 n|New|of the road|-";
const VISITS_AFTER: &str = "v|n|2026-01-02";

#[test]
fn network_faults_lose_and_double_nothing_of_an_import() {
    for path in ["/sync/register", "/sync/snapshot", "/sync/push", "/sync/pull"] {
        for loss in [Loss::Request, Loss::Answer] {
            let migration = PlainMigration::new();
            let old = migration.old();
            let app = migration.open();
            app.import(&old);
            migration.door.lose(loss, path);
            let lost = app.0.sync().run(Some(PATIENCE)).wait();
            assert!(
                matches!(lost, Err(Error::Sync(SyncFault::Offline(_)))),
                "{loss:?} of {path}: {lost:?}"
            );
            assert!(migration.door.has_lost());
            // Written while the outcome of the rest is unknown.
            app.0.execute("UPDATE places SET score = 1 WHERE id = 'a'", ()).wait().unwrap();
            app.import(&old);
            assert_eq!(app.sync().parked, 0, "{loss:?} of {path}");
            let places = PLACES_AFTER.replace("a|Renamed|Note|3", "a|Renamed|Note|1");
            assert_eq!(
                migration.see(),
                (places.clone(), VISITS_AFTER.into()),
                "{loss:?} of {path}"
            );
            assert_eq!((app.places(), app.pending()), (places, vec![]), "{loss:?} of {path}");
        }
    }
}

#[test]
fn lost_response_before_upgrade_applies_import_once() {
    for loss in [Loss::Request, Loss::Answer] {
        let migration = PlainMigration::new();
        let old = migration.old();
        let app = migration.open();
        app.import(&old);
        migration.door.lose(loss, "/sync/push");
        assert!(app.0.sync().run(Some(PATIENCE)).wait().is_err());
        app.0.execute("UPDATE places SET note = 'Later' WHERE id = 'd'", ()).wait().unwrap();
        app.0.shutdown().wait().unwrap();
        let (ours, _served) = migration.upgrade();
        let app = migration.open();
        let synced = app.sync();
        assert_eq!((synced.parked, synced.still_pending), (0, 0), "{loss:?}");
        let places = PLACES_AFTER.replace("d|Name|Note", "d|Name|Later");
        let see = "SELECT id, name, note, score FROM places ORDER BY id";
        assert_eq!(ours.see(see), places, "{loss:?}");
        assert_eq!(ours.see("SELECT id, place_id, day FROM visits"), VISITS_AFTER, "{loss:?}");
        assert_eq!((app.places(), app.pending()), (places, vec![]), "{loss:?}");
        // It is a device of the upgraded server now, with its features.
        app.0.execute("UPDATE places SET score = 2 WHERE id = 'd'", ()).wait().unwrap();
        assert_eq!(app.sync().still_pending, 0);
        assert_eq!(ours.see("SELECT score FROM places WHERE id = 'd'"), "2");
        assert_eq!(app.import(&old).taken_before, 5, "{loss:?}");
    }
}
