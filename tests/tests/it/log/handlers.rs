//! Actions of the log whose code changes, fails or is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rejoin_core::engine::action::perform::{perform, set_actions};
use rejoin_core::engine::action::{Actions, Parameter, ParameterType};
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::engine::rebase::decide;
use rejoin_tests::{Device, Store};
use serde_json::json;

use super::{SEATS, devices, later, server, settle};

const FIRST: &str = r#"{"name": "add", "parameters": [{"name": "id", "type": "text"}, {"name": "by", "type": "integer"}],
    "statements": ["UPDATE seats SET number = number + :by WHERE id = :id"]}"#;
const SECOND: &str = r#"{"name": "add", "version": 2,
    "parameters": [{"name": "seat", "type": "text"}, {"name": "by", "type": "integer"}, {"name": "note", "type": "text"}],
    "upgrades": {"1": {"rename": {"id": "seat"}, "set": {"note": "upgraded"}}},
    "statements": ["UPDATE seats SET number = number + :by, note = :note WHERE id = :seat"]}"#;

fn with(device: &mut Device, actions: Actions) {
    set_actions(device.engine(), Arc::new(actions), true).unwrap();
}

/// Two devices with the row s1, the second a minute later.
fn pair() -> (rejoin_tests::Backend, Device, Device) {
    let server = server(Store::Sqlite);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 0)");
    phone.sync(&server);
    tablet.sync(&server);
    later(&server, &[&phone], 60);
    later(&server, &[&tablet], 120);
    (server, phone, tablet)
}

#[test]
fn newer_version_runs_an_entry_of_the_older_through_its_upgrade() {
    let (server, mut phone, mut tablet) = pair();
    with(&mut tablet, Actions::new().declare(FIRST));
    perform(tablet.engine(), "add", &json!({"id": "s1", "by": 2})).unwrap();
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
    // The app is updated before an earlier edit arrives.
    tablet.crash();
    with(&mut tablet, Actions::new().declare(SECOND));
    phone.write("UPDATE seats SET number = 10 WHERE id = 's1'");
    phone.sync(&server);
    let mut devices = [phone, tablet];
    settle(&server, &mut devices);
    assert_eq!(server.see(SEATS), "s1|e1|-|upgraded|12");
}

/// Without a handler for its name or version, an entry counts as its author last recorded it.
#[test]
fn device_without_the_action_or_its_version_shows_what_the_author_recorded() {
    for theirs in [None, Some(FIRST)] {
        let (server, mut phone, mut tablet) = pair();
        let newer = SECOND.replace(
            r#""upgrades": {"1": {"rename": {"id": "seat"}, "set": {"note": "upgraded"}}},"#,
            "",
        );
        with(&mut tablet, Actions::new().declare(&newer));
        with(&mut phone, theirs.into_iter().fold(Actions::new(), Actions::declare));
        phone.write("UPDATE seats SET number = 100 WHERE id = 's1'");
        perform(tablet.engine(), "add", &json!({"seat": "s1", "by": 5, "note": "mine"})).unwrap();
        tablet.sync(&server);
        phone.sync(&server);
        assert_eq!(phone.see(SEATS), "s1|e1|-|mine|5");
        let mut devices = [phone, tablet];
        settle(&server, &mut devices);
        assert_eq!(server.see(SEATS), "s1|e1|-|mine|105", "its author has the action");
    }
}

/// A failing handler stopped every sync of the seed's device.
#[test]
fn handler_that_panics_when_it_runs_again_parks_its_entry_and_the_sync_goes_on() {
    let (server, mut phone, mut tablet) = pair();
    let fails = Arc::<AtomicBool>::default();
    let fail = Arc::clone(&fails);
    let parameters = [Parameter::new("id", ParameterType::Text)];
    with(
        &mut tablet,
        Actions::new().handler("count", parameters, move |context, given| {
            assert!(!fail.load(Ordering::Relaxed), "planted");
            let sql = "UPDATE seats SET number = number + 1 WHERE id = ?";
            context.execute(sql, [given.value("id")]).map(serde_json::Value::from)
        }),
    );
    perform(tablet.engine(), "count", &json!({"id": "s1"})).unwrap();
    let entry = tablet.queue()[0].id;
    tablet.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, 'after', 0)");
    fails.store(true, Ordering::Relaxed);
    phone.write("UPDATE seats SET number = 10 WHERE id = 's1'");
    phone.write("INSERT INTO seats VALUES ('s3', 'e1', NULL, 'theirs', 0)");
    phone.sync(&server);
    tablet.sync(&server);
    tablet.sync(&server);
    let parked = tablet.queue();
    assert_eq!(
        parked.iter().map(|one| one.reason).collect::<Vec<_>>(),
        [Some(ParkReason::Unreplayable)]
    );
    assert!(parked[0].detail.as_deref().unwrap().contains("planted"), "{parked:?}");
    let rows = "s1|e1|-||10 s2|e1|-|after|0 s3|e1|-|theirs|0";
    assert_eq!((tablet.see(SEATS), server.see(SEATS)), (rows.into(), rows.into()));
    // A newer app without the fault.
    fails.store(false, Ordering::Relaxed);
    decide::retry(tablet.engine(), entry).unwrap();
    settle(&server, &mut [phone, tablet]);
    assert!(server.see(SEATS).starts_with("s1|e1|-||11"), "{}", server.see(SEATS));
}
