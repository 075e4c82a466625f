//! Two servers over one database: they share state, and each wakes the other's devices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rejoin_protocol::wire::push::Ending;
use rejoin_server::error::Fault;
use rejoin_server::model::Touched;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::{NodeNotice, NoticeListener, Reading, Store, Writing, write};
use rejoin_server::{PostgresUrl, Server};
use serde_json::json;

use super::sequencer::Until;
use crate::events::Listening;
use crate::world::{Device, TABLES, World, place, standard};
use rejoin_postgres::{Database, Session};

pub(crate) const NOW: &str = "2026-11-20T08:00:00.000000Z";

fn store(world: &World) -> PostgresStore {
    let url = PostgresUrl::from(world.database.as_ref().unwrap().url.as_str());
    PostgresStore::open(&url, &world.config.tables, Duration::from_secs(5), NOW).unwrap()
}

/// A store that lacks one of the two sources of changes from other nodes.
#[derive(Debug)]
struct Deaf {
    inner: PostgresStore,
    looks: bool,
    listens: bool,
}

impl Store for Deaf {
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault> {
        self.inner.read(work)
    }

    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.inner.write(now, work)
    }

    fn pulse(&self) -> Result<i64, Fault> {
        if self.looks {
            return self.inner.pulse();
        }
        Err(Fault::Transient(String::from("it does not look")))
    }

    fn listen(&self, notify: NoticeListener) {
        if self.listens {
            self.inner.listen(notify);
        }
    }
}

fn deaf(world: &World, looks: bool, listens: bool) -> Server {
    let store = Deaf { inner: store(world), looks, listens };
    Server::over(world.config.clone(), Arc::new(store), Arc::new(world.clock.clone()))
}

pub(crate) async fn until_it_listens(database: &Database, count: usize) {
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND query = 'LISTEN rejoin' AND state = 'idle'";
    for _ in 0..1_000 {
        if database.one(listening) == count.to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections listen, not {count}", database.one(listening));
}

#[tokio::test(flavor = "multi_thread")]
async fn push_at_one_node_wakes_listeners_at_the_other() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    let other = deaf(&world, false, true);
    let mut listening = Listening::start(&other, ("X-User-ID", "anna")).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    until_it_listens(world.database.as_ref().unwrap(), 1).await;
    for number in 0..3 {
        let id = number.to_string();
        anna.accept(&format!("m{id}"), json!([place(&id, "x")])).await;
        assert_eq!(listening.next().await.unwrap(), "changed {}");
    }
    // Also for writes of another program, once any node has polled.
    world.write("UPDATE places SET name = 'y'");
    anna.pull().await;
    assert_eq!(listening.next().await.unwrap(), "changed {}");
}

/// As after a restore, when a notice has named a later position than the log has.
#[tokio::test(flavor = "multi_thread")]
async fn notice_of_a_later_position_does_not_wake_everyone_at_each_change() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    world.device("ben", "b1").await;
    let mut listening = Listening::start(&world.server, ("X-User-ID", "ben")).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    until_it_listens(world.database(), 1).await;
    world.write("NOTIFY rejoin, '1000'");
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    // Again when the position is read, within the interval of polling.
    let quiet = Duration::from_secs(2);
    while tokio::time::timeout(quiet, listening.next()).await.is_ok() {}
    for number in 0..3 {
        let id = number.to_string();
        anna.accept(&format!("m{id}"), json!([place(&id, "x")])).await;
    }
    let woken = tokio::time::timeout(quiet, listening.next()).await;
    assert!(woken.is_err(), "a change of anna does not concern ben");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_notifications_polls() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    let other = deaf(&world, true, false);
    let mut listening = Listening::start(&other, ("X-User-ID", "anna")).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    anna.accept("m1", json!([place("p1", "x")])).await;
    assert_eq!(listening.next().await.unwrap(), "changed {}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_listen_connection_is_replaced() {
    let mut cluster = super::cluster();
    Session::to(&cluster.url("postgres")).run("CREATE DATABASE app");
    let database = Database::at(&cluster.url("app"));
    database.session().run(TABLES);
    let world = World::over(database, standard);
    let database = world.database.as_ref().unwrap();
    let mut anna = world.device("anna", "a1").await;
    let other = deaf(&world, false, true);
    let mut listening = Listening::start(&other, ("X-User-ID", "anna")).await;
    assert!(listening.next().await.unwrap().starts_with("hello"));
    until_it_listens(database, 1).await;
    let who = "SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN rejoin'";
    let session = database.one(who);
    database.one(&format!("SELECT pg_terminate_backend({session})"));
    // The listening session must not be the one about to end.
    while database.one(who) == session {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until_it_listens(database, 1).await;
    assert_eq!(listening.next().await.unwrap(), "changed {}", "perhaps something was missed");
    anna.accept("m1", json!([place("p1", "x")])).await;
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    cluster.stop().unwrap();
    cluster.start_again().unwrap();
    until_it_listens(database, 1).await;
    assert_eq!(listening.next().await.unwrap(), "changed {}", "perhaps something was missed");
    world.write("INSERT INTO places(id, owner_id, name) VALUES('p2', 'anna', 'x')");
    let looks = store(&world);
    looks.pulse().unwrap();
    assert_eq!(listening.next().await.unwrap(), "changed {}");
}

fn notify_log(node: &PostgresStore, bucket: &str) {
    node.notify_log(&[Touched { bucket: bucket.into(), is_grant: false }]);
}

/// What a node receives.
fn notices(node: &PostgresStore) -> mpsc::Receiver<NodeNotice> {
    let (sender, notices) = mpsc::channel();
    node.listen(Arc::new(move |notice| sender.send(notice).is_ok()));
    notices
}

/// The buckets of the next notice of the log model, if one arrives within this time.
fn next_buckets(notices: &mpsc::Receiver<NodeNotice>, most: Duration) -> Option<Vec<String>> {
    loop {
        if let NodeNotice::Log(touched) = notices.recv_timeout(most).ok()? {
            return Some(touched.into_iter().map(|one| one.bucket).collect());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_notices_are_coalesced_and_reach_other_nodes_only() {
    const LONG: Duration = Duration::from_secs(15);
    let world = World::postgres(TABLES, standard);
    let (one, two) = (store(&world), store(&world));
    let (at_one, at_two) = (notices(&one), notices(&two));
    until_it_listens(world.database(), 2).await;
    let sent: BTreeSet<String> = (0..100).map(|number| format!("event:{number}")).collect();
    for bucket in &sent {
        notify_log(&one, bucket);
    }
    let (mut found, mut count) = (BTreeSet::new(), 0);
    while found.len() < sent.len() {
        found.extend(next_buckets(&at_two, LONG).unwrap());
        count += 1;
    }
    assert_eq!(found, sent);
    assert!(count <= 10, "{count} notices");
    // Notices arrive in the order of their commits, so its own would be first.
    notify_log(&two, "event:last");
    assert_eq!(next_buckets(&at_one, LONG).unwrap(), ["event:last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_notices_continue_after_a_lost_connection() {
    let world = World::postgres(TABLES, standard);
    let (one, two) = (store(&world), store(&world));
    let at_two = notices(&two);
    until_it_listens(world.database(), 1).await;
    // Notices may be lost, so they are repeated.
    let arrives = |bucket: &str| {
        (0..50).any(|_| {
            notify_log(&one, bucket);
            let found = next_buckets(&at_two, Duration::from_millis(300));
            found.is_some_and(|buckets| buckets == [bucket])
        })
    };
    assert!(arrives("event:before"));
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE 'SELECT set_config(%pg_notify(%'";
    assert_eq!(world.one(ended), "1");
    assert!(arrives("event:after"));
}

/// A notice that came while the connection was lost reached no device of this node until its next
/// fetch.
#[tokio::test(flavor = "multi_thread")]
async fn node_that_may_have_missed_notices_wakes_every_device() {
    let world = World::postgres(TABLES, standard);
    let node = store(&world);
    let received = notices(&node);
    until_it_listens(world.database(), 1).await;
    assert_eq!(next_buckets(&received, Duration::from_millis(300)), None, "no notice at the start");
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query = 'LISTEN rejoin'";
    assert_eq!(world.one(ended), "1");
    assert_eq!(next_buckets(&received, Duration::from_secs(15)).unwrap(), [""]);
}

/// The device, connected to another node.
fn at<'b>(device: Device<'b>, node: &'b World) -> Device<'b> {
    Device { world: node, ..device }
}

#[tokio::test]
async fn device_moves_between_nodes_with_cursors_and_verdicts() {
    let one = World::postgres(TABLES, standard);
    let two = one.node();
    one.write("INSERT INTO places(id, owner_id, name) SELECT 'p' || n, 'anna', 'x' FROM generate_series(1, 5) AS n");
    let mut anna = one.device("anna", "a1").await;
    // A snapshot that begins at one node and ends at the other.
    let page = anna.snapshot_page(None, 3).await;
    assert!(page.has_more);
    let mut anna = at(anna, &two);
    let rest =
        anna.snapshot_page(Some(serde_json::to_value(page.cursor.unwrap()).unwrap()), 3).await;
    let answer = rest.rejoin.unwrap();
    assert!(!answer.restart && !rest.has_more);
    anna.cursor = answer.pull_cursor;
    let group = anna.group("m1", &json!([place("p6", "Quay")]));
    let (there, _) = anna.push_group(group.clone()).await;
    let mut anna = at(anna, &one);
    assert_eq!(anna.pull().await, ["places/p6"]);
    let (here, _) = anna.push_group(group).await;
    assert_eq!((there.verdict, here.verdict), (Ending::Accepted, Ending::Accepted));
    assert_eq!(one.one("SELECT count(*) FROM rejoin_verdict"), "1");
    let epoch = anna.epoch.clone();
    let mut anna = at(anna, &two);
    anna.register().await;
    assert_eq!(anna.epoch, epoch);
    assert_eq!(anna.pull().await, Vec::<String>::new());
    // An epoch begun by one node applies to both.
    write(&store(&one), NOW, |writing| writing.new_epoch()).unwrap();
    let page = anna.pull_page(10).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("epoch_changed"));
    let mut anna = at(anna, &one);
    anna.register().await;
    assert_ne!(anna.epoch, epoch);
}

/// Four writers, four devices that alternate between the nodes, and both nodes number and compact.
#[test]
fn two_nodes_number_and_compact_side_by_side() {
    const PULLS: usize = 20;
    const FORGOTTEN: usize = 100;
    let one = World::postgres(TABLES, standard);
    let two = one.node();
    let database = one.database.as_ref().unwrap();
    let pulling = AtomicBool::new(true);
    let (pulls, forgotten) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (ready, all_ready) = mpsc::channel();
    let found: Vec<BTreeSet<String>> = std::thread::scope(|scope| {
        let still_pulling = Until(&pulling);
        let pullers: Vec<_> = (0..4)
            .map(|number| {
                let (nodes, ready) = ([&one, &two], ready.clone());
                let (pulling, pulls) = (&pulling, &pulls);
                scope.spawn(move || puller(nodes, number, pulling, pulls, &ready))
            })
            .collect();
        assert_eq!(all_ready.iter().take(4).count(), 4);
        let writers: Vec<_> =
            (0..4).map(|number| scope.spawn(move || writer(&database.session(), number))).collect();
        for node in [&one, &two] {
            let (pulling, forgotten) = (&pulling, &forgotten);
            scope.spawn(move || {
                while pulling.load(Ordering::Relaxed) {
                    let done = node.server.compact().unwrap();
                    forgotten.fetch_add(done.entries, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        for _ in 0..12_000 {
            let pulls = pulls.load(Ordering::Relaxed);
            if pulls > PULLS && forgotten.load(Ordering::Relaxed) > FORGOTTEN {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(still_pulling);
        pullers.into_iter().map(|puller| puller.join().unwrap()).collect()
    });
    let all: BTreeSet<String> =
        database.session().lines("SELECT 'places/' || id FROM places").into_iter().collect();
    for found in found {
        let missing: Vec<_> = all.difference(&found).take(5).collect();
        assert!(missing.is_empty() && found.len() == all.len(), "{missing:?} of {}", all.len());
    }
    let (pulls, forgotten) = (pulls.into_inner(), forgotten.into_inner());
    assert!(pulls > PULLS && forgotten > FORGOTTEN, "{pulls} pulls, {forgotten} entries forgotten");
}

fn writer(session: &Session, number: usize) {
    for turn in 0..100 {
        session.run(&format!(
            "INSERT INTO places(id, owner_id, name) VALUES('w{number}-{turn}', 'anna', 'x')"
        ));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The rows of a device that pulls until the writers end, and then to the end.
fn puller(
    nodes: [&World; 2],
    number: usize,
    pulling: &AtomicBool,
    pulls: &AtomicUsize,
    ready: &mpsc::Sender<()>,
) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut device = nodes[0].device("anna", &format!("d{number}")).await;
        let mut found: BTreeSet<String> = device.snapshot(1_000).await.into_iter().collect();
        ready.send(()).unwrap();
        for turn in 0.. {
            device = at(device, nodes[turn % 2]);
            // A minute passes between pulls, so that each position is recorded.
            device.world.clock.advance(61_000_000);
            let is_last = !pulling.load(Ordering::Relaxed);
            found.extend(device.pull().await);
            pulls.fetch_add(1, Ordering::Relaxed);
            if is_last {
                break;
            }
        }
        found
    })
}
