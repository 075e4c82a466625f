//! The outcome of an edit that meets a foreign change: each policy, on two devices and a server.

use std::time::Duration;

use rejoin_core::Policy;
use rejoin_core::sync::session::Phase;
use rejoin_protocol::wire::push::PushRequest;
use rejoin_server::Resolve;
use rejoin_tests::{Backend, Device, Store};

use crate::places::{PLACES, each};
use crate::{apply, each_store};

const HOUR: Duration = Duration::from_hours(1);

/// A server with one place of Ana's under this policy, and her two synced devices.
fn server_with_policy(store: Store, policy: Policy) -> (Backend, Device, Device) {
    let mut server = Backend::on(store);
    server.govern("places", |table| table.policy = policy);
    let two = check_in_sync(&server);
    (server, two.0, two.1)
}

fn check_in_sync(server: &Backend) -> (Device, Device) {
    // Not by an outside writer, whose clock is the machine's and not the test server's.
    let mut third = Device::new("ana", 3);
    third.sync(server);
    third.write("INSERT INTO places (id, name, note, score) VALUES ('p1', 'A', 'n', 3)");
    third.sync(server);
    let (mut one, mut two) = (Device::new("ana", 1), Device::new("ana", 2));
    one.sync(server);
    two.sync(server);
    (one, two)
}

/// Syncs all, and checks that they have the server's rows.
#[track_caller]
fn sync_and_compare(server: &Backend, devices: [&mut Device; 2]) -> String {
    let [one, two] = devices;
    for _ in 0..2 {
        one.sync(server);
        two.sync(server);
    }
    assert_eq!((one.see(PLACES), two.see(PLACES)), (server.see(PLACES), server.see(PLACES)));
    server.see(PLACES)
}

/// Advances all clocks by an hour.
fn pass(server: &Backend, devices: [&Device; 2]) {
    for device in devices {
        device.host.advance(HOUR);
    }
    server.clock.advance(3_600_000_000);
}

/// Both devices change the name of the place, one also the note, the other the score; `one` pushes
/// first, and `two` is the later edit.
fn both_rename(server: &Backend, one: &mut Device, two: &mut Device) {
    one.write("UPDATE places SET name = 'one', score = 4 WHERE id = 'p1'");
    one.sync(server);
    pass(server, [one, two]);
    two.write("UPDATE places SET name = 'two', note = 'mine' WHERE id = 'p1'");
    two.sync(server);
}

#[apply(each_store)]
fn conflict_on_a_column_is_resolved_by_policy(store: Store) {
    let table = [
        (Policy::AcceptServer, "p1|one|n|4", "Parked:Conflicted/1"),
        (Policy::Rebase, "p1|two|mine|4", ""),
        (Policy::KeepLocal, "p1|two|mine|4", ""),
        (Policy::Manual, "p1|one|n|4", "Parked:Conflicted/1"),
        (Policy::LastWriteWins, "p1|two|mine|4", ""),
    ];
    assert_eq!(table.map(|(policy, ..)| policy), Policy::ALL);
    for (policy, rows, waiting) in table {
        let (server, mut one, mut two) = server_with_policy(store, policy);
        both_rename(&server, &mut one, &mut two);
        assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), rows, "{policy:?}");
        assert_eq!(two.waiting(), waiting, "{policy:?}");
        // The values that an app needs to merge.
        for parked in two.queue() {
            let row = &detail(parked.detail)["rows"][0];
            if policy == Policy::Manual {
                assert_eq!(row["before"], serde_json::json!({"name": "A", "note": "n"}));
            }
            let names = (&row["mine"]["name"], &row["theirs"]["name"]);
            assert_eq!(names, (&"two".into(), &"one".into()));
        }
    }
}

fn detail(parked: Option<String>) -> serde_json::Value {
    serde_json::from_str(&parked.unwrap()).unwrap()
}

/// An outside writer changes the column before each push of the device arrives; returns the number
/// of pushes, eight at most.
fn conflict_at_each_push(server: &Backend, device: &mut Device) -> usize {
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    let mut pushes = 0;
    while pushes < 8 && device.until(server, Phase::Pushing).is_ok() {
        pushes += 1;
        server.outside(&format!("UPDATE places SET name = 't{pushes}' WHERE id = 'p1'"));
        device.step(server).unwrap();
    }
    pushes
}

fn last_push(device: &Device) -> PushRequest {
    let mut pushes = device.sent.iter().filter(|request| request.phase == Phase::Pushing);
    serde_json::from_slice(pushes.next_back().unwrap().body.as_ref().unwrap()).unwrap()
}

#[apply(each_store)]
fn edit_with_repeated_conflicts_is_forced_in_the_end(store: Store) {
    for policy in [Policy::Rebase, Policy::KeepLocal] {
        let (server, mut one, mut two) = server_with_policy(store, policy);
        assert_eq!(conflict_at_each_push(&server, &mut one), 4, "{policy:?}");
        assert!(last_push(&one).rejoin.unwrap().groups[0].changes[0].force);
        assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), "p1|mine|n|3", "{policy:?}");
    }
}

#[apply(each_store)]
fn force_against_server_policy_is_compared_and_parked(store: Store) {
    let (server, mut one, mut two) = server_with_policy(store, Policy::AcceptServer);
    one.engine().set_policies([("places".to_owned(), Policy::Rebase)].into()).unwrap();
    assert_eq!(conflict_at_each_push(&server, &mut one), 4);
    assert_eq!(one.waiting(), "Parked:Conflicted/4");
    assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), "p1|t4|n|3");
}

/// The clocks of the two devices, in microseconds since 1970: right, at 1970, at 2100.
const CLOCKS: [(i64, i64); 4] = [
    (1_767_225_600_000_000, 1_767_225_600_000_000),
    (1_000_000, 4_102_444_800_000_000),
    (4_102_444_800_000_000, 1_000_000),
    (1_000_000, 1_000_000),
];

#[apply(each_store)]
fn later_edit_wins_whatever_the_clocks_and_push_order(store: Store) {
    for (one_shows, two_shows) in CLOCKS.into_iter().step_by(each(store, 2)) {
        for first in [1, 2] {
            let (server, mut one, mut two) = server_with_policy(store, Policy::LastWriteWins);
            one.host.set(one_shows);
            two.host.set(two_shows);
            pass(&server, [&one, &two]);
            one.write("UPDATE places SET name = 'earlier' WHERE id = 'p1'");
            pass(&server, [&one, &two]);
            two.write("UPDATE places SET name = 'later' WHERE id = 'p1'");
            pass(&server, [&one, &two]);
            let name = format!("{one_shows} {two_shows}, {first} first");
            if first == 2 {
                two.sync(&server);
            }
            assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), "p1|later|n|3", "{name}");
            let lost = if first == 1 { "" } else { "Parked:Conflicted/1" };
            assert_eq!((one.waiting().as_str(), two.waiting().as_str()), (lost, ""), "{name}");
            for parked in one.queue() {
                let detail = detail(parked.detail);
                assert_eq!(detail["code"], "row.superseded");
                let row = &detail["rows"][0];
                let names = (&row["mine"]["name"], &row["theirs"]["name"]);
                assert_eq!(names, (&"earlier".into(), &"later".into()));
            }
        }
    }
}

/// A pull between the write and the push does not make an older edit the later one.
#[apply(each_store)]
fn earlier_edit_loses_to_a_pulled_later_edit(store: Store) {
    let (server, mut one, mut two) = server_with_policy(store, Policy::LastWriteWins);
    pass(&server, [&one, &two]);
    one.until(&server, Phase::Pulling).unwrap();
    one.write("UPDATE places SET name = 'earlier' WHERE id = 'p1'");
    pass(&server, [&one, &two]);
    two.write("UPDATE places SET name = 'later' WHERE id = 'p1'");
    two.sync(&server);
    one.step(&server).unwrap();
    pass(&server, [&one, &two]);
    assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), "p1|later|n|3");
}

#[apply(each_store)]
fn server_wins_policy_parks_or_rebases_the_second_edit(store: Store) {
    for (policy, rows, waiting) in [
        (Policy::AcceptServer, "p1|one|n|3", "Parked:Conflicted/1"),
        (Policy::Rebase, "p1|one|two|3", ""),
    ] {
        let mut server = Backend::on(store);
        server.govern("places", |table| {
            table.policy = policy;
            table.resolver = Resolve::ServerWins;
        });
        let (mut one, mut two) = check_in_sync(&server);
        one.write("UPDATE places SET name = 'one' WHERE id = 'p1'");
        two.write("UPDATE places SET note = 'two' WHERE id = 'p1'");
        one.sync(&server);
        two.sync(&server);
        assert_eq!(sync_and_compare(&server, [&mut one, &mut two]), rows, "{policy:?}");
        assert_eq!(two.waiting(), waiting, "{policy:?}");
    }
}
