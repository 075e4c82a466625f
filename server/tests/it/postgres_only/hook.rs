//! Hooks in PostgreSQL transactions: retries after a deadlock, and the role of their statements.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rejoin_protocol::Value;
use rejoin_server::hooks::{AcceptedChanges, Hooks, Veto, Within};
use serde_json::json;

use crate::world::{Backend, TABLES, World, ended, place, rename, standard};

const WAITS_FOR_THIS: &str =
    "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";

/// Counts its calls, waits until another session waits for a row of its transaction, and writes.
#[derive(Debug)]
struct Writer {
    begins: Mutex<Option<Sender<()>>>,
    asked: AtomicUsize,
}

impl Hooks for Writer {
    fn accepted(&self, accepted: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        if accepted.mutation == Some("m2") {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if let Some(begins) = self.begins.lock().unwrap().take() {
                begins.send(()).unwrap();
                while within.query(WAITS_FOR_THIS, &[])?.is_empty() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            within.execute("UPDATE stock SET left_over = left_over - 1 WHERE id = 'x'", &[])?;
        }
        Ok(())
    }
}

/// Runs its own statements for each group, valid and invalid ones.
#[derive(Debug)]
struct Asking;

impl Hooks for Asking {
    fn accepted(&self, _: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        within.query("SELECT count(*) FROM places", &[])?;
        within.execute("UPDATE writers SET id = id", &[])?;
        assert!(within.query("SELECT * FROM nowhere", &[]).is_err());
        assert!(within.execute("INSERT INTO nowhere VALUES(1)", &[]).is_err());
        Ok(())
    }
}

/// Reads and writes a table that is not synced.
#[derive(Debug)]
struct Reading {
    size: AtomicI64,
}

impl Hooks for Reading {
    fn accepted(&self, _: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        let size = Value::Integer(self.size.load(Ordering::Relaxed));
        within.execute("UPDATE stock SET size = :size", &[("size", size)])?;
        within.query(
            "SELECT * FROM stock WHERE left_over > :least",
            &[("least", Value::Integer(0))],
        )?;
        Ok(())
    }
}

/// PostgreSQL does not change the types of a statement that it has prepared.
#[tokio::test]
async fn hook_runs_again_after_a_migration_of_the_table_that_it_reads() {
    let stock = "CREATE TABLE stock(id TEXT PRIMARY KEY, left_over INTEGER, size INTEGER);
        INSERT INTO stock VALUES('x', 10, 1);";
    let hooks = Arc::new(Reading { size: AtomicI64::new(1) });
    let configure = |config| standard(config).with_hooks(Arc::<Reading>::clone(&hooks));
    let world = World::with(Backend::Postgres, &format!("{TABLES}{stock}"), configure);
    let mut anna = world.device("anna", "a1").await;
    let migrations = [
        "SELECT",
        "ALTER TABLE stock ADD COLUMN note TEXT",
        "ALTER TABLE stock ALTER COLUMN left_over TYPE TEXT",
        "ALTER TABLE stock ALTER COLUMN size TYPE BIGINT",
    ];
    for (number, migration) in migrations.into_iter().enumerate() {
        world.write(migration);
        if migration.ends_with("BIGINT") {
            hooks.size.store(5_000_000_000, Ordering::Relaxed);
        }
        let group = anna.group(&format!("m{number}"), &json!([place(&format!("p{number}"), "x")]));
        // The first ones may be answered with `retry`, one for each statement.
        for _ in 0..2 {
            anna.push_groups(json!([group])).await;
        }
        let answer = anna.push_groups(json!([group])).await.rejoin.unwrap();
        assert_eq!(ended(&answer.verdicts[0]), "accepted -", "{migration}");
    }
}

/// With row level security a hook runs under the role of the store's URL, and later statements
/// under the serving role again.
#[tokio::test]
async fn serving_role_is_restored_after_hook_sql() {
    let notes = "CREATE TABLE writers(id TEXT, role TEXT); GRANT INSERT ON writers TO PUBLIC;
        CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO writers VALUES(NEW.id, current_user); RETURN NEW; END $$;
        CREATE TRIGGER notes AFTER INSERT OR UPDATE ON places FOR EACH ROW EXECUTE FUNCTION notes();";
    let configure = |config| standard(config).with_hooks(Arc::new(Asking));
    let world = World::with(Backend::PostgresRls, &format!("{TABLES}{notes}"), configure);
    let role = world.config.row_security.clone().unwrap().role;
    let mut anna = world.device("anna", "a1").await;
    let groups =
        ["p1", "p2", "p3"].map(|id| anna.group(&format!("m-{id}"), &json!([place(id, "x")])));
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    assert!(answer.verdicts.iter().all(|verdict| ended(verdict) == "accepted -"), "{answer:?}");
    anna.accept("m-last", json!([rename("p1", "x", "y")])).await;
    let writers = world.one("SELECT string_agg(id || ' ' || role, ', ' ORDER BY id) FROM writers");
    let expected = ["p1", "p1", "p2", "p3"].map(|id| format!("{id} {role}"));
    assert_eq!(writers, expected.join(", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlock_victim_and_its_hook_are_retried() {
    let (begins, begun) = channel();
    let writer = Arc::new(Writer { begins: Mutex::new(Some(begins)), asked: AtomicUsize::new(0) });
    let hooks = Arc::clone(&writer);
    let stock = "CREATE TABLE stock(id TEXT PRIMARY KEY, left_over INTEGER); INSERT INTO stock VALUES('x', 10);";
    let configure = |config| standard(config).with_hooks(hooks.clone());
    let world = World::postgres(&format!("{TABLES}{stock}"), configure);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let other = world.database.as_ref().unwrap().session();
    // The session that has waited for `deadlock_timeout` detects the deadlock and fails: never this
    // one.
    other.run("SET deadlock_timeout = '1h'; BEGIN; UPDATE stock SET left_over = left_over - 5");
    let crossing = tokio::task::spawn_blocking(move || {
        begun.recv().unwrap();
        other.run("UPDATE places SET score = 7 WHERE id = 'p1'; COMMIT");
    });
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    crossing.await.unwrap();
    // More than twice if the next attempt gets the row before the waiting session.
    assert!(writer.asked.load(Ordering::Relaxed) > 1);
    assert_eq!(world.one("SELECT left_over::text FROM stock"), "4", "each took once");
    assert_eq!(world.one("SELECT name || score FROM places"), "Pier7");
}
