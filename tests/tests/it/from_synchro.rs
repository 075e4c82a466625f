//! Moving over: what a device on the Synchro SDK had not sent reaches our server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::mutant::Mutant;
use rejoin_core::{
    Client, Config, Error, LeftOut, Manifest, MutationState, ParkReason, PatchKind, Services,
    SynchroImport, SystemHost,
};
use rejoin_tests::{Backend, OldApp};
use tempfile::TempDir;

use super::caught;
use super::client::{PATIENCE, Served};

/// An old and a new app in one folder of a device.
struct Move {
    folder: TempDir,
    backend: Backend,
    served: Served,
}

impl Move {
    fn new() -> Self {
        let backend = Backend::new();
        let served = Served::new(&backend);
        Self { folder: TempDir::new().unwrap(), backend, served }
    }

    fn old(&self) -> OldApp {
        OldApp::new(&self.path("old.db"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A row that the server has, and that the old app has pulled.
    fn shared(&self, old: &OldApp, id: &str) {
        self.backend.outside(&format!(
            "INSERT INTO places (id, name, note, score, user_id) VALUES ('{id}', 'Name', 'Note', 3, 'ana')"
        ));
        self.pulled(old, id);
    }

    /// The old app has the row as the server has it now.
    fn pulled(&self, old: &OldApp, id: &str) {
        let row = self.backend.see(&format!(
            "SELECT quote(name) || ', ' || quote(note) || ', ' || quote(score) || ', ' || quote(user_id) || ', '
             || quote(replace(updated_at, 'Z', '+00:00')) FROM places WHERE id = '{id}'"
        ));
        old.pulled(&format!(
            "INSERT OR REPLACE INTO places (id, name, note, score, user_id, updated_at) VALUES ('{id}', {row})"
        ));
    }

    fn config(&self, schema: Option<Manifest>) -> Config {
        let mut config = Config::new(self.path("app.db"));
        config.server_url = Some(self.served.url.clone());
        config.user_id = Some("ana".to_owned());
        config.schema = schema;
        config.sync_interval = Duration::from_hours(1);
        config
    }

    fn open(&self) -> App {
        App(Client::open(self.config(Some(self.backend.manifest()))).wait().unwrap())
    }

    fn see(&self) -> String {
        self.backend.see("SELECT id, name, note, score FROM places ORDER BY id")
    }
}

/// The new app.
struct App(Client);

impl App {
    fn import(&self, path: &Path) -> SynchroImport {
        self.0.import_synchro(path).wait().unwrap()
    }

    fn sync(&self) -> rejoin_core::Report {
        self.0.sync_and_wait(Some(PATIENCE)).wait().unwrap()
    }

    fn see(&self, sql: &str) -> String {
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

    fn places(&self) -> String {
        self.see("SELECT id, name, note, score FROM places WHERE deleted_at IS NULL ORDER BY id")
    }

    fn pending(&self) -> Vec<rejoin_core::Pending> {
        self.0.pending().wait().unwrap()
    }
}

/// Rows, creates, updates and deletes of a table.
fn counts(report: &SynchroImport, table: &str) -> (u64, u64, u64, u64) {
    let found = report.tables.iter().find(|found| found.name == table).unwrap();
    (found.rows, found.creates, found.updates, found.deletes)
}

#[test]
fn unsent_creates_edits_and_deletes_survive_the_move_offline_and_reach_our_server() {
    let story = Move::new();
    let old = story.old();
    ["a", "b", "c", "d"].into_iter().for_each(|id| story.shared(&old, id));
    old.run("INSERT INTO places (id, name, note) VALUES ('n', 'New', 'of the road')");
    old.run("INSERT INTO visits (id, place_id, day) VALUES ('v', 'n', '2026-01-02')");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    old.run("UPDATE places SET note = NULL, score = 5 WHERE id = 'b'; UPDATE places SET score = 4 WHERE id = 'b'");
    old.run("UPDATE places SET name = 'Gone'  WHERE id = 'c'; DELETE FROM places WHERE id = 'c'");
    let path = old.end();
    let before = [std::fs::read(&path).unwrap(), std::fs::read(story.path("old.db-wal")).unwrap()];

    // Without a network: the old rows are there, as their user had left them.
    let app = story.open();
    let report = app.import(&path);
    assert_eq!(counts(&report, "places"), (4, 1, 2, 1));
    assert_eq!(counts(&report, "visits"), (0, 1, 0, 0));
    assert_eq!((report.taken_before, report.awaiting), (0, 3));
    assert_eq!(report.left_out, []);
    let seen = "a|Renamed|Note|3 b|Name|-|4 d|Name|Note|3 n|New|of the road|-";
    assert_eq!(app.places(), seen);
    assert_eq!(app.see("SELECT id, place_id, day FROM visits"), "v|n|2026-01-02");
    assert_eq!(app.pending().len(), 5);

    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (5, 0, 0));
    assert_eq!(story.see(), seen);
    assert_eq!(story.backend.see("SELECT id, place_id, day FROM visits"), "v|n|2026-01-02");
    assert_eq!(app.places(), seen);
    assert_eq!(app.pending(), []);
    let after = [std::fs::read(&path).unwrap(), std::fs::read(story.path("old.db-wal")).unwrap()];
    assert!(before == after, "the old file was changed");
    assert!(!story.path("app.db-rejoin-import").exists(), "the copy stays");
}

#[test]
fn after_a_first_sync_edits_are_laid_over_the_servers_rows_and_say_what_they_change() {
    let story = Move::new();
    let old = story.old();
    ["a", "b", "c"].into_iter().for_each(|id| story.shared(&old, id));
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    old.run("DELETE FROM places WHERE id = 'b'");
    old.run("UPDATE places SET name = name WHERE id = 'c'");
    let path = old.end();
    let app = story.open();
    app.sync();
    app.0.stop().wait().unwrap();

    let report = app.import(&path);
    assert_eq!((counts(&report, "places"), report.awaiting), ((0, 0, 2, 1), 0));
    assert_eq!(app.places(), "a|Renamed|Note|3 c|Name|Note|3");
    let pending = app.pending();
    let [edit, delete] = pending.as_slice() else { panic!("{pending:?}") };
    let [row] = edit.rows.as_slice() else { panic!("{edit:?}") };
    assert_eq!((row.operation, row.columns.len()), (PatchKind::Update, 1));
    let name = &row.columns[0];
    assert_eq!(
        (name.name.as_str(), &name.old, &name.new),
        ("name", &"Name".into(), &"Renamed".into())
    );
    assert!(delete.rows[0].columns.iter().any(|column| column.name == "deleted_at"));

    // Somebody edits another column meanwhile: both edits stand.
    story.backend.outside("UPDATE places SET note = 'Theirs' WHERE id = 'a'");
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked), (2, 0));
    assert_eq!(story.see(), "a|Renamed|Theirs|3 c|Name|Note|3");
}

#[test]
fn an_edit_of_a_row_that_somebody_has_changed_since_is_parked_with_both_rows() {
    caught(Mutant::ImportOverOthers, parked_with_both_rows);
}

fn parked_with_both_rows() {
    let story = Move::new();
    let old = story.old();
    ["a", "b", "c", "d", "e"].into_iter().for_each(|id| story.shared(&old, id));
    old.run("UPDATE places SET name = 'Mine', note = NULL WHERE id = 'a'");
    old.run("DELETE FROM places WHERE id = 'b'");
    old.run("UPDATE places SET name = 'Same' WHERE id = 'c'");
    old.run("UPDATE places SET name = 'Lost' WHERE id = 'd'");
    old.run("DELETE FROM places WHERE id = 'e'");
    let path = old.end();
    story.backend.clock.advance(60_000_000);
    story.backend.outside("UPDATE places SET score = 1 WHERE id IN ('a', 'b')");
    story.backend.outside("UPDATE places SET name = 'Same' WHERE id = 'c'");
    story.backend.outside("DELETE FROM places WHERE id IN ('d', 'e')");

    let app = story.open();
    app.import(&path);
    // In the old app, later: an edit of what nobody else has touched stands on its own.
    app.0.execute("UPDATE places SET note = 'After' WHERE id = 'c'", ()).wait().unwrap();
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (1, 3, 0));
    assert_eq!(story.see(), "a|Name|Note|1 b|Name|Note|1 c|Same|After|3");
    assert_eq!(app.places(), story.see());
    let pending = app.pending();
    let told: Vec<_> =
        pending.iter().map(|it| (it.rows[0].key.to_id().unwrap(), it.state, it.reason)).collect();
    let conflicted =
        |id: &str| (id.to_owned(), MutationState::Parked, Some(ParkReason::Conflicted));
    assert_eq!(told, ["a", "b", "d"].map(conflicted));
    let detail: serde_json::Value =
        serde_json::from_str(pending[0].detail.as_ref().unwrap()).unwrap();
    let row = &detail["rows"][0];
    assert_eq!(row["columns"], serde_json::json!(["name", "note", "score"]));
    assert_eq!((&row["mine"]["name"], &row["theirs"]["name"]), (&"Mine".into(), &"Name".into()));
    assert_eq!((&row["mine"]["score"], &row["theirs"]["score"]), (&3.into(), &1.into()));
    assert!(row["mine"]["note"].is_null(), "{row}");
    let mine = pending[0].rows[0].columns.iter().find(|column| column.name == "name").unwrap();
    assert_eq!(mine.new, "Mine".into());
}

#[test]
fn a_push_whose_answer_the_old_app_never_got_is_not_doubled() {
    let story = Move::new();
    let old = story.old();
    story.shared(&old, "a");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    // The server had taken both, and the network took its answer.
    story.backend.clock.advance(60_000_000);
    story.backend.outside("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    story.backend.outside("INSERT INTO places (id, name, user_id) VALUES ('n', 'New', 'ana')");

    let app = story.open();
    app.import(&path);
    let synced = app.sync();
    assert_eq!((synced.parked, synced.still_pending), (0, 0));
    assert_eq!(story.see(), "a|Renamed|Note|3 n|New|-|-");
    assert_eq!(app.pending(), []);
}

#[test]
fn what_is_imported_twice_is_taken_once_and_what_is_new_is_added() {
    let story = Move::new();
    let old = story.old();
    story.shared(&old, "a");
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let app = story.open();
    app.import(&path);
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 0, 0, 0)));
    assert_eq!(app.pending().len(), 2);
    app.sync();
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 0, 0, 0)));
    assert_eq!(app.pending(), []);

    // The user goes back to the old app, and comes again.
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch("INSERT INTO places (id, name) VALUES ('m', 'More')").unwrap();
    drop(old);
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 1, 0, 0)));
    app.sync();
    assert_eq!(story.see(), "a|Renamed|Note|3 m|More|-|- n|New|-|-");
}

#[test]
fn the_sdks_quirks_end_as_their_user_meant() {
    let story = Move::new();
    let old = story.old();
    ["a", "b", "c"].into_iter().for_each(|id| story.shared(&old, id));
    // Deleted twice: the SDK would have sent an edit, and the row would have lived.
    old.run("DELETE FROM places WHERE id = 'a'; DELETE FROM places WHERE id = 'a'");
    // Deleted and taken back.
    old.run(
        "DELETE FROM places WHERE id = 'b'; UPDATE places SET deleted_at = NULL WHERE id = 'b'",
    );
    // Made, deleted, and taken back, before anything was sent: the SDK would have edited a row that nobody has.
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New'); DELETE FROM places WHERE id = 'n'");
    old.run("UPDATE places SET deleted_at = NULL WHERE id = 'n'");
    // Made and deleted.
    old.run(
        "INSERT INTO places (id, name) VALUES ('m', 'Never'); DELETE FROM places WHERE id = 'm'",
    );
    old.run("UPDATE places SET name = 'Still never' WHERE id = 'm'");
    let path = old.end();
    let app = story.open();
    let report = app.import(&path);
    let [LeftOut { record_id, why, .. }] = report.left_out.as_slice() else { panic!("{report:?}") };
    assert_eq!(record_id.as_deref(), Some("m"));
    assert_eq!(why, "it was made and deleted before the server had heard of it");
    let synced = app.sync();
    assert_eq!((synced.parked, synced.still_pending), (0, 0));
    assert_eq!(story.see(), "b|Name|Note|3 c|Name|Note|3 n|New|-|-");
    assert_eq!(app.places(), story.see());
}

#[test]
fn a_child_that_the_sdk_would_have_sent_before_its_parent_is_sent_after_it() {
    let story = Move::new();
    let old = story.old();
    old.run("INSERT INTO places (id, name) VALUES ('p', 'Parent')");
    old.run("INSERT INTO visits (id, place_id) VALUES ('v', 'p')");
    old.run("UPDATE _synchro_pending_changes SET client_updated_at = '2026-01-01T00:00:00.000Z'");
    old.run("UPDATE places SET name = 'Edited' WHERE id = 'p'");
    assert_eq!(old.queue()[0], "visits v create -");
    let path = old.end();
    let app = story.open();
    app.import(&path);
    let written: Vec<i64> = app.pending().iter().map(|mutation| mutation.written_ms).collect();
    assert_eq!(written[1], 1_767_225_600_000, "it is as old as the edit");
    assert!(written[0] > written[1]);
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (2, 0, 0));
    assert_eq!(story.backend.see("SELECT id, place_id FROM visits"), "v|p");
}

#[test]
fn what_has_no_place_here_is_left_out_by_name_and_stays_in_the_old_file() {
    let story = Move::new();
    let old = story.old();
    story.shared(&old, "a");
    old.run("CREATE TABLE \"recipes\" (id TEXT PRIMARY KEY, name TEXT, updated_at TEXT, deleted_at TEXT)");
    old.watch_over("recipes");
    old.run("INSERT INTO recipes (id, name) VALUES ('r', 'Soup'), ('s', 'Salad')");
    old.run("CREATE TABLE drafts (id TEXT PRIMARY KEY, body TEXT)");
    old.run("ALTER TABLE places ADD COLUMN colour TEXT");
    old.run("INSERT INTO places (id, name, score) VALUES ('bad', 'Bad', 'four')");
    old.run("INSERT INTO _synchro_pending_changes VALUES ('x', 'places', 'update', NULL, '2026-01-01T00:00:00.000Z')");
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();

    let app = story.open();
    let report = app.import(&path);
    assert_eq!(counts(&report, "places"), (1, 1, 0, 0));
    assert_eq!(report.tables[0].columns_left_out, ["colour"]);
    let told: Vec<_> = report
        .left_out
        .iter()
        .map(|it| (it.table.as_str(), it.record_id.as_deref(), it.unsent, it.why.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("places", Some("x"), 1, "its row is not in the old file any more"),
            (
                "places",
                Some("bad"),
                1,
                "score: cannot store TEXT here; the column takes an integer"
            ),
            (
                "drafts",
                None,
                0,
                "the app made it for this device only; copy what is needed of it by hand"
            ),
            ("recipes", None, 2, "the schema has no synced table of this name"),
        ]
    );
    app.sync();
    assert_eq!(story.see(), "a|Name|Note|3 n|New|-|-");
    assert_eq!(app.places(), story.see(), "a row that cannot be sent is not shown as if it were");
}

#[test]
fn rows_that_the_server_has_lost_or_never_had_go_with_the_first_sync() {
    let story = Move::new();
    let old = story.old();
    ["a", "b"].into_iter().for_each(|id| story.shared(&old, id));
    old.pulled("INSERT INTO places (id, name, updated_at) VALUES ('ghost', 'Revoked', '2026-01-01T00:00:00+00:00')");
    old.pulled("INSERT INTO visits (id, place_id) VALUES ('alone', 'ghost')");
    old.pulled("UPDATE places SET deleted_at = '2026-01-01T00:00:00Z' WHERE id = 'b'");
    let path = old.end();
    let app = story.open();
    let report = app.import(&path);
    assert_eq!(counts(&report, "places"), (2, 0, 0, 0));
    assert_eq!(app.places(), "a|Name|Note|3 ghost|Revoked|-|-");
    app.sync();
    assert_eq!(app.places(), "a|Name|Note|3 b|Name|Note|3");
    assert_eq!(app.see("SELECT id FROM visits"), "", "of a table that is empty on the server, too");
}

#[test]
fn a_file_that_is_none_of_synchros_is_refused_by_name_and_nothing_is_taken() {
    let story = Move::new();
    let old = story.old();
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(story.path(name), bytes).unwrap();
        story.path(name)
    };
    let other = |name: &str, sql: &str| {
        rusqlite::Connection::open(story.path(name)).unwrap().execute_batch(sql).unwrap();
        story.path(name)
    };
    let later = OldApp::bare(&story.path("later.db"));
    later.run("ALTER TABLE _synchro_pending_changes ADD COLUMN mutation_id TEXT");
    let app = story.open();
    app.sync();
    app.0.checkpoint(rejoin_core::CheckpointMode::Truncate).wait().unwrap();
    let cases: [(PathBuf, &str); 7] = [
        (story.path("none.db"), "none.db"),
        (write("text.db", b"hello"), "is no SQLite database"),
        (write("empty.db", b""), "is no SQLite database"),
        (other("other.db", "CREATE TABLE t (a)"), "it is no database of the Synchro SDK"),
        (later.end(), "a version of the Synchro SDK that this release does not know"),
        (story.path("app.db"), "it is the file of this client itself"),
        (write("ours.db", &std::fs::read(story.path("app.db")).unwrap()), "open it instead"),
    ];
    for (file, words) in cases {
        let error = app.0.import_synchro(&file).wait().unwrap_err();
        assert!(error.to_string().contains(words), "{}: {error}", file.display());
        assert!(!story.path("app.db-rejoin-import").exists(), "{words}");
    }
    assert_eq!(app.pending(), []);
    assert_eq!(counts(&app.import(&path), "places"), (0, 1, 0, 0));
}

#[test]
fn a_damaged_file_has_its_own_error_and_is_taken_when_it_is_mended() {
    let story = Move::new();
    let old = story.old();
    for number in 0..400 {
        old.run(&format!(
            "INSERT INTO places (id, name) VALUES ('p{number}', 'Name of some length')"
        ));
    }
    old.run("PRAGMA wal_checkpoint(TRUNCATE)");
    let path = old.end();
    let whole = std::fs::read(&path).unwrap();
    let app = story.open();
    let mut scribbled = whole.clone();
    let middle = whole.len() / 2;
    scribbled[middle..middle + 4096].fill(0xA5);
    let cut = &whole[..whole.len() - 5000];
    for damaged in [scribbled.as_slice(), cut] {
        std::fs::write(&path, damaged).unwrap();
        let error = app.0.import_synchro(&path).wait().unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
        assert!(error.to_string().contains("old.db"), "{error}");
        assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()));
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(counts(&app.import(&path), "places"), (0, 400, 0, 0));
}

#[test]
fn a_transaction_that_a_crash_cut_off_in_the_old_app_is_not_taken() {
    let story = Move::new();
    let path = story.path("old.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    drop(OldApp::new(&story.path("model.db")));
    old.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1;",
    )
    .unwrap();
    let model = story.path("model.db").to_string_lossy().into_owned();
    let tables: Vec<String> = rusqlite::Connection::open(model)
        .unwrap()
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    tables.iter().for_each(|sql| old.execute_batch(sql).unwrap());
    old.execute_batch("INSERT INTO _synchro_meta VALUES ('sync_lock', '0')").unwrap();
    old.execute_batch("INSERT INTO places (id, name) VALUES ('n', 'New')").unwrap();
    // Pages of an open transaction stand in the file; what takes them back stands beside it.
    old.execute_batch("BEGIN").unwrap();
    for number in 0..2_000 {
        let sql = format!("INSERT INTO places (id, name) VALUES ('p{number}', '{number:0200}')");
        old.execute_batch(&sql).unwrap();
    }
    let (file, journal) = (story.path("cut.db"), story.path("cut.db-journal"));
    std::fs::copy(&path, &file).unwrap();
    std::fs::copy(story.path("old.db-journal"), &journal).unwrap();
    drop(old);
    assert!(std::fs::metadata(&file).unwrap().len() > 100_000, "nothing was spilled");

    let app = story.open();
    assert_eq!(counts(&app.import(&file), "places"), (0, 1, 0, 0));
    assert!(journal.exists(), "the old file is as it was");
}

#[test]
fn an_app_that_keeps_its_file_name_is_told_the_way_out_and_its_file_is_untouched() {
    let story = Move::new();
    let old = OldApp::new(&story.path("app.db"));
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let wal = || std::fs::read(story.path("app.db-wal")).unwrap();
    let before = (std::fs::read(&path).unwrap(), wal());
    let error = Client::open(story.config(None)).wait().unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("take this one over with import_synchro"), "{error}");
    assert!(before == (std::fs::read(&path).unwrap(), wal()), "the old file was changed");

    // As Android's helper leaves it, with a version of the app's own.
    let android = story.path("android.db");
    rusqlite::Connection::open(&android).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    let config = Config { path: android, ..story.config(None) };
    let error = Client::open(config).wait().unwrap_err();
    assert!(error.to_string().contains("import_synchro"), "{error}");

    // The way out: another name for the new file.
    for suffix in ["", "-wal"] {
        let name = |base: &str| story.path(&format!("{base}{suffix}"));
        std::fs::rename(name("app.db"), name("before.db")).unwrap();
    }
    let app = story.open();
    assert_eq!(counts(&app.import(&story.path("before.db")), "places"), (0, 1, 0, 0));
    app.sync();
    assert_eq!(story.see(), "n|New|-|-");
}

#[test]
fn without_a_schema_nothing_is_taken_and_after_a_sync_it_is() {
    let story = Move::new();
    let old = story.old();
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let app = App(Client::open(story.config(None)).wait().unwrap());
    let error = app.0.import_synchro(&path).wait().unwrap_err().to_string();
    assert!(error.contains("bundle a schema, or wait for the first sync"), "{error}");
    app.sync();
    assert_eq!(counts(&app.import(&path), "places"), (0, 1, 0, 0));
    app.sync();
    assert_eq!(story.see(), "n|New|-|-");
}

#[test]
fn inside_a_transaction_it_would_wait_for_itself() {
    let story = Move::new();
    let path = story.old().end();
    let app = story.open();
    let inside = app.0.clone();
    let refused = app.0.transaction(move |_| inside.import_synchro(&path).wait());
    assert!(matches!(refused.wait(), Err(Error::Reentrant)));
}

/// A machine that looks at the file each time it is asked for chance: a crash could come there.
#[derive(Debug)]
struct Witness {
    real: SystemHost,
    folder: PathBuf,
    looks: std::sync::Mutex<Option<usize>>,
    panics_at: Option<usize>,
}

impl Witness {
    fn copy(&self, number: usize) {
        for suffix in ["", "-wal"] {
            let from = self.folder.join(format!("app.db{suffix}"));
            std::fs::copy(from, self.folder.join(format!("copy{number}.db{suffix}"))).unwrap();
        }
    }
}

impl rejoin_core::Host for Witness {
    fn now_micros(&self) -> i64 {
        self.real.now_micros()
    }

    fn elapsed(&self) -> Duration {
        self.real.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.real.random(bytes);
        let mut looks = self.looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = looks.as_mut() {
            self.copy(*number);
            *number += 1;
            assert_ne!(Some(*number), self.panics_at, "as a crash would end it");
        }
    }
}

#[test]
fn a_crash_in_the_middle_leaves_nothing_taken_and_after_it_everything() {
    let story = Move::new();
    let old = story.old();
    story.shared(&old, "a");
    for number in 0..5 {
        old.run(&format!("INSERT INTO places (id, name) VALUES ('n{number}', 'New')"));
    }
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let witness = |panics_at| {
        Arc::new(Witness {
            real: SystemHost::default(),
            folder: story.folder.path().to_owned(),
            looks: None.into(),
            panics_at,
        })
    };
    let open = |host: &Arc<Witness>| {
        let config = story.config(Some(story.backend.manifest()));
        let host: Arc<dyn rejoin_core::Host> = host.clone();
        App(Client::open_with(config, Services { host: Some(host), ..Services::default() })
            .wait()
            .unwrap())
    };

    // Ended by a panic at its fourth mutation: nothing was taken, and the client goes on.
    let host = witness(Some(4));
    let app = open(&host);
    *host.looks.lock().unwrap() = Some(0);
    let error = app.0.import_synchro(&path).wait().unwrap_err();
    assert!(matches!(error, Error::Internal(_)), "{error}");
    assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()));
    app.0.shutdown().wait().unwrap();

    // The file as it was at each moment within, and after the end.
    let host = witness(None);
    let app = open(&host);
    *host.looks.lock().unwrap() = Some(0);
    app.import(&path);
    let seen = app.places();
    assert_eq!(*host.looks.lock().unwrap(), Some(6));
    host.copy(6);
    app.0.shutdown().wait().unwrap();
    for number in 0..7 {
        let mut config = story.config(None);
        config.path = story.path(&format!("copy{number}.db"));
        config.server_url = None;
        let app = App(Client::open(config).wait().unwrap());
        if number < 6 {
            assert_eq!((app.pending(), app.places()), (Vec::new(), String::new()), "{number}");
            assert_eq!(counts(&app.import(&path), "places"), (1, 5, 1, 0), "{number}");
        }
        assert_eq!((app.pending().len(), app.places()), (6, seen.clone()), "{number}");
        assert_eq!(app.import(&path).taken_before, 6);
    }
}

#[test]
fn an_edit_that_waits_for_the_first_sync_waits_through_a_restart() {
    let story = Move::new();
    let old = story.old();
    story.shared(&old, "a");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let app = story.open();
    app.import(&path);
    app.0.shutdown().wait().unwrap();
    let app = story.open();
    app.0.execute("UPDATE places SET score = 5 WHERE id = 'a'", ()).wait().unwrap();
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (2, 0, 0));
    assert_eq!(story.see(), "a|Renamed|Note|5");
}
