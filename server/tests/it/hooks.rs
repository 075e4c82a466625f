//! Hooks that decide: writes, vetoes and panics within the push transaction.

use macro_rules_attribute::apply;
use std::sync::Arc;

use rejoin_protocol::Value as Cell;
use rejoin_protocol::wire::push::Ending;
use rejoin_server::hooks::{AcceptedChanges, SqlError, Veto, Within};
use serde_json::{Value, json};

use crate::host::{Host, hosted};
use crate::world::{Backend, Device, TABLES, World, ended, place, record, rename, standard};

/// Writes a line for each mutation, and rejects certain names of places.
fn audits(accepted: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
    let line = accepted.mutation.map_or_else(|| accepted.changes[0].id.to_owned(), str::to_owned);
    let values = [("line", line.into()), ("who", accepted.user.into())];
    let written =
        within.execute("INSERT INTO audit(line, who, size) VALUES(:line, :who, 1)", &values)?;
    assert_eq!(written, 1);
    for changed in &accepted.changes {
        let id = [("id", changed.id.into())];
        let rows = within.query("SELECT name FROM places WHERE id = :id", &id)?;
        match rows.first().and_then(|row| row[0].as_text()) {
            Some("Forbidden") => return Err(Veto::Refuse(String::from("not that name"))),
            Some("Tomorrow") => return Err(Veto::Later(String::from("come again"))),
            Some("Boom") => panic!("on purpose"),
            _ => {}
        }
    }
    Ok(())
}

fn audited(world: &World) -> String {
    let all = match world.database {
        Some(_) => "coalesce(string_agg(line || who, ' ' ORDER BY line), '')",
        None => "coalesce(group_concat(line || who, ' '), '')",
    };
    world.one(&format!("SELECT {all} FROM (SELECT line, who FROM audit ORDER BY line) AS lines"))
}

/// Each verdict as `id ending code`.
async fn verdicts(device: &mut Device<'_>, groups: Value) -> Vec<String> {
    let answer = device.push_groups(groups).await.rejoin.unwrap();
    let lines = answer.verdicts.iter().map(|verdict| format!("{} {}", verdict.id, ended(verdict)));
    lines.collect()
}

#[apply(stores!)]
async fn hook_writes_with_its_group_and_veto_rolls_both_back(backend: Backend) {
    let (world, _) = hosted(backend, Host::saying(audits));
    let mut anna = world.device("anna", "a1").await;
    let good = anna.group("m1", &json!([place("p1", "Quay")]));
    let bad = anna.group("m2", &json!([place("p2", "Pier"), place("p3", "Forbidden")]));
    let mut below = anna.group("m3", &json!([place("p4", "Dock")]));
    below["after"] = json!(["m2"]);
    let later = anna.group("m4", &json!([place("p5", "Tomorrow")]));
    let last = anna.group("m5", &json!([place("p6", "Mole")]));
    let found = verdicts(&mut anna, json!([good, bad, below, later, last])).await;
    let expected = [
        "m1 accepted -",
        "m2 rejected hook.refused",
        "m3 blocked blocked",
        "m4 retry hook.later",
        "m5 accepted -",
    ];
    assert_eq!(found, expected);
    assert_eq!(audited(&world), "m1anna m5anna", "nothing of what a vetoed group brought");
    assert_eq!(anna.snapshot(100).await, ["places/p1", "places/p6"]);
    let answer = anna.push_groups(json!([bad])).await.rejoin.unwrap();
    assert_eq!(answer.verdicts[0].message.as_deref(), Some("not that name"));
    assert!(!answer.verdicts[0].retryable && answer.rows.iter().all(|row| row.absent));
    let kept = world.one("SELECT count(*) FROM rejoin_verdict WHERE mutation_id = 'm4'");
    assert_eq!(kept, "0", "nothing was decided of it");
}

#[apply(stores!)]
async fn hook_is_not_called_for_decided_mutations(backend: Backend) {
    let (world, _) = hosted(backend, Host::saying(audits));
    let mut anna = world.device("anna", "a1").await;
    let group = anna.group("m1", &json!([place("p1", "Quay")]));
    let bad = anna.group("m2", &json!([place("p2", "Forbidden")]));
    anna.push_groups(json!([group, bad])).await;
    for _ in 0..2 {
        // A second line of this name violates the key of the hook's own table, which fails the
        // group.
        let found = verdicts(&mut anna, json!([group, bad])).await;
        assert_eq!(found, ["m1 accepted -", "m2 rejected hook.refused"]);
    }
    assert_eq!(audited(&world), "m1anna");
    world.write("DELETE FROM audit");
    verdicts(&mut anna, json!([group, bad])).await;
    assert_eq!(audited(&world), "", "no hook was called");
}

#[apply(stores!)]
async fn hook_panic_leaves_the_group_undecided(backend: Backend) {
    let (mut world, _) = hosted(backend, Host::saying(audits));
    let mut anna = world.device("anna", "a1").await;
    let boom = anna.group("m1", &json!([place("p1", "Boom")]));
    let good = anna.group("m2", &json!([place("p2", "Quay")]));
    let found = verdicts(&mut anna, json!([boom, good])).await;
    assert_eq!(found, ["m1 retry hook.later", "m2 accepted -"]);
    assert_eq!(audited(&world), "m2anna");
    assert_eq!(anna.snapshot(100).await, ["places/p2"]);
    let (epoch, version, hash) = (anna.epoch.clone(), anna.version, anna.hash.clone());
    world.config.hooks = None; // The hook is fixed.
    world.restart();
    let mut anna = world.device("anna", "a1").await;
    assert_eq!((&anna.epoch, anna.version, &anna.hash), (&epoch, version, &hash));
    assert_eq!(anna.push_group(boom).await.0.verdict, Ending::Accepted, "the same attempt");
}

/// The kind of error of a statement.
fn kind(error: &SqlError) -> &'static str {
    match error {
        SqlError::Refused(_) => "refused",
        SqlError::Rule(_) => "rule",
        SqlError::Moment(_) => "moment",
        SqlError::Failed(_) => "failed",
        SqlError::Over(_) => "over",
    }
}

#[apply(secured_stores!)]
async fn failed_statement_has_no_effect_on_the_transaction(backend: Backend) {
    const BAD: &[(&str, &str)] = &[
        ("INSERT INTO audit(line, who) VALUES('kept', 'x')", "rule"),
        ("INSERT INTO audit(line, size) VALUES('first', 1), ('second', 100)", "rule"),
        ("INSERT INTO audit(line) SELECT name FROM nowhere", "failed"),
        ("SELEC 1", "refused"),
        ("COMMIT", "refused"),
        ("-- why not\n ROLLBACK", "refused"),
        ("SAVEPOINT mine", "refused"),
        ("SET search_path = x", "refused"),
        ("DROP TABLE audit", "refused"),
        ("INSERT INTO audit(line) VALUES(:line)", "refused"),
        ("DELETE FROM audit WHERE line = $1", "refused"),
        ("", "refused"),
    ];
    let (world, _) = hosted(
        backend,
        Host::saying(|_, within| {
            within.execute("INSERT INTO audit(line, who) VALUES('kept', '')", &[])?;
            for (sql, expected) in BAD {
                let error = within.execute(sql, &[("other", Cell::Null)]).unwrap_err();
                assert_eq!(kind(&error), *expected, "{sql}: {error}");
                within.query(sql, &[]).unwrap_err();
            }
            let two = "DELETE FROM audit; DELETE FROM places";
            assert!(within.execute(two, &[]).is_err() && within.query(two, &[]).is_err());
            let left = within.query("SELECT count(*) FROM audit", &[])?;
            assert_eq!(left, [[Cell::Integer(1)]]);
            Ok(())
        }),
    );
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(audited(&world), "kept");
}

#[apply(secured_stores!)]
async fn hook_sql_values_round_trip(backend: Backend) {
    const KINDS: &str = "CREATE TABLE kinds(n BIGINT, small SMALLINT, r DOUBLE PRECISION, t TEXT, b BYTEA, u UUID, j JSONB,
      d TIMESTAMPTZ, empty TEXT);";
    const WRITE: &str = "INSERT INTO kinds(n, small, r, t, b, u, j, d, empty)
      VALUES(:n, :small, :r, :t, :b, :u, :j, :d, :empty) RETURNING t";
    let host = Arc::new(Host::saying(|accepted, within| {
        let written: [(&str, Cell); 9] = [
            ("n", Cell::Integer(9_007_199_254_740_993)),
            ("small", Cell::Integer(-7)),
            ("r", Cell::Real(0.1)),
            ("t", "it's :t -- $1".into()),
            ("b", Cell::Blob(vec![0, 255, 92])),
            ("u", "0192f5a4-9b9c-7e39-8a5e-6a8f4d1c2b3a".into()),
            ("j", r#"{"a": 1}"#.into()),
            ("d", accepted.now.into()),
            ("empty", Cell::Null),
        ];
        assert_eq!(within.query(WRITE, &written)?, [["it's :t -- $1".into()]]);
        let rows = within.query("SELECT n, small, r, t, b, u, j, d, empty FROM kinds", &[])?;
        let values: Vec<Cell> = written.into_iter().map(|(_, value)| value).collect();
        assert_eq!(rows, [values]);
        let found = within.query(
            "SELECT t FROM kinds WHERE n = :n AND b = :b",
            &[("n", Cell::Integer(9_007_199_254_740_993)), ("b", Cell::Blob(vec![0, 255, 92]))],
        )?;
        assert_eq!(found.len(), 1);
        assert_eq!(within.execute("UPDATE kinds SET t = 'x' WHERE n = 0", &[])?, 0);
        Ok(())
    }));
    let tables = format!("{TABLES}{KINDS}");
    let world = World::with(backend, &tables, |config| standard(config).with_hooks(host.clone()));
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
}

#[apply(secured_stores!)]
async fn failed_statement_message_is_only_logged(backend: Backend) {
    let (world, _) = hosted(
        backend,
        Host::saying(|_, within| {
            within.execute("INSERT INTO audit(line, size) VALUES('hush', 100)", &[])?;
            Ok(())
        }),
    );
    let mut anna = world.device("anna", "a1").await;
    let (verdict, _) = anna.push("m1", json!([place("p1", "Quay")])).await;
    assert_eq!((verdict.verdict, verdict.retryable), (Ending::Retry, true));
    assert_eq!(verdict.message.as_deref(), Some("the server could not decide now"));
}

/// SQLite only: no permitted statement of PostgreSQL ends its transaction.
#[tokio::test]
async fn statement_that_ends_the_transaction_voids_the_push() {
    let (world, _) = hosted(
        Backend::Sqlite,
        Host::saying(|accepted, within| {
            if accepted.mutation == Some("m2") {
                let end = "INSERT OR ROLLBACK INTO audit(line, size) VALUES('x', 100)";
                within.execute(end, &[]).unwrap_err();
                // The hook's later statements and result are ignored.
                let _ = within.execute("INSERT INTO audit(line, who) VALUES('y', '')", &[]);
            }
            Ok(())
        }),
    );
    let mut anna = world.device("anna", "a1").await;
    let one = anna.group("m1", &json!([place("p1", "Quay")]));
    let two = anna.group("m2", &json!([place("p2", "Pier")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [one, two]});
    let (status, answer) = anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    assert!(anna.snapshot(100).await.is_empty() && audited(&world).is_empty());
    assert_eq!(world.one("SELECT count(*) FROM rejoin_verdict"), "0");
}

#[apply(secured_stores!)]
async fn hook_writes_to_synced_tables_reach_devices(backend: Backend) {
    let (world, _) = hosted(
        backend,
        Host::saying(|accepted, within| {
            let id = [("id", accepted.changes[0].id.into()), ("to", "Quay (seen)".into())];
            within.execute("UPDATE places SET name = :to WHERE id = :id", &id)?;
            Ok(())
        }),
    );
    let mut anna = world.device("anna", "a1").await;
    let mut second = world.device("anna", "a2").await;
    second.snapshot(100).await;
    let rows = anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(crate::world::column(&rows[0], "name"), "Quay (seen)", "with the verdict");
    assert_eq!(second.pull().await, ["places/p1"]);
}

#[apply(secured_stores!)]
async fn plain_record_is_its_own_group_for_hooks(backend: Backend) {
    let (world, _) = hosted(backend, Host::saying(audits));
    let mut anna = world.device("anna", "a1").await;
    let record =
        |id: &str, name: &str| record("create", id, &json!({"name": name}), "2026-11-20T08:00:00Z");
    let records = [
        record("p1", "Quay"),
        record("p2", "Forbidden"),
        record("p3", "Tomorrow"),
        record("p4", "Boom"),
    ];
    let (status, answer) = anna.post("/sync/push", json!({"changes": records})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["accepted"][0]["id"], "p1");
    let refused = answer["rejected"].as_array().unwrap();
    let words = |record: &Value| {
        let member = |name: &str| record[name].as_str().unwrap().to_owned();
        format!(
            "{} {} {} {}",
            member("id"),
            member("status"),
            member("reason_code"),
            member("message")
        )
    };
    let refused: Vec<String> = refused.iter().map(words).collect();
    let expected = [
        "p2 rejected_terminal hook_refused not that name",
        "p3 rejected_retryable hook_later come again",
        "p4 rejected_retryable hook_later the server could not decide now",
    ];
    assert_eq!(refused, expected);
    assert_eq!(audited(&world), "p1anna");
    assert_eq!(anna.snapshot(100).await, ["places/p1"]);
}

#[apply(secured_stores!)]
async fn panic_of_an_observing_hook_changes_no_response(backend: Backend) {
    let (world, host) = hosted(backend, Host::panicking());
    let mut anna = world.device("anna", "a1").await;
    let mut second = world.device("anna", "a2").await;
    second.snapshot(100).await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    assert_eq!(second.pull().await, ["places/p1"]);
    let (verdict, _) = anna.push("m2", json!([rename("p1", "Pier", "Dock")])).await;
    assert_eq!(verdict.verdict, Ending::Conflict);
    world.server.compact().unwrap();
    let events = host.take_events();
    assert!(events.len() >= 5, "{events:?}");
}
