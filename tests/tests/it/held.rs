//! Transactions that a handle holds, on a device that syncs.

use futures_util::FutureExt as _;
use rejoin_core::{MutationState, block_on};
use rejoin_tests::Backend;

use crate::client::{PATIENCE, Phone, Served};

#[test]
fn what_a_held_transaction_wrote_is_pushed_as_one_mutation() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let (one, two) = (Phone::new("ana", Some(&served.url)), Phone::new("ana", Some(&served.url)));
    one.sync();
    one.client.stop().wait().unwrap();
    block_on(async {
        let tx = one.client.begin().await.unwrap();
        tx.execute("INSERT INTO places (id, name) VALUES ('p1', 'Harbour')", ()).await.unwrap();
        let part = tx.savepoint().await.unwrap();
        tx.execute("INSERT INTO places (id, name) VALUES ('p2', 'Nowhere')", ()).await.unwrap();
        tx.rollback_to(part).await.unwrap();
        tx.execute("INSERT INTO visits (id, place_id) VALUES ('v1', 'p1')", ()).await.unwrap();
        assert_eq!(one.client.query("SELECT 1 FROM places", ()).await.unwrap().len(), 0);
        tx.commit().await.unwrap();
    });
    let pending = one.client.pending().wait().unwrap();
    assert_eq!((pending.len(), pending[0].state), (1, MutationState::Pending));
    let report = one.sync();
    assert_eq!((report.accepted, report.still_pending), (1, 0));
    two.sync();
    assert_eq!(two.names(), "p1=Harbour");
}

#[test]
fn what_comes_from_the_server_waits_behind_a_held_transaction() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let (one, two) = (Phone::new("ana", Some(&served.url)), Phone::new("ana", Some(&served.url)));
    one.sync();
    two.sync();
    let tx = two.client.begin().wait().unwrap();
    tx.execute("INSERT INTO places (id, name) VALUES ('p2', 'Mill')", ()).wait().unwrap();
    one.run("INSERT INTO places (id, name) VALUES ('p1', 'Harbour')");
    one.sync();
    let mut syncing = two.client.sync_and_wait(Some(PATIENCE));
    for _ in 0..100 {
        let seen = tx.query("SELECT id FROM places", ()).wait().unwrap();
        assert_eq!(seen.len(), 1, "the state under a transaction does not change");
        assert!((&mut syncing).now_or_never().is_none());
    }
    tx.commit().wait().unwrap();
    syncing.wait().unwrap();
    assert_eq!(two.names(), "p1=Harbour p2=Mill");
    one.sync();
    assert_eq!(one.names(), "p1=Harbour p2=Mill");
}
