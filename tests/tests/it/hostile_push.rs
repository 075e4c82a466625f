//! Invented push results of a broken or hostile peer: writes are kept and sent again.

use rejoin_core::sync::session::{Phase, Response};
use serde_json::{Value, json};

use crate::hostile::{meet, refuses, sides};
use crate::junk::changed;

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
