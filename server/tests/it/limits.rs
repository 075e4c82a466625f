//! Limits and refusals: status, code, and v0.1.2's message for a plain peer.

use macro_rules_attribute::apply;
use std::io::Write as _;

use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{Backend, TABLES, World, place, record, standard};

fn small(backend: Backend) -> World {
    World::with(backend, TABLES, |config| {
        let limits = Limits { body: 4_096, groups: 2, changes: 3, page: 2, ..Limits::default() };
        standard(config).with_limits(limits)
    })
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const USER: (&str, &str) = ("X-User-ID", "anna");
const OURS: (&str, &str) = ("Rejoin-Protocol", "1");

#[apply(stores!)]
async fn body_limit_applies_after_decompression(backend: Backend) {
    let world = small(backend);
    let long = json!({"client_id": "x".repeat(5_000), "schema_version": 0, "schema_hash": ""});
    let (status, _, body) =
        world.send("POST", "/sync/register", &[USER, OURS], long.to_string()).await;
    assert_eq!((status, &body["code"]), (413, &json!("too_large")));
    let bomb = gzip(&" ".repeat(10_000_000));
    assert!(bomb.len() > 4_096 || bomb.len() < 20_000);
    let headers = [USER, OURS, ("Content-Encoding", "gzip")];
    let (status, _, body) = world.send("POST", "/sync/register", &headers, bomb).await;
    assert_eq!((status, &body["code"]), (413, &json!("too_large")));
    let (status, _, body) = world.send("POST", "/sync/register", &[USER], long.to_string()).await;
    assert_eq!(status, 413);
    assert_eq!(body["code"], Value::Null, "a plain peer sees no code");
}

#[apply(stores!)]
async fn compression_works_in_both_directions(world: World) {
    let register = json!({"client_id": "c", "schema_version": 0, "schema_hash": ""}).to_string();
    let headers = [USER, ("Content-Encoding", "gzip")];
    let (status, ..) = world.send("POST", "/sync/register", &headers, gzip(&register)).await;
    assert_eq!(status, 200);
    let schema = async |accepted: &str| {
        let headers = vec![
            (String::from("X-User-ID"), String::from("anna")),
            (String::from("Accept-Encoding"), String::from(accepted)),
        ];
        let (_, answer, body) = world.server.handle("GET", "/sync/schema", &headers, "").await;
        assert!(answer.iter().any(|(name, _)| name == "vary"), "{accepted}");
        let encoding = answer.into_iter().find(|(name, _)| name == "content-encoding");
        (encoding.map(|(_, encoding)| encoding).unwrap_or_default(), body)
    };
    let (encoding, body) = schema("gzip").await;
    assert_eq!(encoding, "gzip");
    let (encoding, packed) = schema("gzip, zstd").await;
    assert_eq!(encoding, "zstd", "it takes a tenth of the time");
    assert!(packed.starts_with(&0xFD2F_B528_u32.to_le_bytes()), "zstd's magic number");
    let (_, plain, _) = world.send("GET", "/sync/schema", &[USER], "").await;
    let known = ["content-type", "content-length"];
    assert!(plain.iter().all(|(name, _)| known.contains(&name.as_str())), "{plain:?}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
    assert!(text.starts_with("{\"schema_version\""));
}

#[apply(stores!)]
async fn push_groups_and_changes_are_limited(backend: Backend) {
    let world = small(backend);
    let mut anna = world.device("anna", "a1").await;
    let push = |groups: Vec<Value>| json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": groups}});
    let group = |id: &str, count: usize| {
        let changes: Vec<Value> = (0..count).map(|n| place(&format!("{id}{n}"), "x")).collect();
        json!({"id": id, "attempt": 1, "hash": "h", "time": "2026-11-20T08:00:00Z", "changes": changes})
    };
    let bodies = [
        push(vec![group("a", 1), group("b", 1), group("c", 1)]),
        push(vec![group("a", 2), group("b", 2)]),
    ];
    for body in bodies {
        let (status, answer) = anna.post("/sync/push", body).await;
        assert_eq!((status, &answer["code"]), (413, &json!("too_large")));
        assert_eq!(answer["retryable"], false);
    }
}

#[apply(stores!)]
async fn push_with_groups_and_records_is_refused(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let plain = record("create", "p", &json!({}), "2026-11-20T08:00:00Z");
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let body = json!({"changes": [plain], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    let (status, answer) = anna.post("/sync/push", body).await;
    assert_eq!((status, &answer["code"]), (400, &json!("mixed_push")));
}

/// What Rejoin devices get; the scenarios `gates/...` of the conformance suite cover plain devices.
#[apply(stores!)]
async fn refusals_have_a_status_a_code_and_are_final(world: World) {
    let device = world.device("anna", "known").await;
    let framed = |client: &str, version: i64| {
        json!({"client_id": client, "schema_version": version, "schema_hash": device.hash})
            .to_string()
    };
    let stranger = framed("stranger", device.version);
    let stale = framed("known", device.version + 1);
    let untyped = String::from(r#"{"client_id": 1, "schema_version": 1, "schema_hash": ""}"#);
    let table = [
        ("/sync/register", String::from("nonsense"), 400, "invalid_request"),
        ("/sync/register", String::from("[]"), 400, "invalid_request"),
        ("/sync/register", String::from("{}"), 400, "invalid_request"),
        ("/sync/pull", String::from("{}"), 400, "invalid_request"),
        ("/sync/pull", untyped, 400, "invalid_request"),
        ("/sync/pull", stranger.clone(), 404, "not_registered"),
        ("/sync/push", stranger.clone(), 404, "not_registered"),
        ("/sync/snapshot", stranger, 404, "not_registered"),
        ("/sync/pull", stale.clone(), 409, "schema_mismatch"),
        ("/sync/push", stale.clone(), 409, "schema_mismatch"),
        ("/sync/register", stale, 409, "schema_mismatch"),
    ];
    for (path, body, status, code) in table {
        let (found, _, answer) = world.send("POST", path, &[USER, OURS], body.clone()).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{path} {body}");
        assert_eq!(answer["retryable"], false, "{path} {body}");
        let (found, _, answer) = world.send("POST", path, &[USER], body.clone()).await;
        assert_eq!((found, &answer["retryable"]), (status, &Value::Null), "{path} {body}");
    }
}

#[apply(stores!)]
async fn locked_database_is_reported_unavailable(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { wait_ms: 0, ..Limits::default() })
    });
    let mut anna = world.device("anna", "a1").await;
    let holder = world.hold("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE places");
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let push = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group]}});
    let (status, answer) = anna.post("/sync/push", push.clone()).await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    assert_eq!((&answer["retryable"], &answer["retry_after"]), (&json!(true), &json!(5)));
    holder("COMMIT");
    let (status, answer) = anna.post("/sync/push", push).await;
    assert_eq!((status, &answer["rejoin"]["verdicts"][0]["verdict"]), (200, &json!("accepted")));
}

#[apply(stores!)]
async fn pages_of_large_rows_are_short_and_complete(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { page_bytes: 10_000, ..Limits::default() })
    });
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    two.snapshot(100).await;
    for number in 0..20 {
        let heavy = place(&format!("p{number:02}"), &"x".repeat(3_000));
        one.accept(&format!("m{number}"), json!([heavy])).await;
    }
    let page = two.pull_page(1_000).await;
    let first = crate::world::named(&page).len();
    assert!(page.has_more && (1..5).contains(&first), "{first}");
    assert_eq!(first + two.pull().await.len(), 20);
    let page = two.snapshot_page(None, 1_000).await;
    assert!(page.has_more);
    assert_eq!(two.snapshot(1_000).await.len(), 20);
    let enormous = place("q", &"x".repeat(50_000));
    one.accept("m99", json!([enormous])).await;
    assert_eq!(two.pull().await, ["places/q"]);
    world.write("INSERT INTO rejoin_bucket(user_id, bucket) VALUES('ben', 'user:anna')");
    let mut ben = world.device("ben", "b1").await;
    world.write("DELETE FROM rejoin_bucket");
    ben.snapshot(100).await;
    world.write("INSERT INTO rejoin_bucket(user_id, bucket) VALUES('ben', 'user:anna')");
    assert_eq!(ben.pull().await.len(), 21, "a walk through heavy rows");
}

#[apply(stores!)]
async fn body_of_exactly_the_limit_is_read(backend: Backend) {
    let world = small(backend);
    let register = json!({"client_id": "c", "schema_version": 0, "schema_hash": ""}).to_string();
    for (length, expected) in [(4_096, 200), (4_097, 413)] {
        let body = format!("{register:length$}");
        assert_eq!(body.len(), length);
        let plain = world.send("POST", "/sync/register", &[USER], body.clone()).await.0;
        let headers = [USER, ("Content-Encoding", "gzip")];
        let compressed = world.send("POST", "/sync/register", &headers, gzip(&body)).await.0;
        assert_eq!([plain, compressed], [expected; 2], "{length}");
    }
}

/// An error that a proxy keeps, or an old schema, would reach devices after the server has changed.
#[apply(stores!)]
async fn no_response_to_a_device_may_be_stored_by_a_cache(world: World) {
    let table = [
        ("GET", "/sync/schema", vec![USER], 200),
        ("GET", "/sync/schema", vec![], 401),
        ("GET", "/nowhere", vec![USER], 404),
        ("PUT", "/sync/schema", vec![USER], 405),
        ("POST", "/sync/push", vec![USER], 400),
        ("POST", "/sync/push", vec![USER, ("content-encoding", "rot13")], 415),
        ("GET", "/readyz", vec![], 200),
    ];
    for (method, path, mut headers, expected) in table {
        headers.push(("rejoin-protocol", "1"));
        let (status, answered, body) = world.send(method, path, &headers, "").await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        let found = answered.iter().find(|(name, _)| name == "cache-control");
        let found = found.map(|(_, value)| value.as_str());
        assert_eq!(found, Some("private, no-store"), "{method} {path}");
    }
}
