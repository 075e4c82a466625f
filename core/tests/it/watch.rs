//! Tests of watched queries and change notifications.

use std::collections::BTreeMap;
use std::sync::mpsc;

use rejoin_core::{Client, Error, InputFault, Origin, RowBuffer, Update};

use crate::world::{World, next, shown, within};

fn bodies(update: &Update) -> Vec<String> {
    update.rows.iter().map(|row| row.get::<String>("body").unwrap()).collect()
}

/// Receives each result of a query.
fn watch_results(
    client: &Client,
    sql: &str,
) -> (mpsc::Receiver<rejoin_core::Result<Update>>, rejoin_core::Subscription) {
    let (sender, results) = mpsc::channel();
    let watch = within(client.watch(sql, (), &[])).unwrap();
    let subscription = watch.each(move |update| {
        let _ = sender.send(update);
    });
    (results, subscription)
}

#[test]
fn watch_delivers_the_result_now_and_after_each_change() {
    let world = World::with_notes();
    let (results, _subscription) =
        watch_results(&world.client, "SELECT body FROM note ORDER BY id");
    assert!(next(&results).unwrap().rows.is_empty());
    world.run("INSERT INTO note (id, body) VALUES ('a', 'one')");
    assert_eq!(bodies(&next(&results).unwrap()), ["one"]);
    world.run("UPDATE note SET body = 'two'");
    assert_eq!(bodies(&next(&results).unwrap()), ["two"]);
}

#[test]
fn commit_that_does_not_change_the_result_is_not_delivered() {
    let world = World::with_notes();
    world.run("CREATE TABLE other (id TEXT PRIMARY KEY)");
    let (results, _subscription) =
        watch_results(&world.client, "SELECT body FROM note WHERE id = 'a'");
    next(&results).unwrap();
    world.run("INSERT INTO other VALUES ('x')"); // Another table.
    world.run("INSERT INTO note (id, body) VALUES ('b', 'not shown')"); // Its table, not its rows.
    world.run("UPDATE note SET n = 5"); // Nor its columns.
    world.run("INSERT INTO note (id, body) VALUES ('a', 'shown')");
    assert_eq!(bodies(&next(&results).unwrap()), ["shown"], "an unchanged result was delivered");
}

#[test]
fn watch_of_a_view_and_join_follows_their_tables() {
    let world = World::with_notes();
    world.run("CREATE TABLE tag (note TEXT, body TEXT)");
    world.run("CREATE VIEW tagged AS SELECT tag.body FROM note JOIN tag ON tag.note = note.id");
    let (results, _subscription) = watch_results(&world.client, "SELECT body FROM tagged");
    next(&results).unwrap();
    world.run("INSERT INTO note (id) VALUES ('a')");
    world.run("INSERT INTO tag VALUES ('a', 'urgent')");
    assert_eq!(bodies(&next(&results).unwrap()), ["urgent"]);
}

#[test]
fn watches_of_one_commit_agree() {
    let world = World::with_notes();
    world.run("INSERT INTO note (id, n) VALUES ('a', 0), ('b', 0)");
    let client = world.client.clone();
    let results: Vec<_> = ["a", "b"]
        .map(|id| watch_results(&client, &format!("SELECT n AS body FROM note WHERE id = '{id}'")))
        .into_iter()
        .collect();
    for (results, _) in &results {
        next(results).unwrap();
    }
    for round in 1..=200_i64 {
        // One commit changes both; a watch that ran between two commits would show different
        // rounds.
        world.client.execute("UPDATE note SET n = ?", (round,)).wait().unwrap();
        let shown = results.iter().map(|(results, _)| {
            next(results).unwrap().rows.row(0).unwrap().get::<i64>("body").unwrap()
        });
        assert_eq!(shown.collect::<Vec<_>>(), [round, round]);
    }
}

#[test]
fn slow_reader_gets_only_the_latest_result() {
    let world = World::with_notes();
    world.run("INSERT INTO note (id, n) VALUES ('a', 0)");
    let (sender, results) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let watch = within(world.client.watch("SELECT n FROM note", (), &["n"])).unwrap();
    let _subscription = watch.each(move |update| {
        let update = update.unwrap();
        sender
            .send((update.rows.row(0).unwrap().get::<i64>("n").unwrap(), update.difference))
            .unwrap();
        if wait.recv().is_err() {} // Blocks until the test releases it.
    });
    assert_eq!(next(&results).0, 0);
    for n in 1..=1000_i64 {
        world.client.execute("UPDATE note SET n = ?", (n,)).wait().unwrap();
    }
    // A stream has no callback to wait for; it shows that the last commit was processed.
    let mut stream = within(world.client.watch("SELECT n FROM note", (), &[])).unwrap();
    assert_eq!(shown(&mut stream).rows.row(0).unwrap().get::<i64>("n").unwrap(), 1000);
    drop(go_on);
    let mut calls = 0;
    let (last, difference) = loop {
        calls += 1;
        let (n, difference) = next(&results);
        if n == 1000 {
            break (n, difference.unwrap());
        }
    };
    assert_eq!(last, 1000);
    assert!(calls <= 2, "{calls} calls for a thousand changes");
    if calls == 1 {
        let before: RowBuffer = difference.before.unwrap();
        assert_eq!(
            before.row(0).unwrap().get::<i64>("n").unwrap(),
            0,
            "the difference has another base"
        );
    }
    assert_eq!((difference.added.len(), difference.removed.len()), (1, 1));
}

#[test]
fn applied_differences_equal_the_result() {
    let world = World::with_notes();
    let sql = "SELECT id, n FROM note ORDER BY n, id";
    let mut watch = within(world.client.watch(sql, (), &["id"])).unwrap();
    let mut random = fastrand::Rng::with_seed(34);
    let mut mirror: BTreeMap<String, i64> = BTreeMap::new();
    let mut counts = [0; 3];
    let row = |rows: &RowBuffer, number: usize| {
        let row = rows.row(number).unwrap();
        (row.get::<String>("id").unwrap(), row.get::<i64>("n").unwrap())
    };
    for round in 0..300 {
        let changes: Vec<(String, i64)> = (0..random.usize(1..4))
            .map(|_| (format!("{:02}", random.u8(0..20)), random.i64(0..100)))
            .collect();
        let delete = random.bool();
        let client = world.client.clone();
        // A commit without a change is not delivered; this counter ensures that each commit has
        // one.
        let marker = ("marker".to_owned(), round);
        client
            .transaction(move |tx| {
                for (id, n) in changes.into_iter().chain([marker]) {
                    if delete && id != "marker" {
                        tx.execute("DELETE FROM note WHERE id = ?", (id,))?;
                    } else {
                        tx.execute("INSERT OR REPLACE INTO note (id, n) VALUES (?, ?)", (id, n))?;
                    }
                }
                Ok(())
            })
            .wait()
            .unwrap();
        let mut update = shown(&mut watch);
        if round == 0 && update.rows.is_empty() {
            update = shown(&mut watch);
        }
        let difference = update.difference.unwrap();
        for number in &difference.removed {
            mirror.remove(&row(difference.before.as_ref().unwrap(), *number).0);
        }
        for number in difference.added.iter().chain(&difference.changed) {
            let (id, n) = row(&update.rows, *number);
            mirror.insert(id, n);
        }
        for (count, rows) in
            counts.iter_mut().zip([&difference.added, &difference.changed, &difference.removed])
        {
            *count += rows.len();
        }
        let whole: BTreeMap<_, _> = (0..update.rows.len()).map(|n| row(&update.rows, n)).collect();
        assert_eq!(mirror, whole);
    }
    assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
}

#[test]
fn watch_of_invalid_query_or_key_is_refused() {
    let world = World::with_notes();
    let watch = |sql: &str, key: &[&str]| within(world.client.watch(sql, (), key)).unwrap_err();
    assert!(matches!(watch("SELECT * FROM nothing", &[]), Error::InvalidInput(InputFault::Sql(_))));
    assert!(matches!(
        watch("DELETE FROM note", &[]),
        Error::InvalidInput(InputFault::Refused { .. })
    ));
    let error = watch("SELECT body FROM note", &["id"]).to_string();
    assert_eq!(error, "refused the key column id: the query has the columns body");
}

#[test]
fn watch_continues_after_its_table_is_recreated() {
    let world = World::with_notes();
    let (results, _subscription) = watch_results(&world.client, "SELECT body FROM note");
    next(&results).unwrap();
    world.run("DROP TABLE note");
    assert!(next(&results).is_err());
    world.run("CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT)");
    assert!(next(&results).unwrap().rows.is_empty());
    world.run("INSERT INTO note VALUES ('a', 'again')");
    assert_eq!(bodies(&next(&results).unwrap()), ["again"]);
}

#[test]
fn dropped_subscription_is_not_called() {
    let world = World::with_notes();
    let (results, subscription) = watch_results(&world.client, "SELECT body FROM note");
    next(&results).unwrap();
    drop(subscription);
    world.run("INSERT INTO note (id, body) VALUES ('a', 'not delivered')");
    // The sender is dropped with the callback, so nothing can arrive.
    assert!(results.recv_timeout(crate::world::PATIENCE).is_err());
}

#[test]
fn change_has_its_tables_and_origin() {
    let world = World::with_notes();
    world.run("CREATE TABLE other (id TEXT PRIMARY KEY)");
    let (sender, results) = mpsc::channel();
    let subscription =
        world.client.on_change(&["Note"], move |change| sender.send(change).unwrap());
    world.run("INSERT INTO other VALUES ('a')");
    world.run("INSERT INTO note (id) VALUES ('a')");
    let change = next(&results);
    assert_eq!(change.origin, Origin::Local);
    assert_eq!(change.tables.keys().collect::<Vec<_>>(), ["note"]);
    drop(subscription);
    assert!(
        results.recv_timeout(crate::world::PATIENCE).is_err(),
        "called after its subscription was dropped"
    );
}

#[test]
fn callback_may_call_the_client_and_survives_a_panic() {
    let world = World::with_notes();
    let (sender, results) = mpsc::channel();
    let client = world.client.clone();
    let _subscription = world.client.on_change(&["note"], move |_| {
        let count = client.query_one("SELECT count(*) FROM note", ()).wait().unwrap().unwrap();
        client.execute("CREATE TABLE IF NOT EXISTS made_by_callback (id TEXT)", ()).wait().unwrap();
        sender.send(count.get::<i64>(0).unwrap()).unwrap();
        assert_ne!(count.get::<i64>(0).unwrap(), 1, "the first call panics");
    });
    world.run("INSERT INTO note (id) VALUES ('a')");
    assert_eq!(next(&results), 1);
    world.run("INSERT INTO note (id) VALUES ('b')");
    assert_eq!(next(&results), 2);
    assert_eq!(world.number("SELECT count(*) FROM made_by_callback"), 0);
}

#[test]
fn watch_ends_with_its_client() {
    let world = World::with_notes();
    let mut watch = within(world.client.watch("SELECT body FROM note", (), &[])).unwrap();
    shown(&mut watch);
    world.client.shutdown().wait().unwrap();
    assert!(within(watch.next()).is_none());
}

/// A closed screen keeps no memory, even without later commits.
#[test]
fn ended_watch_drops_its_results_at_once() {
    let world = World::with_notes();
    world.run("INSERT INTO note (id, body) VALUES ('a', 'a long text')");
    let sql = "SELECT body FROM note";

    let mut watch = within(world.client.watch(sql, (), &["body"])).unwrap();
    let bytes = shown(&mut watch).rows.as_bytes().clone();
    assert!(!bytes.is_unique(), "the last result is not kept for comparison");
    drop(watch);
    assert!(bytes.is_unique());

    let (results, subscription) = watch_results(&world.client, sql);
    let bytes = next(&results).unwrap().rows.as_bytes().clone();
    assert!(!bytes.is_unique());
    drop(subscription);
    assert!(bytes.is_unique());
}
