//! Syncing through a foreign transport.

use std::sync::Arc;

use rejoin_core::block_on;
use rejoin_ffi::RejoinError;

use crate::cloud::{Cloud, Fault, URL};
use crate::home::Home;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENT: Option<u32> = Some(60_000);

fn synced(cloud: &Arc<Cloud>) -> Home {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server_url = Some(URL.to_owned());
    let home = Home::opened(url, Some(Arc::clone(cloud) as _));
    block_on(home.client.wait_for_first_sync(PATIENT)).unwrap();
    home
}

#[test]
fn what_a_transport_throws_is_offline_and_tried_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    for (fault, words) in [
        (Fault::Offline, "no bars"),
        (Fault::ThrowsLate, "ConnectionReset"),
        (Fault::Panics, "panicked"),
    ] {
        cloud.fails(Some(fault));
        home.runs(&format!("INSERT INTO task (id, title) VALUES ('{words}', 'buy milk')"));
        let error = block_on(home.client.sync_and_wait(PATIENT)).unwrap_err();
        assert!(matches!(&error, RejoinError::Offline { reason } if reason.contains(words)));
    }
    cloud.fails(None);
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"; 3], "what was carried out twice was done once");
}

#[test]
fn suspending_disconnects_the_transport_and_resuming_syncs_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    block_on(home.client.start()).unwrap();
    block_on(home.client.suspend()).unwrap();
    assert_eq!(*cloud.disconnected.lock().unwrap(), 1, "what it throws then changes nothing");
    block_on(home.client.resume()).unwrap();
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'buy milk')");
    block_on(home.client.sync_now()).unwrap();
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"]);
}
