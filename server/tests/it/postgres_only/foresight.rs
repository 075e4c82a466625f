//! Rows loaded for a push stay current until it ends, over PostgreSQL: they are locked, and rows
//! that may have changed are loaded again.

use std::time::Duration;

use rejoin_protocol::wire::push::PushResponse;
use serde_json::json;

use crate::world::{TABLES, World, create, ended, erase, place, rename, standard, update};
use rejoin_postgres::Database;

fn endings(answer: PushResponse) -> Vec<String> {
    answer.rejoin.unwrap().verdicts.iter().map(ended).collect()
}

fn renoted() -> serde_json::Value {
    update("visits", "v1", &json!({"note": "x"}), &json!({"note": "y"}))
}

/// Waits until a session waits for a lock.
async fn until_a_lock_is_awaited(database: &Database) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    while database.one(waiting) != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loaded_rows_are_locked_and_held_ones_waited_for() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    let database = world.database.as_ref().unwrap();
    let other = database.session();
    other.run("BEGIN; UPDATE places SET name = 'Lock' WHERE id = 'p2'");
    let groups = [
        anna.group("m2", &json!([rename("p1", "Quay", "Dock")])),
        anna.group("m3", &json!([rename("p2", "Pier", "Weir")])),
    ];
    let meets = async {
        until_a_lock_is_awaited(database).await;
        tokio::task::block_in_place(|| {
            // The push is not evaluated yet, and no other writer overtakes it.
            let third = database.session();
            let take = "SELECT FROM places WHERE id = 'p1' FOR UPDATE NOWAIT";
            let refused = third.attempt(take).unwrap_err();
            assert!(refused.contains("could not obtain lock"), "{refused}");
            other.run("COMMIT");
        });
    };
    let (answer, ()) = tokio::join!(anna.push_groups(json!(groups)), meets);
    // The push sees what the other session has committed.
    assert_eq!(endings(answer), ["accepted -", "conflict row.changed"]);
    assert_eq!(world.one("SELECT string_agg(name, ' ' ORDER BY id) FROM places"), "Dock Lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_inserted_meanwhile_is_loaded_again() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    let database = world.database.as_ref().unwrap();
    let other = database.session();
    other.run("BEGIN; INSERT INTO places(id, owner_id, name) VALUES('p2', 'anna', 'Lock'), ('p4', 'ben', 'Lock')");
    let groups = ["p1", "p2", "p3", "p4", "p5"]
        .map(|id| anna.group(&format!("m{id}"), &json!([place(id, "Quay")])));
    let meets = async {
        until_a_lock_is_awaited(database).await;
        tokio::task::block_in_place(|| other.run("COMMIT"));
    };
    let (answer, ()) = tokio::join!(anna.push_groups(json!(groups)), meets);
    let taken = "conflict row.not_found";
    assert_eq!(
        endings(answer),
        ["accepted -", "conflict row.exists", "accepted -", taken, "accepted -"]
    );
    let names = "SELECT string_agg(name, ' ' ORDER BY id) FROM places";
    assert_eq!(world.one(names), "Quay Lock Quay Lock Quay");
}

#[tokio::test]
async fn next_mutation_sees_application_trigger_changes() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier"), place("p3", "Dock")])).await;
    // It is created while the server runs.
    world.database.as_ref().unwrap().session().run(
        "CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN UPDATE places SET name = 'Lock' WHERE id = 'p3'; RETURN NULL; END $$;
         CREATE TRIGGER follow AFTER UPDATE ON places FOR EACH ROW WHEN (NEW.id = 'p1') EXECUTE FUNCTION follow()",
    );
    let groups = [
        anna.group("m2", &json!([rename("p2", "Pier", "Weir")])),
        anna.group("m3", &json!([rename("p1", "Quay", "Ford")])),
        anna.group("m4", &json!([rename("p3", "Dock", "Mole")])),
    ];
    let answer = anna.push_groups(json!(groups)).await;
    assert_eq!(endings(answer), ["accepted -", "accepted -", "conflict row.changed"]);
}

#[tokio::test]
async fn fallback_evaluation_affects_single_groups_only() {
    let mut world = World::postgres(TABLES, standard);
    world.secure();
    let mut anna = world.device("anna", "a1").await;
    let visit = create("visits", "v1", &json!({"place_id": "p1", "note": "x"}));
    anna.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier"), visit])).await;
    // A role without write privileges cannot lock rows.
    let role = world.config.row_security.as_ref().unwrap().role.clone();
    let owner = world.database.as_ref().unwrap().session();
    owner.run(&format!("REVOKE UPDATE ON visits FROM \"{role}\""));
    let groups = [
        anna.group("m2", &json!([rename("p1", "Quay", "Dock")])),
        anna.group("m3", &json!([renoted()])),
        anna.group("m4", &json!([rename("p2", "Pier", "Weir")])),
    ];
    let answer = anna.push_groups(json!(groups)).await;
    assert_eq!(endings(answer), ["accepted -", "retry transient", "accepted -"]);
}

#[tokio::test]
async fn next_mutation_sees_cascaded_deletes() {
    let tables = TABLES.replace("REFERENCES places(id)", "REFERENCES places(id) ON DELETE CASCADE");
    let tables = tables.replace(
        "created_at TEXT, updated_at TEXT, deleted_at TEXT",
        "created_at TEXT, updated_at TEXT",
    );
    let world = World::postgres(&tables, standard);
    let mut anna = world.device("anna", "a1").await;
    let visit = create("visits", "v1", &json!({"place_id": "p1", "note": "x"}));
    anna.accept("m1", json!([place("p1", "Quay"), visit])).await;
    let groups =
        [anna.group("m2", &json!([erase("p1", "Quay")])), anna.group("m3", &json!([renoted()]))];
    let answer = anna.push_groups(json!(groups)).await;
    assert_eq!(endings(answer), ["accepted -", "conflict row.deleted"]);
    assert_eq!(world.one("SELECT count(*) FROM visits"), "0");
}
