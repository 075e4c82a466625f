//! Register: the identity of devices, confirmed at each start.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::code;
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{Backend, TABLES, World, column, place, rename, standard};

/// In microseconds.
const DAY: i64 = 86_400_000_000;

#[apply(stores!)]
async fn device_keeps_its_id_and_updates_its_registration(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let first = anna.register().await;
    let again = json!({"schema_version": 0, "schema_hash": "", "client_name": "Phone", "platform": "ios",
                       "app_version": "1.2.3", "rejoin": {"protocol": 1, "capabilities": ["groups", "teleport"]}});
    let (_, second) = anna.post("/sync/register", again).await;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["rejoin"]["capabilities"], json!(["groups"]), "what both can do");
    assert_eq!(second["rejoin"]["subject"], "anna");
    assert!(second["rejoin"]["rules_hash"].is_string());
    let named = world.one("SELECT client_name || platform || app_version FROM rejoin_client");
    assert_eq!(named, "Phoneios1.2.3");
    let ben = world.device("ben", "a1").await.register().await;
    assert_ne!(ben["id"], first["id"], "another user's device of the same id is another device");
}

#[apply(stores!)]
async fn restored_device_file_must_take_a_new_id(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let hello = |incarnation: i64| json!({"schema_version": 0, "schema_hash": "", "rejoin": {"incarnation": incarnation}});
    for (incarnation, status) in [(4, 200), (5, 200), (5, 200), (4, 409), (0, 200), (6, 200)] {
        let (found, answer) = anna.post("/sync/register", hello(incarnation)).await;
        assert_eq!(found, status, "{incarnation}: {answer}");
        let code = if status == 409 { json!("client_replaced") } else { Value::Null };
        assert_eq!(answer["code"], code);
    }
}

#[apply(stores!)]
async fn copied_device_file_is_detected_by_its_opening(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let steps = [
        (4, "one", 200),
        (4, "one", 200), // A lost response.
        (4, "two", 409),
        (4, "", 200), // Devices of an earlier release send no name.
        (4, "two", 200),
        (5, "three", 200),
        (4, "two", 409),
        (0, "four", 200),
        (5, "three", 200),
    ];
    for (incarnation, opening, status) in steps {
        let hello = json!({"schema_version": 0, "schema_hash": "", "rejoin": {"incarnation": incarnation, "opening": opening}});
        let (found, answer) = anna.post("/sync/register", hello).await;
        assert_eq!(found, status, "{incarnation} {opening}: {answer}");
    }
}

#[apply(stores!)]
async fn deleted_verdicts_stay_expired_for_a_copy(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let cloned = anna.group("m1", &json!([place("p1", "Quay")]));
    anna.push_group(cloned.clone()).await;
    let second = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [second], "acked_below": 2});
    anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    world.clock.advance(91 * 86_400_000_000);
    assert_eq!(world.server.compact().unwrap().verdicts, 1);
    // The copy was inactive since before the push and must take another id; a foreign id would not
    // help.
    for (id, replaces, expected) in [("a2", "a1", Some(code::EXPIRED)), ("a3", "b1", None)] {
        let mut copy = world.device("anna", id).await;
        let rejoin = json!({"protocol": 1, "capabilities": ["groups"], "replaces": replaces});
        world.write(&format!("DELETE FROM rejoin_client WHERE client_id = '{id}'"));
        let hello = json!({"schema_version": 0, "schema_hash": "", "rejoin": rejoin});
        assert_eq!(copy.post("/sync/register", hello).await.0, 200);
        let (verdict, rows) = copy.push_group(cloned.clone()).await;
        assert_eq!(
            verdict.code.as_deref() == Some(code::EXPIRED),
            expected.is_some(),
            "{verdict:?}"
        );
        assert_eq!(column(&rows[0], "name"), "Pier");
    }
}

#[apply(stores!)]
async fn device_above_the_limit_of_its_user_is_refused(backend: Backend) {
    let limits = Limits { devices_per_user: 3, ..Limits::default() };
    let world = World::with(backend, TABLES, |config| standard(config).with_limits(limits));
    for device in ["", "a1", "a2"] {
        world.device("anna", device).await;
    }
    let hello = |device: &str| {
        let rejoin = json!({"protocol": 1, "capabilities": ["groups"]});
        json!({"client_id": device, "schema_version": 0, "schema_hash": "", "rejoin": rejoin})
    };
    let register = async |user: &str, device: &str| {
        let headers = [("X-User-ID", user)];
        let body = hello(device).to_string();
        let (status, _, answer) = world.send("POST", "/sync/register", &headers, body).await;
        (status, answer["code"].clone(), answer["retryable"].clone())
    };
    let refused = (403, json!(code::TOO_MANY_DEVICES), json!(false));
    assert_eq!(register("anna", "a3").await, refused);
    assert_eq!(register("anna", "a3").await, refused, "nothing of it is kept");
    for (user, device) in [("anna", ""), ("anna", "a1"), ("anna", "a2"), ("ben", "a3")] {
        assert_eq!(register(user, device).await.0, 200, "{user} {device}");
    }
    world.clock.advance(91 * DAY);
    assert_eq!(register("anna", "a2").await.0, 200);
    assert_eq!(register("anna", "a3").await.0, 200, "the others have long been silent");
    assert_eq!(register("anna", "a4").await.0, 200);
    assert_eq!(register("anna", "a5").await, refused);
    assert_eq!(register("anna", "a1").await.0, 200, "a known device comes back");
}
