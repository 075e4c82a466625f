//! Hand-written histories that violate one property each: the checker must report exactly that
//! property.

use super::{Evidence, Property, check};
use crate::history::{Event, author};

const REGISTERS: usize = 3;

/// Start of a transaction: the values it reads and the registers it writes.
fn begun(number: u64, reads: [&str; REGISTERS], writes: &[usize]) -> Event {
    Event::Begun { number, reads: row(reads), writes: writes.to_vec() }
}

fn row(values: [&str; REGISTERS]) -> Vec<String> {
    values.map(str::to_owned).into()
}

fn watched(reads: [&str; REGISTERS]) -> Event {
    Event::Watched { reads: row(reads) }
}

fn done(number: u64) -> Event {
    Event::Committed { number }
}

/// Device 0 writes the registers 0 and 1, then 1 and 2. Device 1 has read all of them and writes
/// register 0.
fn good() -> Evidence {
    let first = vec![
        begun(1, ["", "", ""], &[0, 1]),
        done(1),
        begun(2, ["0:1", "0:1", ""], &[1, 2]),
        done(2),
        watched(["0:1", "0:2", "0:2"]),
    ];
    let second = vec![
        watched(["", "", ""]),
        watched(["0:1", "0:1", ""]),
        begun(1, ["0:1", "0:2", "0:2"], &[0]),
        done(1),
        // A watched query may lag behind the transactions of its device.
        watched(["0:1", "0:2", "0:2"]),
        watched(["1:1", "0:2", "0:2"]),
    ];
    let stored = [&["0:1", "1:1"][..], &["0:1", "0:2"], &["0:2"]];
    let end = row(["1:1", "0:2", "0:2"]);
    Evidence {
        histories: vec![first, second],
        stored: stored
            .map(|values| values.iter().map(|value| (*value).to_owned()).collect())
            .into(),
        ends: vec![end.clone(), end.clone()],
        server_end: end,
        stopped: Vec::new(),
    }
}

/// A third device that reads these states in order and ends consistently.
fn seen(views: &[[&str; REGISTERS]]) -> Evidence {
    let mut evidence = good();
    evidence.histories.push(views.iter().map(|view| watched(*view)).collect());
    evidence.ends.push(evidence.server_end.clone());
    evidence
}

fn broken(evidence: &Evidence) -> Vec<Property> {
    let mut properties: Vec<Property> =
        check(evidence).into_iter().map(|violation| violation.property).collect();
    properties.dedup();
    properties
}

#[test]
fn good_history_has_no_violation() {
    assert_eq!(check(&good()), []);
    assert_eq!(check(&Evidence::default()), []);
}

#[test]
fn view_with_a_violation_is_reported_by_its_property() {
    type Views<'t> = &'t [[&'t str; REGISTERS]];
    let table: &[(&str, Views<'_>, &[Property])] = &[
        ("every state in order", &[["", "", ""], ["0:1", "0:1", ""], ["0:1", "0:2", "0:2"]], &[]),
        ("skips states", &[["", "", ""], ["1:1", "0:2", "0:2"]], &[]),
        ("half of 0:1", &[["0:1", "", ""]], &[Property::Atomicity]),
        ("half of 0:1, the rest overwritten", &[["0:1", "0:2", "0:2"]], &[]),
        ("half of 0:2", &[["0:1", "0:2", ""]], &[Property::Atomicity]),
        ("0:2 without 0:1", &[["", "0:2", "0:2"]], &[Property::MonotonicWrites]),
        (
            "1:1 without 0:2, which it had read",
            &[["1:1", "0:1", ""]],
            &[Property::WritesFollowReads],
        ),
        (
            "back to an earlier state",
            &[["0:1", "0:2", "0:2"], ["0:1", "0:1", ""]],
            &[Property::MonotonicReads],
        ),
        ("a value that was never written", &[["7:7", "", ""]], &[Property::Integrity]),
        ("a value of another register", &[["", "", "0:1"]], &[Property::Integrity]),
    ];
    for (name, views, expected) in table {
        assert_eq!(broken(&seen(views)), *expected, "{name}");
    }
}

#[test]
fn file_of_a_stopped_device_is_a_view() {
    let mut evidence = good();
    evidence.stopped = vec![vec![row(["0:1", "0:1", ""]), row(["1:1", "0:2", "0:2"])], Vec::new()];
    assert_eq!(check(&evidence), []);
    evidence.stopped[1] = vec![row(["0:1", "", ""])];
    assert_eq!(broken(&evidence), [Property::Atomicity]);
}

#[test]
fn device_that_misses_its_own_write_is_reported() {
    let mut evidence = good();
    evidence.histories[1].push(begun(2, ["0:1", "0:2", "0:2"], &[]));
    assert_eq!(broken(&evidence), [Property::ReadYourWrites]);
}

#[test]
fn transaction_without_recorded_commit_may_be_stored_or_not() {
    let mut evidence = good();
    evidence.histories[1].retain(|event| *event != done(1));
    assert_eq!(check(&evidence), [], "stored");
    let mut evidence = good();
    evidence.histories[1].push(begun(2, ["1:1", "0:2", "0:2"], &[1, 2]));
    assert_eq!(check(&evidence), [], "not stored");
    evidence.histories[1].push(done(2));
    assert_eq!(broken(&evidence), [Property::Durability], "committed and not stored");
}

#[test]
fn record_of_the_server_is_checked() {
    type Change = fn(&mut Evidence);
    let table: &[(&str, Change, &[Property])] = &[
        (
            "a write is stored twice",
            |evidence| evidence.stored[0].insert(1, "0:1".to_owned()),
            &[Property::ExactlyOnce],
        ),
        (
            "a value that no device wrote",
            |evidence| evidence.stored[2].insert(0, "0:9".to_owned()),
            &[Property::Integrity],
        ),
        (
            "half of a transaction is stored",
            |evidence| {
                evidence.histories[1].push(begun(2, ["1:1", "0:2", "0:2"], &[1, 2]));
                evidence.stored[2].push("1:2".to_owned());
                let ends = evidence.ends.iter_mut().chain([&mut evidence.server_end]);
                ends.for_each(|end| end[2] = "1:2".to_owned());
            },
            &[Property::Atomicity],
        ),
        (
            "a device ends with an older row",
            |evidence| evidence.ends[0][0] = "0:1".to_owned(),
            &[Property::Convergence],
        ),
        (
            "the server ends with an older row",
            |evidence| evidence.server_end[0] = "0:1".to_owned(),
            &[Property::Convergence],
        ),
        (
            "a transaction fails",
            |evidence| {
                evidence.histories[0].push(Event::Failed { number: 3, why: "full".to_owned() });
            },
            &[Property::Availability],
        ),
    ];
    for (name, change, expected) in table {
        let mut evidence = good();
        change(&mut evidence);
        assert_eq!(broken(&evidence), *expected, "{name}");
    }
}

#[test]
fn violation_names_the_transaction_and_the_register() {
    let [violation] = &check(&seen(&[["0:1", "", ""]]))[..] else { panic!("one violation") };
    let text = violation.to_string();
    let expected =
        "Atomicity: the watch of device 2 shows 0:1, and in register 1 \"\" instead of \"0:1\"";
    assert_eq!(text, expected);
    assert_eq!(author("0:1"), Some((0, 1)));
}
