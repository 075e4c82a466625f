//! Actions of devices before a real server: what counts is what was meant, not which value it came to (O1, O7).

use std::sync::Arc;

use rejoin_core::Actions;
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::mutant::Mutant;
use rejoin_tests::{Backend, Device, Fault};
use serde_json::json;

use crate::caught;

const TAKE: &str = r#"{"name": "take", "parameters": [{"name": "n", "type": "integer"}],
    "preconditions": [{"sql": "SELECT score >= :n FROM places WHERE id = 'p1'", "message": "too few"}],
    "statements": ["UPDATE places SET score = score - :n WHERE id = 'p1'"]}"#;

const SCORE: &str = "SELECT score FROM places";

/// A server where a place of Ana's has so many.
fn server_with(score: i64) -> Backend {
    let server = Backend::new();
    server.outside(&format!(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'A', 'n', {score}, 'ana')"
    ));
    server
}

/// A device of Ana's, in step, that can take.
fn taker(server: &Backend, seed: u64) -> Device {
    let mut device = Device::new("ana", seed);
    device.sync(server);
    device.engine().set_actions(Arc::new(Actions::new().declare(TAKE)), true).unwrap();
    device
}

fn take(device: &mut Device, n: i64) {
    device.engine().perform("take", &json!({"n": n})).unwrap();
}

#[test]
fn two_devices_take_of_one_stock_and_both_takings_count() {
    caught(Mutant::NewValueExcuses, || {
        let server = server_with(5);
        let [mut one, mut two] = [1, 2].map(|seed| taker(&server, seed));
        take(&mut one, 2);
        take(&mut two, 2);
        one.sync(&server);
        two.sync(&server);
        two.sync(&server);
        assert_eq!(server.see(SCORE), "1");
        assert_eq!((two.see(SCORE), two.waiting()), ("1".to_owned(), String::new()));
    });
}

#[test]
fn a_taking_that_another_device_has_made_impossible_is_parked_and_takes_nothing() {
    let server = server_with(3);
    let [mut one, mut two] = [1, 2].map(|seed| taker(&server, seed));
    take(&mut one, 2);
    take(&mut two, 2);
    one.sync(&server);
    two.sync(&server);
    assert_eq!((server.see(SCORE), two.see(SCORE)), ("1".to_owned(), "1".to_owned()));
    let parked = two.queue();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].reason, Some(ParkReason::Unreplayable));
}

#[test]
fn whatever_becomes_of_the_request_it_is_taken_once() {
    for fault in Fault::ALL {
        let server = server_with(5);
        let mut device = taker(&server, 1);
        take(&mut device, 2);
        device.faults.push_back(fault);
        let _ = device.pass(&server);
        server.outside("UPDATE places SET score = score - 1");
        device.deliver_late(&server);
        device.sync(&server);
        device.sync(&server);
        assert_eq!(
            (server.see(SCORE), device.see(SCORE)),
            ("2".to_owned(), "2".to_owned()),
            "{fault:?}"
        );
        assert_eq!(device.waiting(), "", "{fault:?}");
    }
}
