//! The authority over HTTP: it corrects entries whose authors are offline.

use std::sync::Arc;

use macro_rules_attribute::apply;
use rejoin_log::authority::corrections;
use rejoin_log::message::snapshot::SnapshotAnswer;
use rejoin_log::message::{Correct, Corrected, Fetched};
use rejoin_log::replica::memory::MemoryReplica;
use rejoin_log::replica::{Replica, fetch, publish, snapshot};
use serde_json::json;

use super::device::{Actions, Device, placement};
use super::{Log, World, table};

pub(super) type Authority = Replica<MemoryReplica>;

/// A new authority, and its device.
pub(super) async fn appointed(world: &World) -> (Device<'_>, Authority) {
    let device = Device::new(world, "anna", 9).await;
    let placed = placement(world, "anna").await;
    let store = MemoryReplica::default();
    let authority =
        Authority::create(store, device.author, Arc::new(Actions), Arc::new(placed)).unwrap();
    world.server.appoint_authority(Some(&device.author.to_string())).unwrap();
    (device, authority)
}

/// Runs the authority on this device until it has nothing to correct.
pub(super) async fn correct_all(device: &Device<'_>, authority: &mut Authority) -> usize {
    while snapshot::needs_snapshot(authority) {
        let request = snapshot::page_request(authority, 9);
        let answer: SnapshotAnswer = device.ask("/log/snapshot", request).await;
        snapshot::take_page(authority, &answer).unwrap();
    }
    let mut taken = 0;
    for _ in 0..20 {
        let request = fetch::fetch_request(authority, 9).unwrap();
        let answer: Fetched = device.ask("/log/fetch", request).await;
        fetch::take_fetched(authority, &answer).unwrap();
        let Some(found) = corrections(authority, 9).unwrap() else { return taken };
        let done: Corrected = device.ask("/log/correct", &found).await;
        publish::take_corrected(authority, &found, &done).unwrap();
        taken += done.taken;
    }
    panic!("the authority does not end");
}

#[apply(stores!)]
async fn authority_corrects_an_entry_while_its_author_is_away(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    ben.sync().await;
    ben.act("append", "r0", "b").unwrap();
    anna.act("append", "r0", "a").unwrap();
    anna.sync().await;
    ben.sync().await;
    assert_eq!(table(world), "r0=e1,-,a,0", "absolute values, until it runs again");
    let stamp = anna.replica.facts().stamp.unwrap();
    let nothing = Correct { stamp, corrections: Vec::new() };
    let (status, answer) = anna.post("/log/correct", &nothing).await;
    assert_eq!((status, &answer["code"]), (403, &json!("log_refused")), "not appointed");
    let (appointed, mut authority) = appointed(world).await;
    assert_eq!(correct_all(&appointed, &mut authority).await, 1);
    assert_eq!(table(world), "r0=e1,-,ba,0");
    anna.sync().await;
    assert_eq!(anna.see("r0", "note"), json!("ba"));
    world.server.appoint_authority(None).unwrap();
    let (status, _) = appointed.post("/log/correct", &nothing).await;
    assert_eq!(status, 403, "dismissed");
    assert!(world.server.release_entry("no uuid").is_err());
    assert!(!world.server.release_entry(&anna.author.to_string()).unwrap(), "no such entry");
}
