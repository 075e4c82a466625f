//! What an error of PostgreSQL means to a device: its SQLSTATE decides whether a change is refused for good, or offered again.
//!
//! Each class once as a trigger raises it, and those that a database raises by itself as it does: a deadlock, a lock that is
//! not given, a statement that is cancelled, a connection that is ended, a row that is too long for its index.

use std::time::Duration;

use rejoin_protocol::wire::push::Ending;
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{Device, TABLES, World, place, rename, standard};
use rejoin_postgres::Session;

/// Raises what the name of a place asks for.
const RAISING: &str = "
    CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF starts_with(NEW.name, 'raise ') THEN
        RAISE EXCEPTION 'said by a trigger' USING ERRCODE = substr(NEW.name, 7);
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER raising AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION raising();
    CREATE INDEX places_by_name ON places(name);
";

/// A code, and what a device is told: the ending and why.
const MEANT: &[(&str, &str)] = &[
    // The content is at fault.
    ("22012", "rejected value.invalid"),
    ("22P02", "rejected value.invalid"),
    ("23000", "rejected constraint.check"),
    ("23502", "rejected constraint.not_null"),
    ("23503", "rejected constraint.references"),
    ("23505", "rejected constraint.unique"),
    ("23514", "rejected constraint.check"),
    ("23P01", "rejected constraint.check"),
    ("44000", "rejected constraint.check"),
    ("54000", "rejected value.invalid"),
    ("P0001", "rejected constraint.trigger"),
    ("P0004", "rejected constraint.trigger"),
    ("APP01", "rejected constraint.trigger"),
    ("77001", "rejected constraint.trigger"),
    // The moment is.
    ("08006", "retry transient"),
    ("25006", "retry transient"),
    ("40001", "retry transient"),
    ("40P01", "retry transient"),
    ("53100", "retry transient"),
    ("53300", "retry transient"),
    ("55P03", "retry transient"),
    ("57014", "retry transient"),
    ("57P01", "retry transient"),
    ("58030", "retry transient"),
    // The server is: a right or a function that is missing, itself. Nothing is decided of what a user wrote.
    ("42501", "retry transient"),
    ("42883", "retry transient"),
    ("XX000", "retry transient"),
];

fn world() -> World {
    let tables = format!("{TABLES} {RAISING}");
    World::postgres(&tables, |config| {
        standard(config).with_limits(Limits { wait_ms: 3_000, ..Limits::default() })
    })
}

#[tokio::test]
async fn the_class_decides_whether_a_change_is_refused_or_offered_again() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    let mut groups = Vec::new();
    for (code, _) in MEANT {
        let raising = place(&format!("of {code}"), &format!("raise {code}"));
        groups.push(anna.group(code, &json!([raising])));
        // What stands beside it in the same push is not held up.
        let good = place(&format!("beside {code}"), "good");
        groups.push(anna.group(&format!("beside {code}"), &json!([good])));
    }
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    for (at, (code, expected)) in MEANT.iter().enumerate() {
        let verdict = &answer.verdicts[2 * at];
        let why = verdict.code.as_deref().unwrap_or_default();
        let found = format!("{:?} {why}", verdict.verdict).to_lowercase();
        assert_eq!(found, *expected, "{code}");
        assert_eq!(verdict.retryable, expected.starts_with("retry"), "{code}");
        assert_eq!(answer.verdicts[2 * at + 1].verdict, Ending::Accepted, "{code}");
    }
    // What was refused stays refused, what was not decided is decided: the same attempts, once nothing raises any more.
    world.write("DROP TRIGGER raising ON places");
    let again: Vec<&Value> = groups.iter().step_by(2).collect();
    let answer = anna.push_groups(json!(again)).await.rejoin.unwrap();
    for ((code, expected), verdict) in MEANT.iter().zip(&answer.verdicts) {
        let ending =
            if expected.starts_with("retry") { Ending::Accepted } else { Ending::Rejected };
        assert_eq!(verdict.verdict, ending, "{code}");
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_for_its_index_is_refused_for_good() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    let mut random = fastrand::Rng::with_seed(1);
    let long: String = (0..20_000).map(|_| random.alphanumeric()).collect();
    let (verdict, _) = anna.push("m1", json!([place("p1", &long)])).await;
    assert_eq!(
        (verdict.verdict, verdict.code.as_deref()),
        (Ending::Rejected, Some("value.invalid"))
    );
    assert!(!verdict.message.unwrap().contains(&long[..20]));
}

/// A push of two rows while another program holds the second one, and what that program does once the server waits.
async fn meets(
    world: &World,
    anna: &mut Device<'_>,
    then: impl FnOnce(&Session) + Send,
) -> (u16, Value) {
    anna.accept("both", json!([place("p1", "a"), place("p2", "b")])).await;
    let other = world.database.as_ref().unwrap().session();
    other.run("BEGIN; UPDATE places SET score = 1 WHERE id = 'p2'");
    let group = anna.group("m1", &json!([rename("p1", "a", "aa"), rename("p2", "b", "bb")]));
    let body = json!({"changes": [], "rejoin": {"epoch": anna.epoch, "groups": [group], "acked_below": 0}});
    let looks = world.database.as_ref().unwrap().session();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()
                         AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
            while looks.one(waits) == "0" {
                std::thread::sleep(Duration::from_millis(5));
            }
            then(&other);
        });
        // The server parks a thread of its own; this one waits for it.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(anna.post("/sync/push", body))
        })
    })
}

/// The verdict of the first group, in words.
fn told((status, answer): &(u16, Value)) -> String {
    let verdict = &answer["rejoin"]["verdicts"][0];
    format!(
        "{status} {} {}",
        verdict["verdict"].as_str().unwrap_or("-"),
        verdict["code"].as_str().unwrap_or("-")
    )
}

const WAITING: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_begun_again_and_nobody_hears_of_it() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    // Each holds a row that the other wants. The server has waited for longer, and is the one that is ended.
    let met = meets(&world, &mut anna, |other| {
        other.run("UPDATE places SET score = 2 WHERE id = 'p1'; COMMIT");
    });
    assert_eq!(told(&met.await), "200 accepted -");
    assert_eq!(
        world.one("SELECT string_agg(name || score, ' ' ORDER BY id) FROM places"),
        "aa2 bb1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_ended_in_the_middle_decides_nothing_and_the_next_push_goes_on() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    let met = meets(&world, &mut anna, |other| {
        other.run(&format!("SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting; COMMIT"));
    });
    let met = met.await;
    assert_eq!(met.0, 503, "{met:?}");
    let group = anna.group("m1", &json!([rename("p1", "a", "aa"), rename("p2", "b", "bb")]));
    assert_eq!(anna.push_group(group).await.0.verdict, Ending::Accepted);
}
