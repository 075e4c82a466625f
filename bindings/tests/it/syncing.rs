//! Syncing through a foreign transport, with a foreign token provider.

use std::sync::{Arc, Mutex};

use rejoin_core::block_on;
use rejoin_ffi::{RejoinError, TokenProvider};

use crate::cloud::{Cloud, Fault, Provider, URL, Word};
use crate::home::Home;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENT: Option<u32> = Some(60_000);

fn device(cloud: &Arc<Cloud>, tokens: Option<Arc<dyn TokenProvider>>) -> Home {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server_url = Some(URL.to_owned());
    Home::opened(url, tokens, Some(Arc::clone(cloud) as _), None)
}

fn synced(cloud: &Arc<Cloud>) -> Home {
    let home = device(cloud, None);
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
fn what_a_provider_throws_means_not_now() {
    let cloud = Cloud::new();
    let provider = Arc::new(Provider(Mutex::new(Word::Throws)));
    let home = device(&cloud, Some(provider.clone()));
    for (word, says) in [(Word::Throws, "IdentityException"), (Word::Panics, "panicked")] {
        *provider.0.lock().unwrap() = word;
        let error = block_on(home.client.sync_and_wait(PATIENT)).unwrap_err();
        assert!(matches!(&error, RejoinError::Offline { reason } if reason.contains(says)));
    }
    *provider.0.lock().unwrap() = Word::Token;
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
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
