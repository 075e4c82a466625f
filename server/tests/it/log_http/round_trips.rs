//! The number of database round trips of the log's requests, which dominates the cost across a
//! network.

use macro_rules_attribute::apply;
use rejoin_log::message::{Fetched, Published};
use rejoin_log::replica::{fetch, publish};
use std::collections::BTreeSet;

use super::device::Device;
use super::world;
use crate::postgres_only::proxy::Proxy;
use crate::postgres_only::round_trips::moved_away;
use crate::world::Backend;

/// The minimum of several publishes of `many` entries each: a thread delayed between two requests of
/// one batch splits the round trip.
async fn published(proxy: &Proxy, anna: &mut Device<'_>, many: usize, action: &str) -> u64 {
    let mut fewest = u64::MAX;
    for round in 0..5 {
        for at in 0..many {
            anna.act(action, &format!("r{many} {round} {at}"), "e1").unwrap();
        }
        let request = publish::publish_request(&mut anna.replica, 1_000, &BTreeSet::new());
        let request = request.unwrap().unwrap();
        assert_eq!(request.offers.len(), many);
        let trips = proxy.trips(async {
            let answer: Published = anna.ask("/log/publish", request).await;
            let wall = anna.wall();
            publish::take_published(&mut anna.replica, &answer, wall).unwrap();
        });
        fewest = fewest.min(trips.await);
        anna.fetch().await;
    }
    fewest
}

/// Begin with the device, log, histories of the rows, writes, commit; the notification is not always within
/// the time of the request.
const PUBLISH: u64 = 6;

/// Begin with the device, log, entries.
const FETCH: u64 = 3;

/// Begin with the device, log, and for each 16 entries their ids, the entries and their links.
const FETCH_100: u64 = 2 + 7 * 3;

#[apply(postgres_stores!)]
async fn requests_take_the_same_round_trips_for_any_size(backend: Backend) {
    let (world, proxy) = moved_away(world(backend));
    let mut anna = Device::new(&world, "anna", 1).await;
    assert!(published(&proxy, &mut anna, 1, "create").await <= PUBLISH);
    assert!(published(&proxy, &mut anna, 100, "create").await <= PUBLISH);
    assert!(published(&proxy, &mut anna, 100, "append").await <= PUBLISH);
    let mut fewest = u64::MAX;
    for _ in 0..5 {
        let request = fetch::fetch_request(&anna.replica, 100).unwrap();
        let trips = proxy.trips(async {
            let answer: Fetched = anna.ask("/log/fetch", request).await;
            assert_ne!(answer, Fetched::Resync);
        });
        fewest = fewest.min(trips.await);
    }
    assert_eq!(fewest, FETCH);

    let ben = Device::new(&world, "ben", 2).await;
    let many = published(&proxy, &mut anna, 100, "create").await;
    assert!(many <= PUBLISH);
    let mut fewest = u64::MAX;
    for _ in 0..5 {
        let request = fetch::fetch_request(&ben.replica, 100).unwrap();
        let trips = proxy.trips(async {
            let answer: Fetched = ben.ask("/log/fetch", request).await;
            assert!(matches!(answer, Fetched::Page(page) if page.items.len() == 100));
        });
        fewest = fewest.min(trips.await);
    }
    assert!(fewest <= FETCH_100, "{fewest}");
}
