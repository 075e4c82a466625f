//! Tests of syncing through a foreign transport.

use std::sync::Arc;

use rejoin_core::block_on;
use rejoin_ffi::RejoinError;

use crate::cloud::{Cloud, Fault, URL};
use crate::home::Home;

/// A timeout that only a hanging test reaches.
const TIMEOUT_MS: Option<u32> = Some(60_000);

fn synced(cloud: &Arc<Cloud>) -> Home {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server = Some(URL.to_owned());
    let home = Home::opened(url, Some(Arc::clone(cloud) as _));
    block_on(home.client.wait_for_first_sync(TIMEOUT_MS)).unwrap();
    home
}

#[test]
fn transport_error_is_offline_and_is_retried() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    for (fault, message) in [
        (Fault::Offline, "no bars"),
        (Fault::ThrowsLate, "ConnectionReset"),
        (Fault::Panics, "panicked"),
    ] {
        cloud.fails(Some(fault));
        home.runs(&format!("INSERT INTO task (id, title) VALUES ('{message}', 'buy milk')"));
        let error = block_on(home.client.sync_and_wait(TIMEOUT_MS)).unwrap_err();
        assert!(matches!(&error, RejoinError::Offline { reason } if reason.contains(message)));
    }
    cloud.fails(None);
    block_on(home.client.sync_and_wait(TIMEOUT_MS)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"; 3], "a mutation was applied twice");
}

#[test]
fn suspend_disconnects_transport_and_resume_syncs_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    block_on(home.client.start()).unwrap();
    block_on(home.client.suspend()).unwrap();
    assert_eq!(*cloud.disconnected.lock().unwrap(), 1, "disconnect was not called exactly once");
    block_on(home.client.resume()).unwrap();
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'buy milk')");
    block_on(home.client.sync_now()).unwrap();
    block_on(home.client.sync_and_wait(TIMEOUT_MS)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"]);
}
