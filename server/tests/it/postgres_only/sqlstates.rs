//! PostgreSQL errors as seen by devices: the SQLSTATE decides between rejection and retry.
//!
//! Each class is raised once by a trigger. Errors that a database raises by itself are provoked:
//! deadlock, lock timeout, cancelled statement, terminated connection, row too long for an index.

use std::time::Duration;

use rejoin_protocol::wire::push::Ending;
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{Device, TABLES, World, place, rename, standard};
use rejoin_postgres::Session;

/// Raises the SQLSTATE in the name of a place.
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

/// A code, and the verdict: its ending and code.
const MEANT: &[(&str, &str)] = &[
    // Caused by the content.
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
    // Temporary.
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
    // Caused by the server: a missing privilege or function, or an internal error. The user's
    // change stays undecided.
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
async fn sqlstate_class_decides_between_rejection_and_retry() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    let mut groups = Vec::new();
    for (code, _) in MEANT {
        let raising = place(&format!("of {code}"), &format!("raise {code}"));
        groups.push(anna.group(code, &json!([raising])));
        // Other mutations of the same push are not affected.
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
    // Rejected mutations stay rejected and undecided ones are decided: the same attempts, without
    // the trigger.
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
async fn text_too_long_for_its_index_is_rejected() {
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

/// Pushes two rows while another program holds the second one; `then` runs once the server waits.
async fn meets(
    world: &World,
    anna: &mut Device<'_>,
    then: impl FnOnce(&Session) + Send,
) -> (u16, Value) {
    anna.accept("both", json!([place("p1", "a"), place("p2", "b")])).await;
    let other = world.database.as_ref().unwrap().session();
    // The session that has waited for `deadlock_timeout` detects the deadlock and fails: never this
    // one.
    other.run("SET deadlock_timeout = '1h'; BEGIN; UPDATE places SET score = 1 WHERE id = 'p2'");
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
        // The server blocks a thread of its own; this one waits for it.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(anna.post("/sync/push", body))
        })
    })
}

/// The first verdict as text.
fn outcome((status, answer): &(u16, Value)) -> String {
    let verdict = &answer["rejoin"]["verdicts"][0];
    format!(
        "{status} {} {}",
        verdict["verdict"].as_str().unwrap_or("-"),
        verdict["code"].as_str().unwrap_or("-")
    )
}

const WAITING: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn deadlock_is_retried_transparently() {
    let world = world();
    let mut anna = world.device("anna", "a1").await;
    // Each holds a row that the other needs.
    let met = meets(&world, &mut anna, |other| {
        other.run("UPDATE places SET score = 2 WHERE id = 'p1'; COMMIT");
    });
    assert_eq!(outcome(&met.await), "200 accepted -");
    assert_eq!(
        world.one("SELECT string_agg(name || score, ' ' ORDER BY id) FROM places"),
        "aa2 bb1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connection_leaves_the_push_undecided() {
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
