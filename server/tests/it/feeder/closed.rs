//! A row is in none of its resolver's buckets until that has spoken of it as it is; and what fails stays closed.

use super::{A, B, document, fed, give, put, world};

/// What x, who could read the document, finds out about it after it was written and before the resolver has spoken.
async fn told_meanwhile() -> Option<Vec<String>> {
    let (world, readers) = world()?;
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
    let mut told = world.device("x", "fresh").await.snapshot(9).await;
    told.extend(x.pull().await);
    let recheck = serde_json::json!([{"table_name": "documents", "id": A}, {"table_name": "notes", "id": "2"}]);
    let ask = serde_json::json!({"limit": 9, "rejoin": {"cursor": x.cursor, "recheck": recheck}});
    let (status, answer) = x.post("/sync/pull", ask).await;
    let sets = answer["rejoin"]["sets"].as_array().map_or(0, Vec::len);
    told.extend((0..sets).map(|_| format!("{status}")));
    // Then it is told to each: nothing was passed by a cursor.
    readers.set_gate(false);
    fed(&world.server);
    if told.is_empty() {
        let gone = [document(B), format!("-{a}"), "-notes/1".into(), "-notes/2".into()];
        let (mut heard, mut expected) = (x.pull().await, Vec::from(gone));
        heard.retain(|name| name != "-notes/2");
        expected.retain(|name| name != "-notes/2");
        assert_eq!(heard, expected);
        assert_eq!(y.pull().await, [a.as_str(), "notes/1", "notes/2"]);
    }
    Some(told)
}

#[tokio::test]
async fn until_the_resolver_has_spoken_nobody_reads_a_row_by_its_buckets() {
    let Some(told) = told_meanwhile().await else { return };
    assert_eq!(told, [""; 0]);
}

/// A bucket is taken from x while it is not known whether a row of his is still in it.
async fn loses_what_waits() -> Option<Vec<String>> {
    let (world, readers) = world()?;
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
    Some(told)
}

#[tokio::test]
async fn a_bucket_that_is_withdrawn_takes_along_what_waits() {
    let Some(told) = loses_what_waits().await else { return };
    assert_eq!(told, [format!("-{}", document(A))]);
}

/// What is said of a row counts only if it was not written again meanwhile: whoever sees it in the end.
async fn sees_what_was_written_again() -> Option<Vec<String>> {
    let (world, readers) = world()?;
    give(&world, &["x", "y"]);
    readers.set_gate(true);
    put(&world, A, "x", "stop");
    readers.stands();
    put(&world, A, "y", "secret");
    readers.set_gate(false);
    fed(&world.server);
    Some(world.device("x", "d").await.snapshot(9).await)
}

#[tokio::test]
async fn an_answer_is_for_the_last_writing_of_a_row() {
    let Some(seen) = sees_what_was_written_again().await else { return };
    assert_eq!(seen, [""; 0]);
}

/// What is told to x, who reads a document with a note below it, when it goes on to y.
#[cfg(feature = "mutants")]
async fn told_of_a_move() -> Option<[Vec<String>; 2]> {
    let (world, _) = world()?;
    give(&world, &["x", "y"]);
    put(&world, A, "x", "a");
    world.write(&format!("INSERT INTO notes(id, document) VALUES (1, '{A}')"));
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    let mut y = world.device("y", "d").await;
    x.snapshot(9).await;
    y.snapshot(9).await;
    put(&world, A, "y", "a");
    fed(&world.server);
    Some([x.pull().await, y.pull().await])
}

/// A resolver that says nothing of a row: an error, a panic, a name that nobody can hold, too many names.
#[tokio::test]
async fn a_failing_resolver_fails_closed_and_is_replayed() {
    let Some((world, readers)) = world() else { return };
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

/// With a rule broken each story is another one.
#[cfg(feature = "mutants")]
#[test]
fn the_stories_notice_broken_rules() {
    use rejoin_server::mutant::{Mutant, with};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(told) = with(Mutant::UnfedSeen, || runtime.block_on(told_meanwhile())) else { return };
    assert!(told.contains(&document(A)), "{told:?}");
    let told = with(Mutant::UnfedUnwalked, || runtime.block_on(loses_what_waits()));
    assert_eq!(told.unwrap(), [""; 0]);
    let seen = with(Mutant::StaleAnswer, || runtime.block_on(sees_what_was_written_again()));
    assert_eq!(seen.unwrap(), [document(A)]);
    let moved = |mutant| with(mutant, || runtime.block_on(told_of_a_move())).unwrap();
    let note = String::from("notes/1");
    assert_eq!(moved(Mutant::FormerUntold)[0], [""; 0]);
    assert_eq!(moved(Mutant::FedAlone), [[format!("-{}", document(A))], [document(A)]]);
    let [x, y] = runtime.block_on(told_of_a_move()).unwrap();
    assert_eq!(x, [format!("-{}", document(A)), format!("-{note}")]);
    assert_eq!(y, [document(A), note]);
}
