//! Bucket resolvers in Rust (PostgreSQL): a feeder calls them after the writer's commit, stores the
//! result and notifies devices.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::Operation;
use rejoin_server::{
    BucketResolver, Config, ManualClock, ProblemKind, RowWrite, Server, ServerError, TableConfig,
};

use crate::world::{Backend, MORNING, World};

mod closed;
mod crash;
mod guard;
mod ready;

/// Documents have an owner, and are in one bucket per word of `readers`; notes are in the buckets
/// of their document.
pub(crate) const TABLES: &str = "
    CREATE TABLE documents(
      id uuid PRIMARY KEY, owner text, readers text, body text, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE notes(id bigint PRIMARY KEY, document uuid, body text, updated_at timestamptz);
";

pub(crate) const A: &str = "00000000-0000-0000-0000-00000000000a";
pub(crate) const B: &str = "00000000-0000-0000-0000-00000000000b";

/// Puts a document into `doc:w` for each word `w` of its readers. `fail`, `panic` and `odd` make it
/// fail. While its gate is closed, it blocks at a document whose body is `stop`.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    pub(crate) version: u32,
    decides: bool,
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    asked: Vec<String>,
    is_fixed: bool,
    is_closed: bool,
    waiting: usize,
}

impl Readers {
    /// The calls since the last time: operation, last letter of the key, old and new readers.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap().asked)
    }

    pub(crate) fn set_gate(&self, is_closed: bool) {
        self.said.lock().unwrap().is_closed = is_closed;
        self.changed.notify_all();
    }

    /// Waits until a call blocks at the gate.
    pub(crate) fn wait_at_gate(&self) {
        let said = self.said.lock().unwrap();
        let most = Duration::from_mins(1);
        let (said, late) =
            self.changed.wait_timeout_while(said, most, |said| said.waiting == 0).unwrap();
        assert!(!late.timed_out(), "no call reaches the gate: {said:?}");
    }
}

impl BucketResolver for Readers {
    fn buckets(&self, write: &RowWrite<'_>) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
        let readers = write.new["readers"].as_str().unwrap_or_default();
        let was = write.old.and_then(|old| old["readers"].as_str()).unwrap_or("-");
        let operation = match write.operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        let mut said = self.said.lock().unwrap();
        let letter = &write.id[write.id.len() - 1..];
        said.asked.push(format!("{operation} {letter} {was}>{readers}"));
        if write.new["body"] == "stop" && said.is_closed {
            said.waiting += 1;
            self.changed.notify_all();
            said = self.changed.wait_while(said, |said| said.is_closed).unwrap();
            said.waiting -= 1;
        }
        let is_fixed = said.is_fixed;
        drop(said);
        assert!(is_fixed || !readers.contains("panic"), "on purpose");
        if !is_fixed && readers.contains("fail") {
            return Err(format!("no such reader of {}", write.table).into());
        }
        if !is_fixed && readers.contains("odd") {
            return Ok(vec![String::from("#1:a")]);
        }
        let names: Vec<&str> = readers.split(' ').take(if is_fixed { 1 } else { 9 }).collect();
        Ok(names.iter().map(|name| format!("doc:{name}")).chain([String::new()]).collect())
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn decides_by(&self, _: &str) -> Option<Vec<String>> {
        self.decides.then(|| vec![String::from("readers")])
    }
}

pub(crate) fn configure(readers: &Arc<Readers>) -> impl Fn(Config) -> Config {
    let readers: Arc<dyn BucketResolver> = Arc::clone(readers) as _;
    move |config| {
        let documents = TableConfig::owned("documents", "owner");
        let documents = TableConfig { max_buckets_per_event: Some(3), ..documents };
        config
            .with_table(documents.with_bucket_resolver(Arc::clone(&readers)))
            .with_table(TableConfig::child("notes", "documents", "document"))
    }
}

pub(crate) fn world(backend: Backend) -> (World, Arc<Readers>) {
    let readers = Arc::new(Readers::default());
    (World::with(backend, TABLES, configure(&readers)), readers)
}

/// Subscribes these users to their buckets.
pub(crate) fn give(world: &World, users: &[&str]) {
    for user in users {
        world.server.grant(user, &format!("doc:{user}")).unwrap();
    }
}

/// Waits until the feeder is idle.
pub(crate) fn fed(server: &Server) {
    for _ in 0..6_000 {
        if server.feed().unwrap().waiting == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the feeder does not come to an end: {:?}", server.feed());
}

pub(crate) fn put(world: &World, id: &str, readers: &str, body: &str) {
    world.write(&format!(
        "INSERT INTO documents(id, owner, readers, body) VALUES ('{id}', 'anna', '{readers}', '{body}')
         ON CONFLICT(id) DO UPDATE SET readers = excluded.readers, body = excluded.body"
    ));
}

/// Applies the names of a pull to the device's rows.
pub(crate) fn take(base: &mut BTreeSet<String>, names: Vec<String>) {
    for name in names {
        match name.strip_prefix('-') {
            Some(gone) => base.remove(gone),
            None => base.insert(name),
        };
    }
}

pub(crate) fn document(id: &str) -> String {
    format!("documents/{id}")
}

/// Rows are delivered in each named bucket with their children, and withdrawn by updates, moves,
/// both kinds of delete, and TRUNCATE.
#[apply(postgres_stores!)]
#[allow(clippy::too_many_lines)] // A table.
async fn resolver_buckets_deliver_and_withdraw_rows(backend: Backend) {
    let (world, _) = world(backend);
    let users = ["x", "y", "z"];
    give(&world, &users);
    put(&world, A, "x y x", "a");
    world.write(&format!("INSERT INTO notes(id, document) VALUES (1, '{A}'), (2, '{B}')"));
    fed(&world.server);
    let mut devices = Vec::new();
    for user in users {
        let mut device = world.device(user, "d").await;
        let base: BTreeSet<String> = device.snapshot(9).await.into_iter().collect();
        devices.push((device, base));
    }
    let (a, b) = (document(A), document(B));
    let with = |document: &str, notes: &[i64]| -> BTreeSet<String> {
        let notes = notes.iter().map(|note| format!("notes/{note}"));
        notes.chain([document.to_owned()]).collect()
    };
    let (none, first, second) = (BTreeSet::new(), with(&a, &[1]), with(&b, &[1, 2]));
    // Children of a soft-deleted row stay in its buckets.
    let alone = BTreeSet::from([String::from("notes/1")]);
    let steps = [
        ("SELECT 1", [&first, &first, &none]),
        ("UPDATE documents SET readers = 'y z'", [&none, &first, &first]),
        ("UPDATE documents SET owner = 'ben'", [&none, &first, &first]),
        (
            "UPDATE documents SET owner = 'anna'; UPDATE documents SET readers = 'x'",
            [&first, &none, &none],
        ),
        ("UPDATE documents SET deleted_at = now()", [&alone, &none, &none]),
        ("UPDATE documents SET deleted_at = NULL, readers = NULL", [&none, &none, &none]),
        (
            &format!(
                "UPDATE documents SET id = '{B}', readers = 'x z'; UPDATE notes SET document = '{B}'"
            ),
            [&second, &none, &second],
        ),
        ("UPDATE notes SET body = 'again'", [&second, &none, &second]),
        (
            &format!(
                "INSERT INTO documents(id, owner, readers) VALUES('{A}', 'anna', 'y');
            UPDATE notes SET document = '{A}'; DELETE FROM documents WHERE id = '{B}'"
            ),
            [&none, &with(&a, &[1, 2]), &none],
        ),
        ("DELETE FROM notes WHERE id = 2", [&none, &first, &none]),
        ("TRUNCATE documents", [&none, &none, &none]),
    ];
    for (statement, expected) in steps {
        world.write(statement);
        fed(&world.server);
        for ((device, base), expected) in devices.iter_mut().zip(expected) {
            take(base, device.pull().await);
            assert_eq!(base, expected, "{statement} for {}", device.user);
        }
        for (device, base) in &devices {
            let mut fresh = world.device(&device.user, "fresh").await;
            let fresh: BTreeSet<String> = fresh.snapshot(9).await.into_iter().collect();
            assert_eq!(*base, fresh, "{statement}: a snapshot gives {} the same", device.user);
        }
    }
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "0");
}

/// It receives the operation and the old row; several writes before its call are one call.
#[apply(postgres_stores!)]
async fn resolver_is_called_once_per_current_row(backend: Backend) {
    let (world, readers) = world(backend);
    put(&world, A, "x", "a");
    fed(&world.server);
    assert_eq!(readers.asked(), ["create a ->x"]);
    world.write("UPDATE documents SET readers = 'y'");
    fed(&world.server);
    assert_eq!(readers.asked(), ["update a x>y"]);
    readers.set_gate(true);
    put(&world, B, "x", "stop");
    readers.wait_at_gate();
    for name in ["p", "q", "r"] {
        world.write(&format!("UPDATE documents SET readers = '{name}' WHERE id = '{A}'"));
    }
    let feed = world.server.feed().unwrap();
    assert!(feed.is_fed && feed.waiting >= 4 && feed.oldest.is_some(), "{feed:?}");
    readers.set_gate(false);
    fed(&world.server);
    assert_eq!(readers.asked(), ["create b ->x", "update a q>r"]);
    world.write(&format!("DELETE FROM documents WHERE id = '{B}'"));
    fed(&world.server);
    assert_eq!(readers.asked(), [""; 0], "deletes are not resolved");
    let feed = world.server.feed().unwrap();
    assert_eq!((feed.waiting, feed.oldest), (0, None));
    assert_eq!(world.one("SELECT string_agg(bucket, ',') FROM rejoin_member"), "doc:r");
}

/// An irrelevant update is reported immediately, without a call.
#[tokio::test]
async fn irrelevant_update_does_not_call_the_resolver() {
    let readers = Arc::new(Readers { decides: true, ..Readers::default() });
    let world = World::postgres(TABLES, configure(&readers));
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    assert_eq!(readers.asked(), ["create a ->x"]);
    let mut x = world.device("x", "d").await;
    x.snapshot(9).await;
    world.write("UPDATE documents SET body = 'b'");
    fed(&world.server);
    let rows = x.pull_rows().await;
    assert_eq!(rows[&document(A)].as_ref().unwrap()["body"], "b");
    world.write("UPDATE documents SET owner = 'ben'");
    assert_eq!(readers.asked(), [""; 0]);
    world.write("UPDATE documents SET readers = 'fail'");
    fed(&world.server);
    assert_eq!(x.pull().await, [format!("-{}", document(A))]);
    assert_eq!(world.server.replay_buckets().unwrap().tried, 1);
    fed(&world.server);
    assert_eq!(readers.asked(), ["update a x>fail", "update a fail>fail"]);
}

/// Restarts with the current configuration, after the operator has updated row level security.
fn restart(world: &mut World) {
    if world.is_secured() { world.secure() } else { world.restart() }
}

/// Existing rows are resolved at start, also for a greater version.
#[apply(postgres_stores!)]
async fn existing_rows_get_their_buckets_at_start(backend: Backend) {
    let (mut world, _) = world(backend);
    world.config = world.config.dropping_resolver("documents");
    world.config.tables[0].bucket_resolver = None;
    restart(&mut world);
    put(&world, A, "x y", "a");
    put(&world, B, "y", "b");
    give(&world, &["x"]);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [""; 0]);
    for (version, expected) in [(1, 2), (1, 0), (2, 2), (1, 0)] {
        let readers = Arc::new(Readers { version, ..Readers::default() });
        world.config.tables[0].bucket_resolver = Some(Arc::clone(&readers) as _);
        restart(&mut world);
        if version == 2 || expected > 0 {
            fed(&world.server);
        }
        assert_eq!(readers.asked().len(), expected, "version {version}");
        assert_eq!(world.device("x", "d").await.snapshot(9).await, [document(A)]);
    }
    world.config.tables[0].bucket_resolver = None;
    restart(&mut world);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [""; 0]);
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "0");
}

/// Any program may write, and one resolver serves every table without its own.
#[tokio::test]
async fn one_resolver_serves_all_tables() {
    #[derive(Debug)]
    struct ByTable;
    impl BucketResolver for ByTable {
        fn buckets(
            &self,
            write: &RowWrite<'_>,
        ) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
            Ok(vec![format!("{}:{}", write.table, write.id)])
        }
    }
    let tables = "
        CREATE TABLE a(id text PRIMARY KEY, owner text, updated_at text);
        CREATE TABLE b(id text PRIMARY KEY, a_id text, updated_at text);
        CREATE TABLE c(id text PRIMARY KEY, updated_at text);
        INSERT INTO a VALUES ('1', 'anna'); INSERT INTO b VALUES ('1', '1'), ('2', '1'); INSERT INTO c VALUES ('1');";
    let world = World::postgres(tables, |config| {
        config
            .with_bucket_resolver(Arc::new(ByTable))
            .with_table(TableConfig::owned("a", "owner"))
            .with_table(TableConfig::child("b", "a", "a_id"))
            .with_table(TableConfig::global("c"))
    });
    fed(&world.server);
    super::bucket_functions::serves_all_tables(&world).await;
}

#[test]
fn unusable_resolver_is_reported_at_start() {
    let resolver = || Arc::new(Readers { decides: true, ..Readers::default() });
    let table = || TableConfig::owned("t", "owner").with_bucket_resolver(resolver());
    let kinds = |config: Config| -> Vec<(String, ProblemKind)> {
        config.problems().into_iter().map(|problem| (problem.place, problem.kind)).collect()
    };
    let at = |place: &str| (String::from(place), ProblemKind::InvalidBucketConfig);
    let file = Config::new("never-made.db").with_table(table());
    assert_eq!(kinds(file), [at("tables.t.bucket_resolver")]);
    let both = Config { bucket_function: Some("f".into()), ..Config::postgres("postgres://h/d") };
    let both = both.with_bucket_resolver(resolver());
    let both = both.with_table(table().with_bucket_function("g"));
    assert_eq!(kinds(both), [at("bucket_resolver"), at("tables.t.bucket_resolver")]);
    let database = rejoin_postgres::Database::new();
    database.session().run("CREATE TABLE t(id text PRIMARY KEY, owner text, updated_at text)");
    let config = Config::postgres(database.url.as_str()).with_table(table());
    let clock = Arc::new(ManualClock::at(MORNING));
    let Err(ServerError::Schema(problems)) = Server::open_at(config, clock) else { panic!() };
    assert_eq!(problems[0].column.as_deref(), Some("readers"), "{problems:?}");
}
