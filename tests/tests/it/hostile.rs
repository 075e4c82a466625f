//! Responses of a broken or hostile peer: typed errors, nothing applied in part; the next try succeeds.

use rejoin_core::sync::session::{Phase, Response};
use rejoin_core::{Error, SyncFault};
use rejoin_tests::{Backend, Device, Moment, Peer, PlainBackend, cases};
use serde_json::{Value, json};

use crate::junk::{changed, twisted};

/// A test server of one kind, with two places of Ana's.
pub(crate) struct TestServer {
    pub(crate) name: &'static str,
    pub(crate) server: Box<dyn Peer>,
}

pub(crate) fn sides() -> [TestServer; 2] {
    let ours = Backend::new();
    ours.outside(
        "INSERT INTO places (id, name, user_id) VALUES ('p1', 'A', 'ana'), ('p2', 'B', 'ana')",
    );
    let plain = PlainBackend::new();
    for (id, name) in [("p1", "A"), ("p2", "B")] {
        plain.insert("places", &json!({"id": id, "name": name, "user_id": "ana"}));
    }
    [
        TestServer { name: "ours", server: Box::new(ours) },
        TestServer { name: "plain", server: Box::new(plain) },
    ]
}

/// A push comes last: it changes the rows of its server.
pub(crate) const PHASES: [Phase; 5] =
    [Phase::Registering, Phase::FetchingSchema, Phase::Snapshot, Phase::Pulling, Phase::Pushing];

pub(crate) const SEE: &str = "SELECT id, name FROM places ORDER BY id";

fn new_device() -> Device {
    Device::with("ana", 1, None, |config| config.page_size = 1)
}

/// A device whose next request is of this phase. A push carries an edit, a create and a delete.
pub(crate) fn device_before(side: &TestServer, phase: Phase) -> Device {
    let mut device = new_device();
    if matches!(phase, Phase::Pulling | Phase::Pushing) {
        device.sync(&*side.server);
    }
    if phase == Phase::Pushing {
        device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
        device.write("INSERT INTO places (id, name, user_id) VALUES ('p3', 'New', 'ana')");
        device.write("DELETE FROM places WHERE id = 'p2'");
    }
    device.until(&*side.server, phase).unwrap();
    device
}

/// The state that a refused response must not change: rows, queue, metadata without request numbers.
pub(crate) fn state_of(device: &Device) -> String {
    let tables = device.raw("SELECT name FROM sqlite_schema WHERE name IN ('places', 'visits')");
    let rows = tables.split_whitespace().map(|table| {
        let columns = if table == "places" { "id, name, length(note), score" } else { "id, day" };
        device.raw(&format!("SELECT {columns} FROM {table} ORDER BY id"))
    });
    let queue = [
        "SELECT id, hex(effect), reason FROM rejoin_mutation ORDER BY seq",
        "SELECT place, hex(content) FROM rejoin_record ORDER BY place",
        "SELECT seq FROM rejoin_history ORDER BY seq",
        "SELECT key, value FROM rejoin_meta
         WHERE key NOT IN ('request', 'snapshot', 'snapshot_due') ORDER BY key",
    ];
    rows.chain(queue.map(|sql| device.raw(sql))).collect::<Vec<_>>().join("\n")
}

/// Replaces the response of a phase; returns the error if it is refused. Later passes must succeed.
pub(crate) fn meet(
    side: &TestServer,
    phase: Phase,
    what: &str,
    change: &dyn Fn(Response) -> Response,
) -> Option<Error> {
    let mut device = device_before(side, phase);
    let name = format!("{} {phase:?} {what}", side.name);
    let before = state_of(&device);
    let refused = device.step_with(&*side.server, change).err().map(|error| {
        assert_eq!(state_of(&device), before, "{name}: applied in part");
        error.downcast::<Error>().unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    for _ in 0..2 {
        device.sync(&*side.server); // The first may be the rest of the current pass.
    }
    let rows = if phase == Phase::Pushing { "p1|Mine p3|New" } else { "p1|A p2|B" };
    assert_eq!((device.see(SEE).as_str(), device.waiting().as_str()), (rows, ""), "{name}");
    let mut other = Device::new("ana", 2);
    other.sync(&*side.server);
    assert_eq!(other.see(SEE), rows, "{name}: on the server");
    refused
}

/// Checks that the response is refused as a protocol error.
#[track_caller]
pub(crate) fn refuses(
    side: &TestServer,
    phase: Phase,
    what: &str,
    change: &dyn Fn(Response) -> Response,
) -> String {
    match meet(side, phase, what, change) {
        Some(Error::Sync(SyncFault::Protocol(why))) => why,
        other => panic!("{} {phase:?} {what}: {other:?}", side.name),
    }
}

/// Checks that the response is refused; if it is not even JSON, it counts as a lost response.
#[track_caller]
fn ignores(side: &TestServer, phase: Phase, what: &str, change: &dyn Fn(Response) -> Response) {
    match meet(side, phase, what, change) {
        Some(Error::Sync(SyncFault::Offline(_) | SyncFault::Protocol(_))) => {}
        other => panic!("{} {phase:?} {what}: {other:?}", side.name),
    }
}

#[test]
fn invalid_body_is_refused_in_every_phase() {
    let deep = "[".repeat(200_000);
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("html", b"<html>please log in</html>".to_vec()),
        ("nothing", Vec::new()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number", b"42".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("text", b"\"ok\"".to_vec()),
        ("bytes that are no text", vec![0xff, 0xfe, 0x00]),
        ("brackets without an end", deep.clone().into_bytes()),
        ("members without an end", "{\"a\":".repeat(200_000).into_bytes()),
        ("a list too deep", format!("{{\"a\":{deep}{}}}", "]".repeat(200_000)).into_bytes()),
        ("megabytes of nothing", vec![b' '; 8 << 20]),
    ];
    for (what, body) in &table {
        for side in sides() {
            for phase in PHASES {
                let with = |response| Response { body: body.clone().into(), ..response };
                ignores(&side, phase, what, &with);
            }
        }
    }
}

#[test]
fn body_cut_at_any_byte_is_refused() {
    for part in 1..8 {
        for side in sides() {
            for phase in PHASES {
                let cut = |response: Response| {
                    let length = response.body.len() * part / 8;
                    Response { body: response.body.slice(..length), ..response }
                };
                ignores(&side, phase, &format!("{part}/8"), &cut);
            }
        }
    }
}

#[test]
fn duplicate_member_is_refused() {
    for side in sides() {
        for (phase, member) in [
            (Phase::Registering, "\"schema_version\":1"),
            (Phase::FetchingSchema, "\"tables\":[]"),
            (Phase::Snapshot, "\"checkpoint\":1"),
            (Phase::Pulling, "\"has_more\":true"),
        ] {
            let doubled = |response: Response| {
                let text = String::from_utf8(response.body.to_vec()).unwrap();
                let body = format!("{},{member}}}", text.trim_end().trim_end_matches('}'));
                let body = if serde_json::from_str::<Value>(&body).is_ok() {
                    body
                } else {
                    // Our responses end with their extension.
                    format!("{{{member},{}", text.trim_start().trim_start_matches('{'))
                };
                Response { body: body.into(), ..response }
            };
            let why = refuses(&side, phase, member, &doubled);
            assert!(why.contains("duplicate"), "{} {member}: {why}", side.name);
        }
    }
}

#[test]
fn rows_that_fit_no_table_are_refused_whole() {
    type Change = fn(&mut Value);
    let table: Vec<(&str, Change)> = vec![
        ("an unknown table", |row| row["table_name"] = json!("secrets")),
        ("a table of ours", |row| row["table_name"] = json!("rejoin_meta")),
        ("a column that the table lacks", |row| row["data"]["colour"] = json!("red")),
        ("no data", |row| drop(row.as_object_mut().unwrap().remove("data"))),
        ("data that is null", |row| row["data"] = Value::Null),
        ("data that is a list", |row| row["data"] = json!([1, 2])),
        ("data that is text", |row| row["data"] = json!("p1")),
        ("a key that is a number", |row| row["id"] = json!(7)),
        ("no key", |row| drop(row.as_object_mut().unwrap().remove("id"))),
        ("a time that is none", |row| row["updated_at"] = json!("yesterday")),
        ("a number where text is", |row| row["table_name"] = json!(1)),
        ("a list in a number", |row| row["data"]["score"] = json!([1])),
        ("a fraction in an integer", |row| row["data"]["score"] = json!(1.5)),
        ("text in an integer", |row| row["data"]["score"] = json!("many")),
        ("an integer beyond 64 bits", |row| {
            row["data"]["score"] = json!(18_446_744_073_709_551_615_u64);
        }),
        ("text with a NUL", |row| row["data"]["name"] = json!("a\u{0}b")),
    ];
    let [_, side] = sides();
    for (what, change) in table {
        for phase in [Phase::Snapshot, Phase::Pulling] {
            let mixed = |response: Response| {
                changed(&response, |json| {
                    let mut good = json!({
                        "id": "p9", "table_name": "places",
                        "data": {"id": "p9", "name": "good", "score": 1, "user_id": "ana"},
                        "updated_at": "2026-11-20T06:41:50.896045Z",
                    });
                    let mut bad = good.clone();
                    bad["id"] = json!("p8");
                    change(&mut bad);
                    good["data"]["name"] = json!("good");
                    let rows = if json.get("records").is_some() { "records" } else { "changes" };
                    json[rows] = json!([good, bad]);
                })
            };
            refuses(&side, phase, what, &mixed);
        }
    }
}

#[test]
fn row_sets_that_fit_no_table_are_refused_whole() {
    type Change = fn(&mut Value);
    let table: [(&str, Change); 14] = [
        ("an unknown table", |set| set["table_name"] = json!("secrets")),
        ("a table of ours", |set| set["table_name"] = json!("rejoin_meta")),
        ("a column that the table lacks", |set| set["columns"][1] = json!("colour")),
        ("a column twice", |set| set["columns"][2] = json!("name")),
        ("no key among the columns", |set| set["columns"][0] = json!("note")),
        ("columns that are no list", |set| set["columns"] = json!("id")),
        ("rows that are no list", |set| set["rows"] = json!({"id": "p8"})),
        ("a row that is no list", |set| set["rows"][1] = json!("p8")),
        ("a row too short", |set| drop(set["rows"][1].as_array_mut().unwrap().pop())),
        ("a row too long", |set| set["rows"][1].as_array_mut().unwrap().push(json!(1))),
        ("text in an integer", |set| set["rows"][1][2] = json!("many")),
        ("a fraction in an integer", |set| set["rows"][1][2] = json!(1.5)),
        ("a list in text", |set| set["rows"][1][1] = json!([7])),
        ("a key that is null", |set| set["rows"][1][0] = Value::Null),
    ];
    let [side, _] = sides();
    for (what, change) in table {
        for phase in [Phase::Snapshot, Phase::Pulling] {
            let mixed = |response: Response| {
                changed(&response, |json| {
                    let mut set = json!({
                        "table_name": "places", "columns": ["id", "name", "score"],
                        "rows": [["p7", "good", 1], ["p8", "good", 1]],
                    });
                    change(&mut set);
                    json["rejoin"]["sets"] = json!([set]);
                })
            };
            refuses(&side, phase, what, &mixed);
        }
    }
}

#[test]
fn duplicate_columns_and_large_numbers_are_refused_whole() {
    let [_, side] = sides();
    let row = |data: &str| {
        format!(
            "{{\"id\":\"p9\",\"table_name\":\"places\",\"data\":{data},\"updated_at\":\"2026-11-20T06:41:50Z\"}}"
        )
    };
    for data in [
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","NAME":"b"}"#,
        r#"{"score":1e400}"#,
        r#"{"score":-9223372036854775809}"#,
        r#"{"name":"\ud800"}"#,
    ] {
        let with = |response: Response| {
            let text = String::from_utf8(response.body.to_vec()).unwrap();
            let body = text.replacen("\"changes\":[]", &format!("\"changes\":[{}]", row(data)), 1);
            assert_ne!(body, text, "there is a place for it");
            Response { body: body.into(), ..response }
        };
        refuses(&side, Phase::Pulling, data, &with);
    }
}

/// A pull accepts any 64-bit position, and the rows stay right; anything else is refused.
#[test]
fn invalid_positions_are_refused_or_lead_to_a_rebuild() {
    let [_, side] = sides();
    let refused = ["9223372036854775808", "1e300", "1.5", "\"7\"", "null"];
    let taken = ["-1", "-9223372036854775808"];
    for number in refused.into_iter().chain(taken) {
        for phase in [Phase::Snapshot, Phase::Pulling] {
            let with = |response: Response| {
                let text = String::from_utf8(response.body.to_vec()).unwrap();
                let at = text.find("\"checkpoint\":").unwrap() + "\"checkpoint\":".len();
                let end = at + text[at..].find([',', '}']).unwrap();
                let body = format!("{}{number}{}", &text[..at], &text[end..]);
                Response { body: body.into(), ..response }
            };
            let error = meet(&side, phase, number, &with);
            let expected = phase == Phase::Snapshot || refused.contains(&number);
            assert_eq!(error.is_some(), expected, "{phase:?} {number}: {error:?}");
        }
    }
}

#[test]
fn accepted_mutation_without_row_images_stays_visible() {
    let [side, _] = sides();
    let mut device = device_before(&side, Phase::Pushing);
    let without = |full: Response| changed(&full, |json| json["rejoin"]["rows"] = json!([]));
    device.step_with(&*side.server, without).unwrap();
    for when in ["before a pull", "after it"] {
        let seen = (device.see(SEE), device.waiting());
        assert_eq!((seen.0.as_str(), seen.1.as_str()), ("p1|Mine p3|New", ""), "{when}");
        device.sync(&*side.server);
    }
}

#[test]
fn page_without_progress_ends_the_pass() {
    for side in sides() {
        let again = |response: Response| changed(&response, |json| json["has_more"] = json!(true));
        let why = refuses(&side, Phase::Pulling, "more of nothing", &again);
        assert!(why.contains("leads nowhere"), "{}: {why}", side.name);
    }
}

/// Runs passes against a server with an endless snapshot until one fails; returns the page count.
fn endless(side: &TestServer, answer: impl Fn(u64, Response) -> Response) -> (u64, String) {
    let mut device = new_device();
    let mut pages = 0;
    loop {
        assert!(pages < 5_000, "{}: it ends", side.name);
        let phase = match device.prepare() {
            Ok(Moment::Leaving(phase)) => phase,
            Ok(Moment::Finished(report)) => panic!("{}: {report:?}", side.name),
            Err(error) => panic!("{}: {error}", side.name),
        };
        let stepped = if phase == Phase::Snapshot {
            pages += 1;
            device.step_with(&*side.server, |response| answer(pages, response))
        } else {
            device.step(&*side.server)
        };
        if let Err(error) = stepped {
            device.sync(&*side.server);
            let seen = device.see(SEE);
            assert_eq!(seen, "p1|A p2|B", "{}: the next try works", side.name);
            return (pages, error.to_string());
        }
    }
}

#[test]
fn snapshot_with_repeated_cursor_is_abandoned() {
    for side in sides() {
        let first = std::cell::RefCell::new(None);
        let (pages, why) =
            endless(&side, |_, response| first.borrow_mut().get_or_insert(response).clone());
        // A companion server names the request that it answers, which alone reveals it.
        assert!(
            pages == 2 && (why.contains("without an end") || why.contains("answer to")),
            "{why}"
        );
    }
}

#[test]
fn snapshot_without_new_rows_is_abandoned() {
    for side in sides() {
        let first = std::cell::RefCell::new(None);
        let (pages, why) = endless(&side, |page, response| {
            let mut first = first.borrow_mut();
            let first = first.get_or_insert(response.clone());
            // Always another cursor, always the same row.
            let theirs: Value = serde_json::from_slice(&response.body).unwrap();
            changed(first, |json| {
                json["has_more"] = json!(true);
                json["cursor"]["after_id"] = json!(format!("p{page:09}"));
                if let Some(request) = theirs.pointer("/rejoin/request") {
                    json["rejoin"]["request"] = request.clone();
                }
            })
        });
        assert!(why.contains("nothing new"), "{}: {why}", side.name);
        assert!((1_000..1_010).contains(&pages), "{}: {pages} pages", side.name);
    }
}

#[test]
fn unreadable_snapshot_cursor_is_dropped_after_three_tries() {
    let [_, side] = sides();
    let mut device = new_device();
    device.until(&*side.server, Phase::Snapshot).unwrap();
    let (mut pages, mut failures) = (0, 0);
    while failures < 3 {
        let is_page = device.prepare().unwrap() == Moment::Leaving(Phase::Snapshot);
        let stepped = device.step_with(&*side.server, |response| {
            if is_page && pages > 0 {
                let body = r#"{"error":"failed to snapshot"}"#.into();
                Response { status: 500, body, ..response }
            } else {
                response
            }
        });
        pages += usize::from(is_page);
        failures += usize::from(stepped.is_err());
        assert!(pages < 10, "it ends");
    }
    assert_eq!(device.engine().meta("snapshot").unwrap(), None, "it begins again");
    device.sync(&*side.server);
    assert_eq!(device.see("SELECT id FROM places ORDER BY id"), "p1 p2");
}

/// Replaces any value of a response by any other: no panic, nothing applied in part, the next
/// passes succeed, and each mutation has its verdict.
#[test]
fn junk_values_in_responses_do_no_lasting_harm() {
    let junk = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(i64::MAX),
        json!(1e300),
        json!(""),
        json!("places"),
        json!("conflict"),
        json!("accepted"),
        json!("\u{0}"),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!({"a": {"b": []}}),
    ];
    for seed in 0..cases(40) {
        for side in sides() {
            let mut rng = fastrand::Rng::with_seed(seed);
            let phase = PHASES[rng.usize(..PHASES.len())];
            let value = junk[rng.usize(..junk.len())].clone();
            let name = format!("{} seed {seed} {phase:?} {value}", side.name);
            let mut device = device_before(&side, phase);
            let before = state_of(&device);
            let place = rng.usize(..);
            let stepped = device
                .step_with(&*side.server, |response| twisted(&response, place, value.clone()));
            if stepped.is_err() {
                assert_eq!(state_of(&device), before, "{name}");
            }
            // The first successful pass may be the rest of this one; other mutations wait.
            assert!((0..4).filter(|_| device.pass(&*side.server).is_ok()).count() >= 2, "{name}");
            let waiting = device.waiting();
            let open = ["Sent", "Pending", "Uncertain"].iter().any(|word| waiting.contains(word));
            assert!(!open, "{name}: {waiting}");
        }
    }
}
