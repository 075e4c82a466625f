//! The cost of a request does not grow with the table: equal rows per user with 20 times the users,
//! measured by database counters. `cargo xtask bench server --scale` does the same at 1,000,000
//! rows, with the plans.

use std::time::Duration;

use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{TABLES, World, place, standard};
use rejoin_postgres::Session;

fn configure(config: Config) -> Config {
    config
        .with_table(TableConfig::owned("tasks", "owner_id").with_bucket("team", "team:"))
        .with_table(TableConfig::child("notes", "tasks", "task_id"))
}

/// 20 tasks and 80 notes for each user, and teams of two tasks each.
fn tables(rows: usize) -> String {
    let (tasks, users) = (rows / 5, rows / 100);
    format!(
        "CREATE TABLE tasks(id text PRIMARY KEY, owner_id text, team text, title text, updated_at timestamptz, deleted_at timestamptz);
         CREATE TABLE notes(id uuid PRIMARY KEY, task_id text REFERENCES tasks(id), body text, updated_at timestamptz);
         INSERT INTO tasks(id, owner_id, team, title) SELECT md5(n::text), 'user' || n % {users}, 'team' || n % {teams}, repeat('x', 99)
           FROM generate_series(0, {tasks} - 1) AS n;
         INSERT INTO notes(id, task_id, body) SELECT md5('note ' || n)::uuid, md5((n / 4)::text), repeat('y', 99)
           FROM generate_series(0, {tasks} * 4 - 1) AS n",
        teams = tasks / 2,
    )
}

/// 100 subscriptions and a device per user, and a log of all users. No vacuum, which would reduce
/// buffer reads.
fn users(rows: usize) -> String {
    let (teams, users) = (rows / 10, rows / 100);
    format!(
        "ALTER TABLE tasks SET (autovacuum_enabled = off); ALTER TABLE notes SET (autovacuum_enabled = off);
         ALTER TABLE rejoin.changelog SET (autovacuum_enabled = off); ALTER TABLE rejoin.bucket SET (autovacuum_enabled = off);
         UPDATE tasks SET title = repeat('z', 99) WHERE hashtext(id) % 4 = 0;
         SELECT rejoin.sequence();
         INSERT INTO rejoin.client(user_id, client_id, id, platform, app_version, incarnation, opening, acked_below, purged_below,
           created_at, seen_at) SELECT 'user' || n, 'd' || n, n, '', '', 0, '', 0, 0, '', '' FROM generate_series(0, {users} - 1) AS n;
         INSERT INTO rejoin.bucket(user_id, bucket) SELECT 'user' || n, 'team:team' || (n * 79 + t * 31) % {teams}
           FROM generate_series(0, {users} - 1) AS n, generate_series(1, 100) AS t ORDER BY 1, 2 ON CONFLICT DO NOTHING;
         SELECT rejoin.sequence();
         ANALYZE"
    )
}

/// The activity on tables that grow with the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Touched {
    /// Rows read by sequential scans.
    scanned: i64,
    buffers: i64,
}

/// The counters after all activity is included: connected sessions are terminated and may
/// reconnect.
fn touched(session: &Session) -> Touched {
    let others = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                  AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let pids: Vec<String> = session.lines(others);
    let pids: Vec<&str> = pids.iter().filter_map(|line| line.split(' ').next()).collect();
    let pids = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid IN (0{})",
        pids.iter().fold(String::new(), |list, pid| list + "," + pid)
    );
    let read = "SELECT sum(s.seq_tup_read)::bigint || ' ' || sum(heap_blks_read + heap_blks_hit
                  + coalesce(idx_blks_read + idx_blks_hit, 0))::bigint
                FROM pg_stat_user_tables AS s JOIN pg_statio_user_tables AS io USING (relid)
                WHERE s.relname IN ('tasks', 'notes', 'changelog', 'bucket', 'client', 'verdict')";
    let mut last = String::new();
    for _ in 0..600 {
        let are_gone = session.one(&pids) == "0";
        // A session's counters are published when it ends; before PostgreSQL 15 slightly later.
        std::thread::sleep(Duration::from_millis(50));
        let found = session.one(read);
        if are_gone && found == last {
            let (scanned, buffers) = found.split_once(' ').unwrap();
            return Touched {
                scanned: scanned.parse().unwrap(),
                buffers: buffers.parse().unwrap(),
            };
        }
        last = found;
    }
    panic!("a session stays connected");
}

/// A server whose counters can be read between requests.
struct Counted {
    world: World,
    /// Reads the counters, and none of the tables.
    session: Session,
}

impl Counted {
    fn new(rows: usize) -> Self {
        let world = World::postgres(&tables(rows), configure);
        let counted = Self { session: world.database.as_ref().unwrap().session(), world };
        counted.write(&users(rows));
        counted
    }

    /// In a session that ends, which publishes its counters.
    fn write(&self, statements: &str) {
        let session = self.world.database.as_ref().unwrap().session();
        statements.split(';').for_each(|sql| session.run(sql));
    }

    /// The activity of some requests.
    async fn by(&self, ask: impl AsyncFnOnce(&World)) -> Touched {
        let before = touched(&self.session);
        ask(&self.world).await;
        let after = touched(&self.session);
        Touched { scanned: after.scanned - before.scanned, buffers: after.buffers - before.buffers }
    }
}

fn task(id: &str) -> Value {
    json!({"operation": "create", "table_name": "tasks", "id": id, "data": {"title": "x"}})
}

/// The requests of a user, each with its activity.
async fn requests(counted: &Counted) -> Vec<(&'static str, Touched)> {
    let mut cursor = String::new();
    let snapshot = counted
        .by(async |world| {
            let mut device = world.device("user7", "phone").await;
            let rows = device.snapshot(100).await;
            assert!(rows.len() > 900, "{}", rows.len());
            cursor.clone_from(&device.cursor);
        })
        .await;
    counted.write("UPDATE tasks SET title = 'new' WHERE owner_id = 'user7' AND id < '4'");
    let mut found = 0;
    let pull = counted
        .by(async |world| {
            let mut device = world.device("user7", "phone").await;
            device.cursor.clone_from(&cursor);
            found = device.pull().await.len();
            for _ in 0..5 {
                assert!(device.pull().await.is_empty());
            }
        })
        .await;
    assert!(found > 1, "{found}");
    let push = counted
        .by(async |world| {
            let mut device = world.device("user7", "phone").await;
            for number in 0..20 {
                let id = format!("new{number}");
                device.accept(&id, json!([task(&id)])).await;
            }
        })
        .await;
    vec![("a snapshot in pages", snapshot), ("pulls", pull), ("pushes", push)]
}

/// A page read by the predicate over all access paths: what these tests would detect.
fn by_predicate(session: &Session) -> i64 {
    let page = "SELECT id FROM tasks WHERE (owner_id = 'user7' OR team = ANY(ARRAY(
                  SELECT substr(bucket, 6) FROM rejoin.bucket WHERE user_id = 'user7')))
                AND id COLLATE \"C\" > '5' ORDER BY id COLLATE \"C\" LIMIT 400";
    let plan = session.lines(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page}")).join("\n");
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let number = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
    number("Shared Hit Blocks") + number("Shared Read Blocks")
}

#[tokio::test]
async fn request_cost_does_not_grow_with_the_tables() {
    let small = Counted::new(2_000);
    let large = Counted::new(40_000);
    let few = requests(&small).await;
    let many = requests(&large).await;
    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        assert_eq!(many.scanned, 0, "{what}: rows read from end to end");
        // One more index level makes a fifth of a difference at this size.
        assert!(many.buffers < few.buffers * 2, "{what}: {few:?}, then {many:?}");
    }
    let (few, many) = (by_predicate(&small.session), by_predicate(&large.session));
    assert!(many > few * 2, "nothing would be noticed: {few}, then {many}");
}

/// While the log is small the planner picks any index, and the session keeps that plan.
#[tokio::test]
async fn plan_cached_on_an_empty_log_uses_the_position_index() {
    let world = World::postgres(TABLES, standard);
    let session = world.database.as_ref().unwrap().session();
    session.run("ALTER TABLE rejoin.changelog SET (autovacuum_enabled = off)");
    session.run("ANALYZE rejoin.changelog");
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    anna.pull().await;
    session.run(
        "INSERT INTO rejoin.inbox(bucket, table_number, record_id)
         SELECT 'user:ben', 1, 'row ' || n FROM generate_series(1, 20000) AS n",
    );
    session.run("SELECT rejoin.sequence()");
    let pulls = 10;
    for _ in 0..pulls {
        assert!(anna.pull().await.is_empty());
    }
    touched(&session);
    // The index is used by the one pull that skips the new entries, and for each of the user's
    // buckets.
    let scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'changelog_bucket'";
    let scans: i64 = session.one(scans).parse().unwrap();
    assert!((1..pulls).contains(&scans), "{scans} times by the index of buckets");
}

/// The same for verdicts: the index by device would scan all of the user's mutations for each push.
#[tokio::test]
async fn plan_cached_without_verdicts_uses_the_primary_key() {
    let world = World::postgres(TABLES, standard);
    let session = world.database.as_ref().unwrap().session();
    session.run("ALTER TABLE rejoin.verdict SET (autovacuum_enabled = off)");
    session.run("ANALYZE rejoin.verdict");
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m0", json!([place("p0", "Quay")])).await;
    session.run(
        "INSERT INTO rejoin.verdict(user_id, mutation_id, attempt, hash, ending, client_id, seq, verdict, at)
         SELECT 'anna', 'old ' || n, 1, '', 'accepted', 'a1', n, '{}', '' FROM generate_series(1, 20000) AS n",
    );
    for at in 1..10 {
        anna.accept(&format!("m{at}"), json!([place(&format!("p{at}"), "Quay")])).await;
    }
    touched(&session);
    let scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'verdict_client'";
    assert_eq!(session.one(scans), "0");
}

/// The total of a first page is for progress: a large table that all users read is not counted.
#[tokio::test]
async fn first_page_takes_the_total_of_a_large_public_table_from_statistics() {
    const TABLES: &str = "
        CREATE TABLE countries(code text PRIMARY KEY, updated_at timestamptz, deleted_at timestamptz)
          WITH (autovacuum_enabled = off);
        CREATE TABLE small(code text PRIMARY KEY, updated_at timestamptz);
        INSERT INTO countries SELECT n, now(), CASE WHEN n <= 5000 THEN now() END FROM generate_series(1, 20000) AS n;
        INSERT INTO small SELECT generate_series(1, 100)";
    let world = World::postgres(TABLES, |config| {
        config.with_table(TableConfig::global("countries")).with_table(TableConfig::global("small"))
    });
    let session = world.database().session();
    let mut anna = world.device("anna", "a1").await;
    let more = "INSERT INTO countries SELECT 'c' || n FROM generate_series(1, 10) AS n;
        INSERT INTO small SELECT 's' || n FROM generate_series(1, 10) AS n";
    // Without statistics it is counted.
    assert_eq!(anna.snapshot_page(None, 10).await.rejoin.unwrap().total, 15_100);
    session.run(&format!("ANALYZE; {more}"));
    assert_eq!(anna.snapshot_page(None, 10).await.rejoin.unwrap().total, 15_110);
    session.run("ANALYZE");
    assert_eq!(anna.snapshot_page(None, 10).await.rejoin.unwrap().total, 15_120);
    // A child that is gone leaves statistics of table and child together.
    session.run("CREATE TABLE child () INHERITS (countries); INSERT INTO child SELECT 'x' || generate_series(1, 10); ANALYZE");
    session.run("DROP TABLE child; ANALYZE");
    assert_eq!(anna.snapshot_page(None, 10).await.rejoin.unwrap().total, 15_120);
}
