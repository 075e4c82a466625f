//! A row is in none of its resolver's buckets until that has spoken of it as it is; and what fails stays closed.

use macro_rules_attribute::apply;

use super::{A, B, document, fed, give, put, world};
use crate::world::Backend;

/// A device that could read a document receives nothing of it between its write and the resolver's answer.
#[apply(postgres_stores!)]
async fn until_the_resolver_has_spoken_nobody_reads_a_row_by_its_buckets(backend: Backend) {
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
    readers.stands();
    // The owner's bucket does not wait.
    let a = document(A);
    assert_eq!(anna.pull().await, [a.clone(), document(B), "notes/2".into()]);
    assert_eq!(world.device("x", "fresh").await.snapshot(9).await, [""; 0]);
    assert_eq!(x.pull().await, [""; 0]);
    let recheck = serde_json::json!([{"table_name": "documents", "id": A}, {"table_name": "notes", "id": "2"}]);
    let ask = serde_json::json!({"limit": 9, "rejoin": {"cursor": x.cursor, "recheck": recheck}});
    let (_, answer) = x.post("/sync/pull", ask).await;
    assert_eq!(answer["rejoin"]["sets"], serde_json::json!([]));
    // After the answer, no cursor has passed a row.
    readers.set_gate(false);
    fed(&world.server);
    let mut after = x.pull().await;
    after.retain(|name| name != "-notes/2"); // x never had it: a withdrawal changes nothing.
    assert_eq!(after, [document(B), format!("-{a}"), "-notes/1".into()]);
    assert_eq!(y.pull().await, [a.as_str(), "notes/1", "notes/2"]);
}

/// A bucket is taken from x while it is not known whether a row of his is still in it.
#[apply(postgres_stores!)]
async fn a_bucket_that_is_withdrawn_takes_along_what_waits(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    x.snapshot(9).await;
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.stands();
    world.server.unsubscribe("x", "doc:x").unwrap();
    let mut told = x.pull().await;
    readers.set_gate(false);
    fed(&world.server);
    told.extend(x.pull().await);
    assert_eq!(told, [format!("-{}", document(A))]);
}

/// What is said of a row counts only if it was not written again meanwhile: whoever sees it in the end.
#[apply(postgres_stores!)]
async fn an_answer_is_for_the_last_writing_of_a_row(backend: Backend) {
    let (world, readers) = world(backend);
    give(&world, &["x", "y"]);
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.stands();
    put(&world, A, "y", "secret");
    readers.set_gate(false);
    fed(&world.server);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [""; 0]);
}

/// A resolver that says nothing of a row: an error, a panic, a name that nobody can hold, too many names.
#[apply(postgres_stores!)]
async fn a_failing_resolver_fails_closed_and_is_replayed(backend: Backend) {
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
        assert_eq!(world.server.bucket_failures().unwrap().len(), 1, "nothing is mended yet");
        assert_eq!(x.pull().await, [""; 0]);
        readers.said.lock().unwrap().is_mended = true;
        let replayed = world.server.replay_buckets().unwrap();
        assert_eq!(
            (replayed.tried, replayed.failed),
            (1, 0),
            "it is asked again, and says so later"
        );
        fed(&world.server);
        assert_eq!(x.pull().await, [name.as_str()]);
        assert_eq!(world.server.bucket_failures().unwrap().len(), 0);
        readers.said.lock().unwrap().is_mended = false;
        world.write(&format!("DELETE FROM documents WHERE id = '{B}'"));
        fed(&world.server);
        assert_eq!(x.pull().await, [format!("-{}", document(B))]);
    }
}
