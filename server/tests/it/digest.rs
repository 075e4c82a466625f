//! Digests over HTTP: slices, rows of a slice, who sees what, bad queries.

use macro_rules_attribute::apply;
use rejoin_protocol::digest::{Digest, read_hash, slice};
use rejoin_protocol::wire::digest::{DigestAnswer, WireDigest};
use rejoin_server::TableConfig;
use serde_json::json;

use crate::world::{Backend, World, place};

const TABLES: &str =
    "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, owner TEXT, note TEXT, number BIGINT);
    CREATE TABLE places(id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, updated_at TEXT NOT NULL);
    INSERT INTO seats VALUES ('s1', 'e1', NULL, 'a', 1), ('s2', 'e1', NULL, 'b', 2),
                             ('s3', 'e2', NULL, 'c', 3)";

struct WithLog(World);

impl From<Backend> for WithLog {
    fn from(backend: Backend) -> Self {
        let world = World::with(backend, TABLES, |config| {
            config
                .with_table(TableConfig::log("seats", "event", "event:"))
                .with_table(TableConfig::owned("places", "owner_id"))
        });
        world.server.grant("anna", "event:e1").unwrap();
        Self(world)
    }
}

async fn ask(world: &World, user: &str, query: &str) -> (u16, serde_json::Value) {
    let path = format!("/sync/digest?{query}");
    let headers = [("X-User-ID", user), ("Rejoin-Protocol", "1")];
    let (status, _, body) = world.send("GET", &path, &headers, "").await;
    (status, body)
}

async fn digest(world: &World, user: &str, query: &str) -> DigestAnswer {
    let (status, body) = ask(world, user, query).await;
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_value(body).unwrap()
}

#[apply(secured_stores!)]
async fn digest_of_a_table_is_the_sum_of_its_slices_and_of_their_rows(log: WithLog) {
    let world = &log.0;
    let mut anna = world.device("anna", "d").await;
    for at in 0..20 {
        anna.accept(&format!("m{at}"), json!([place(&format!("p{at}"), "Quay")])).await;
    }
    for (table, count) in [("places", 20), ("seats", 2)] {
        let plain = digest(world, "anna", &format!("table={table}")).await;
        assert_eq!((plain.whole.count, plain.slices.len(), plain.rows.len()), (count, 0, 0));
        let divided = digest(world, "anna", &format!("table={table}&slices=4")).await;
        assert_eq!((&divided.whole, divided.slices.len()), (&plain.whole, 4));
        let mut sum = Digest::default();
        for at in 0..4 {
            let listed = digest(world, "anna", &format!("table={table}&slices=4&slice={at}")).await;
            assert!(listed.slices.is_empty());
            let mut own = Digest::default();
            for row in &listed.rows {
                assert_eq!(slice(&row.id, 4), at, "{}", row.id);
                own.add_hash(read_hash(&row.hash).unwrap());
                sum.add_hash(read_hash(&row.hash).unwrap());
            }
            assert_eq!(WireDigest::from(own), divided.slices[at as usize]);
        }
        assert_eq!(WireDigest::from(sum), plain.whole);
    }
}

#[apply(secured_stores!)]
async fn digest_of_the_log_covers_the_users_buckets_whatever_id_it_names(log: WithLog) {
    let world = &log.0;
    assert_eq!(digest(world, "anna", "table=seats").await.whole.count, 2);
    assert_eq!(digest(world, "ben", "table=seats").await.whole.count, 0, "no bucket");
    // Tables of the log have no readers that do not write.
    world.server.grant_read("vera", "event:e1").unwrap();
    assert_eq!(digest(world, "vera", "table=seats").await.whole.count, 0);
    // Registers the device of the operator as an author.
    let operator = "0190a0e8-0000-7000-8000-000000000009";
    world.device("operator", operator).await;
    let author = uuid::Uuid::parse_str(operator).unwrap();
    let fetch = json!({"client_id": operator, "log": {"stamp": {"epoch": author, "membership": 1},
                       "cursor": 0, "limit": 1}});
    let headers = [("X-User-ID", "operator"), ("content-type", "application/json")];
    let (status, _, body) =
        world.send("POST", "/log/fetch", &headers, fetch.to_string().as_str()).await;
    assert_eq!(status, 200, "{body}");
    world.server.appoint_authority(Some(operator)).unwrap();
    let query = format!("table=seats&client_id={operator}");
    assert_eq!(digest(world, "operator", &query).await.whole.count, 3, "the authority sees all");
    assert_eq!(digest(world, "operator", "table=seats").await.whole.count, 0);
    assert_eq!(digest(world, "ben", &query).await.whole.count, 0, "another user's device id");
}

#[apply(secured_stores!)]
async fn bad_query_of_a_digest_is_refused_by_name(log: WithLog) {
    // query, status, code, text
    let table = [
        ("table=places&slices=9999", 400, "invalid_request", "slices is 9999"),
        ("table=places&slices=4&slice=4", 400, "invalid_request", "slice is 4"),
        ("table=places&slice=0", 400, "invalid_request", "there are 0 slices"),
        ("table=places&slices=many", 400, "invalid_request", "slices"),
        ("table=places&slices=-1", 400, "invalid_request", "slices"),
        ("table=nowhere&slices=4", 404, "table.unknown", "nowhere"),
        ("", 404, "table.unknown", "no synced table"),
    ];
    for (query, status, code, text) in table {
        let (found, body) = ask(&log.0, "anna", query).await;
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{query}: {body}");
        let message = format!("{} {}", body["message"], body["error"]);
        assert!(message.contains(text), "{query}: {body}");
    }
}
