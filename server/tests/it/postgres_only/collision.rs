//! What loses against another program's transaction is begun again, and nobody is told.

use std::time::Duration;

use rejoin_protocol::wire::push::Ending;
use serde_json::json;

use crate::world::{TABLES, World, place, rename, standard};

/// The push holds p1 and waits for p2, another program holds p2 and waits for p1: PostgreSQL ends the one that waits longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_lost_a_deadlock_is_judged_anew_from_its_beginning() {
    let world = World::postgres(TABLES, standard);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let database = world.database.as_ref().unwrap();
    let other = database.session();
    other.run("BEGIN; INSERT INTO places(id, owner_id, name) VALUES('p2', 'anna', 'x')");
    let renames = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let creates = anna.group("m3", &json!([place("p2", "Dock")]));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
    let meets = async {
        while database.one(waiting) != "1" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::task::block_in_place(|| {
            // It goes on when the push is ended, which then waits for this one.
            other.run("UPDATE places SET score = 7 WHERE id = 'p1'");
            other.run("ROLLBACK");
        });
    };
    let (answer, ()) = tokio::join!(anna.push_groups(json!([renames, creates])), meets);
    let verdicts = answer.rejoin.unwrap().verdicts;
    let endings: Vec<Ending> = verdicts.iter().map(|verdict| verdict.verdict).collect();
    assert_eq!(endings, [Ending::Accepted, Ending::Accepted], "{verdicts:?}");
    assert_eq!(world.one("SELECT string_agg(name, ' ' ORDER BY id) FROM places"), "Pier Dock");
}
