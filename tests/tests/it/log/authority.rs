//! A device as the authority: it corrects entries while their authors are away.

use rejoin_core::engine::action::perform::perform;
use rejoin_core::engine::queue::verdict::VerdictKind;
use rejoin_core::{Correction, EffectRow, PatchKind};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Store};
use serde_json::json;

use super::{SEATS, TABLES, devices, later, sell, settle, with_actions};
use crate::{apply, each_store};

/// A server with one seat, and the devices of `ana` and `ben`.
fn seat(store: Store) -> (Backend, [Device; 2]) {
    let server = super::server(store);
    let devices = one_seat(&server);
    (server, devices)
}

fn one_seat(server: &Backend) -> [Device; 2] {
    for user in ["ana", "ben"] {
        server.server().grant(user, "event:e1").unwrap();
    }
    let [mut phone, mut tablet] = devices(server, ["ana", "ben"]);
    with_actions(&mut phone);
    with_actions(&mut tablet);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 0)");
    phone.sync(server);
    tablet.sync(server);
    [phone, tablet]
}

/// A device of a user without buckets that is the authority, with the actions of the app.
pub(super) fn authority(server: &Backend) -> Device {
    let mut authority = new_device(server);
    appoint(server, &authority);
    authority.sync(server);
    authority
}

fn new_device(server: &Backend) -> Device {
    let mut authority = Device::with("operator", 70, None, |config| config.page_size = 3);
    with_actions(&mut authority);
    authority.sync(server);
    assert_eq!(authority.see(SEATS), "", "its user has no buckets");
    authority
}

fn appoint(server: &Backend, device: &Device) {
    let id = device.raw("SELECT value FROM rejoin_meta WHERE key = 'client_id'");
    server.server().appoint_authority(Some(&id)).unwrap();
}

/// Both act offline, the tablet first. The phone syncs first, and is away when the tablet syncs.
fn act_offline(server: &Backend, [phone, tablet]: [&mut Device; 2], act: fn(&mut Device)) {
    act(tablet);
    later(server, &[phone, tablet], 60);
    act(phone);
    phone.sync(server);
    tablet.sync(server);
}

fn count(device: &mut Device) {
    perform(device.engine(), "count", &json!({"id": "s1"})).unwrap();
}

#[apply(each_store)]
fn rule_holds_while_the_author_is_away(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    let mut authority = authority(&server);
    sell(&mut tablet, "ben").unwrap(); // Offline, earlier.
    later(&server, &[&phone, &tablet, &authority], 60);
    let sold = sell(&mut phone, "ana").unwrap();
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ana||0", "the content of an author that is away");
    authority.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ben||0");
    assert_eq!(authority.see(SEATS), "s1|e1|ben||0", "the authority sees all rows");
    tablet.sync(&server);
    assert_eq!(tablet.see(SEATS), "s1|e1|ben||0");
    phone.sync(&server);
    let verdicts = phone.engine().verdicts(0, 20).unwrap().entries;
    let last = verdicts.last().unwrap();
    assert_eq!((last.id, last.kind), (sold.id.unwrap(), VerdictKind::Corrected));
    let detail = last.detail.clone().unwrap();
    assert_eq!(detail.code.as_deref(), Some("corrected"));
    let sale = EffectRow {
        table: "seats".into(),
        key: "s1".into(),
        operation: PatchKind::Update,
        columns: [("owner".to_owned(), "ana".into())].into(),
    };
    assert_eq!(detail.correction, Some(Correction { before: vec![sale], after: Vec::new() }));
    settle(&server, &mut [phone, tablet, authority]);
}

/// The author knows neither that its sale was accepted nor that it was corrected.
#[test]
fn sale_accepted_and_corrected_in_one_answer_ends_as_corrected() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut authority = authority(&server);
    sell(&mut tablet, "ben").unwrap();
    later(&server, &[&phone, &tablet, &authority], 60);
    let sold = sell(&mut phone, "ana").unwrap().id.unwrap();
    phone.lose_push(&server, Fault::AnswerLost);
    assert_eq!(server.see(SEATS), "s1|e1|ana||0");
    tablet.sync(&server);
    authority.sync(&server);
    phone.sync(&server);
    let verdicts = phone.engine().verdicts(0, 20).unwrap().entries;
    let kinds: Vec<_> = verdicts.iter().filter(|one| one.id == sold).map(|one| one.kind).collect();
    assert_eq!(kinds, [VerdictKind::Accepted, VerdictKind::Corrected]);
}

#[apply(each_store)]
fn two_increments_made_offline_both_count_without_their_authors(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    let mut authority = authority(&server);
    act_offline(&server, [&mut phone, &mut tablet], count);
    assert_eq!(server.see(SEATS), "s1|e1|-||1", "the second increment was made on 0");
    authority.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
    count(&mut phone);
    settle(&server, &mut [phone, tablet, authority]);
    assert_eq!(server.see(SEATS), "s1|e1|-||3");
}

/// It corrects only what it has to: the authors' own corrections come first.
#[test]
fn authority_that_is_late_has_nothing_to_correct() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut authority = authority(&server);
    count(&mut tablet);
    later(&server, &[&phone, &tablet, &authority], 60);
    count(&mut phone);
    settle(&server, &mut [phone, tablet]);
    let before = server.server().log_status().unwrap().head;
    settle(&server, std::slice::from_mut(&mut authority));
    assert_eq!(server.server().log_status().unwrap().head, before, "no entry has moved");
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
}

#[apply(each_store)]
fn action_sees_the_rows_of_its_author_only(store: Store) {
    let rows = "INSERT INTO seats (id, event) VALUES ('s2', 'e2'), ('s3', NULL), ('s4', '')";
    let seats = TableConfig::log("seats", "event", "event:");
    let sql = format!("{TABLES}; {rows}");
    let server = Backend::made(store, &sql, vec![seats], Limits::default());
    let [mut phone, mut tablet] = one_seat(&server);
    let mut authority = authority(&server);
    assert_eq!(authority.see("SELECT count(*) FROM seats"), "4");
    act_offline(&server, [&mut phone, &mut tablet], tally);
    authority.sync(&server);
    assert_eq!(server.see("SELECT note FROM seats WHERE id = 's1'"), "1 1", "one seat, twice");
    assert_eq!(authority.see("SELECT count(*) FROM seats"), "4", "hidden for the run only");
    settle(&server, &mut [authority]);
}

/// Appends the number of visible seats to the note.
fn tally(device: &mut Device) {
    perform(device.engine(), "tally", &json!({"id": "s1"})).unwrap();
}

#[test]
fn authority_that_is_killed_at_any_request_corrects_in_the_end() {
    for at in 0..12 {
        let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
        let mut authority = new_device(&server);
        act_offline(&server, [&mut phone, &mut tablet], count);
        appoint(&server, &authority);
        for step in 0..at {
            match authority.prepare().unwrap() {
                Moment::Finished(_) => break,
                Moment::Leaving(_) if step + 1 == at => {
                    authority.faults.push_back(Fault::AnswerLost);
                    let _ = authority.step(&server);
                }
                Moment::Leaving(_) => drop(authority.step(&server).unwrap()),
            }
        }
        with_actions(authority.crash());
        authority.sync(&server);
        assert_eq!(server.see(SEATS), "s1|e1|-||2", "killed at {at}");
    }
}

#[test]
fn second_authority_replaces_the_first_and_a_dismissed_one_keeps_its_own_rows() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut first = authority(&server);
    assert_eq!(first.see(SEATS), "s1|e1|-||0");
    let mut second = Device::with("operator", 72, None, |config| config.page_size = 3);
    with_actions(&mut second);
    second.sync(&server);
    appoint(&server, &second);
    act_offline(&server, [&mut phone, &mut tablet], count);
    first.sync(&server);
    assert_eq!(first.see(SEATS), "", "it sees what its user may see");
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
    second.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
    server.server().appoint_authority(None).unwrap();
    second.sync(&server);
    assert_eq!(second.see(SEATS), "");
    settle(&server, &mut [phone, tablet]);
}

/// Dismissed between its fetch and its corrections.
#[test]
fn correction_of_a_dismissed_authority_does_not_fail_its_sync() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut authority = authority(&server);
    act_offline(&server, [&mut phone, &mut tablet], count);
    loop {
        match authority.prepare().unwrap() {
            Moment::Leaving(phase) if format!("{phase:?}") == "Pushing" => break,
            Moment::Leaving(_) => drop(authority.step(&server).unwrap()),
            Moment::Finished(report) => panic!("{report:?}"),
        }
    }
    server.server().appoint_authority(None).unwrap();
    authority.sync(&server);
    assert_eq!((authority.see(SEATS), server.see(SEATS).as_str()), (String::new(), "s1|e1|-||1"));
    settle(&server, &mut [phone, tablet]);
}

/// Those from before it was appointed, and later ones; an earlier entry makes both run again.
#[apply(each_store)]
fn own_entries_of_the_authority_are_those_of_an_author(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    count(&mut tablet);
    later(&server, &[&phone, &tablet], 60);
    count(&mut phone);
    phone.sync(&server);
    appoint(&server, &phone);
    count(&mut phone);
    phone.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
    tablet.sync(&server);
    phone.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||3");
    let verdicts = phone.engine().verdicts(0, 20).unwrap().entries;
    assert!(verdicts.iter().all(|one| one.detail.is_none()), "nothing is corrected: {verdicts:?}");
    settle(&server, &mut [phone, tablet]);
}
