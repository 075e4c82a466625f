//! Responses of proxies, gateways, caches and captive portals: transport faults, whatever their
//! status.
//!
//! At any endpoint of either wire and however often they occur, they cause no rejection, parking or
//! discard.

use rejoin_core::sync::session::{Phase, Response};
use rejoin_core::{Error, SyncFault};
use rejoin_plain::Column;
use rejoin_protocol::wire::push::PushRequest;
use rejoin_tests::{Backend, Device, Fault, Moment, Peer, PlainBackend};

use crate::hostile::{PHASES, SEE, TestServer, device_before, sides, state_of};

const PAGE: &str = "<!doctype html><html><body>Please sign in to this network</body></html>";
/// JSON bodies that gateways write.
const GATEWAY: &str = r#"{"status":500,"error":"Internal Server Error","path":"/sync/push"}"#;
const ROUTER: &str = r#"{"code":404,"message":"no route matched"}"#;

/// Combinations of status and body that no sync server sends.
const FOREIGN: [(u16, &str); 42] = [
    (200, PAGE),
    (200, ""),
    (200, "OK"),
    (200, "\u{1f}\u{8b}\u{8}\u{0}"),
    (202, "{}"),
    (204, ""),
    (206, "{\"accepted\":["),
    (301, PAGE),
    (302, ""),
    (304, ""),
    (400, PAGE),
    (400, "<html>400 The plain HTTP request was sent to HTTPS port</html>"),
    (401, PAGE),
    (401, r#"{"message":"Unauthorized"}"#),
    (403, PAGE),
    (403, r#"{"message":"Forbidden"}"#),
    (404, "404 page not found\n"),
    (404, PAGE),
    (404, ROUTER),
    (405, ""),
    (407, PAGE),
    (408, ""),
    (409, PAGE),
    (410, PAGE),
    (411, ""),
    (421, ""),
    (425, ""),
    (426, ""),
    (426, PAGE),
    (429, PAGE),
    (429, r#"{"message":"Limit Exceeded"}"#),
    (431, ""),
    (451, PAGE),
    (499, ""),
    (500, PAGE),
    (500, GATEWAY),
    (500, r#"{"error":{"code":500,"status":"INTERNAL"}}"#),
    (502, PAGE),
    (503, PAGE),
    (504, "upstream request timeout"),
    (511, PAGE),
    (520, ""),
];

fn foreign(status: u16, body: &'static str) -> Response {
    Response { status, body: body.into(), ..Response::default() }
}

/// The next passes deliver everything that was written to the server, once.
#[track_caller]
fn check_recovery(side: &TestServer, phase: Phase, mut device: Device) {
    for _ in 0..3 {
        device.sync(&*side.server);
    }
    let rows = if phase == Phase::Pushing { "p1|Mine p3|New" } else { "p1|A p2|B" };
    let name = format!("{} {phase:?}", side.name);
    assert_eq!((device.see(SEE).as_str(), device.waiting().as_str()), (rows, ""), "{name}");
    let mut other = Device::new("ana", 2);
    other.sync(&*side.server);
    assert_eq!(other.see(SEE), rows, "{name}: on the server");
}

#[test]
fn foreign_answer_is_a_transport_fault_at_every_endpoint() {
    for side in sides() {
        for phase in PHASES {
            let mut device = device_before(&side, phase);
            let before = state_of(&device);
            for (status, body) in FOREIGN {
                let name = format!("{} {phase:?} {status} {body:?}", side.name);
                device
                    .until(&*side.server, phase)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                let refused = device.step_with(&*side.server, |_| foreign(status, body));
                match refused.map_err(anyhow::Error::downcast::<Error>) {
                    Err(Ok(Error::Sync(SyncFault::Offline(_)))) => {}
                    other => panic!("{name}: {other:?}"),
                }
                assert_eq!(state_of(&device), before, "{name}");
            }
            check_recovery(&side, phase, device);
            if phase == Phase::Pushing {
                break; // It changed the rows of its server.
            }
        }
    }
}

/// A page that a proxy breaks repeatedly does not restart the snapshot.
#[test]
fn snapshot_resumes_after_any_number_of_foreign_responses() {
    for side in sides() {
        let mut device = device_before(&side, Phase::Snapshot);
        device.step(&*side.server).unwrap();
        device.until(&*side.server, Phase::Snapshot).unwrap();
        let progress = device.engine().meta("snapshot").unwrap();
        assert!(progress.is_some());
        for (status, body) in FOREIGN {
            device.until(&*side.server, Phase::Snapshot).unwrap();
            device.step_with(&*side.server, |_| foreign(status, body)).unwrap_err();
        }
        assert_eq!(device.engine().meta("snapshot").unwrap(), progress, "{}", side.name);
        check_recovery(&side, Phase::Snapshot, device);
    }
}

/// Behind a proxy with a size limit, pushes become smaller, and a mutation above the limit stays
/// pending. The proxy's response does not show what the server has done: here the server has
/// applied each request.
#[test]
fn proxy_413_makes_pushes_smaller_and_parks_nothing() {
    for side in sides() {
        let mut device = device_before(&side, Phase::Pushing);
        for body in
            [PAGE, "", r#"{"message":"Request Too Long"}"#, r#"{"error":"too big","path":"/"}"#]
        {
            for _ in 0..12 {
                match device.until(&*side.server, Phase::Pushing) {
                    Ok(()) => drop(device.step_with(&*side.server, |_| foreign(413, body))),
                    Err(_) => break, // The pass is over.
                }
            }
            let waiting = device.waiting();
            assert!(!waiting.contains("Parked"), "{} {body:?}: {waiting}", side.name);
        }
        let last = device.sent.iter().rev().find(|request| request.phase == Phase::Pushing);
        let last: PushRequest =
            serde_json::from_slice(last.unwrap().body.as_ref().unwrap()).unwrap();
        let size = last.changes.len() + last.rejoin.map_or(0, |ask| ask.groups.len());
        assert_eq!(size, 1, "{}: halved to one", side.name);
        check_recovery(&side, Phase::Pushing, device);
    }
}

/// An earlier request carried the first of the two, and the server may have applied it.
#[test]
fn sent_mutation_is_not_parked_by_a_413() {
    for side in sides() {
        let mut device = device_before(&side, Phase::Pulling);
        device.sync(&*side.server);
        device.write("INSERT INTO places (id, name, user_id) VALUES ('p3', 'New', 'ana')");
        device.lose_push(&*side.server, Fault::AnswerLost);
        device.write("INSERT INTO places (id, name, user_id) VALUES ('p4', 'Next', 'ana')");
        // The server itself answers 413 to the next requests: both together, and then the first
        // alone. To a plain server the first is sent alone at once.
        let times = if side.name == "ours" { 2 } else { 1 };
        device.faults.extend(std::iter::repeat_n(Fault::TooLarge, times));
        while !device.faults.is_empty() {
            device.until(&*side.server, Phase::Pushing).unwrap();
            device.step(&*side.server).unwrap();
        }
        let waiting = device.waiting();
        assert!(!waiting.contains("Parked"), "{}: {waiting}", side.name);
        for _ in 0..2 {
            device.sync(&*side.server);
        }
        let rows = "p1|A p2|B p3|New p4|Next";
        assert_eq!(
            (device.see(SEE).as_str(), device.waiting().as_str()),
            (rows, ""),
            "{}",
            side.name
        );
    }
}

/// The cached manifest is not the one that the server named: the device keeps its own.
#[test]
fn cached_schema_is_not_adopted() {
    let mut ours = Backend::new();
    let plain = PlainBackend::new();
    let mut devices = [Device::new("ana", 1), Device::new("ana", 2)];
    devices[0].sync(&ours);
    devices[1].sync(&plain);
    let old = [ours.manifest(), plain.manifest()].map(|one| serde_json::to_vec(&one).unwrap());
    ours.alter("ALTER TABLE places ADD COLUMN more TEXT");
    plain.server().alter(|tables| tables[0].add(Column::new("more", "text").nullable()));
    devices[0].sync(&ours);
    devices[1].sync(&plain);
    for device in &mut devices {
        let row = "INSERT INTO places (id, name, more, user_id) VALUES ('p1', 'A', 'm', 'ana')";
        device.write(row);
    }
    ours.alter("ALTER TABLE places ADD COLUMN again TEXT");
    plain.server().alter(|tables| tables[0].add(Column::new("again", "text").nullable()));
    let servers: [&dyn Peer; 2] = [&ours, &plain];
    for ((server, device), old) in servers.into_iter().zip(&mut devices).zip(old) {
        for _ in 0..3 {
            device.until(server, Phase::FetchingSchema).unwrap();
            let stale = Response { status: 200, body: old.clone().into(), ..Response::default() };
            let error = device.step_with(server, |_| stale).unwrap_err();
            assert!(error.to_string().contains("cache"), "{error}");
            assert!(!device.waiting().contains("Parked"));
        }
        for _ in 0..2 {
            device.sync(server);
        }
        let rows = device.see("SELECT id, more, again FROM places");
        assert_eq!((rows.as_str(), device.waiting().as_str()), ("p1|m|-", ""));
    }
}

/// A cached response to an earlier push is not a response to this one.
#[test]
fn response_to_an_earlier_push_accepts_nothing() {
    let server = Backend::new();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let mut old = None;
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'A')");
    device.until(&server, Phase::Pushing).unwrap();
    device
        .step_with(&server, |response| {
            old = Some(response.clone());
            response
        })
        .unwrap();
    device.sync(&server);
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    device.until(&server, Phase::Pushing).unwrap();
    device.step_with(&server, |_| old.take().unwrap()).unwrap_err();
    assert!(device.waiting().starts_with("Uncertain"), "{}", device.waiting());
    assert!(matches!(device.prepare(), Ok(Moment::Leaving(Phase::Pushing))));
    device.sync(&server);
    assert_eq!(
        (device.waiting(), server.see("SELECT name FROM places")),
        (String::new(), "B".into())
    );
}
