//! Rows that are written by their bucket: members of a team write each other's rows, others do not.

use macro_rules_attribute::apply;
use rejoin_server::{Config, Grant, PushPolicy, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, create, delete, ended, record, update};

const TABLES: &str = "
    CREATE TABLE reports(
      id TEXT PRIMARY KEY, team TEXT, author TEXT, title TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE remarks(id TEXT PRIMARY KEY, report_id TEXT, body TEXT, updated_at TEXT);
";

/// A report is written by its team; a remark by the team of its report.
fn teams(config: Config) -> Config {
    let reports = TableConfig::new("reports").with_bucket("team", "team:");
    let reports = TableConfig { owner_column: Some("author".into()), ..reports };
    config.with_table(reports.with_push(PushPolicy::Bucket)).with_table(TableConfig::child(
        "remarks",
        "reports",
        "report_id",
    ))
}

/// Anna and ben are members of team red, vera reads it; anna reads team blue too.
fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, teams);
    world.write(
        "INSERT INTO reports(id, team, author, title) VALUES
           ('red', 'red', 'ben', 'a'), ('blue', 'blue', 'cleo', 'b'), ('none', NULL, 'anna', 'c'),
           ('empty', '', 'anna', 'd');
         INSERT INTO remarks(id, report_id, body) VALUES('r', 'red', 'x'), ('b', 'blue', 'x')",
    );
    for user in ["anna", "ben"] {
        world.server.grant(user, "team:red").unwrap();
    }
    world.server.grant_read("vera", "team:red").unwrap();
    world.server.grant_read("anna", "team:blue").unwrap();
    world
}

fn retitle(id: &str, old: &str, new: &str) -> Value {
    update("reports", id, &json!({"title": old}), &json!({"title": new}))
}

fn moved(id: &str, from: &str, to: &Value) -> Value {
    update("reports", id, &json!({"team": from}), &json!({"team": to}))
}

/// Pushes one change and returns the verdict and its code.
async fn push(device: &mut Device<'_>, id: &str, change: Value) -> String {
    let (verdict, _) = device.push(id, json!([change])).await;
    ended(&verdict)
}

#[apply(secured_stores!)]
async fn members_write_the_rows_of_each_other(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    let mut ben = world.device("ben", "b").await;
    assert_eq!(anna.snapshot(9).await, ["remarks/b", "remarks/r", "reports/blue", "reports/red"]);
    assert_eq!(ben.snapshot(9).await, ["remarks/r", "reports/red"]);
    let new = json!({"team": "red", "title": "n"});
    for (id, device, change) in [
        ("m1", 'a', retitle("red", "a", "a2")),
        ("m2", 'a', create("reports", "new", &new)),
        ("m3", 'b', retitle("new", "n", "n2")),
        ("m4", 'b', create("remarks", "of-new", &json!({"report_id": "new", "body": "x"}))),
        ("m5", 'a', update("remarks", "of-new", &json!({"body": "x"}), &json!({"body": "y"}))),
        ("m6", 'b', delete("reports", "new", &json!({"title": "n2", "team": "red"}))),
        ("m7", 'a', create("reports", "new", &new)),
    ] {
        let device = if device == 'a' { &mut anna } else { &mut ben };
        assert_eq!(push(device, id, change).await, "accepted -", "{id}");
    }
    assert_eq!(world.one("SELECT author FROM reports WHERE id = 'new'"), "anna", "who created it");
    assert_eq!(world.one("SELECT title FROM reports WHERE id = 'red'"), "a2");
    assert_eq!(
        ben.snapshot(9).await,
        ["remarks/of-new", "remarks/r", "reports/new", "reports/red"]
    );
}

#[apply(secured_stores!)]
async fn reader_of_a_team_writes_nothing(backend: Backend) {
    let world = world(backend);
    let mut vera = world.device("vera", "v").await;
    assert_eq!(vera.snapshot(9).await, ["remarks/r", "reports/red"]);
    let all = [
        retitle("red", "a", "x"),
        delete("reports", "red", &json!({"title": "a", "team": "red"})),
        create("reports", "new", &json!({"team": "red"})),
        create("remarks", "new", &json!({"report_id": "red"})),
        update("remarks", "r", &json!({"body": "x"}), &json!({"body": "y"})),
    ];
    for (number, change) in all.into_iter().enumerate() {
        let (verdict, _) = vera.push(&format!("m{number}"), json!([change.clone()])).await;
        assert_eq!(ended(&verdict), "refused ownership", "{change}");
        if number == 0 {
            let message = verdict.message.unwrap_or_default();
            assert!(message.contains("the bucket team:red"), "{message}");
        }
    }
    // The right comes: the same edit, written again, is accepted.
    world.server.grant("vera", "team:red").unwrap();
    assert_eq!(push(&mut vera, "again", retitle("red", "a", "x")).await, "accepted -");
}

#[apply(secured_stores!)]
async fn row_enters_and_leaves_only_teams_that_its_writer_writes(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    for (id, change, expected) in [
        ("m1", moved("red", "red", &json!("blue")), "refused ownership"),
        ("m2", moved("blue", "blue", &json!("red")), "refused ownership"),
        ("m3", moved("red", "red", &json!("green")), "refused ownership"),
        // No user could read the row.
        ("m4", moved("red", "red", &Value::Null), "refused ownership"),
        ("m5", create("reports", "new", &json!({"title": "in none"})), "refused ownership"),
        ("m6", create("reports", "new", &json!({"title": "x", "team": ""})), "refused ownership"),
        ("m7", create("reports", "new", &json!({"team": "blue"})), "refused ownership"),
        // Its author has no right to a row without a bucket.
        ("m8", retitle("none", "c", "x"), "conflict row.not_found"),
        ("m9", create("remarks", "new", &json!({"report_id": "blue"})), "refused ownership"),
    ] {
        assert_eq!(push(&mut anna, id, change).await, expected, "{id}");
    }
    world.server.grant("anna", "team:blue").unwrap();
    assert_eq!(push(&mut anna, "m10", moved("red", "red", &json!("blue"))).await, "accepted -");
    let mut ben = world.device("ben", "b").await;
    assert_eq!(ben.snapshot(9).await, [""; 0], "it has left team red, with its remark");
    assert_eq!(push(&mut ben, "m11", retitle("red", "a", "x")).await, "conflict row.deleted");
}

/// Also the author: who left the team has no right to what they wrote there.
#[apply(secured_stores!)]
async fn lost_right_refuses_the_edit_and_removes_the_rows(backend: Backend) {
    let world = world(backend);
    let mut ben = world.device("ben", "b").await;
    let mut base = ben.snapshot_rows().await;
    world.server.revoke("ben", "team:red").unwrap();
    let group = ben.group("m1", &json!([retitle("red", "a", "x")]));
    let other = ben.group("m2", &json!([create("reports", "new", &json!({"team": "red"}))]));
    let answer = ben.push_groups(json!([group, other])).await.rejoin.unwrap();
    let verdicts: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(verdicts, ["conflict row.not_found", "refused ownership"]);
    while ben.pull_into(&mut base, 2).await {}
    assert!(base.values().all(Option::is_none) || base.is_empty(), "{base:?}");
    world.server.grant("ben", "team:red").unwrap();
    assert_eq!(push(&mut ben, "m3", retitle("red", "a", "x")).await, "accepted -");
}

/// A bucket that a user only writes is a letter box: rows are created there, and leave the device.
#[apply(secured_stores!)]
async fn written_bucket_that_is_not_read_takes_new_rows(backend: Backend) {
    let world = world(backend);
    assert!(world.server.grant_write("dora", "team:red").unwrap());
    let expected = Grant { bucket: "team:red".into(), reads: false, writes: true };
    assert_eq!(world.server.grants("dora").unwrap(), [expected]);
    let mut dora = world.device("dora", "d").await;
    let new = create("reports", "new", &json!({"team": "red", "title": "letter"}));
    let (verdict, rows) = dora.push("m1", json!([new.clone()])).await;
    assert_eq!(ended(&verdict), "accepted -");
    assert!(rows.iter().all(|row| row.absent), "it leaves the device: {rows:?}");
    assert_eq!(push(&mut dora, "m1", new).await, "accepted -", "a repetition");
    assert_eq!(dora.snapshot(9).await, [""; 0]);
    assert_eq!(world.one("SELECT author FROM reports WHERE id = 'new'"), "dora");
    assert_eq!(
        push(&mut dora, "m2", retitle("new", "letter", "x")).await,
        "conflict row.not_found"
    );
    assert_eq!(push(&mut dora, "m3", retitle("red", "a", "x")).await, "conflict row.not_found");
}

/// Without a foreign key, a removed report leaves its remarks: its key does not bring them to another
/// team.
#[apply(secured_stores!)]
async fn key_of_a_removed_report_does_not_give_its_remarks(backend: Backend) {
    let world = world(backend);
    world.write("DELETE FROM reports WHERE id = 'red'");
    world.server.grant("eve", "team:green").unwrap();
    let mut eve = world.device("eve", "e").await;
    let take = |team: &str| create("reports", "red", &json!({"team": team}));
    assert_eq!(push(&mut eve, "m1", take("green")).await, "conflict row.not_found");
    let mut ben = world.device("ben", "b").await;
    assert_eq!(push(&mut ben, "m2", take("red")).await, "accepted -");
    assert_eq!(ben.snapshot(9).await, ["remarks/r", "reports/red"]);
}

/// A device of a plain peer has the same rights.
#[apply(stores!)]
async fn plain_peer_has_the_rights_of_its_user(backend: Backend) {
    let world = world(backend);
    let time = "2030-01-01T00:00:00Z";
    let of_reports = |operation, id: &str, data: Value| {
        let mut record = record(operation, id, &data, time);
        record["table_name"] = json!("reports");
        record
    };
    let mut anna = world.device("anna", "a").await;
    for (record, status) in [
        (of_reports("create", "p1", json!({"team": "red", "title": "x"})), "applied"),
        (of_reports("update", "red", json!({"title": "x"})), "applied"),
        (of_reports("update", "blue", json!({"title": "x"})), "rejected_terminal"),
        (of_reports("update", "red", json!({"team": "blue"})), "rejected_terminal"),
        (of_reports("create", "p2", json!({"title": "in none"})), "rejected_terminal"),
    ] {
        let ends = anna.push_records(&json!([record.clone()])).await;
        assert!(ends.concat().contains(status), "{record}: {ends:?}");
    }
}
