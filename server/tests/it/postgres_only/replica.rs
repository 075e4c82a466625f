//! Pulls from a hot standby that follows, stops following, or is away.

use std::sync::Arc;
use std::time::Duration;

use rejoin_postgres::{Cluster, Database, Session, Standby};
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_server::store::Store as _;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::{PostgresUrl, Server};
use serde_json::json;

use crate::events::Listening;
use crate::world::{Device, TABLES, World, named, place, rename, standard};

mod random;

/// A node whose store reads from a standby.
struct Node {
    world: World,
    store: Arc<PostgresStore>,
}

impl Node {
    fn over(mut world: World, standby: &Standby) -> Self {
        let (url, now) = (PostgresUrl::from(world.database().url.as_str()), super::nodes::NOW);
        let tables = &world.config.tables;
        let store = PostgresStore::open(&url, tables, Duration::from_secs(5), now).unwrap();
        let store = store.with_clock(Arc::new(world.clock.clone()));
        let store = match &world.config.row_security {
            Some(security) => store.secured(security.clone()).unwrap(),
            None => store,
        };
        let store = Arc::new(store.replicated(&standby.url("app").as_str().into()).unwrap());
        let clock = Arc::new(world.clock.clone());
        world.server = Server::over(world.config.clone(), store.clone(), clock);
        Self { world, store }
    }

    /// How many pulls the standby has served, and how many were sent on.
    fn counts(&self) -> [u64; 2] {
        let reads = self.store.replica_reads().unwrap();
        [reads.served, reads.declined]
    }

    /// Reads the log in the primary, so that knowledge of it is fresh.
    fn look(&self) {
        self.store.pulse().unwrap();
    }
}

/// A primary with the standard tables, a standby, and a node.
struct Replicated {
    node: Node,
    standby: Standby,
    primary: Cluster,
}

fn replicated() -> Replicated {
    replicated_with(|_| {})
}

fn replicated_with(prepare: impl Fn(&mut World)) -> Replicated {
    let primary = super::cluster();
    let standby = Standby::of(&primary).unwrap();
    Session::to(&primary.url("postgres")).run("CREATE DATABASE app");
    let database = Database::at(&primary.url("app"));
    database.run(TABLES);
    let mut world = World::over(database, standard);
    prepare(&mut world);
    standby.catch_up(&primary);
    Replicated { node: Node::over(world, &standby), standby, primary }
}

impl Replicated {
    /// The standby has everything, and the node knows what that is.
    fn catch_up(&self, node: &Node) {
        self.standby.catch_up(&self.primary);
        node.look();
    }

    fn primary_session(&self) -> Session {
        Session::to(&self.primary.url("app"))
    }

    /// Pulls these rows, and again until the standby has served a pull: more than a second may pass
    /// between the read of the log and the pull.
    async fn assert_served(&self, node: &Node, device: &mut Device<'_>, mut rows: &[&str]) {
        let [served, _] = node.counts();
        for _ in 0..20 {
            self.catch_up(node);
            assert_eq!(device.pull().await, rows);
            if node.counts()[0] > served {
                return;
            }
            rows = &[];
        }
        panic!("the standby serves nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_is_served_by_the_replica() {
    assert_pulls_are_served(&replicated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_is_served_by_the_replica_with_row_security() {
    let all = replicated_with(World::secure);
    assert_pulls_are_served(&all).await;
    let mut eve = all.node.world.device("eve", "e1").await;
    eve.snapshot(10).await;
    all.node.world.write("UPDATE places SET name = 'y'");
    all.assert_served(&all.node, &mut eve, &[]).await;
}

async fn assert_pulls_are_served(all: &Replicated) {
    let mut writer = all.node.world.device("anna", "a1").await;
    let mut reader = all.node.world.device("anna", "a2").await;
    writer.snapshot(10).await;
    reader.snapshot(10).await;
    all.assert_served(&all.node, &mut reader, &[]).await;
    for number in 0..3 {
        let id = format!("p{number}");
        writer.accept(&id, json!([place(&id, "x")])).await;
        all.assert_served(&all.node, &mut reader, &[&format!("places/{id}")]).await;
    }
}

async fn pull_with(device: &mut Device<'_>, witness: &str) -> PullResponse {
    let rejoin = json!({"cursor": device.cursor, "witness": witness});
    let (status, answer) = device.post("/sync/pull", json!({"limit": 10, "rejoin": rejoin})).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_value(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_replica_serves_no_device_that_has_seen_or_was_notified_of_more() {
    let all = replicated();
    let other = Node::over(all.node.world.node(), &all.standby);
    let world = &all.node.world;
    let mut writer = world.device("anna", "a1").await;
    let mut reader = world.device("anna", "a2").await;
    let mut notified = world.device("anna", "a3").await;
    let mut elsewhere = other.world.device("anna", "a4").await;
    for device in [&mut writer, &mut reader, &mut notified, &mut elsewhere] {
        device.snapshot(10).await;
    }
    let mut listening = Listening::start(&world.server, ("X-User-ID", "anna")).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    all.assert_served(&other, &mut elsewhere, &[]).await;
    all.standby.pause();
    let [served, _] = all.node.counts();

    // The device that pushed, one with an old cursor, and a notified one.
    let group = writer.group("m1", &json!([place("p1", "x")]));
    other.look();
    let witness = writer.push_groups(json!([group])).await.rejoin.unwrap().witness;
    assert!(!witness.is_empty());
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    assert_eq!(reader.pull().await, ["places/p1"]);
    let page = pull_with(&mut writer, &witness).await;
    assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
    assert_eq!(named(&page), ["places/p1"]);
    // Another node is notified of it, a moment later.
    let mut rows = elsewhere.pull().await;
    for _ in 0..100 {
        if !rows.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        rows = elsewhere.pull().await;
    }
    assert_eq!(rows, ["places/p1"]);
    world.write("UPDATE places SET name = 'y'");
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    assert_eq!(notified.pull().await, ["places/p1"]);

    // A device that the standby does not know.
    let mut late = world.device("anna", "a5").await;
    assert_eq!(late.snapshot(10).await, ["places/p1"]);
    assert_eq!(late.pull().await, [""; 0]);
    assert_eq!(late.epoch, reader.epoch, "no new epoch");
    // A change of the tables that the standby does not have.
    world.write("ALTER TABLE places ADD COLUMN note TEXT");
    late.register().await;
    late.snapshot(10).await;
    assert_eq!(late.pull().await, [""; 0]);
    assert_eq!(all.node.counts()[0], served, "the standby served nothing");
    all.standby.resume();
    all.assert_served(&all.node, &mut late, &[]).await;
}

/// No notice says that the standby is behind: another program has written just now.
#[tokio::test(flavor = "multi_thread")]
async fn pull_for_the_present_state_is_served_by_the_primary() {
    let all = replicated();
    let world = &all.node.world;
    let mut reader = world.device("anna", "a1").await;
    reader.snapshot(10).await;
    all.assert_served(&all.node, &mut reader, &[]).await;
    all.standby.pause();
    world.write("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'x')");
    let rejoin = json!({"cursor": reader.cursor, "current": true});
    let (_, page) = reader.post("/sync/pull", json!({"limit": 10, "rejoin": rejoin})).await;
    assert_eq!(named(&serde_json::from_value(page).unwrap()), ["places/p1"]);
    all.standby.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn page_ahead_of_the_log_is_followed_by_a_page_of_the_primary() {
    let all = replicated();
    let world = &all.node.world;
    let mut writer = world.device("anna", "a1").await;
    writer.accept("m0", json!([place("p1", "0"), place("p2", "0")])).await;
    let mut reader = world.device("anna", "a2").await;
    for turn in 0..20 {
        reader.snapshot(10).await;
        let (old, new) = (turn.to_string(), (turn + 1).to_string());
        writer.accept(&format!("m{new}"), json!([rename("p1", &old, &new)])).await;
        all.catch_up(&all.node);
        let [served, _] = all.node.counts();
        // Without a position: it is committed, and in the standby.
        world.write(&format!("UPDATE places SET score = {new}"));
        all.standby.catch_up(&all.primary);
        let page = reader.pull_page(10).await;
        if all.node.counts()[0] == served {
            continue; // More than a second has passed.
        }
        assert_eq!((named(&page), page.has_more), (vec!["places/p1".into()], true));
        let page = reader.pull_page(10).await;
        assert_eq!(named(&page), ["places/p1", "places/p2"], "all rows of the transaction");
        assert_eq!(all.node.counts()[0], served + 1);
        return;
    }
    panic!("the standby serves nothing within a second");
}

/// A bucket and its rows are removed together, and the standby has that before the log.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_bucket_that_is_removed_with_them_are_gone() {
    let all = replicated();
    let world = &all.node.world;
    world.server.grant("anna", "user:ben").unwrap();
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('b1', 'ben', 'x'), ('b2', 'ben', 'x')",
    );
    let mut reader = world.device("anna", "a1").await;
    assert_eq!(reader.snapshot(10).await, ["places/b1", "places/b2"]);
    reader.pull().await;
    all.catch_up(&all.node);
    all.primary_session().run(
        "BEGIN; DELETE FROM rejoin.bucket WHERE user_id = 'anna'; DELETE FROM places WHERE owner_id = 'ben'; COMMIT",
    );
    all.standby.catch_up(&all.primary);
    let mut gone = std::collections::BTreeSet::new();
    for _ in 0..10 {
        gone.extend(reader.pull().await);
        all.catch_up(&all.node);
    }
    assert_eq!(gone.into_iter().collect::<Vec<_>>(), ["-places/b1", "-places/b2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_go_on_without_the_replica() {
    let mut all = replicated();
    let clock = all.node.world.clock.clone();
    let world = &all.node.world;
    let mut writer = world.device("anna", "a1").await;
    let mut reader = world.device("anna", "a2").await;
    reader.snapshot(10).await;
    all.assert_served(&all.node, &mut reader, &[]).await;
    all.standby.stop().unwrap();
    let begun = rejoin_server::Clock::now(&rejoin_server::SystemClock);
    for number in 0..20 {
        let id = format!("p{number}");
        writer.accept(&id, json!([place(&id, "x")])).await;
        assert_eq!(reader.pull().await, [format!("places/{id}")]);
        clock.advance(1_000);
    }
    let took = rejoin_server::Clock::now(&rejoin_server::SystemClock) - begun;
    assert!(took < 30_000_000, "each pull waited for the replica: {took} microseconds");
    all.standby.start_again().unwrap();
    let [served, _] = all.node.counts();
    for _ in 0..1_000 {
        all.node.look();
        assert_eq!(reader.pull().await, [""; 0]);
        if all.node.counts()[0] > served {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the standby is not used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn promoted_replica_is_not_used() {
    let all = replicated();
    let mut reader = all.node.world.device("anna", "a1").await;
    reader.snapshot(10).await;
    all.assert_served(&all.node, &mut reader, &[]).await;
    let [served, _] = all.node.counts();
    let promoted = Session::to(&all.standby.url("app"));
    assert_eq!(promoted.one("SELECT pg_promote()"), "t");
    promoted.run("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'x')");
    promoted.run("SELECT rejoin.sequence()");
    all.node.look();
    assert_eq!(reader.pull().await, [""; 0], "what was written there is not in the database");
    assert_eq!(all.node.counts()[0], served);
}

#[test]
fn replica_of_another_database_is_refused() {
    let all = replicated();
    let config = all.node.world.config.clone();
    let session = all.node.world.database().session();
    session.run("CREATE ROLE other LOGIN SUPERUSER");
    all.standby.catch_up(&all.primary);
    let as_other_role = all.standby.url("app").replace("//postgres@", "//other@");
    let open = |url: &str| {
        let config = rejoin_server::Config { replica: Some(url.into()), ..config.clone() };
        Server::open(config).map(drop).map_err(|error| error.to_string())
    };
    // A standby that takes long to answer is compared later.
    let refused = |url: &str| (0..10).find_map(|_| open(url).err()).expect("it is refused");
    for url in [all.standby.url("postgres"), as_other_role] {
        let error = refused(&url);
        assert!(error.contains("the replica leads to another database, role or"), "{url}: {error}");
    }
    let elsewhere = super::cluster();
    for url in [all.primary.url("app"), elsewhere.url("postgres")] {
        let error = refused(&url);
        assert!(error.contains("name a standby of store in replica"), "{url}: {error}");
    }
    open(&all.standby.url("app")).unwrap();
    drop(all.standby);
    open("postgres://postgres@127.0.0.1:1/app").expect("pulls read the database");
}
