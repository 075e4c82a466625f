//! Strings of the protocol beyond their limits: rejected permanently over each store, and not
//! stored.

use macro_rules_attribute::apply;
use rejoin_protocol::limits::{CLIENT_NAME, CURSOR, NAME};
use serde_json::{Value, json};

use crate::hostile::{ENDPOINTS, ask, collect, good};
use crate::world::{Device, World};

const REGISTER: &str = "/sync/register";
const PUSH: &str = "/sync/push";
const PULL: &str = "/sync/pull";
const SNAPSHOT: &str = "/sync/snapshot";

/// Text that PostgreSQL cannot compress to the size of an index entry.
fn text(length: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(20);
    std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect()
}

/// A valid request with each optional string that has a limit.
fn whole(anna: &Device<'_>, path: &str, number: usize) -> Value {
    let mut body = good(anna, path, number);
    match path {
        REGISTER => {
            body["client_name"] = json!("Anna's tablet");
            body["platform"] = json!("linux");
            body["app_version"] = json!("1.0.0");
            body["rejoin"]["opening"] = json!("first");
            body["rejoin"]["replaces"] = json!("a0");
            body["rejoin"]["witness"] = json!("");
        }
        PUSH => {
            body["rejoin"]["witness"] = json!("");
            body["rejoin"]["cancel"] = json!([{"id": format!("c{number}"), "seq": 0, "rows": []}]);
        }
        PULL => {}
        _ => body["rejoin"]["witness"] = json!(""),
    }
    body
}

async fn send(anna: &Device<'_>, path: &str, body: &Value) -> (u16, Value) {
    ask(anna, path, "", body.to_string().into_bytes()).await
}

#[apply(stores!)]
async fn string_of_a_megabyte_never_causes_a_500(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let long = text(1 << 20);
    for path in ENDPOINTS {
        let mut places = Vec::new();
        collect(&whole(&anna, path, 0), "", &mut places);
        for (number, place) in (1..).zip(places) {
            let mut body = whole(&anna, path, number);
            let value = body.pointer_mut(&place).unwrap();
            if !value.is_string() {
                continue;
            }
            *value = json!(long);
            let (status, answer) = send(&anna, path, &body).await;
            let words = answer.to_string();
            assert!(status < 500, "{path} {place}: {status} {words:.200}");
            assert!(
                status == 200 || answer["retryable"] == false,
                "{path} {place}: {status} {words:.200}"
            );
            assert!(!words.contains("\"retry\""), "{path} {place}: {words:.200}");
        }
    }
    let kept = "SELECT max(length(client_id) + coalesce(length(client_name), 0)
                + length(platform)) FROM rejoin_client";
    assert!(world.one(kept).parse::<usize>().unwrap() < 100);
}

#[apply(stores!)]
async fn string_beyond_its_limit_is_refused_by_name(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let table = [
        (REGISTER, "/client_id", "client_id", NAME),
        (REGISTER, "/client_name", "client_name", CLIENT_NAME),
        (REGISTER, "/platform", "platform", NAME),
        (REGISTER, "/app_version", "app_version", NAME),
        (REGISTER, "/schema_hash", "schema_hash", NAME),
        (REGISTER, "/rejoin/capabilities/0", "rejoin.capabilities", NAME),
        (REGISTER, "/rejoin/opening", "rejoin.opening", NAME),
        (REGISTER, "/rejoin/replaces", "rejoin.replaces", NAME),
        (REGISTER, "/rejoin/cursor", "rejoin.cursor", CURSOR),
        (REGISTER, "/rejoin/witness", "rejoin.witness", CURSOR),
        (PUSH, "/client_id", "client_id", NAME),
        (PUSH, "/schema_hash", "schema_hash", NAME),
        (PUSH, "/rejoin/epoch", "rejoin.epoch", NAME),
        (PUSH, "/rejoin/witness", "rejoin.witness", CURSOR),
        (PUSH, "/rejoin/groups/0/id", "rejoin.groups.id", NAME),
        (PUSH, "/rejoin/groups/0/hash", "rejoin.groups.hash", NAME),
        (PUSH, "/rejoin/groups/0/time", "rejoin.groups.time", NAME),
        (PUSH, "/rejoin/groups/1/after/0", "rejoin.groups.after", NAME),
        (PUSH, "/rejoin/cancel/0/id", "rejoin.cancel.id", NAME),
        (PULL, "/client_id", "client_id", NAME),
        (PULL, "/schema_hash", "schema_hash", NAME),
        (PULL, "/rejoin/cursor", "rejoin.cursor", CURSOR),
        (PULL, "/rejoin/witness", "rejoin.witness", CURSOR),
        (SNAPSHOT, "/client_id", "client_id", NAME),
        (SNAPSHOT, "/schema_hash", "schema_hash", NAME),
        (SNAPSHOT, "/rejoin/epoch", "rejoin.epoch", NAME),
        (SNAPSHOT, "/rejoin/witness", "rejoin.witness", CURSOR),
    ];
    for (number, (path, place, member, most)) in (1..).zip(table) {
        let mut body = whole(&anna, path, number);
        for (length, is_refused) in [(most + 1, true), (most, false)] {
            *body.pointer_mut(place).unwrap() = json!(text(length));
            let (status, answer) = send(&anna, path, &body).await;
            let message = answer["message"].as_str().unwrap_or_default();
            let is_named = message.starts_with(&format!("{member} has {length} bytes"));
            assert_eq!(is_named, is_refused, "{path} {place} {length}: {status} {answer}");
            if is_refused {
                let found = (status, &answer["code"], &answer["retryable"]);
                let expected = (400, &json!("invalid_request"), &json!(false));
                assert_eq!(found, expected, "{path} {place}: {answer}");
            } else {
                assert!(status < 500, "{path} {place}: {status} {answer}");
            }
        }
    }
}
