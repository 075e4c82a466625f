//! Migration from the Synchro SDK: the unsent edits of a device reach the companion server.

mod files;
pub(crate) mod fixture;

use rejoin_core::{
    Client, Error, InputFault, LeftOut, MutationState, ParkReason, PatchKind, Value,
};
use rejoin_tests::synchro::connect;

use fixture::{App, Migration, counts};

#[test]
fn unsent_edits_survive_offline_migration_and_are_pushed() {
    let (migration, old) = Migration::with(&["a", "b", "c", "d"]);
    old.run("INSERT INTO places (id, name, note) VALUES ('n', 'New', 'of the road')");
    old.run("INSERT INTO visits (id, place_id, day) VALUES ('v', 'n', '2026-01-02')");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    old.run("UPDATE places SET note = NULL, score = 5 WHERE id = 'b'; UPDATE places SET score = 4 WHERE id = 'b'");
    old.run("UPDATE places SET name = 'Gone'  WHERE id = 'c'; DELETE FROM places WHERE id = 'c'");
    let path = old.end();
    let before =
        [std::fs::read(&path).unwrap(), std::fs::read(migration.path("old.db-wal")).unwrap()];

    // Without a network: the old rows are there, as the user left them.
    let app = migration.open();
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
    assert_eq!(migration.see(), seen);
    assert_eq!(migration.backend.see("SELECT id, place_id, day FROM visits"), "v|n|2026-01-02");
    assert_eq!(app.places(), seen);
    assert_eq!(app.pending(), []);
    let after =
        [std::fs::read(&path).unwrap(), std::fs::read(migration.path("old.db-wal")).unwrap()];
    assert!(before == after, "the old file was changed");
    assert!(!migration.holds_a_copy(), "the copy stays");
}

#[test]
fn import_after_first_sync_sends_only_changed_columns() {
    let (migration, old) = Migration::with(&["a", "b", "c"]);
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    old.run("DELETE FROM places WHERE id = 'b'");
    old.run("UPDATE places SET name = name WHERE id = 'c'");
    let path = old.end();
    let app = migration.open();
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

    // An outside writer edits another column meanwhile: both edits remain.
    migration.backend.outside("UPDATE places SET note = 'Theirs' WHERE id = 'a'");
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked), (2, 0));
    assert_eq!(migration.see(), "a|Renamed|Theirs|3 c|Name|Note|3");
}

#[test]
fn imported_edit_of_changed_row_is_parked_with_both_rows() {
    let (migration, old) = Migration::with(&["a", "b", "c", "d", "e"]);
    old.run("UPDATE places SET name = 'Mine', note = NULL WHERE id = 'a'");
    old.run("DELETE FROM places WHERE id = 'b'");
    old.run("UPDATE places SET name = 'Same' WHERE id = 'c'");
    old.run("UPDATE places SET name = 'Lost' WHERE id = 'd'");
    old.run("DELETE FROM places WHERE id = 'e'");
    let path = old.end();
    migration.backend.clock.advance(60_000_000);
    migration.backend.outside("UPDATE places SET score = 1 WHERE id IN ('a', 'b')");
    migration.backend.outside("UPDATE places SET name = 'Same' WHERE id = 'c'");
    migration.backend.outside("DELETE FROM places WHERE id IN ('d', 'e')");

    let app = migration.open();
    app.import(&path);
    // Later, in the old app: an edit of a row without foreign changes is accepted on its own.
    app.0.execute("UPDATE places SET note = 'After' WHERE id = 'c'", ()).wait().unwrap();
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (1, 3, 0));
    assert_eq!(migration.see(), "a|Name|Note|1 b|Name|Note|1 c|Same|After|3");
    assert_eq!(app.places(), migration.see());
    let pending = app.pending();
    let parked: Vec<_> =
        pending.iter().map(|it| (it.rows[0].key.to_id().unwrap(), it.state, it.reason)).collect();
    let conflicted =
        |id: &str| (id.to_owned(), MutationState::Parked, Some(ParkReason::Conflicted));
    assert_eq!(parked, ["a", "b", "d"].map(conflicted));
    let row = &pending[0].detail.as_ref().unwrap().rows[0];
    assert_eq!(row.columns, ["name", "note", "score"]);
    let (mine, theirs) = (row.mine.as_ref().unwrap(), row.theirs.as_ref().unwrap());
    assert_eq!((&mine["name"], &theirs["name"]), (&"Mine".into(), &"Name".into()));
    assert_eq!((&mine["score"], &theirs["score"]), (&3.into(), &1.into()));
    assert_eq!(mine["note"], Value::Null, "{row:?}");
    let mine = pending[0].rows[0].columns.iter().find(|column| column.name == "name").unwrap();
    assert_eq!(mine.new, "Mine".into());
}

#[test]
fn repeated_import_adds_only_new_edits() {
    let (migration, old) = Migration::with(&["a"]);
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let app = migration.open();
    app.import(&path);
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 0, 0, 0)));
    assert_eq!(app.pending().len(), 2);
    app.sync();
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 0, 0, 0)));
    assert_eq!(app.pending(), []);

    // The user goes back to the old app, and then to the new one again.
    let old = connect(&path);
    old.execute_batch("INSERT INTO places (id, name) VALUES ('m', 'More')").unwrap();
    drop(old);
    let again = app.import(&path);
    assert_eq!((again.taken_before, counts(&again, "places")), (2, (0, 1, 0, 0)));
    app.sync();
    assert_eq!(migration.see(), "a|Renamed|Note|3 m|More|-|- n|New|-|-");
}

#[test]
fn sdk_queue_quirks_are_imported_as_the_user_meant() {
    let (migration, old) = Migration::with(&["a", "b", "c"]);
    // Deleted twice: the SDK would have sent an edit, and the row would have remained.
    old.run("DELETE FROM places WHERE id = 'a'; DELETE FROM places WHERE id = 'a'");
    // Deleted and undeleted.
    old.run(
        "DELETE FROM places WHERE id = 'b'; UPDATE places SET deleted_at = NULL WHERE id = 'b'",
    );
    // Created, deleted and undeleted before anything was sent: the SDK would have edited a row that
    // the server does not have.
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New'); DELETE FROM places WHERE id = 'n'");
    old.run("UPDATE places SET deleted_at = NULL WHERE id = 'n'");
    // Created and deleted.
    old.run(
        "INSERT INTO places (id, name) VALUES ('m', 'Never'); DELETE FROM places WHERE id = 'm'",
    );
    old.run("UPDATE places SET name = 'Still never' WHERE id = 'm'");
    let path = old.end();
    let app = migration.open();
    let report = app.import(&path);
    let [LeftOut { record_id, reason: why, .. }] = report.left_out.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(record_id.as_deref(), Some("m"));
    assert_eq!(why, "it was created and deleted before it was sent");
    let synced = app.sync();
    assert_eq!((synced.parked, synced.still_pending), (0, 0));
    assert_eq!(migration.see(), "b|Name|Note|3 c|Name|Note|3 n|New|-|-");
    assert_eq!(app.places(), migration.see());
}

#[test]
fn imported_child_is_sent_after_its_parent() {
    let (migration, old) = Migration::with(&[]);
    old.run("INSERT INTO places (id, name) VALUES ('p', 'Parent')");
    old.run("INSERT INTO visits (id, place_id) VALUES ('v', 'p')");
    old.run("UPDATE _synchro_pending_changes SET client_updated_at = '2026-01-01T00:00:00.000Z'");
    old.run("UPDATE places SET name = 'Edited' WHERE id = 'p'");
    assert_eq!(old.queue()[0], "visits v create -");
    let path = old.end();
    let app = migration.open();
    app.import(&path);
    let written: Vec<i64> = app.pending().iter().map(|mutation| mutation.written_ms).collect();
    assert_eq!(written[1], 1_767_225_600_000, "it is as old as the edit");
    assert!(written[0] > written[1]);
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (2, 0, 0));
    assert_eq!(migration.backend.see("SELECT id, place_id FROM visits"), "v|p");
}

#[test]
fn import_leaves_out_unsupported_parts_by_name() {
    let (migration, old) = Migration::with(&["a"]);
    old.run("CREATE TABLE \"recipes\" (id TEXT PRIMARY KEY, name TEXT, updated_at TEXT, deleted_at TEXT)");
    old.watch_over("recipes");
    old.run("INSERT INTO recipes (id, name) VALUES ('r', 'Soup'), ('s', 'Salad')");
    old.run("CREATE TABLE drafts (id TEXT PRIMARY KEY, body TEXT)");
    old.run("ALTER TABLE places ADD COLUMN colour TEXT");
    old.run("INSERT INTO places (id, name, score) VALUES ('bad', 'Bad', 'four')");
    old.run("INSERT INTO _synchro_pending_changes VALUES ('x', 'places', 'update', NULL, '2026-01-01T00:00:00.000Z')");
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();

    let app = migration.open();
    let report = app.import(&path);
    assert_eq!(counts(&report, "places"), (1, 1, 0, 0));
    assert_eq!(report.tables[0].columns_left_out, ["colour"]);
    let left_out: Vec<_> = report
        .left_out
        .iter()
        .map(|it| (it.table.as_str(), it.record_id.as_deref(), it.unsent, it.reason.as_str()))
        .collect();
    assert_eq!(
        left_out,
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
    assert_eq!(migration.see(), "a|Name|Note|3 n|New|-|-");
    assert_eq!(
        app.places(),
        migration.see(),
        "a row that cannot be sent is not shown as if it were"
    );
}

#[test]
fn imported_rows_missing_on_server_go_with_first_sync() {
    let (migration, old) = Migration::with(&["a", "b"]);
    old.pulled("INSERT INTO places (id, name, updated_at) VALUES ('ghost', 'Revoked', '2026-01-01T00:00:00+00:00')");
    old.pulled("INSERT INTO visits (id, place_id) VALUES ('alone', 'ghost')");
    old.pulled("UPDATE places SET deleted_at = '2026-01-01T00:00:00Z' WHERE id = 'b'");
    let path = old.end();
    let app = migration.open();
    let report = app.import(&path);
    assert_eq!(counts(&report, "places"), (2, 0, 0, 0));
    assert_eq!(app.places(), "a|Name|Note|3 ghost|Revoked|-|-");
    app.sync();
    assert_eq!(app.places(), "a|Name|Note|3 b|Name|Note|3");
    assert_eq!(app.see("SELECT id FROM visits"), "", "of a table that is empty on the server, too");
}

#[test]
fn import_requires_a_schema() {
    let (migration, old) = Migration::with(&[]);
    old.run("INSERT INTO places (id, name) VALUES ('n', 'New')");
    let path = old.end();
    let app = App(Client::open(migration.config(None)).wait().unwrap());
    let error = app.0.storage().import_synchro(&path).wait().unwrap_err().to_string();
    assert!(error.contains("bundle a schema, or wait for the first sync"), "{error}");
    app.sync();
    assert_eq!(counts(&app.import(&path), "places"), (0, 1, 0, 0));
    app.sync();
    assert_eq!(migration.see(), "n|New|-|-");
}

#[test]
fn import_inside_a_transaction_is_refused() {
    let (migration, old) = Migration::with(&[]);
    let path = old.end();
    let app = migration.open();
    let inside = app.0.clone();
    let refused = app.0.transaction(move |_| inside.storage().import_synchro(&path).wait());
    assert!(matches!(refused.wait(), Err(Error::InvalidInput(InputFault::Reentrant))));
}

#[test]
fn imported_edit_waits_for_first_sync_across_restart() {
    let (migration, old) = Migration::with(&["a"]);
    old.run("UPDATE places SET name = 'Renamed' WHERE id = 'a'");
    let path = old.end();
    let app = migration.open();
    app.import(&path);
    app.0.shutdown().wait().unwrap();
    let app = migration.open();
    app.0.execute("UPDATE places SET score = 5 WHERE id = 'a'", ()).wait().unwrap();
    let synced = app.sync();
    assert_eq!((synced.accepted, synced.parked, synced.still_pending), (2, 0, 0));
    assert_eq!(migration.see(), "a|Renamed|Note|5");
}
