//! Register: who a device is, told again at each start.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_device_keeps_its_id_and_brings_its_words_up_to_date() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let first = anna.register().await;
    let again = json!({"schema_version": 0, "schema_hash": "", "client_name": "Phone", "platform": "ios",
                       "app_version": "1.2.3", "rejoin": {"protocol": 1, "capabilities": ["groups", "teleport"]}});
    let (_, second) = anna.post("/sync/register", again).await;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["rejoin"]["capabilities"], json!(["groups"]), "what both can do");
    assert_eq!(second["rejoin"]["subject"], "anna");
    assert!(second["rejoin"]["rules_hash"].is_string());
    let named: String = world
        .outsider()
        .query_row("SELECT client_name || platform || app_version FROM rejoin_client", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(named, "Phoneios1.2.3");
    let ben = world.device("ben", "a1").await.register().await;
    assert_ne!(ben["id"], first["id"], "another user's device of the same id is another device");
}

#[tokio::test]
async fn a_file_that_is_older_than_what_spoke_last_is_told_to_take_a_new_id() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let hello = |incarnation: i64| json!({"schema_version": 0, "schema_hash": "", "rejoin": {"incarnation": incarnation}});
    for (incarnation, status) in [(4, 200), (5, 200), (5, 200), (4, 409), (0, 200), (6, 200)] {
        let (found, answer) = anna.post("/sync/register", hello(incarnation)).await;
        assert_eq!(found, status, "{incarnation}: {answer}");
        let code = if status == 409 { json!("client_replaced") } else { Value::Null };
        assert_eq!(answer["code"], code);
    }
}
