//! Access: denied unless granted, and hidden rows cannot be detected.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;
use rejoin_server::TableConfig;
use serde_json::{Value, json};

use crate::world::{Backend, World, create, erase, place, rename, update};

const ROWS: &str = "
    INSERT INTO places(id, owner_id, name) VALUES('a1', 'anna', 'x'), ('A1', 'Anna', 'y');
    INSERT INTO visits(id, place_id) VALUES('va', 'a1'), ('vA', 'A1'), ('lost', 'nowhere');
    INSERT INTO tags(id, visit_id) VALUES(1, 'va'), (2, 'vA'), (3, 'lost');
    INSERT INTO countries(code) VALUES('NO');
    INSERT INTO secrets(id) VALUES('s');
";

#[apply(secured_stores!)]
async fn users_see_own_rows_and_chains_case_sensitively(world: World) {
    world.write(ROWS);
    let table = [
        ("anna", vec!["countries/NO", "places/a1", "tags/1", "visits/va"]),
        ("Anna", vec!["countries/NO", "places/A1", "tags/2", "visits/vA"]),
        ("ANNA", vec!["countries/NO"]),
        ("stranger", vec!["countries/NO"]),
        ("%", vec!["countries/NO"]),
    ];
    for (user, seen) in table {
        let mut device = world.device(user, "d").await;
        assert_eq!(device.snapshot(2).await, seen, "{user}");
    }
}

/// A hidden row and a missing row give identical responses.
#[apply(secured_stores!)]
async fn hidden_and_missing_rows_are_indistinguishable(world: World) {
    world.write(ROWS);
    let mut ben = world.device("ben", "b").await;
    let changes = |id: &str, visit: &str| {
        [
            rename(id, "x", "x"),
            erase(id, "x"),
            create("visits", "new", &json!({"place_id": id})),
            create("tags", "99", &json!({"visit_id": visit})),
        ]
    };
    for (theirs, missing) in changes("a1", "va").into_iter().zip(changes("zz", "zz")) {
        let (theirs, their_rows) = ben.push(&theirs.to_string(), json!([theirs])).await;
        let (missing, missing_rows) = ben.push(&missing.to_string(), json!([missing])).await;
        // A delete of a missing row succeeds.
        let is_delete = theirs.id.contains("delete");
        assert_eq!(theirs.verdict == Ending::Accepted, is_delete, "{theirs:?}");
        assert_eq!(
            (theirs.verdict, &theirs.code, &theirs.column, &theirs.message),
            (missing.verdict, &missing.code, &missing.column, &missing.message)
        );
        assert!(their_rows[0].absent && missing_rows[0].absent);
    }
    let (verdict, rows) = ben.push("create", json!([place("a1", "mine")])).await;
    assert_eq!(verdict.code.as_deref(), Some(code::ROW_NOT_FOUND));
    assert!(rows[0].absent && rows[0].data.is_none());
    assert_eq!(world.one("SELECT name FROM places WHERE id = 'a1'"), "x");
}

#[apply(secured_stores!)]
async fn public_rows_are_readable_and_not_writable(backend: Backend) {
    let world = World::with(backend,
        "CREATE TABLE notes(id TEXT PRIMARY KEY, owner TEXT COLLATE NOCASE, body TEXT, updated_at TEXT);
         INSERT INTO notes(id, owner, body) VALUES('g', NULL, 'all'), ('b', 'ben', 'mine');",
        |config| {
            let table = TableConfig::owned("notes", "owner");
            config.with_table(TableConfig { allow_global_read: true, ..table })
        },
    );
    let mut ben = world.device("ben", "b").await;
    assert_eq!(ben.snapshot(10).await, ["notes/b", "notes/g"]);
    let mut other = world.device("BEN", "b").await;
    assert_eq!(other.snapshot(10).await, ["notes/g"], "a collation folds no user ids");
    let edit = update("notes", "g", &json!({"body": "all"}), &json!({"body": "x"}));
    let (verdict, rows) = ben.push("m1", json!([edit])).await;
    assert_eq!(verdict.verdict, Ending::Refused);
    assert_eq!(verdict.code.as_deref(), Some(code::OWNERSHIP));
    assert!(!rows[0].absent, "the row is visible");
    world.write("UPDATE notes SET owner = NULL WHERE id = 'b'");
    assert_eq!(ben.pull().await, ["notes/b"]);
    assert_eq!(other.pull().await, ["notes/b"]);
    world.write("UPDATE notes SET owner = 'ben' WHERE id = 'b'");
    assert_eq!(ben.pull().await, ["notes/b"]);
    assert_eq!(other.pull().await, ["-notes/b"]);
}

#[apply(secured_stores!)]
async fn numeric_owner_column_works(backend: Backend) {
    let world = World::with(
        backend,
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, owner INTEGER, updated_at TEXT);
         INSERT INTO notes(id, owner) VALUES(1, 7), (2, 70);",
        |config| config.with_table(TableConfig::owned("notes", "owner")),
    );
    let mut seven = world.device("7", "d").await;
    assert_eq!(seven.snapshot(10).await, ["notes/1"]);
    let rows = seven.accept("m1", json!([create("notes", "9", &json!({}))])).await;
    let data: Value = serde_json::from_str(rows[0].data.as_ref().unwrap().get()).unwrap();
    assert_eq!(data["owner"], 7);
}

#[apply(secured_stores!)]
async fn digest_covers_visible_rows_without_server_columns(backend: Backend) {
    use rejoin_protocol::ColumnKind;
    use rejoin_protocol::digest::Digest;
    use rejoin_protocol::wire::digest::DigestAnswer;
    let world = World::new(backend);
    let mut anna = world.device("anna", "d").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    world.device("ben", "d").await.accept("m1", json!([place("p2", "Pier")])).await;
    let ask = |user: &'static str| {
        let world = &world;
        async move {
            let headers = [("X-User-ID", user)];
            let (status, _, body) =
                world.send("GET", "/sync/digest?table=places", &headers, "").await;
            assert_eq!(status, 200);
            serde_json::from_value::<DigestAnswer>(body).unwrap().whole.digest().unwrap()
        }
    };
    let mut expected = Digest::default();
    let cells = [
        ("p1".into(), ColumnKind::String),
        ("Quay".into(), ColumnKind::String),
        (rejoin_protocol::Value::Integer(0), ColumnKind::Int64),
        ("2026-11-20T08:00:00Z".into(), ColumnKind::Datetime),
    ];
    expected.add(cells.iter().map(|(value, kind)| (value, *kind)));
    assert_eq!(ask("anna").await, expected);
    world.write("UPDATE places SET deleted_at = 'now' WHERE id = 'p1'");
    assert_eq!(ask("anna").await, Digest::default());
    assert_eq!(ask("ben").await.count, 1);
    let (status, _, body) = world
        .send(
            "GET",
            "/sync/digest?table=nowhere",
            &[("X-User-ID", "anna"), ("Rejoin-Protocol", "1")],
            "",
        )
        .await;
    assert_eq!((status, &body["code"]), (404, &json!("table.unknown")));
}

/// A device's cursor used by another user: a walk through its buckets would reveal keys.
#[apply(secured_stores!)]
async fn cursor_of_another_user_is_refused(world: World) {
    world.write(ROWS);
    let mut anna = world.device("anna", "a").await;
    anna.snapshot(2).await;
    let mut ben = world.device("ben", "b").await;
    ben.cursor.clone_from(&anna.cursor);
    let welcome = ben.register().await;
    assert_eq!(welcome["rejoin"]["cursor_valid"], json!(false));
    let page = ben.pull_page(100).await;
    assert!(page.snapshot_required);
    assert_eq!(crate::world::named(&page), [""; 0]);
    let first = anna.snapshot_page(None, 1).await;
    let theirs = serde_json::to_value(first.cursor.unwrap()).unwrap();
    let page = ben.snapshot_page(Some(theirs), 100).await;
    assert!(page.rejoin.unwrap().restart);
}

/// A parent was removed without its rows: the user who creates it again would get them.
#[apply(secured_stores!)]
async fn rows_below_a_removed_parent_stay_its_owners(backend: Backend) {
    let world = World::with(
        backend,
        "CREATE TABLE boards(id TEXT PRIMARY KEY, owner TEXT, updated_at TEXT);
         CREATE TABLE cards(id TEXT PRIMARY KEY, board TEXT, text TEXT, updated_at TEXT);",
        |config| {
            config
                .with_table(TableConfig::owned("boards", "owner"))
                .with_table(TableConfig::child("cards", "boards", "board"))
        },
    );
    let board = || json!([create("boards", "b1", &json!({}))]);
    let card = json!([create("cards", "c1", &json!({"board": "b1", "text": "anna's"}))]);
    let mut anna = world.device("anna", "a1").await;
    let mut ben = world.device("ben", "b1").await;
    anna.accept("m1", board()).await;
    anna.accept("m2", card).await;
    anna.accept("m3", json!([crate::world::delete("boards", "b1", &json!({"owner": "anna"}))]))
        .await;
    assert_eq!(world.one("SELECT count(*) FROM cards"), "1", "no foreign key removes it");
    let (verdict, rows) = ben.push("m1", board()).await;
    assert_eq!(crate::world::ended(&verdict), "conflict row.not_found", "as for a key in use");
    assert!(rows[0].absent);
    anna.accept("m4", board()).await;
    assert_eq!(anna.snapshot(10).await, ["boards/b1", "cards/c1"], "an undo brings them back");
    world.write("UPDATE boards SET owner = 'ben'");
    world.write("DELETE FROM boards");
    let (verdict, _) = anna.push("m5", board()).await;
    assert_eq!(crate::world::ended(&verdict), "conflict row.not_found", "it was ben's last");
    ben.accept("m2", board()).await;
    assert_eq!(ben.snapshot(10).await, ["boards/b1", "cards/c1"]);
    world.write("INSERT INTO cards(id, board) VALUES('c2', 'b2')");
    let (verdict, _) = ben.push("m3", json!([create("boards", "b2", &json!({}))])).await;
    assert_eq!(crate::world::ended(&verdict), "conflict row.not_found", "it was without an owner");
}
