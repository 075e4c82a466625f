//! What the requests of one user may cost: bytes of a response, and time while others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::{Ending, PushAnswer};
use rejoin_server::{Clock, Limits, Server, TableConfig};
use serde_json::{Value, json};

use crate::world::{
    Backend, Device, MORNING, TABLES, World, create, delete, ended, place, record, standard,
};

/// The size of a request, and of a page. A response to a push has images of twice this size.
const SIZE: usize = 20_000;

/// The bytes of a large row.
const LARGE: usize = 6_000;

/// The number of large rows: all of them are six times [`SIZE`].
const ROWS: usize = 20;

fn small(backend: Backend) -> World {
    World::with(backend, TABLES, |config| {
        let limits = Limits { body: SIZE, page_bytes: SIZE, ..Limits::default() };
        standard(config).with_limits(limits)
    })
}

/// A clock that moves by a millisecond whenever it is read.
#[derive(Debug)]
pub(crate) struct Ticking(AtomicI64);

impl Ticking {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(MORNING)))
    }
}

impl Clock for Ticking {
    fn now(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// A server that has so many milliseconds for a push, each as long as a look at the clock.
fn hurried(backend: Backend, push_ms: u32) -> World {
    let mut world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { push_ms, ..Limits::default() })
    });
    world.server = Server::open_at(world.config.clone(), Ticking::new()).unwrap();
    world
}

async fn push(device: &mut Device<'_>, rejoin: Value) -> (u16, Value) {
    let mut rejoin = rejoin;
    rejoin["epoch"] = json!(device.epoch);
    device.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await
}

/// Anna's large rows, accepted one by one.
async fn with_large_rows(world: &World) -> Device<'_> {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    for number in 0..ROWS {
        let row = place(&format!("p{number:02}"), &"x".repeat(LARGE));
        anna.accept(&format!("made {number}"), json!([row])).await;
    }
    anna
}

#[apply(stores!)]
async fn push_that_names_something_twice_is_refused(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m1", &json!([place("p1", "x")]));
    let cancel = json!({"id": "m2", "seq": 2});
    let mut reading = anna.group("m3", &json!([place("p3", "x")]));
    let absent = json!({"table_name": "places", "id": "p9", "absent": true});
    reading["reads"] = json!([absent, absent]);
    for (name, rejoin) in [
        ("group", json!({"groups": [group, group]})),
        ("cancel", json!({"groups": [], "cancel": [cancel, cancel]})),
        ("both", json!({"groups": [group], "cancel": [{"id": "m1", "seq": 1}]})),
        ("read", json!({"groups": [reading]})),
    ] {
        let (status, answer) = push(&mut anna, rejoin).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_request")), "{name}");
        assert!(answer["message"].as_str().unwrap().contains("named twice"), "{name}: {answer}");
    }
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}

/// Requests that name all large rows, each with its path, and the bytes of its response: images of two
/// requests in a push, a page and one row in a pull.
fn small_requests(anna: &mut Device<'_>) -> Vec<(&'static str, Value, usize)> {
    let id = |number: usize| format!("p{number:02}");
    let old = json!({"name": "x"});
    let rows: Vec<Value> =
        (0..ROWS).map(|n| json!({"table_name": "places", "id": id(n)})).collect();
    let late: Vec<Value> = (0..ROWS)
        .map(|n| anna.group(&format!("late {n}"), &json!([delete("places", &id(n), &old)])))
        .collect();
    let cancel =
        |(n, row): (usize, &Value)| json!({"id": format!("c{n}"), "seq": n, "rows": [row]});
    let cancels: Vec<Value> = rows.iter().enumerate().map(cancel).collect();
    let conflict =
        |n: usize| record("create", &id(n % 2), &json!({"name": "other"}), "2030-11-20T08:00:00Z");
    let conflicts: Vec<Value> = (0..ROWS).map(conflict).collect();
    let (cursor, epoch) = (anna.cursor.clone(), anna.epoch.clone());
    let push = |rejoin: Value| json!({"changes": [], "rejoin": rejoin});
    let (pushed, page) = (2 * SIZE, SIZE + LARGE);
    vec![
        ("/sync/push", push(json!({"epoch": epoch, "groups": late})), pushed),
        ("/sync/push", push(json!({"epoch": epoch, "groups": [], "cancel": cancels})), pushed),
        ("/sync/push", json!({"changes": conflicts}), pushed),
        (
            "/sync/pull",
            json!({"limit": 1_000, "rejoin": {"cursor": cursor, "recheck": rows}}),
            page,
        ),
        ("/sync/pull", json!({"limit": 1_000, "checkpoint": 1}), page),
        ("/sync/snapshot", json!({"limit": 1_000, "rejoin": {"epoch": ""}}), page),
    ]
}

/// Around the rows of a response.
const FRAME: usize = 300 * ROWS;

/// The smallest requests with the largest responses.
#[apply(stores!)]
async fn small_request_has_a_bounded_response(backend: Backend) {
    let world = small(backend);
    let mut anna = with_large_rows(&world).await;
    for (path, body, most) in small_requests(&mut anna) {
        let sent = body.to_string();
        let (status, answer) = anna.post(path, body).await;
        let received = answer.to_string().len();
        assert_eq!(status, 200, "{path}: {answer}");
        let range = LARGE..=most + FRAME;
        assert!(range.contains(&received), "{path}: {} bytes get {received}: {sent}", sent.len());
    }
}

/// The same attempt gets the same verdict with before-images, whatever the repetition contains.
#[apply(stores!)]
async fn repeated_deletes_have_a_bounded_response(backend: Backend) {
    let world = small(backend);
    let mut anna = with_large_rows(&world).await;
    let repeated = |n: usize, changes: Value| {
        json!({"id": format!("d{n}"), "seq": 100 + n, "attempt": 1, "hash": "h",
               "time": "2026-11-20T08:00:00Z", "changes": changes})
    };
    let old = json!({"name": "x".repeat(LARGE)});
    let gone = |n: usize| repeated(n, json!([delete("places", &format!("p{n:02}"), &old)]));
    for part in (0..ROWS).map(gone).collect::<Vec<_>>().chunks(2) {
        let (status, _) = push(&mut anna, json!({"groups": part})).await;
        assert_eq!(status, 200);
    }
    let again: Vec<Value> = (0..ROWS).map(|n| repeated(n, json!([]))).collect();
    let (status, response) = push(&mut anna, json!({"groups": again})).await;
    let received = response.to_string().len();
    assert_eq!(status, 200);
    assert!((SIZE..=2 * SIZE + FRAME).contains(&received), "a repetition gets {received}");
    let answer: PushAnswer = serde_json::from_value(response["rejoin"].clone()).unwrap();
    assert!(answer.verdicts.iter().all(|verdict| verdict.verdict == Ending::Accepted));
    assert!(answer.verdicts.iter().any(|verdict| verdict.displaced.is_empty()), "left out");
}

/// Rows that a page leaves out come with the next.
#[apply(stores!)]
async fn rechecked_rows_come_in_pages(backend: Backend) {
    let world = small(backend);
    let mut anna = with_large_rows(&world).await;
    while anna.pull_page(1_000).await.has_more {}
    let mut missing: Vec<String> = (0..ROWS).map(|n| format!("p{n:02}")).collect();
    let mut pages = 0;
    while !missing.is_empty() {
        let named: Vec<Value> =
            missing.iter().map(|id| json!({"table_name": "places", "id": id})).collect();
        let ask = json!({"limit": 1_000, "rejoin": {"cursor": anna.cursor, "recheck": named}});
        let (status, page) = anna.post("/sync/pull", ask).await;
        assert_eq!(status, 200);
        let page: rejoin_protocol::wire::pull::PullResponse = serde_json::from_value(page).unwrap();
        let found = crate::world::named(&page);
        assert!(!found.is_empty());
        missing.retain(|id| !found.contains(&format!("places/{id}")));
        pages += 1;
    }
    assert!((7..=ROWS).contains(&pages), "{pages} pages of three rows");
}

/// Groups for which there is no time are answered `retry`; the others are decided.
#[apply(stores!)]
async fn push_without_time_leaves_the_rest_for_the_next(backend: Backend) {
    let world = hurried(backend, 30);
    let mut anna = world.device("anna", "a1").await;
    let groups: Vec<Value> = (0..100)
        .map(|n| anna.group(&format!("m{n}"), &json!([place(&format!("p{n}"), "x")])))
        .collect();
    let mut rest = groups.clone();
    let mut requests = 0;
    while !rest.is_empty() {
        let answer = anna.push_groups(json!(rest)).await.rejoin.unwrap();
        assert_eq!(answer.verdicts.len(), rest.len());
        let decided = answer.verdicts.iter().take_while(|v| v.verdict == Ending::Accepted).count();
        let later: Vec<String> = answer.verdicts[decided..].iter().map(ended).collect();
        assert!(
            decided > 0 && later.iter().all(|verdict| verdict == "retry unfinished"),
            "{later:?}"
        );
        assert!(answer.rows.iter().filter(|row| !row.absent).count() >= decided);
        rest.drain(..decided);
        requests += 1;
    }
    assert!(requests > 2, "{requests}");
    assert_eq!(world.one("SELECT count(*) FROM places"), "100");
    let again = anna.push_groups(json!(groups[..1])).await.rejoin.unwrap();
    assert_eq!(again.verdicts[0].verdict, Ending::Accepted);
}

/// A v0.1.2 peer gets such records back as retryable, and sends them again.
#[apply(stores!)]
async fn plain_push_without_time_is_retryable(backend: Backend) {
    let world = hurried(backend, 30);
    let mut anna = Device::plain(&world, "anna", "a1").await;
    let records: Vec<Value> = (0..100)
        .map(|n| record("create", &format!("p{n}"), &json!({"name": "x"}), "2026-11-20T08:00:00Z"))
        .collect();
    let mut rest = records;
    for _ in 0..100 {
        let ended = anna.push_records(&json!(rest)).await;
        rest.retain(|record| {
            !ended.contains(&format!("{} applied -", record["id"].as_str().unwrap()))
        });
        assert!(
            ended
                .iter()
                .all(|one| one.ends_with("applied -") || one.ends_with("rejected_retryable busy")),
            "{ended:?}"
        );
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(world.one("SELECT count(*) FROM places"), "100");
}

/// A change of the order in which one request meets another does not let its groups depend on
/// mutations that were left out.
#[apply(stores!)]
async fn dependent_group_waits_for_one_without_time(backend: Backend) {
    let world = hurried(backend, 12);
    let mut anna = world.device("anna", "a1").await;
    let mut groups: Vec<Value> = Vec::new();
    for number in 0..40 {
        let change = create("places", &format!("p{number}"), &json!({"name": "x"}));
        let mut group = anna.group(&format!("m{number}"), &json!([change]));
        if number > 0 {
            group["after"] = json!([format!("m{}", number - 1)]);
        }
        groups.push(group);
    }
    while !groups.is_empty() {
        let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
        let decided = answer.verdicts.iter().filter(|v| v.verdict == Ending::Accepted).count();
        assert!(decided > 0);
        assert!(answer.verdicts[decided..].iter().all(|v| v.verdict == Ending::Retry));
        groups.drain(..decided);
    }
    assert_eq!(world.one("SELECT count(*) FROM places"), "40");
}

/// Two tables whose rows refer to each other.
const WINGS: &str = "
    CREATE TABLE east(id TEXT PRIMARY KEY, owner_id TEXT, other TEXT REFERENCES west, updated_at TEXT);
    CREATE TABLE west(id TEXT PRIMARY KEY, owner_id TEXT, other TEXT REFERENCES east, updated_at TEXT);
";

const WINGS_ON_POSTGRES: &str = "
    CREATE TABLE east(id TEXT PRIMARY KEY, owner_id TEXT, other TEXT, updated_at TEXT);
    CREATE TABLE west(id TEXT PRIMARY KEY, owner_id TEXT, other TEXT REFERENCES east, updated_at TEXT);
    ALTER TABLE east ADD FOREIGN KEY (other) REFERENCES west;
";

/// A server over these tables, with a clock that moves by a millisecond whenever it is read.
fn wings(backend: Backend, push_ms: u32) -> (World, Arc<Ticking>) {
    let tables = if backend == Backend::Sqlite { WINGS } else { WINGS_ON_POSTGRES };
    let mut world = World::with(backend, tables, |config| {
        config
            .with_table(TableConfig::owned("east", "owner_id"))
            .with_table(TableConfig::owned("west", "owner_id"))
            .with_limits(Limits { push_ms, ..Limits::default() })
    });
    let clock = Ticking::new();
    world.server = Server::open_at(world.config.clone(), Arc::clone(&clock) as _).unwrap();
    (world, clock)
}

fn wing(name: &str, at: usize, other: Option<&str>) -> Value {
    let table = if at.is_multiple_of(2) { "east" } else { "west" };
    create(table, &format!("{name} {at:03}"), &json!({"other": other}))
}

/// Pairs of rows that refer to each other: no order of the writes is right.
fn pairs(name: &str, count: usize) -> Vec<Value> {
    (0..count).map(|at| wing(name, at, Some(&format!("{name} {:03}", at ^ 1)))).collect()
}

/// A group for whose set there is no time is sent again, and refused if it had all the time.
#[apply(stores!)]
async fn set_without_time_is_refused_when_it_comes_first(backend: Backend) {
    let (world, _) = wings(backend, 15);
    let mut anna = world.device("anna", "a1").await;
    let first = wing("first", 0, None);
    let groups = [
        anna.group("m1", &json!([first])),
        anna.group("m2", &json!(pairs("p", 40))),
        anna.group("m3", &json!([wing("last", 0, None)])),
    ];
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(found, ["accepted -", "retry unfinished", "retry unfinished"]);
    assert!(answer.verdicts[1].retryable);
    let answer = anna.push_groups(json!(groups[1..2])).await.rejoin.unwrap();
    let verdict = &answer.verdicts[0];
    assert_eq!(ended(verdict), "refused too_large");
    assert_eq!(verdict.table_name.as_deref(), Some("east"));
    let message = verdict.message.as_deref().unwrap();
    assert!(message.contains("in 15 ms") && message.contains("write fewer at once"), "{message}");
    // Stored: the same attempt is not tried again.
    let again = anna.push_groups(json!(groups[1..])).await.rejoin.unwrap();
    let found: Vec<String> = again.verdicts.iter().map(ended).collect();
    assert_eq!(found, ["refused too_large", "accepted -"]);
    assert_eq!(world.one("SELECT count(*) FROM east"), "2");
    anna.accept("m4", json!(pairs("p", 2))).await;
}

/// Each try of a set reads the clock: a group of ten times as many rows takes no more tries if it
/// refers to no row, and at most two more for each row if the rows need each other.
#[apply(stores!)]
async fn tries_of_a_set_are_bounded(backend: Backend) {
    let (world, clock) = wings(backend, 60_000);
    let mut anna = world.device("anna", "a1").await;
    let now = || clock.0.load(Ordering::Relaxed) / 1_000;
    let (mut missing, mut needing) = (Vec::new(), Vec::new());
    for count in [40, 400] {
        let name = count.to_string();
        let rows: Vec<Value> = (0..count).map(|at| wing(&name, at, Some("nowhere"))).collect();
        let from = now();
        let (verdict, _) = anna.push(&name, json!(rows)).await;
        missing.push(now() - from);
        assert_eq!(ended(&verdict), "rejected constraint.references");
        assert_eq!(verdict.record_id, Some(format!("{name} 000")));
        let from = now();
        anna.accept(&format!("pairs {name}"), json!(pairs(&name, count))).await;
        needing.push(now() - from);
    }
    assert_eq!(missing[0], missing[1]);
    assert!(needing[1] - needing[0] <= 2 * 360 + 10, "{needing:?}");
}

/// A device confirms verdicts; one that only collects them is stopped.
#[apply(stores!)]
async fn unconfirmed_verdicts_of_a_device_are_limited(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { verdicts_per_device: 1_000, ..Limits::default() })
    });
    let mut anna = world.device("anna", "a1").await;
    let cancels = |from: usize, acked_below: usize| {
        let cancel = |n: usize| json!({"id": format!("c{n}"), "seq": n});
        let cancel: Vec<Value> = (from..from + 500).map(cancel).collect();
        json!({"groups": [], "cancel": cancel, "acked_below": acked_below})
    };
    for from in [0, 500] {
        assert_eq!(push(&mut anna, cancels(from, 0)).await.0, 200);
    }
    let (status, answer) = push(&mut anna, cancels(1_000, 0)).await;
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_requests")), "{answer}");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_verdict"), "1000");
    let mut other = world.device("anna", "a2").await;
    other.accept("m1", json!([place("p1", "x")])).await;
    assert_eq!(push(&mut anna, cancels(1_000, 600)).await.0, 200, "confirmed meanwhile");
}

/// Each rejection is stored. One that exceeds the share of its user is no verdict: the group is sent
/// again later, and groups that are accepted are not delayed.
#[apply(stores!)]
async fn rejections_of_a_user_are_limited_per_hour(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        standard(config).with_limits(Limits { rejections_per_user: 10, ..Limits::default() })
    });
    let mut anna = world.device("anna", "a1").await;
    let bad = |id: &str| json!([create("places", id, &json!({"name": "x", "score": -1}))]);
    let mut groups: Vec<Value> = Vec::new();
    for number in 0..12 {
        let id = format!("m{number}");
        groups.push(anna.group(&id, &bad(&id)));
    }
    let mut dependent = anna.group("d", &json!([place("d", "x")]));
    dependent["after"] = json!(["m11"]);
    groups.extend([dependent, anna.group("good", &json!([place("good", "x")]))]);
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(found[..10], vec!["rejected constraint.check"; 10]);
    assert_eq!(found[10..13], vec!["retry too_many_requests"; 3]);
    assert_eq!(found[13], "accepted -");
    assert!(answer.verdicts[10].retryable);
    assert_eq!(world.one("SELECT count(*) FROM rejoin_verdict"), "11");
    let mut other = world.device("anna", "a2").await;
    let of_other = other.group("o1", &bad("o1"));
    let answer = other.push_groups(json!([of_other])).await.rejoin.unwrap();
    assert_eq!(ended(&answer.verdicts[0]), "retry too_many_requests", "the share is the user's");
    let mut ben = world.device("ben", "b1").await;
    let (verdict, _) = ben.push("b", bad("b")).await;
    assert_eq!(ended(&verdict), "rejected constraint.check");
    world.clock.advance(1_200_000_000);
    let answer = anna.push_groups(json!(groups[10..13])).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(
        found,
        ["rejected constraint.check", "rejected constraint.check", "blocked blocked"]
    );
}
