//! Concurrent pushes of two devices of one user: the result equals a sequential order.

use std::sync::Barrier;

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::{Ending, Verdict};
use serde_json::{Value, json};

use crate::world::{Device, World, place, rename, score};

/// Waits until this many transactions wait for a lock; SQLite does not report them.
pub(crate) fn until_they_wait(world: &World, count: &str) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    while world.database.is_some() && world.one(waiting) != count {
        std::thread::yield_now();
    }
}

/// Pushes both groups on separate threads. Both wait for another program's transaction, begun by a
/// statement per store, until `end` ends it.
pub(crate) fn push_at_once(
    world: &World,
    (in_file, on_postgres, end): (&str, &str, &str),
    pushes: [(&mut Device<'_>, Value); 2],
) -> [Verdict; 2] {
    let held = world.hold(in_file, on_postgres);
    let started = Barrier::new(3);
    std::thread::scope(|scope| {
        let pushes = pushes.map(|(device, group)| {
            let started = &started;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                started.wait();
                runtime.unwrap().block_on(device.push_group(group)).0
            })
        });
        started.wait();
        until_they_wait(world, "2");
        assert!(pushes.iter().all(|push| !push.is_finished()), "a push did not wait");
        held(end);
        pushes.map(|push| push.join().unwrap())
    })
}

/// Both devices push one change while another program locks the table.
fn change_at_once(world: &World, pushes: [(&mut Device<'_>, &str, Value); 2]) -> [Ending; 2] {
    let pushes = pushes.map(|(device, id, change)| {
        let group = device.group(id, &json!([change]));
        (device, group)
    });
    let lock = ("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE places", "COMMIT");
    push_at_once(world, lock, pushes).map(|verdict| verdict.verdict)
}

#[apply(parallel_stores!)]
async fn concurrent_pushes_of_one_user_are_serialised(world: World) {
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("s1", json!([place("p1", "v0")])).await;
    let mut name = String::from("v0");
    for round in 0..10 {
        // The same column: one wins with its value, the other is a conflict.
        let (left, right) = (format!("l{round}"), format!("r{round}"));
        let changes = [rename("p1", &name, &left), rename("p1", &name, &right)];
        let [first, second] = changes;
        let ended = change_at_once(&world, [(&mut one, &left, first), (&mut two, &right, second)]);
        name = world.one("SELECT name FROM places");
        let mut expected = [Ending::Accepted, Ending::Conflict];
        if name == right {
            expected.reverse();
        }
        assert_eq!(ended, expected, "{name}");
        // Different columns: both values are stored, in either order.
        let next = format!("n{round}");
        let (left, right) = (format!("m{round}"), format!("o{round}"));
        let edit = rename("p1", &name, &next);
        let pushes =
            [(&mut one, left.as_str(), edit), (&mut two, right.as_str(), score(round, round + 1))];
        assert_eq!(change_at_once(&world, pushes), [Ending::Accepted; 2]);
        let row = world.one("SELECT name || ' ' || score FROM places");
        assert_eq!(row, format!("{next} {}", round + 1));
        name = next;
    }
}
