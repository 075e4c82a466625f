//! A device as the authority: it corrects entries while their authors are away.

use rejoin_core::engine::action::perform::perform;
use rejoin_core::engine::queue::verdict::VerdictKind;
use rejoin_tests::{Backend, Device, Fault, Moment, Store};
use serde_json::json;

use super::{SEATS, devices, later, sell, settle, with_actions};
use crate::{apply, each_store};

/// A server with one seat, and the devices of `ana` and `ben`.
fn seat(store: Store) -> (Backend, [Device; 2]) {
    let server = super::server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    with_actions(&mut phone);
    with_actions(&mut tablet);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 0)");
    settle(&server, std::slice::from_mut(&mut phone));
    tablet.sync(&server);
    (server, [phone, tablet])
}

/// A device of a user without buckets that is the authority, with the actions of the app.
pub(super) fn authority(server: &Backend) -> Device {
    let mut judge = new_device(server);
    appoint(server, &judge);
    judge.sync(server);
    judge
}

fn new_device(server: &Backend) -> Device {
    let mut judge = Device::with("judge", 70, None, |config| config.page_size = 3);
    with_actions(&mut judge);
    judge.sync(server);
    assert_eq!(judge.see(SEATS), "", "its user has no buckets");
    judge
}

fn appoint(server: &Backend, device: &Device) {
    let id = device.raw("SELECT value FROM rejoin_meta WHERE key = 'client_id'");
    server.server().appoint_authority(Some(&id)).unwrap();
}

fn count(device: &mut Device) {
    perform(device.engine(), "count", &json!({"id": "s1"})).unwrap();
}

#[apply(each_store)]
fn rule_holds_while_the_author_is_away(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    let mut judge = authority(&server);
    sell(&mut tablet, "ben").unwrap(); // Offline, earlier.
    later(&server, &[&phone, &tablet, &judge], 60);
    let sold = sell(&mut phone, "ana").unwrap();
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ana||0", "the content of an author that is away");
    judge.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|ben||0");
    assert_eq!(judge.see(SEATS), "s1|e1|ben||0", "the authority sees all rows");
    tablet.sync(&server);
    assert_eq!(tablet.see(SEATS), "s1|e1|ben||0");
    phone.sync(&server);
    let verdicts = phone.engine().verdicts(0, 20).unwrap().entries;
    let last = verdicts.last().unwrap();
    assert_eq!((last.id, last.kind), (sold.id.unwrap(), VerdictKind::Accepted));
    assert!(last.detail.as_deref().unwrap().contains("\"code\":\"corrected\""), "{last:?}");
    settle(&server, &mut [phone, tablet, judge]);
}

#[apply(each_store)]
fn two_increments_made_offline_both_count_without_their_authors(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    let mut judge = authority(&server);
    count(&mut tablet);
    later(&server, &[&phone, &tablet, &judge], 60);
    count(&mut phone);
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||1", "the second increment was made on 0");
    judge.sync(&server);
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
    count(&mut phone);
    settle(&server, &mut [phone, tablet, judge]);
    assert_eq!(server.see(SEATS), "s1|e1|-||3");
}

/// It corrects only what it has to: the authors' own corrections come first.
#[test]
fn authority_that_is_late_has_nothing_to_correct() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut judge = authority(&server);
    count(&mut tablet);
    later(&server, &[&phone, &tablet, &judge], 60);
    count(&mut phone);
    settle(&server, &mut [phone, tablet]);
    let before = server.server().log_status().unwrap().head;
    settle(&server, std::slice::from_mut(&mut judge));
    assert_eq!(server.server().log_status().unwrap().head, before, "no entry has moved");
    assert_eq!(server.see(SEATS), "s1|e1|-||2");
}

#[apply(each_store)]
fn action_sees_the_rows_of_its_author_only(store: Store) {
    let (server, [mut phone, mut tablet]) = seat(store);
    server.server().subscribe("cora", "event:e2").unwrap();
    let mut other = Device::with("cora", 71, None, |config| config.page_size = 3);
    other.sync(&server);
    other.write("INSERT INTO seats VALUES ('s2', 'e2', NULL, '', 0), ('s3', 'e2', NULL, '', 0)");
    other.sync(&server);
    let mut judge = authority(&server);
    assert_eq!(judge.see("SELECT count(*) FROM seats"), "3");
    tally(&mut tablet);
    later(&server, &[&phone, &tablet, &judge], 60);
    tally(&mut phone);
    phone.sync(&server);
    tablet.sync(&server);
    judge.sync(&server);
    assert_eq!(server.see("SELECT note FROM seats WHERE id = 's1'"), "1 1", "one seat, twice");
    assert_eq!(judge.see("SELECT count(*) FROM seats"), "3", "hidden for the run only");
    settle(&server, &mut [judge]);
}

/// Appends the number of visible seats to the note.
fn tally(device: &mut Device) {
    perform(device.engine(), "tally", &json!({"id": "s1"})).unwrap();
}

#[test]
fn authority_that_is_killed_at_any_request_corrects_in_the_end() {
    for at in 0..12 {
        let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
        let mut judge = new_device(&server);
        count(&mut tablet);
        later(&server, &[&phone, &tablet, &judge], 60);
        count(&mut phone);
        phone.sync(&server);
        tablet.sync(&server);
        appoint(&server, &judge);
        for step in 0..at {
            match judge.prepare().unwrap() {
                Moment::Finished(_) => break,
                Moment::Leaving(_) if step + 1 == at => {
                    judge.faults.push_back(Fault::AnswerLost);
                    let _ = judge.step(&server);
                }
                Moment::Leaving(_) => drop(judge.step(&server).unwrap()),
            }
        }
        with_actions(judge.crash());
        judge.sync(&server);
        assert_eq!(server.see(SEATS), "s1|e1|-||2", "killed at {at}");
    }
}

#[test]
fn second_authority_replaces_the_first_and_a_dismissed_one_keeps_its_own_rows() {
    let (server, [mut phone, mut tablet]) = seat(Store::Sqlite);
    let mut first = authority(&server);
    assert_eq!(first.see(SEATS), "s1|e1|-||0");
    let mut second = Device::with("judge", 72, None, |config| config.page_size = 3);
    with_actions(&mut second);
    second.sync(&server);
    appoint(&server, &second);
    count(&mut tablet);
    later(&server, &[&phone, &tablet, &first, &second], 60);
    count(&mut phone);
    phone.sync(&server);
    tablet.sync(&server);
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
    let mut judge = authority(&server);
    count(&mut tablet);
    later(&server, &[&phone, &tablet, &judge], 60);
    count(&mut phone);
    phone.sync(&server);
    tablet.sync(&server);
    loop {
        match judge.prepare().unwrap() {
            Moment::Leaving(phase) if format!("{phase:?}") == "Pushing" => break,
            Moment::Leaving(_) => drop(judge.step(&server).unwrap()),
            Moment::Finished(report) => panic!("{report:?}"),
        }
    }
    server.server().appoint_authority(None).unwrap();
    judge.sync(&server);
    assert_eq!((judge.see(SEATS), server.see(SEATS).as_str()), (String::new(), "s1|e1|-||1"));
    settle(&server, &mut [phone, tablet]);
}
