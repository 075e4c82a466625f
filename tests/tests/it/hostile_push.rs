//! Answers to a push from a broken or hostile peer, of either kind: a typed error, nothing applied in part, what was written
//! kept, and the next try works.

use rejoin_core::Error;
use rejoin_core::sync::session::{Phase, Response};
use rejoin_tests::{Device, Peer};
use serde_json::{Value, json};

use crate::hostile::{Side, changed, sides, twisted, with_body};

/// A device with an edit, a create and a delete on their way.
fn writing(side: &Side) -> Device {
    let mut device = Device::with("ana", 1, None, |config| config.batch_size = 10);
    device.sync(&*side.server);
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name, user_id) VALUES ('p3', 'New', 'ana')");
    device.write("DELETE FROM places WHERE id = 'p2'");
    device.until(&*side.server, Phase::Pushing).unwrap();
    device
}

const SEE: &str = "SELECT id, name FROM places ORDER BY id";

/// Base rows and queue, as another tool finds them in the file.
fn imprint(device: &Device) -> String {
    device.raw("SELECT id, name FROM places ORDER BY id")
        + &device.raw("SELECT id, hex(effect), reason FROM rejoin_mutation ORDER BY seq")
        + &device.raw("SELECT place, hex(content) FROM rejoin_record ORDER BY place")
        + &device.raw("SELECT seq FROM rejoin_history ORDER BY seq")
}

/// Answers the push with something else: the error, if it was refused. Then the next try must bring all three through.
fn meet(side: &Side, what: &str, change: &dyn Fn(Response) -> Response) -> Option<Error> {
    let mut device = writing(side);
    let before = imprint(&device);
    let told = device.step_with(&*side.server, change).err();
    let told = told.map(|error| {
        assert_eq!(imprint(&device), before, "{} {what}: in part", side.name);
        error.downcast::<Error>().unwrap_or_else(|error| panic!("{what}: {error}"))
    });
    assert_eq!(device.see(SEE), "p1|Mine p3|New", "{} {what}: the app's view", side.name);
    device.sync(&*side.server);
    if told.is_none() {
        device.sync(&*side.server); // The first was the rest of the pass that went on.
    }
    assert_eq!(device.waiting(), "", "{} {what}: all have their verdict", side.name);
    assert_eq!(device.see(SEE), "p1|Mine p3|New", "{} {what}", side.name);
    told
}

/// The server's rows, by another device.
fn arrived(side: &Side) -> String {
    let mut other = Device::new("ana", 2);
    other.sync(&*side.server);
    other.see(SEE)
}

#[test]
fn what_is_no_answer_leaves_a_push_uncertain() {
    let deep = "[".repeat(100_000);
    let bodies: [(&str, &[u8]); 7] = [
        ("html", b"<html>please log in</html>"),
        ("nothing", b""),
        ("null", b"null"),
        ("a list", b"[]"),
        ("an empty object", b"{}"),
        ("bytes that are no text", &[0xff, 0xfe]),
        ("a list too deep", deep.as_bytes()),
    ];
    for (what, body) in bodies {
        for side in sides() {
            let refused = meet(&side, what, &|response| with_body(body.to_vec())(response));
            assert!(
                matches!(refused, Some(Error::Protocol(_))),
                "{} {what}: {refused:?}",
                side.name
            );
            assert_eq!(arrived(&side), "p1|Mine p3|New", "{} {what}", side.name);
        }
    }
    for part in 1..8 {
        for side in sides() {
            let cut = |response: Response| {
                let length = response.body.len() * part / 8;
                Response { body: response.body.slice(..length), ..response }
            };
            let refused = meet(&side, "cut", &cut);
            assert!(matches!(refused, Some(Error::Protocol(_))), "{} {part}/8", side.name);
        }
    }
}

#[test]
fn a_result_on_what_was_not_asked_refuses_the_whole_answer() {
    type Change = fn(&mut Value);
    let plain: [(&str, Change); 10] = [
        ("another row", |one| one["id"] = json!("p9")),
        ("another table", |one| one["table_name"] = json!("secrets")),
        ("a table of ours", |one| one["table_name"] = json!("rejoin_meta")),
        ("another operation", |one| one["operation"] = json!("create")),
        ("a status that is none", |one| one["status"] = json!("perhaps")),
        ("a number for a status", |one| one["status"] = json!(1)),
        ("a conflict without its row", |one| one["status"] = json!("conflict")),
        ("a conflict with another row", |one| {
            one["status"] = json!("conflict");
            one["server_version"] = json!({
                "id": "p9", "table_name": "places", "data": {"id": "p9", "name": "x"},
                "updated_at": "2026-01-01T00:00:00Z",
            });
        }),
        ("a conflict with columns of no table", |one| {
            one["status"] = json!("conflict");
            one["server_version"] = json!({
                "id": "p1", "table_name": "places", "data": {"colour": "red"},
                "updated_at": "2026-01-01T00:00:00Z",
            });
        }),
        ("a version that is no time", |one| one["server_updated_at"] = json!("yesterday")),
    ];
    for (what, change) in plain {
        let [_, side] = sides();
        let refused = meet(&side, what, &|response| {
            changed(&response, |json| change(&mut json["accepted"][0]))
        });
        assert!(matches!(refused, Some(Error::Protocol(_))), "{what}: {refused:?}");
    }
    let [_, side] = sides();
    let twice = |response: Response| {
        changed(&response, |json| {
            let again = json["accepted"][0].clone();
            json["rejected"] = json!([again]);
        })
    };
    assert!(meet(&side, "two results", &twice).is_some());

    let ours: [(&str, Change); 6] = [
        ("a verdict that is none", |ours| ours["verdicts"][0]["verdict"] = json!("perhaps")),
        ("an id that is none", |ours| ours["verdicts"][0]["id"] = json!("x")),
        ("another request's number", |ours| ours["request"] = json!(1)),
        ("a row of an unknown table", |ours| ours["rows"][0]["table_name"] = json!("secrets")),
        ("a row of a table of ours", |ours| ours["rows"][0]["table_name"] = json!("rejoin_meta")),
        ("a row with a column that the table lacks", |ours| {
            ours["rows"][0]["data"]["colour"] = json!("red");
        }),
    ];
    for (what, change) in ours {
        let [side, _] = sides();
        let refused =
            meet(&side, what, &|response| changed(&response, |json| change(&mut json["rejoin"])));
        assert!(matches!(refused, Some(Error::Protocol(_))), "{what}: {refused:?}");
    }
}

#[test]
fn an_answer_that_says_nothing_of_a_row_leaves_it_uncertain() {
    for side in sides() {
        let silent = |response: Response| {
            changed(&response, |json| {
                for list in ["/accepted", "/rejected", "/rejoin/verdicts", "/rejoin/rows"] {
                    if let Some(found) = json.pointer_mut(list) {
                        *found = json!([]);
                    }
                }
            })
        };
        meet(&side, "silence", &silent);
        assert_eq!(arrived(&side), "p1|Mine p3|New", "{}", side.name);
    }
}

/// Any value of the answer, replaced by any other: never a panic, and never a mutation that neither waits nor was answered.
#[test]
fn answers_to_a_push_with_junk_in_any_place_lose_no_edit_unsaid() {
    let junk = [
        json!(null),
        json!(true),
        json!(-1),
        json!(i64::MAX),
        json!(1e300),
        json!(""),
        json!("conflict"),
        json!("accepted"),
        json!("\u{0}"),
        json!([]),
        json!({}),
        json!([[[]]]),
    ];
    for seed in 0..60 {
        for side in sides() {
            let mut rng = fastrand::Rng::with_seed(seed);
            let value = junk[rng.usize(..junk.len())].clone();
            let mut device = writing(&side);
            let before = imprint(&device);
            let place = rng.usize(..);
            let stepped = device
                .step_with(&*side.server, |response| twisted(&response, place, value.clone()));
            if stepped.is_err() {
                assert_eq!(imprint(&device), before, "{} seed {seed}", side.name);
            }
            let healed = (0..3).any(|_| device.pass(&*side.server).is_ok());
            assert!(healed, "{} seed {seed} {value}", side.name);
            let waiting = device.waiting();
            let undecided =
                ["Sent", "Pending", "Uncertain"].iter().any(|word| waiting.contains(word));
            assert!(!undecided, "{} seed {seed} {value}: {waiting}", side.name);
        }
    }
}

/// Both kinds of servers of these stories are what they are taken for.
#[test]
fn the_first_side_is_ours_and_the_second_is_plain() {
    let [ours, plain] = sides();
    let greeted = |server: &dyn Peer| {
        let mut device = Device::new("ana", 1);
        device.sync(server);
        device.engine().meta("peer").unwrap()
    };
    assert_eq!((greeted(&*ours.server), greeted(&*plain.server)), (None, Some("plain".to_owned())));
}
