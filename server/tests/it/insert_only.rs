//! Tables whose rows are only inserted: devices send rows, and none reads them.

use macro_rules_attribute::apply;
use rejoin_server::{Config, PushPolicy, TableConfig};
use serde_json::json;

use crate::world::{Backend, World, create, delete, ended, update};

const TABLES: &str = "
    CREATE TABLE places(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT);
    CREATE TABLE events(
      id TEXT PRIMARY KEY, user_id TEXT, place_id TEXT REFERENCES places(id), what TEXT NOT NULL,
      updated_at TEXT, deleted_at TEXT);
";

fn telemetry(config: Config) -> Config {
    let events = TableConfig::owned("events", "user_id").with_push(PushPolicy::InsertOnly);
    config.with_table(TableConfig::owned("places", "owner_id")).with_table(events)
}

#[apply(secured_stores!)]
async fn inserted_rows_are_stored_with_their_user_and_leave_the_device(backend: Backend) {
    let world = World::with(backend, TABLES, telemetry);
    world.write("INSERT INTO events(id, user_id, what) VALUES('old', 'anna', 'x')");
    let mut anna = world.device("anna", "a").await;
    assert_eq!(anna.snapshot(9).await, [""; 0], "not even the user's own");
    let place = create("places", "p", &json!({}));
    let event = create("events", "e", &json!({"what": "tap", "place_id": "p"}));
    let (verdict, rows) = anna.push("m1", json!([place, event.clone()])).await;
    assert_eq!(ended(&verdict), "accepted -");
    let event_row = rows.iter().find(|row| row.table_name == "events").unwrap();
    assert!(event_row.absent, "it leaves the device");
    assert_eq!(ended(&anna.push("m1", json!([event.clone()])).await.0), "accepted -", "once");
    assert_eq!(anna.pull().await, ["places/p"]);
    assert_eq!(world.one("SELECT user_id FROM events WHERE id = 'e'"), "anna");
    let mut ben = world.device("ben", "b").await;
    let again = create("events", "e", &json!({"what": "tap"}));
    for (id, device) in [("other", &mut ben), ("own", &mut anna)] {
        for (number, change) in
            [again.clone(), update("events", "e", &json!({"what": "tap"}), &json!({"what": "x"}))]
                .into_iter()
                .enumerate()
        {
            let (verdict, _) = device.push(&format!("{id} {number}"), json!([change])).await;
            assert_eq!(ended(&verdict), "conflict row.not_found", "{id} {number}");
        }
        device.push(&format!("{id} delete"), json!([delete("events", "e", &json!({}))])).await;
    }
    assert_eq!(world.one("SELECT what FROM events WHERE deleted_at IS NULL AND id = 'e'"), "tap");
    let wrong = create("events", "w", &json!({"place_id": "p"}));
    assert_eq!(ended(&anna.push("wrong", json!([wrong])).await.0), "rejected constraint.not_null");
}

#[test]
fn readers_of_rows_that_are_only_inserted_are_refused() {
    let events = || TableConfig::new("events").with_push(PushPolicy::InsertOnly);
    assert_eq!(Config::new("x.db").with_table(events()).problems(), []);
    let places = TableConfig::owned("places", "owner_id");
    for table in [
        TableConfig { allow_global_read: true, ..events() },
        events().with_bucket("user_id", "team:"),
        TableConfig::child("events", "places", "place_id").with_push(PushPolicy::InsertOnly),
    ] {
        let config = Config::new("x.db").with_table(places.clone()).with_table(table);
        let problems = config.problems();
        assert!(problems[0].to_string().contains("only inserted"), "{problems:?}");
    }
}
