//! A row is in none of its resolver's buckets until its current version is resolved; failures stay
//! closed.

use macro_rules_attribute::apply;

use super::{A, B, document, fed, give, put, world};
use crate::world::Backend;

/// A reader of a document's bucket receives nothing of it between its write and the resolver's
/// result.
#[apply(postgres_stores!)]
async fn unresolved_row_is_in_no_resolver_bucket(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x", "y"]);
    put(&world, A, "x", "open");
    world.write(&format!("INSERT INTO notes(id, document) VALUES (1, '{A}')"));
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    let mut y = world.device("y", "d").await;
    let mut anna = world.device("anna", "d").await;
    x.snapshot(9).await;
    y.snapshot(9).await;
    anna.snapshot(9).await;
    readers.set_gate(true);
    put(&world, A, "y", "stop");
    put(&world, B, "x", "new");
    world.write(&format!("INSERT INTO notes(id, document, body) VALUES (2, '{A}', 'secret')"));
    readers.wait_at_gate();
    // The owner's bucket is available immediately.
    let a = document(A);
    assert_eq!(anna.pull().await, [a.clone(), document(B), "notes/2".into()]);
    assert_eq!(world.device("x", "fresh").await.snapshot(9).await, [""; 0]);
    assert_eq!(x.pull().await, [""; 0]);
    let recheck = serde_json::json!([{"table_name": "documents", "id": A}, {"table_name": "notes", "id": "2"}]);
    let ask = serde_json::json!({"limit": 9, "rejoin": {"cursor": x.cursor, "recheck": recheck}});
    let (_, answer) = x.post("/sync/pull", ask).await;
    assert_eq!(answer["rejoin"]["sets"], serde_json::json!([]));
    // After the result, no cursor has skipped a row.
    readers.set_gate(false);
    fed(&world.server);
    let mut after = x.pull().await;
    after.retain(|name| name != "-notes/2"); // x never had it: the removal has no effect.
    assert_eq!(after, [document(B), format!("-{a}"), "-notes/1".into()]);
    assert_eq!(y.pull().await, [a.as_str(), "notes/1", "notes/2"]);
}

/// A bucket is revoked from x while one of its rows is unresolved.
#[apply(postgres_stores!)]
async fn revoked_bucket_also_removes_unresolved_rows(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    x.snapshot(9).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.wait_at_gate();
    world.server.revoke("x", "doc:x").unwrap();
    let mut received = x.pull().await;
    readers.set_gate(false);
    fed(&world.server);
    received.extend(x.pull().await);
    assert_eq!(received, [format!("-{}", document(A))]);
}

/// A result counts only if the row was not written again meanwhile.
#[apply(postgres_stores!)]
async fn resolver_result_applies_to_the_last_write_only(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x", "y"]);
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.wait_at_gate();
    put(&world, A, "y", "secret");
    readers.set_gate(false);
    fed(&world.server);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [""; 0]);
}

/// A resolver that fails: an error, a panic, an invalid name, too many names.
#[apply(postgres_stores!)]
async fn failing_resolver_fails_closed_and_is_replayed(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    let name = document(A);
    assert_eq!(x.snapshot(9).await, [name.as_str()]);
    for (text, why) in [
        ("x fail", "no such reader of documents"),
        ("x panic", "the resolver panicked"),
        ("x odd", "\"#1:a\" is no name of a bucket"),
        ("x y z w", "4 buckets, at most 3"),
    ] {
        put(&world, A, text, "a");
        put(&world, B, "x", "goes on");
        fed(&world.server);
        assert_eq!(x.pull().await, [document(B), format!("-{name}")], "{text}");
        let failures = world.server.bucket_failures().unwrap();
        let failure =
            (failures[0].table.as_str(), failures[0].id.as_str(), failures[0].why.as_str());
        assert_eq!((failures.len(), failure), (1, ("documents", A, why)));
        world.server.replay_buckets().unwrap();
        fed(&world.server);
        assert_eq!(world.server.bucket_failures().unwrap().len(), 1, "still failing");
        assert_eq!(x.pull().await, [""; 0]);
        readers.said.lock().unwrap().is_fixed = true;
        let replayed = world.server.replay_buckets().unwrap();
        assert_eq!((replayed.tried, replayed.failed), (1, 0), "it is resolved again later");
        fed(&world.server);
        assert_eq!(x.pull().await, [name.as_str()]);
        assert_eq!(world.server.bucket_failures().unwrap().len(), 0);
        readers.said.lock().unwrap().is_fixed = false;
        world.write(&format!("DELETE FROM documents WHERE id = '{B}'"));
        fed(&world.server);
        assert_eq!(x.pull().await, [format!("-{}", document(B))]);
    }
}
