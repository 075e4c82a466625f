//! Mutations of one push, which a store may try together: each is judged as if it had come alone, in its order.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::PushResponse;
use serde_json::{Value, json};

use crate::world::{Device, World, place, rename};

fn ended(answer: &PushResponse) -> Vec<String> {
    let verdicts = &answer.rejoin.as_ref().unwrap().verdicts;
    let word = |verdict: &rejoin_protocol::wire::push::Verdict| {
        let code = verdict.code.as_deref().unwrap_or("-");
        format!("{} {:?} {code}", verdict.id, verdict.verdict).to_lowercase()
    };
    verdicts.iter().map(word).collect()
}

fn scored(id: &str, score: i64) -> Value {
    json!({"operation": "create", "table_name": "places", "id": id, "data": {"name": id, "score": score}})
}

/// Creates of places by their scores; one below 0 breaks a rule of the table. The first is of the place `p0`.
fn creates(device: &mut Device<'_>, scores: &[i64]) -> Vec<Value> {
    let group = |(at, score): (usize, &i64)| {
        device.group(&format!("m{at}"), &json!([scored(&format!("p{at}"), *score)]))
    };
    scores.iter().enumerate().map(group).collect()
}

#[apply(secured_stores!)]
async fn whoever_is_refused_in_the_midst_takes_no_neighbour_along(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let scores = [1, 2, -1, 4, 5, 6, -1, -1, 9, -1];
    let mut groups = creates(&mut anna, &scores);
    groups[5]["after"] = json!(["m4"]);
    groups[8]["after"] = json!(["m4", "m7"]);
    let answer = anna.push_groups(json!(groups)).await;
    let expected = [
        "m0 accepted -",
        "m1 accepted -",
        "m2 rejected constraint.check",
        "m3 accepted -",
        "m4 accepted -",
        "m5 accepted -",
        "m6 rejected constraint.check",
        "m7 rejected constraint.check",
        "m8 blocked blocked",
        "m9 rejected constraint.check",
    ];
    assert_eq!(ended(&answer), expected);
    let rows = answer.rejoin.unwrap().rows;
    let absent: Vec<&str> =
        rows.iter().filter(|row| row.absent).map(|row| row.id.as_str()).collect();
    assert_eq!(absent, ["p2", "p6", "p7", "p8", "p9"]);
    assert_eq!(world.one("SELECT count(*) FROM places"), "5");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_verdict"), "10");
    // Each verdict is kept, and none is given twice.
    anna.seq = 0;
    assert_eq!(ended(&anna.push_groups(json!(groups)).await), expected);
    assert_eq!(world.one("SELECT count(*) FROM places"), "5");
}

#[apply(secured_stores!)]
async fn a_push_of_which_nothing_is_taken_ends_for_each(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let groups = creates(&mut anna, &[-1; 40]);
    let answer = anna.push_groups(json!(groups)).await;
    let ended = ended(&answer);
    assert!(ended.iter().all(|word| word.ends_with("rejected constraint.check")), "{ended:?}");
    assert_eq!(ended.len(), 40);
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}

#[apply(secured_stores!)]
async fn what_a_mutation_has_written_is_what_the_next_one_meets(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let groups = [
        anna.group("m1", &json!([place("p1", "Quay")])),
        anna.group("m2", &json!([rename("p1", "Quay", "Pier")])),
        anna.group("m3", &json!([rename("p1", "Quay", "Dock")])),
        anna.group("m4", &json!([rename("p1", "Pier", "Lock")])),
        anna.group(
            "m5",
            &json!([{"operation": "create", "table_name": "visits", "id": "v1",
                                  "data": {"place_id": "p1", "note": "x"}}]),
        ),
        anna.group(
            "m6",
            &json!([{"operation": "delete", "table_name": "places", "id": "p1",
                                  "old": {"name": "Lock"}}]),
        ),
        anna.group("m7", &json!([rename("p1", "Lock", "Weir")])),
    ];
    let answer = anna.push_groups(json!(groups)).await;
    let expected = [
        "m1 accepted -",
        "m2 accepted -",
        "m3 conflict row.changed",
        "m4 accepted -",
        "m5 accepted -",
        "m6 accepted -",
        "m7 conflict row.deleted",
    ];
    assert_eq!(ended(&answer), expected);
    assert_eq!(world.one("SELECT name FROM places WHERE deleted_at IS NOT NULL"), "Lock");
}

#[apply(secured_stores!)]
async fn a_group_of_which_one_change_is_refused_writes_nothing(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m0", json!([place("p0", "Quay")])).await;
    let groups = [
        anna.group("m1", &json!([place("p1", "a")])),
        // The second change meets another name than it saw.
        anna.group("m2", &json!([place("p2", "b"), rename("p0", "Pier", "Dock")])),
        // The third is refused by the table, after the first has been read again.
        anna.group("m3", &json!([place("p3", "c"), rename("p1", "a", "d"), scored("p4", -1)])),
        anna.group("m4", &json!([rename("p1", "a", "e")])),
    ];
    let answer = anna.push_groups(json!(groups)).await;
    let expected = [
        "m1 accepted -",
        "m2 conflict row.changed",
        "m3 rejected constraint.check",
        "m4 accepted -",
    ];
    assert_eq!(ended(&answer), expected);
    let names = "SELECT count(*) FROM places WHERE id || name IN ('p0Quay', 'p1e')";
    assert_eq!(world.one(names), "2");
    assert_eq!(world.one("SELECT count(*) FROM places"), "2");
}

#[apply(secured_stores!)]
async fn what_a_mutation_wrote_that_was_taken_back_is_not_there_for_the_next_one(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let visit = |id: &str, place: &str, note: Value| {
        json!({"operation": "create", "table_name": "visits", "id": id,
               "data": {"place_id": place, "note": note}})
    };
    let groups = [
        // Its place is read again for the visit; then it is refused.
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
    assert_eq!(ended(&answer), expected);
    assert_eq!(world.one("SELECT name FROM places"), "e");
}
