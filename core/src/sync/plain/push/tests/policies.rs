//! Policies with a plain server: decided on the device, but for the later clock, which such a server compares itself (P3, P5).

use rejoin_protocol::{Policy, time};
use serde_json::json;

use super::{Net, World};

fn governed(policy: Policy) -> World {
    let mut world = World::with_note("a");
    world.engine.set_policies([("notes".to_owned(), policy)].into()).unwrap();
    world
}

#[test]
fn the_same_column_changed_on_both_sides() {
    for (policy, stands, parked) in [
        (Policy::AcceptServer, "theirs", 1),
        (Policy::Rebase, "mine", 0),
        (Policy::KeepLocal, "mine", 0),
        (Policy::Manual, "theirs", 1),
    ] {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        world.server.write("a", &json!({"body": "theirs"}));
        world.settle();
        assert_eq!(world.server.cell("a", "body"), Some(json!(stands)), "{policy:?}");
        assert_eq!(world.parked().len(), parked, "{policy:?}");
        assert_eq!(world.queue().len(), parked, "{policy:?}");
    }
}

#[test]
fn a_row_that_somebody_deleted_is_brought_back_only_by_keep_local() {
    for (policy, keys, parked) in [(Policy::Rebase, "", 1), (Policy::KeepLocal, "a", 0)] {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        world.server.delete("a");
        world.settle();
        assert_eq!((world.server.keys().as_str(), world.parked().len()), (keys, parked));
        if parked == 0 {
            assert_eq!(world.server.cell("a", "body"), Some(json!("mine")));
            assert_eq!(world.queue().len(), 0);
        }
    }
}

#[test]
fn a_clock_is_sent_only_where_the_later_one_shall_win() {
    for policy in Policy::ALL {
        let mut world = governed(policy);
        world.run("UPDATE notes SET body = 'mine'");
        let written = world.queue()[0].time_ms * 1000;
        world.push(&[Net::Ok]);
        let told = world.server.heard[0][0].client_updated_at.clone();
        let by_time = policy == Policy::LastWriteWins;
        let expected = if by_time { written } else { 0 };
        assert_eq!(time::parse(&told), Some(expected), "{policy:?}");
    }
}
