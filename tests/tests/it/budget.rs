//! The number of requests of a pass, and the size of each, as the suites of v0.1.2 and its
//! successor count them.

use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device};

/// The phases of the requests after the first `before`.
fn since(device: &Device, before: usize) -> Vec<Phase> {
    device.sent[before..].iter().map(|sent| sent.phase).collect()
}

#[test]
fn pass_costs_one_request_plus_one_for_pending_writes() {
    let server = Backend::new();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let before = device.sent.len();
    device.sync(&server);
    assert_eq!(since(&device, before), [Phase::Pulling]);
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p0', 'theirs', 'ana')");
    let before = device.sent.len();
    assert_eq!(device.sync(&server).pulled, 1);
    assert_eq!(since(&device, before), [Phase::Pulling]);
    for id in 1..=50 {
        device.write(&format!("INSERT INTO places (id, name) VALUES ('p{id}', 'A')"));
    }
    let before = device.sent.len();
    assert_eq!(device.sync(&server).accepted, 50);
    assert_eq!(since(&device, before), [Phase::Pushing, Phase::Pulling]);
    // A new process registers, and fetches no schema.
    device.crash();
    let before = device.sent.len();
    device.sync(&server);
    assert_eq!(since(&device, before), [Phase::Registering, Phase::Pulling]);
}

#[test]
fn push_has_at_most_the_configured_number_of_mutations() {
    let server = Backend::new();
    let mut device = Device::with("ana", 1, None, |config| config.batch_size = 2);
    device.sync(&server);
    for id in 1..=5 {
        device.write(&format!("INSERT INTO places (id, name) VALUES ('p{id}', 'A')"));
    }
    let before = device.sent.len();
    assert_eq!(device.sync(&server).accepted, 5);
    let pushes = since(&device, before).into_iter().filter(|phase| *phase == Phase::Pushing);
    assert_eq!(pushes.count(), 3);
}
