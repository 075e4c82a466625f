//! Requests of broken or hostile devices: each is refused with its reason or does only what it may.
//! Nothing is applied in part, no other user's rows change, and the next valid request is served.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::Ending;
use serde_json::{Value, json};

use crate::limits::gzip;
use crate::world::{Backend, Device, World, cases, place, rename};

pub(crate) const ENDPOINTS: [&str; 4] =
    ["/sync/register", "/sync/push", "/sync/pull", "/sync/snapshot"];

/// The contents of the database, except when devices were seen.
fn state(world: &World) -> String {
    let names = world.one(
        "SELECT group_concat('\"' || name || '\"', ' ') FROM sqlite_schema WHERE type = 'table'",
    );
    let names: Vec<&str> = names.split(' ').collect();
    let count = |name: &str| world.one(&format!("SELECT count(*) FROM {name}"));
    names.iter().map(|name| format!("{name} {}", count(name))).collect::<Vec<_>>().join(" ")
        + &theirs(world)
}

/// Ben's rows, which anna must not change.
fn theirs(world: &World) -> String {
    let list = if world.database.is_some() { "string_agg" } else { "group_concat" };
    let row = "id || name || updated_at, ''";
    world.one(&format!("SELECT {list}({row}) FROM places WHERE owner_id = 'ben'"))
}

async fn bens_place(backend: Backend) -> World {
    let world = World::new(backend);
    world.device("ben", "b1").await.accept("b", json!([place("bens", "Ben's")])).await;
    world
}

/// A valid body for an endpoint; `number` makes its writes unique.
pub(crate) fn good(anna: &Device<'_>, path: &str, number: usize) -> Value {
    let mut body = json!({
        "client_id": anna.client_id, "schema_version": anna.version, "schema_hash": anna.hash,
    });
    let id = format!("p{number}");
    let group = |name: &str, after: Value, changes: Value| {
        json!({"id": format!("{name}{number}"), "seq": number, "attempt": 1, "hash": "h", "after": after,
               "time": "2026-11-20T08:00:00.000000Z", "changes": changes})
    };
    body["rejoin"] = match path {
        "/sync/register" => {
            json!({"protocol": 1, "capabilities": ["groups"], "cursor": anna.cursor})
        }
        "/sync/push" => json!({
            "request": number, "epoch": anna.epoch, "acked_below": 0, "groups": [
                group("a", json!([]), json!([place(&id, "Quay")])),
                group("b", json!([format!("a{number}")]), json!([rename(&id, "Quay", "Pier")])),
            ],
        }),
        "/sync/pull" => json!({"request": number, "cursor": anna.cursor, "witness": "",
                               "recheck": [{"table_name": "places", "id": "bens"}]}),
        _ => json!({"request": number, "epoch": ""}),
    };
    if path != "/sync/register" {
        body["limit"] = json!(10);
    }
    body
}

pub(crate) async fn ask(
    anna: &Device<'_>,
    path: &str,
    encoding: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let mut headers = vec![("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    if !encoding.is_empty() {
        headers.push(("Content-Encoding", encoding));
    }
    let (status, _, answer) = anna.world.send("POST", path, &headers, body).await;
    (status, answer)
}

/// SQLite only: none of these requests reaches a store.
#[tokio::test]
async fn malformed_request_is_refused_without_effect() {
    let world = bens_place(Backend::Sqlite).await;
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let before = state(&world);
    for (number, path) in (1..).zip(ENDPOINTS) {
        let whole = good(&anna, path, number).to_string();
        let packed = gzip(&whole);
        let with = |from: &str, to: &str| whole.replacen(from, to, 1).into_bytes();
        let deep = "[".repeat(200_000);
        let mut table: Vec<(String, &str, Vec<u8>)> = vec![
            ("nothing".into(), "", Vec::new()),
            ("html".into(), "", b"<html>please log in</html>".to_vec()),
            ("null".into(), "", b"null".to_vec()),
            ("a list".into(), "", b"[]".to_vec()),
            ("a number".into(), "", b"42".to_vec()),
            ("bytes that are no text".into(), "", vec![0xff, 0xfe, 0x00]),
            ("a list without an end".into(), "", deep.clone().into_bytes()),
            ("members without an end".into(), "", "{\"a\":".repeat(200_000).into_bytes()),
            ("a list too deep".into(), "", format!("{deep}{}", "]".repeat(200_000)).into_bytes()),
            (
                "ten megabytes".into(),
                "",
                with("{", &format!("{{\"a\":\"{}\",", "x".repeat(10_000_000))),
            ),
            ("a lone surrogate".into(), "", with("\"a1\"", "\"\\ud800\"")),
            (
                "a number without an end".into(),
                "",
                with("\"schema_version\":", "\"schema_version\":1e400,\"b\":"),
            ),
            (
                "a version beyond 64 bits".into(),
                "",
                with("\"schema_version\":", "\"schema_version\":18446744073709551616,\"b\":"),
            ),
            ("a member twice".into(), "", with("{", "{\"client_id\":\"a2\",")),
            ("text after the end".into(), "", [whole.as_bytes(), b"x"].concat()),
            ("gzip that is none".into(), "gzip", whole.clone().into_bytes()),
            ("a bomb".into(), "gzip", gzip(&" ".repeat(64 << 20))),
            ("an unknown encoding".into(), "rot13", whole.clone().into_bytes()),
        ];
        for part in 1..8 {
            let cut = |bytes: &[u8]| bytes[..bytes.len() * part / 8].to_vec();
            table.push((format!("cut at {part}/8"), "", cut(whole.as_bytes())));
            table.push((format!("gzip cut at {part}/8"), "gzip", cut(&packed)));
        }
        for (what, encoding, body) in table {
            let (status, answer) = ask(&anna, path, encoding, body).await;
            assert!((400..500).contains(&status), "{path} {what}: {status} {answer}");
        }
        assert_eq!(state(&world), before, "{path}");
    }
    for (number, path) in (1..).zip(ENDPOINTS) {
        let body = good(&anna, path, number).to_string().into_bytes();
        assert_eq!(ask(&anna, path, "", body).await.0, 200, "{path}: the next try");
    }
}

#[apply(stores!)]
async fn junk_in_a_request_affects_no_other_user(backend: Backend) {
    let junk = json!([
        null, true, -1, 0, i64::MAX, i64::MIN, u64::MAX, 1e300, 0.5, "", "bens", "places", "rejoin_log", "\u{0}",
        "9999-99-99T99:99:99Z", "x".repeat(100_000), [], {}, [[[]]], {"a": {"b": []}}
    ]);
    let junk = junk.as_array().unwrap();
    let world = bens_place(backend).await;
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let bens = theirs(&world);
    for seed in 0..cases(300) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let path = ENDPOINTS[rng.usize(..ENDPOINTS.len())];
        let number = 1_000 + usize::try_from(seed).unwrap();
        let mut body = good(&anna, path, number);
        let mut places = Vec::new();
        collect(&body, "", &mut places);
        let place = places[rng.usize(..places.len())].clone();
        let value = junk[rng.usize(..junk.len())].clone();
        *body.pointer_mut(&place).unwrap() = value.clone();
        let (status, answer) = ask(&anna, path, "", body.to_string().into_bytes()).await;
        assert!(status < 500, "seed {seed} {path}{place} = {value:.60}: {status} {answer}");
        assert_eq!(theirs(&world), bens, "seed {seed} {path}{place} = {value:.60}");
    }
    for (number, path) in (1..).zip(ENDPOINTS) {
        let body = good(&anna, path, number).to_string().into_bytes();
        let (status, answer) = ask(&anna, path, "", body).await;
        assert_eq!(status, 200, "{path}: the next try: {answer}");
    }
}

/// The paths of all values in a document, as JSON pointers.
pub(crate) fn collect(json: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match json {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{at}/{index}"), places);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, &format!("{at}/{name}"), places);
            }
        }
        _ => {}
    }
}

#[apply(stores!)]
async fn invalid_value_rejects_its_own_group_only(backend: Backend) {
    let world = bens_place(backend).await;
    let mut anna = world.device("anna", "a1").await;
    let table = [
        ("name", json!("a\u{0}b")),
        ("name", json!([1])),
        ("score", json!("many")),
        ("score", json!(1.5)),
        ("score", json!(18_446_744_073_709_551_615_u64)),
        ("score", json!(1e300)),
        ("score", json!({"a": 1})),
        ("colour", json!("red")),
        ("owner_id", json!("ben")),
    ];
    for (number, (column, value)) in table.into_iter().enumerate() {
        let what = format!("{column} = {value}");
        let mut bad = place(&format!("bad{number}"), "x");
        bad["data"][column] = value;
        let (bad, next) = (json!([bad]), json!([place(&format!("next{number}"), "N")]));
        let groups = json!([
            anna.group(&format!("bad{number}"), &bad),
            anna.group(&format!("next{number}"), &next)
        ]);
        let verdicts = anna.push_groups(groups).await.rejoin.unwrap().verdicts;
        assert_ne!(verdicts[0].verdict, Ending::Accepted, "{what}: {verdicts:?}");
        assert_eq!(verdicts[1].verdict, Ending::Accepted, "{what}: {verdicts:?}");
        let there = "SELECT count(*) FROM places WHERE owner_id = 'anna' AND id LIKE 'bad%'";
        assert_eq!(world.one(there), "0", "{what}");
    }
}
