//! Push of groups: verdicts, retries, columns, deletes, constraints.

use std::sync::{Arc, Mutex};

use macro_rules_attribute::apply;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::Ending;
use serde_json::{Value, json};

use crate::host::{Host, hosted};
use crate::world::{Backend, World, column, create, ended, erase, place, rename, score, update};

pub(crate) mod concurrent;

#[apply(secured_stores!)]
async fn disjoint_columns_merge_and_the_same_column_conflicts(world: World) {
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    one.accept("m1", json!([place("p1", "Quay")])).await;
    one.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    let rows = two.accept("m3", json!([score(0, 3)])).await;
    assert_eq!(column(&rows[0], "name"), "Pier");
    let (verdict, rows) = two.push("m4", json!([rename("p1", "Quay", "Dock")])).await;
    assert_eq!(verdict.verdict, Ending::Conflict);
    assert_eq!(verdict.code.as_deref(), Some(code::ROW_CHANGED));
    assert_eq!(verdict.column.as_deref(), Some("name"));
    assert_eq!(column(&rows[0], "name"), "Pier");
}

#[apply(secured_stores!)]
async fn repeated_group_is_applied_once_and_returns_current_rows(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m1", &json!([place("p1", "Quay")]));
    anna.push_group(group.clone()).await;
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    let (verdict, rows) = anna.push_group(group).await;
    assert_eq!(verdict.verdict, Ending::Accepted);
    assert_eq!(column(&rows[0], "name"), "Pier");
}

#[apply(secured_stores!)]
async fn violated_check_names_its_column_and_rejects_the_group(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let bad = create("places", "p2", &json!({"name": "Bad", "score": -1}));
    let (verdict, rows) = anna.push("m1", json!([place("p1", "Quay"), bad])).await;
    assert_eq!(verdict.verdict, Ending::Rejected);
    assert_eq!(verdict.code.as_deref(), Some(code::CONSTRAINT_CHECK));
    assert_eq!(verdict.table_name.as_deref(), Some("places"));
    assert_eq!(verdict.record_id.as_deref(), Some("p2"));
    assert_eq!(verdict.column.as_deref(), Some("score"));
    assert!(rows.iter().all(|row| row.absent));
}

fn delete(table: &str, id: &str, more: &Value) -> Value {
    let mut change = json!({"operation": "delete", "table_name": table, "id": id});
    change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    change
}

/// The delete succeeds, although the compacted log no longer shows that the row was this user's.
#[apply(secured_stores!)]
async fn delete_of_compacted_row_is_accepted(world: World) {
    let mut one = world.device("anna", "a1").await;
    one.snapshot(10).await;
    one.accept("m1", json!([place("p1", "Quay")])).await;
    one.accept("m2", json!([create("visits", "v1", &json!({"place_id": "p1"}))])).await;
    one.accept("m3", json!([create("tags", "7", &json!({"visit_id": "v1", "label": "x"}))])).await;
    let gone = json!([delete("tags", "7", &json!({"old": {"visit_id": "v1", "label": "x"}}))]);
    one.accept("m4", gone.clone()).await;
    one.accept("m5", json!([place("p2", "Pier")])).await; // A compaction keeps the last entry.
    one.pull().await;
    world.clock.advance(120_000_000);
    one.pull().await; // The server records positions once a minute.
    assert!(world.server.compact().unwrap().entries > 3);
    let mut two = world.device("anna", "a2").await;
    assert!(two.accept("m6", gone).await[0].absent);
    let edit = update("tags", "7", &json!({"label": "x"}), &json!({"label": "y"}));
    let (verdict, _) = two.push("m7", json!([edit])).await;
    assert_eq!(ended(&verdict), "conflict row.not_found", "an edit is lost without its row");
}

/// A delete of a missing row gives the same answer for every owner, and no hook is called.
#[apply(secured_stores!)]
async fn delete_of_a_hidden_row_changes_nothing(backend: Backend) {
    let ids: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = ids.clone();
    let host = Host::saying(move |accepted, _| {
        log.lock().unwrap().extend(accepted.changes.iter().map(|change| change.id.to_owned()));
        Ok(())
    });
    let (world, _) = hosted(backend, host);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let mut ben = world.device("ben", "b1").await;
    for id in ["p1", "p9"] {
        let rows = ben.accept(&format!("m-{id}"), json!([erase(id, "Quay")])).await;
        assert!(rows[0].absent && rows[0].data.is_none(), "{id}");
        let (verdict, _) = ben.push(&format!("m-{id}"), json!([erase(id, "Quay")])).await;
        assert!(verdict.displaced.iter().all(|row| row.absent && row.data.is_none()), "{id}");
    }
    assert_eq!(*ids.lock().unwrap(), ["p1"], "only the create");
    assert_eq!(anna.snapshot(10).await, ["places/p1"]);
}

#[apply(secured_stores!)]
async fn rejected_attempt_is_final_and_the_next_is_evaluated(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut group = anna.group("m1", &json!([place("p1", "Quay")]));
    group["changes"][0]["data"]["score"] = json!(-1);
    assert_eq!(anna.push_group(group.clone()).await.0.verdict, Ending::Rejected);
    assert_eq!(anna.push_group(group.clone()).await.0.verdict, Ending::Rejected);
    group["changes"][0]["data"]["score"] = json!(1);
    let (verdict, _) = anna.push_group(group.clone()).await;
    assert_eq!(verdict.verdict, Ending::Rejected, "the content is not looked at again");
    group["attempt"] = json!(2);
    assert_eq!(anna.push_group(group.clone()).await.0.verdict, Ending::Accepted);
    group["attempt"] = json!(1);
    let (verdict, _) = anna.push_group(group).await;
    assert_eq!(
        (verdict.verdict, verdict.attempt),
        (Ending::Accepted, 1),
        "a late copy of attempt 1"
    );
}

#[apply(secured_stores!)]
async fn accepted_is_final_and_changed_content_is_an_error(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut group = anna.group("m1", &json!([place("p1", "Quay")]));
    anna.push_group(group.clone()).await;
    group["hash"] = json!("another");
    let (verdict, _) = anna.push_group(group.clone()).await;
    assert_eq!(verdict.verdict, Ending::Refused);
    assert_eq!(verdict.code.as_deref(), Some(code::HASH_MISMATCH));
    group["attempt"] = json!(2);
    assert_eq!(anna.push_group(group).await.0.verdict, Ending::Accepted);
}

#[apply(secured_stores!)]
async fn dependent_of_an_unaccepted_mutation_is_blocked(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut bad = anna.group("m1", &json!([place("p1", "Quay")]));
    bad["changes"][0]["data"]["score"] = json!(-1);
    let mut child = anna.group("m2", &json!([place("p2", "Pier")]));
    child["after"] = json!(["m1"]);
    let answer = anna.push_groups(json!([bad, child])).await.rejoin.unwrap();
    assert_eq!(answer.verdicts[1].verdict, Ending::Blocked);
    assert!(answer.verdicts[1].retryable && answer.rows.iter().all(|row| row.absent));
    bad["changes"][0]["data"]["score"] = json!(1);
    bad["attempt"] = json!(2);
    let answer = anna.push_groups(json!([bad, child])).await.rejoin.unwrap();
    assert_eq!(answer.verdicts[0].verdict, Ending::Accepted);
    assert_eq!(answer.verdicts[1].verdict, Ending::Blocked, "a stored verdict of attempt 1");
    child["attempt"] = json!(2);
    assert_eq!(anna.push_group(child).await.0.verdict, Ending::Accepted);
}

/// Found by simulation (seed 9001413): the server rejected m1 and accepted attempt 2 of m2 from one copy of a file. The other
/// copy sends attempt 1 of m2 and an action that has read what m1 wrote; it names only m2, the last of the chain.
#[apply(secured_stores!)]
async fn chain_accepted_partly_by_another_copy_is_blocked(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let mut first = anna.group("m1", &json!([place("p1", "Quay")]));
    first["changes"][0]["data"]["score"] = json!(-1);
    let mut alone = anna.group("m2", &json!([place("p2", "Pier")]));
    let mut second = alone.clone();
    second["after"] = json!(["m1"]);
    anna.push_groups(json!([first, second])).await;
    alone["attempt"] = json!(2);
    assert_eq!(anna.push_group(alone).await.0.verdict, Ending::Accepted);
    let mut third = anna.group("m3", &json!([place("p3", "Mole")]));
    third["after"] = json!(["m2"]);
    let mut fourth = anna.group("m4", &json!([place("p4", "Dock")]));
    fourth["after"] = json!(["m3"]);
    let answer = anna.push_groups(json!([first, second, third, fourth])).await.rejoin.unwrap();
    let endings: Vec<Ending> = answer.verdicts.iter().map(|verdict| verdict.verdict).collect();
    let expected = [Ending::Rejected, Ending::Accepted, Ending::Blocked, Ending::Blocked];
    assert_eq!(endings, expected);
    third["attempt"] = json!(2);
    let (verdict, _) = anna.push_group(third).await;
    assert_eq!(verdict.verdict, Ending::Accepted, "the push has no chain");
}

#[apply(secured_stores!)]
async fn push_of_another_epoch_applies_nothing(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let epoch = std::mem::replace(&mut anna.epoch, String::from("another"));
    let group = anna.group("m1", &json!([place("p1", "Quay")]));
    let answer = anna.push_groups(json!([group])).await.rejoin.unwrap();
    assert!(answer.verdicts.is_empty() && answer.rows.is_empty());
    assert_eq!(answer.epoch, epoch);
    assert_eq!(answer.request, anna.request);
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}

/// The verdict on each rejected change: ending, code, and column.
#[apply(secured_stores!)]
async fn each_rejection_has_its_code_and_column(backend: Backend) {
    let none = json!({});
    let name = |name: &str| json!({"name": name});
    let protected = [
        ("owner_id", json!("anna")),
        ("updated_at", json!("2030-01-01T00:00:00Z")),
        ("created_at", Value::Null),
        ("deleted_at", Value::Null),
        ("id", json!("p3")),
    ];
    let protected = protected.map(|(column, value)| {
        let change = create("places", "p2", &json!({"name": "x", column: value}));
        (change, format!("rejected column.protected {column}"))
    });
    let (p1, p5) = (json!({"place_id": "p1"}), json!({"place_id": "p5"}));
    let many = json!({"name": "x", "score": "many"});
    let table = [
        (create("nowhere", "x", &none), "refused table.unknown -"),
        (create("secrets", "x", &none), "refused table.read_only -"),
        (create("countries", "x", &none), "refused table.read_only -"),
        (create("places", "p2", &json!({"nome": "x"})), "rejected column.unknown nome"),
        (create("places", "p2", &none), "rejected constraint.not_null name"),
        (create("places", "p2", &many), "rejected value.invalid score"),
        (create("places", "p1", &name("other")), "conflict row.exists name"),
        (create("visits", "v2", &none), "rejected constraint.references place_id"),
        (
            create("visits", "v2", &json!({"place_id": "p9"})),
            "rejected constraint.references place_id",
        ),
        (create("tags", "one", &json!({"visit_id": "v1"})), "rejected value.invalid -"),
        (update("places", "p9", &none, &name("x")), "conflict row.not_found -"),
        (update("places", "p1", &none, &name("x")), "conflict row.changed name"),
        (
            update("places", "p1", &name("Quay"), &json!({"name": null})),
            "rejected constraint.not_null name",
        ),
        (update("visits", "v1", &p1, &p5), "rejected column.protected place_id"),
        (update("places", "p5", &name("Gone"), &name("x")), "conflict row.deleted -"),
        (delete("places", "p1", &none), "conflict row.changed -"),
        (delete("places", "p1", &json!({"old": {"name": "Old"}})), "conflict row.changed name"),
        (
            delete("places", "p1", &json!({"version": "2020-01-01T00:00:00Z"})),
            "conflict row.changed -",
        ),
    ];
    let table = table.map(|(change, expected)| (change, expected.to_owned()));
    let world = World::new(backend);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("s1", json!([place("p1", "Quay"), place("p5", "Gone")])).await;
    anna.accept("s2", json!([create("visits", "v1", &p1)])).await;
    anna.accept("s3", json!([erase("p5", "Gone")])).await;
    for (number, (change, expected)) in table.into_iter().chain(protected).enumerate() {
        let (verdict, _) = anna.push(&format!("m{number}"), json!([change])).await;
        let column = verdict.column.as_deref().unwrap_or("-");
        assert_eq!(format!("{} {column}", ended(&verdict)), expected, "{change}: {verdict:?}");
        assert_eq!(verdict.table_name.as_deref(), change["table_name"].as_str());
    }
}

/// Changes that are accepted although they look like conflicts.
#[apply(secured_stores!)]
async fn change_already_present_is_accepted_without_a_write(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let rows = anna.accept("s1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let version = rows[0].updated_at.clone().unwrap();
    world.clock.advance(1_000_000);
    let rows = anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(rows[0].updated_at.as_ref(), Some(&version), "a create of what is there");
    let rows = anna.accept("m2", json!([rename("p1", "Other", "Quay")])).await;
    assert_eq!(rows[0].updated_at.as_ref(), Some(&version), "an update to what is there");
    let by_version =
        json!([delete("places", "p1", &json!({"version": version, "old": {"name": "?"}}))]);
    assert!(anna.accept("m3", by_version.clone()).await[0].absent, "a delete by version");
    assert!(anna.accept("m4", by_version).await[0].absent, "a delete of what is deleted");
    let by_values = json!([delete(
        "places",
        "p2",
        &json!({"version": "2020-01-01T00:00:00Z",
        "old": {"name": "Pier", "score": 0, "updated_at": "other", "owner_id": "other"}})
    )]);
    assert!(anna.accept("m5", by_values).await[0].absent, "a delete by values");
}

#[apply(secured_stores!)]
async fn create_of_a_deleted_row_restores_it(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.accept("m2", json!([erase("p1", "Quay")])).await;
    let rows = anna.accept("m3", json!([place("p1", "Dock")])).await;
    assert_eq!(column(&rows[0], "name"), "Dock");
    assert_eq!(column(&rows[0], "deleted_at"), Value::Null);
}

#[apply(secured_stores!)]
async fn table_without_deleted_at_removes_rows(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let tag = create("tags", "7", &json!({"visit_id": "v1", "label": "red"}));
    let visit = create("visits", "v1", &json!({"place_id": "p1"}));
    // Children first in the group: the server writes parents first.
    anna.accept("m1", json!([tag, visit, place("p1", "Quay")])).await;
    let gone = json!([delete("tags", "7", &json!({"old": {"label": "red"}}))]);
    assert!(anna.accept("m2", gone.clone()).await[0].absent);
    assert_eq!(world.one("SELECT count(*) FROM tags"), "0");
    anna.accept("m3", gone).await;
    let edit = update("tags", "7", &json!({"label": "red"}), &json!({"label": "x"}));
    let (verdict, _) = anna.push("m4", json!([edit])).await;
    assert_eq!(verdict.code.as_deref(), Some(code::ROW_DELETED));
}

#[apply(secured_stores!)]
async fn accepted_verdict_keeps_before_images(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let first = anna.group("m1", &json!([place("p1", "Quay")]));
    let second = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    for _ in ["fresh", "repeated"] {
        let (verdict, _) = anna.push_group(first.clone()).await;
        assert_eq!(verdict.verdict, Ending::Accepted);
        let [was] = verdict.displaced.as_slice() else { panic!("{verdict:?}") };
        assert!(was.absent && was.data.is_none() && was.id == "p1");
        let (verdict, _) = anna.push_group(second.clone()).await;
        let [was] = verdict.displaced.as_slice() else { panic!("{verdict:?}") };
        assert_eq!(was.data.as_ref().unwrap().get(), r#"{"name":"Quay"}"#);
    }
    // As stored by an earlier release; unreadable before-images do not affect the verdict.
    for (kept, images) in [(r#"[["places","p1",null]]"#, 1), ("{}", 0)] {
        world.write(&format!(
            "UPDATE rejoin_verdict SET displaced = '{kept}' WHERE mutation_id = 'm1'"
        ));
        let (verdict, _) = anna.push_group(first.clone()).await;
        assert_eq!(
            (verdict.verdict, verdict.displaced.len()),
            (Ending::Accepted, images),
            "{kept}"
        );
        assert!(verdict.displaced.iter().all(|was| was.id == "p1" && was.data.is_none()));
    }
}

#[apply(secured_stores!)]
async fn withdrawal_returns_the_verdict_and_stops_late_groups(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let late = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let name = json!([{"table_name": "places", "id": "p1"}]);
    let cancel =
        json!([{"id": "m1", "seq": 1, "rows": name}, {"id": "m2", "seq": 2, "rows": name}]);
    for _ in ["fresh", "repeated"] {
        let rejoin = json!({"epoch": anna.epoch, "groups": [], "cancel": cancel});
        let body = json!({"changes": [], "rejoin": rejoin});
        let (_, answer) = anna.post("/sync/push", body).await;
        let verdicts = &answer["rejoin"]["verdicts"];
        assert_eq!(verdicts[0]["verdict"], "accepted");
        assert_eq!(verdicts[0]["displaced"][0]["absent"], true);
        assert_eq!(verdicts[1]["verdict"], "cancelled");
        let rows = answer["rejoin"]["rows"].as_array().unwrap();
        assert_eq!((rows.len(), &rows[0]["data"]["name"]), (1, &json!("Quay")));
    }
    for attempt in [1, 2] {
        let mut group = late.clone();
        group["attempt"] = json!(attempt);
        let (verdict, _) = anna.push_group(group).await;
        assert_eq!((verdict.verdict, verdict.attempt), (Ending::Cancelled, attempt));
    }
    // Another user's mutation with the same id is unrelated.
    let mut ben = world.device("ben", "b1").await;
    let (verdict, _) = ben.push("m2", json!([place("p9", "Ben's")])).await;
    assert_eq!(verdict.verdict, Ending::Accepted);
}

#[apply(secured_stores!)]
async fn mutation_with_a_deleted_verdict_is_expired(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let first = anna.group("m1", &json!([place("p1", "Quay")]));
    anna.push_group(first.clone()).await;
    let second = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [second], "acked_below": 2});
    anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    world.clock.advance(91 * 86_400_000_000);
    assert_eq!(world.server.compact().unwrap().verdicts, 1);
    let (verdict, rows) = anna.push_group(first).await;
    assert_eq!(verdict.code.as_deref(), Some(code::EXPIRED));
    assert_eq!(column(&rows[0], "name"), "Pier");
}

#[apply(secured_stores!)]
async fn older_schema_columns_are_resolved_by_identity(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    world.write("ALTER TABLE places ADD COLUMN colour TEXT");
    let rename_then = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let answer = anna.push_groups(json!([rename_then])).await;
    assert_ne!(answer.schema_version, anna.version, "the device sees that it must migrate");
    assert_eq!(answer.rejoin.unwrap().verdicts[0].verdict, Ending::Accepted);
    anna.register().await;
    let old = anna.version;
    world.write("ALTER TABLE places DROP COLUMN colour");
    anna.register().await;
    world.write("ALTER TABLE places ADD COLUMN colour TEXT");
    anna.register().await;
    let colour = update("places", "p1", &json!({"colour": null}), &json!({"colour": "red"}));
    let mut group = anna.group("m3", &json!([colour]));
    group["schema_version"] = json!(old);
    let (verdict, _) = anna.push_group(group.clone()).await;
    assert_eq!(verdict.code.as_deref(), Some(code::COLUMN_UNKNOWN), "it is another column");
    group["id"] = json!("m4");
    group["schema_version"] = json!(anna.version);
    assert_eq!(anna.push_group(group.clone()).await.0.verdict, Ending::Accepted);
    // The verdict names the unknown column, not the missing row: otherwise the device might restore
    // the row without it.
    world.write("DELETE FROM places WHERE id = 'p1'");
    group["id"] = json!("m5");
    group["schema_version"] = json!(old);
    let (verdict, _) = anna.push_group(group.clone()).await;
    assert_eq!(verdict.code.as_deref(), Some(code::COLUMN_UNKNOWN));
    group["id"] = json!("m6");
    group["schema_version"] = json!(anna.version);
    let (verdict, _) = anna.push_group(group).await;
    assert_eq!(verdict.code.as_deref(), Some(code::ROW_DELETED));
}

#[apply(secured_stores!)]
async fn action_is_compared_with_old_values_only(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    let gone = delete("places", "p9", &json!({"old": {"name": "Quay"}}));
    let cases = [
        ("a new value that is there already", rename("p1", "Quay", "Pier"), Ending::Conflict),
        ("a row that is there already", place("p1", "Pier"), Ending::Conflict),
        ("a delete of what is not there", gone, Ending::Conflict),
        ("an old value that still is", rename("p1", "Pier", "Dock"), Ending::Accepted),
    ];
    for (number, (name, change, ending)) in (3..).zip(cases) {
        let mut group = anna.group(&format!("m{number}"), &json!([change]));
        group["old_only"] = json!(true);
        let (verdict, _) = anna.push_group(group).await;
        assert_eq!(verdict.verdict, ending, "{name}: {verdict:?}");
    }
}

#[apply(secured_stores!)]
async fn rolled_back_mutation_is_invisible_to_the_next(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let visit = |id: &str, place: &str, note: Value| {
        create("visits", id, &json!({"place_id": place, "note": note}))
    };
    let groups = [
        // Its place is read again for the visit; then it is rejected.
        anna.group(
            "m1",
            &json!([place("p1", "a"), visit("v1", "p1", json!("x")), visit("v2", "p1", json!({}))]),
        ),
        anna.group("m2", &json!([visit("v1", "p1", json!("x"))])),
        anna.group("m3", &json!([place("p1", "b")])),
        anna.group("m4", &json!([rename("p1", "b", "c"), rename("p1", "a", "d")])),
        anna.group("m5", &json!([rename("p1", "b", "e")])),
    ];
    let answer = anna.push_groups(json!(groups)).await;
    let expected = [
        "m1 rejected value.invalid",
        "m2 rejected constraint.references",
        "m3 accepted -",
        "m4 conflict row.changed",
        "m5 accepted -",
    ];
    let verdicts = answer.rejoin.unwrap().verdicts;
    let ended = verdicts.iter().map(|verdict| format!("{} {}", verdict.id, ended(verdict)));
    assert_eq!(ended.collect::<Vec<_>>(), expected);
    assert_eq!(world.one("SELECT name FROM places"), "e");
}
