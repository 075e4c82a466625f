//! Invented push results of a broken or hostile peer: writes are kept and sent again.

use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::session::{Phase, Response};
use rejoin_tests::{Backend, Device, Fault, Store};
use serde_json::{Value, json};

use crate::hostile::{meet, refuses, sides};
use crate::junk::changed;
use crate::places::{PLACES, one_place};

#[test]
fn push_result_for_another_record_refuses_the_response() {
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
        refuses(&side, Phase::Pushing, what, &|response| {
            changed(&response, |json| change(&mut json["accepted"][0]))
        });
    }
    let [_, side] = sides();
    let twice = |response: Response| {
        changed(&response, |json| {
            let again = json["accepted"][0].clone();
            json["rejected"] = json!([again]);
        })
    };
    refuses(&side, Phase::Pushing, "two results", &twice);

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
        refuses(&side, Phase::Pushing, what, &|response| {
            changed(&response, |json| change(&mut json["rejoin"]))
        });
    }
}

#[test]
fn missing_push_result_leaves_row_uncertain() {
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
        let refused = meet(&side, Phase::Pushing, "silence", &silent);
        assert!(refused.is_none(), "{}: {refused:?}", side.name);
    }
}

/// Zero is no limit; the largest number is not allocated.
#[test]
fn extreme_limits_of_a_server_stop_no_push() {
    for (body, others) in [(0, 0), (u64::MAX, u32::MAX)] {
        let (server, mut device) = one_place(Store::Sqlite);
        device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
        device.crash().until(&server, Phase::Registering).unwrap();
        let limited = |response: Response| {
            changed(&response, |json| {
                json["rejoin"]["max_body"] = json!(body);
                json["rejoin"]["max_groups"] = json!(others);
                json["rejoin"]["max_page"] = json!(others);
            })
        };
        device.step_with(&server, limited).unwrap();
        device.pass(&server).unwrap();
        assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|Mine|n|3".into()));
    }
}

/// Before-images that an undo must not write.
fn foreign_images() -> Vec<(&'static str, Value)> {
    let image =
        |table: &str, id: &str, data: Value| json!({"table_name": table, "id": id, "data": data});
    vec![
        ("a local table", image("drafts", "d1", json!({"id": "d1", "body": "theirs"}))),
        ("the queue", image("rejoin_mutation", "1", json!({"state": 9}))),
        ("the facts", image("rejoin_meta", "cursor", json!({"value": "theirs"}))),
        ("the schema", image("sqlite_schema", "places", json!({"sql": "x"}))),
        ("an unknown table", image("secrets", "p1", json!({"name": "theirs"}))),
        ("an unknown column", image("places", "p1", json!({"colour": "theirs"}))),
        ("the rowid", image("places", "p1", json!({"rowid": 9}))),
        ("another row", image("places", "p2", json!({"name": "theirs"}))),
        ("a quoted name", image("places\" SET name = 'theirs' --", "p1", json!({"name": "x"}))),
        ("a column that it did not write", image("places", "p1", json!({"score": 9}))),
        ("text in an integer", image("places", "p1", json!({"score": "many", "name": "theirs"}))),
    ]
}

/// A device with an edit of `p1` and a local table, and what no undo may change.
fn edited() -> (Backend, Device) {
    let (server, mut device) = one_place(Store::Sqlite);
    server.outside(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p2', 'B', 'n', 3, 'ana')",
    );
    device.sync(&server);
    device.engine().execute("CREATE TABLE drafts (id TEXT PRIMARY KEY, body TEXT)", &[]).unwrap();
    device.engine().execute("INSERT INTO drafts VALUES ('d1', 'mine')", &[]).unwrap();
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    (server, device)
}

fn with_image(response: &Response, image: &Value) -> Response {
    changed(response, |json| json["rejoin"]["verdicts"][0]["displaced"] = json!([image]))
}

#[track_caller]
fn is_as_before(server: &Backend, device: &mut Device, what: &str) {
    device.sync(server);
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|B|n|3", "{what}");
    assert_eq!(server.see(PLACES), "p1|A|n|3 p2|B|n|3", "{what}");
    assert_eq!(device.see("SELECT id, body FROM drafts"), "d1|mine", "{what}");
    assert_eq!(device.waiting(), "", "{what}");
}

#[test]
fn undo_writes_no_foreign_before_image() {
    for (what, image) in foreign_images() {
        let (server, mut device) = edited();
        let id = device.queue()[0].id;
        device.until(&server, Phase::Pushing).unwrap();
        device.step_with(&server, |response| with_image(&response, &image)).unwrap();
        device.sync(&server);
        assert_eq!(device.see(PLACES), "p1|Mine|n|3 p2|B|n|3", "{what}");
        decide::undo(device.engine(), id).unwrap();
        is_as_before(&server, &mut device, what);
    }
}

#[test]
fn discard_writes_no_foreign_before_image() {
    for (what, image) in foreign_images() {
        let (server, mut device) = edited();
        let id = device.queue()[0].id;
        device.lose_push(&server, Fault::AnswerLost);
        decide::discard(device.engine(), id).unwrap();
        device.until(&server, Phase::Pushing).unwrap();
        device.step_with(&server, |response| with_image(&response, &image)).unwrap();
        is_as_before(&server, &mut device, what);
    }
}
