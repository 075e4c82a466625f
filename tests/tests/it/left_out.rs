//! Tables that a device cannot build, or whose names the app uses: they are left out, the others are
//! synced, and the rows arrive when the table can be adopted.

use rejoin_core::SyncFault;
use rejoin_core::sync::session::{Phase, Request, Response};
use rejoin_plain::{Column, Config, Table, Trigger};
use rejoin_tests::{Backend, Device, Peer, PlainBackend, Store};
use serde_json::{Value, json};

use crate::client::{PATIENCE, served_phone};
use crate::junk::changed;
use crate::places::{PLACES, check_in_sync, one_place, places};
use crate::{apply, each_store};

const VISITS: &str = "SELECT id, place_id, day FROM visits ORDER BY id";
const PLACES_IDS: &str = "SELECT count(*) FROM places";

/// A server whose table of visits no device can build: it computes a column that fails for every row.
struct UnbuildableServer<'s>(&'s Backend);

impl Peer for UnbuildableServer<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let response = self.0.exchange(user, request)?;
        let change = |json: &mut Value| match request.phase {
            Phase::Registering => json["rejoin"]["rules_hash"] = json!("unbuildable"),
            Phase::FetchingSchema => {
                json["rejoin"]["rules_hash"] = json!("unbuildable");
                let tables = json["tables"].as_array_mut().unwrap();
                let visits = tables.iter_mut().find(|table| table["table_name"] == "visits");
                visits.unwrap()["rejoin"]["generated"] = json!([{
                    "name": "made", "sql_type": "INTEGER", "stored": true,
                    "expression": "abs(-9223372036854775807 - 1)"
                }]);
            }
            _ => {}
        };
        Some(changed(&response, change))
    }
}

/// What the device has left out: `table/part`.
fn left_out(device: &Device) -> String {
    device.raw(
        "SELECT (j.value ->> 'table') || '/' || (j.value ->> 'part')
         FROM rejoin_meta AS m, json_each(m.value, '$.parts') AS j WHERE m.key = 'left_out'",
    )
}

#[apply(each_store)]
fn bad_table_stops_no_other_until_it_heals(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p1', 'monday')");
    device.sync(&server);
    device.write("UPDATE visits SET day = 'tuesday' WHERE id = 'v1'");
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    server.outside("INSERT INTO visits (id, place_id, day) VALUES ('v2', 'p1', 'outside')");
    let report = device.crash().pass(&UnbuildableServer(&server)).unwrap();
    assert_eq!((report.accepted, report.parked), (1, 1));
    assert_eq!(left_out(&device), "visits/table");
    assert_eq!(
        (device.see(PLACES), server.see(PLACES)),
        ("p1|Mine|n|3".into(), "p1|Mine|n|3".into())
    );
    assert!(!device.try_write("INSERT INTO visits (id, place_id) VALUES ('v3', 'p1')"));
    // Its rows come with pulls, in pages with those of the others.
    server.outside("INSERT INTO visits (id, place_id, day) VALUES ('v4', 'p1', 'outside')");
    server.outside("UPDATE places SET note = 'outside' WHERE id = 'p1'");
    server.outside("DELETE FROM visits WHERE id = 'v2'");
    device.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    device.sync(&UnbuildableServer(&server));
    assert_eq!(device.see(PLACES), "p1|Mine|outside|4");
    // With a snapshot, too.
    device.resync().sync(&UnbuildableServer(&server));
    assert_eq!(
        (device.see(PLACES), left_out(&device)),
        (server.see(PLACES), "visits/table".into())
    );
    device.crash().sync(&server);
    assert_eq!(left_out(&device), "");
    assert_eq!(device.see(VISITS), "v1|p1|monday v4|p1|outside");
    check_in_sync(&mut device, &server);
    // The edit is kept with its values.
    assert_eq!(device.waiting(), "Parked:Refused/1");
    let kept = device.queue()[0].effect.rows[0]
        .columns
        .iter()
        .any(|column| column.new == "tuesday".into());
    assert!(kept, "{:?}", device.queue());
}

#[apply(each_store)]
fn new_device_skips_the_pages_of_a_bad_table(store: Store) {
    let (server, mut device) = places(store, 3, 2);
    let visits = (1..=9).map(|number| format!("('v{number}', 'p1')")).collect::<Vec<_>>();
    server.outside(&format!("INSERT INTO visits (id, place_id) VALUES {}", visits.join(", ")));
    device.sync(&UnbuildableServer(&server));
    assert_eq!(
        (device.see(PLACES), left_out(&device)),
        (server.see(PLACES), "visits/table".into())
    );
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    assert_eq!(device.sync(&UnbuildableServer(&server)).accepted, 1);
    device.crash().sync(&server);
    check_in_sync(&mut device, &server);
}

/// Regression: pages with rows of that table only counted as pages without news.
#[test]
fn snapshot_ends_after_many_pages_of_a_bad_table() {
    let (server, mut device) = places(Store::Sqlite, 1, 1);
    server.outside(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1010)
         INSERT INTO visits (id, place_id) SELECT 'v' || i, 'p1' FROM n",
    );
    device.pass(&UnbuildableServer(&server)).unwrap();
    assert_eq!(device.see(PLACES), server.see(PLACES));
}

#[apply(each_store)]
fn table_waits_while_the_app_uses_its_name(store: Store) {
    let mut own = vec![
        ("CREATE TABLE Visits (id TEXT, mine TEXT)", "ALTER TABLE visits RENAME TO own_visits"),
        ("CREATE VIEW visits AS SELECT 1 AS id", "DROP VIEW visits"),
        ("CREATE TABLE visits (id TEXT, mine TEXT)", "DROP TABLE visits"),
    ];
    if store == Store::Postgres {
        own.truncate(1);
    }
    for (create, free) in own {
        let (server, mut device) = places(store, 2, 100);
        server.outside("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p1', 'monday')");
        device.write(create);
        device.sync(&server);
        assert_eq!(left_out(&device), "visits/table", "{create}");
        let why = device.raw("SELECT value FROM rejoin_meta WHERE key = 'left_out'");
        assert!(why.contains("the app has created a table, view or index of this name"), "{why}");
        if create.contains("TABLE") {
            device.write("INSERT INTO visits VALUES ('mine', 'kept')");
            assert_eq!(device.waiting(), "", "the app's table is not synced");
        }
        device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
        server.outside("INSERT INTO visits (id, place_id, day) VALUES ('v2', 'p2', 'friday')");
        assert_eq!(device.sync(&server).accepted, 1, "{create}");
        device.crash().sync(&server);
        assert_eq!(
            (left_out(&device).as_str(), device.see(PLACES)),
            ("visits/table", server.see(PLACES))
        );
        device.write(free);
        let fetched = device.sent.len();
        device.sync(&server);
        let paths: Vec<&str> = device.sent[fetched..].iter().map(|one| one.path.as_str()).collect();
        assert!(paths.contains(&"/sync/schema"), "{free}: {paths:?}");
        assert_eq!(left_out(&device), "", "{free}");
        check_in_sync(&mut device, &server);
        assert_eq!(device.see(VISITS), "v1|p1|monday v2|p2|friday");
        device.write("UPDATE visits SET day = 'sunday' WHERE id = 'v2'");
        assert_eq!(device.sync(&server).accepted, 1, "{free}");
        let fetched = device.sent.len();
        device.sync(&server);
        assert!(device.sent[fetched..].iter().all(|one| one.path != "/sync/schema"), "{free}");
    }
}

/// A name that the app takes before a server adds the table.
#[apply(each_store)]
fn added_table_with_a_name_of_the_app_stops_nothing(store: Store) {
    let (mut server, mut device) = one_place(store);
    device.write("CREATE TABLE tags (id TEXT PRIMARY KEY)");
    server.add_table(
        "CREATE TABLE tags (id TEXT PRIMARY KEY, name TEXT, user_id TEXT NOT NULL,
            created_at TEXT, updated_at TEXT, deleted_at TEXT)",
        "tags",
    );
    server.outside("INSERT INTO tags (id, name, user_id) VALUES ('t1', 'red', 'ana')");
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    assert_eq!(device.sync(&server).accepted, 1);
    assert_eq!(left_out(&device), "tags/table");
    device.write("DROP TABLE tags");
    device.sync(&server);
    assert_eq!(device.see("SELECT id, name FROM tags"), "t1|red");
}

/// A plain server of two tables.
fn plain() -> PlainBackend {
    let table = |name: &str| {
        Table::owned(name, "user_id")
            .text_key()
            .column(Column::new("user_id", "text"))
            .column(Column::new("title", "text").default("''::text"))
            .times()
            .trigger(Trigger::ClockTime)
    };
    PlainBackend::with(Config::new(vec![table("notes"), table("tags")]))
}

#[test]
fn plain_servers_table_waits_while_the_app_uses_its_name() {
    let server = plain();
    for id in ["a", "b", "c"] {
        server.insert("notes", &json!({"id": id, "user_id": "ana", "title": "first"}));
        server.insert("tags", &json!({"id": id, "user_id": "ana", "title": "first"}));
    }
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 2);
    device.write("CREATE TABLE notes (mine TEXT)");
    device.sync(&server);
    let tags = "SELECT id, title FROM tags ORDER BY id";
    assert_eq!(
        (device.see(tags), left_out(&device)),
        ("a|first b|first c|first".into(), "notes/table".into())
    );
    device.write("UPDATE tags SET title = 'mine' WHERE id = 'a'");
    server.update("notes", "a", &json!({"title": "second"}));
    server.soft_delete("notes", "b");
    server.insert("tags", &json!({"id": "d", "user_id": "ana", "title": "new"}));
    device.sync(&server);
    assert_eq!(device.see(tags), "a|mine b|first c|first d|new");
    device.resync().sync(&server);
    assert_eq!(device.see(tags), "a|mine b|first c|first d|new");
    device.write("DROP TABLE notes");
    device.crash().sync(&server);
    assert_eq!(left_out(&device), "");
    assert_eq!(device.see("SELECT id, title FROM notes ORDER BY id"), "a|second c|first");
    device.write("UPDATE notes SET title = 'mine' WHERE id = 'c'");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}

/// The status names it without a connection to the server, too.
#[test]
fn status_names_what_is_left_out_until_it_is_adopted() {
    let (backend, _served, phone) = served_phone(Store::Sqlite);
    backend.outside("INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana')");
    phone.run("CREATE TABLE visits (mine TEXT)");
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    let named = || {
        let parts = phone.client.status().left_out;
        parts.into_iter().map(|part| (part.table, part.part, part.reason)).collect::<Vec<_>>()
    };
    let why = "the app has created a table, view or index of this name; rename or drop it";
    assert_eq!(named(), [("visits".into(), "table".into(), why.into())]);
    phone.client.stop().wait().unwrap();
    assert_eq!(named().len(), 1);
    let bundle = phone.client.storage().diagnose().wait().unwrap();
    assert_eq!(bundle["status"]["left_out"][0]["table"], "visits");
    phone.run("DROP TABLE visits");
    phone.sync();
    assert_eq!(named(), []);
    assert_eq!(phone.client.query(PLACES_IDS, ()).wait().unwrap().len(), 1);
}

#[test]
fn status_names_a_trigger_that_fails_until_it_is_replaced() {
    let (backend, _served, phone) = served_phone(Store::Sqlite);
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    phone.run("CREATE TABLE seen (name TEXT UNIQUE)");
    let create = |or: &str| {
        format!(
            "CREATE TRIGGER place_new AFTER INSERT ON places BEGIN INSERT {or} INTO seen VALUES (NEW.name); END"
        )
    };
    phone.run(&create(""));
    for id in ["p1", "p2"] {
        backend.outside(&format!(
            "INSERT INTO places (id, name, user_id) VALUES ('{id}', 'A', 'ana')"
        ));
    }
    phone.sync();
    let named = || phone.client.status().left_out;
    assert_eq!(
        (named()[0].table.as_str(), named()[0].part.as_str()),
        ("places", "trigger place_new")
    );
    let reason = named()[0].reason.clone();
    assert!(reason.contains("UNIQUE constraint failed: seen.name"), "{reason}");
    assert_eq!(phone.client.query("SELECT id FROM places", ()).wait().unwrap().len(), 2);
    phone.sync();
    assert_eq!(named().len(), 1, "it may fail again");
    phone.run("DROP TRIGGER place_new");
    phone.run(&create("OR IGNORE"));
    phone.sync();
    assert_eq!(named(), []);
}

#[test]
fn manifest_of_which_nothing_can_be_built_is_refused() {
    let (server, _) = places(Store::Sqlite, 1, 100);
    let mut device = Device::new("ana", 7);
    device.write("CREATE TABLE visits (mine TEXT)");
    device.write("CREATE TABLE places (mine TEXT)");
    let error = device.pass(&server).unwrap_err();
    assert!(error.to_string().contains("the app has created"), "{error}");
    assert!(!matches!(
        error.downcast_ref(),
        Some(rejoin_core::Error::Sync(SyncFault::Protocol(_)))
    ));
    device.write("ALTER TABLE places RENAME TO own_places");
    device.sync(&server);
    assert_eq!(
        (device.see(PLACES), left_out(&device)),
        (server.see(PLACES), "visits/table".into())
    );
}
