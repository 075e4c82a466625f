//! A store that fails for a moment: nothing is decided of the group at hand, and everything else goes on.

use macro_rules_attribute::apply;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::Ending;
use rejoin_server::Server;
use rejoin_server::engine::schema::{Row, Schema, Table};
use rejoin_server::error::Fault;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::sqlite::SqliteStore;
use rejoin_server::store::{
    Client, Entry, Images, KnownClient, Life, ManifestVersion, Page, Reading, Room, Sight, Store,
    StoredRow, StoredVerdict, WriteError, Writing,
};
use serde_json::json;

use crate::world::{Backend, World, place};

/// A store whose next inserts fail as on a full disk.
#[derive(Debug)]
struct Flaky {
    inner: Box<dyn Store>,
    failing: Arc<AtomicUsize>,
}

struct FlakyTransaction<'a> {
    inner: &'a dyn Writing,
    failing: &'a AtomicUsize,
}

impl Store for Flaky {
    fn read(&self, work: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault> {
        self.inner.read(work)
    }

    fn write(
        &self,
        now: &str,
        work: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.inner
            .write(now, &mut |inner| work(&FlakyTransaction { inner, failing: &self.failing }))
    }

    fn pulse(&self) -> Result<i64, Fault> {
        self.inner.pulse()
    }
}

/// Hands every call on.
macro_rules! hand_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> $answer {
            self.inner.$name($($argument),*)
        })+
    };
}

impl Reading for FlakyTransaction<'_> {
    fn schema(&self) -> &Arc<Schema> {
        self.inner.schema()
    }

    hand_on! {
        life() -> Result<Life, Fault>;
        tag(position: i64) -> Result<Option<i64>, Fault>;
        granted(user: &str) -> Result<Vec<String>, Fault>;
        entries(position: i64, buckets: &[String], limit: usize) -> Result<Vec<Entry>, Fault>;
        behind(position: i64, buckets: &[String]) -> Result<i64, Fault>;
        was_seen(table: &Table, id: &str, buckets: &[String]) -> Result<bool, Fault>;
        image(table: &Table, key: &Value, sight: &Sight) -> Result<Option<Row>, Fault>;
        images(table: &Table, keys: &[Option<Value>], sight: &Sight, each: Images<'_>) -> Result<(), Fault>;
        page(table: &Table, after: Option<&Value>, room: Room, sight: &Sight) -> Result<Page, Fault>;
        count(table: &Table, sight: &Sight) -> Result<i64, Fault>;
        each(table: &Table, sight: &Sight, each: &mut dyn FnMut(&Row)) -> Result<(), Fault>;
        stored(table: &Table, key: &Value, sight: &Sight, own: &Sight) -> Result<Option<StoredRow>, Fault>;
        written_at(table: &Table, id: &str, version: &str) -> Result<Option<i64>, Fault>;
        holds(sql: &str, values: &[(&str, Value)]) -> Result<bool, Fault>;
        parameters_of(sql: &str) -> Result<Vec<String>, String>;
        client(user: &str, client_id: &str) -> Result<Option<Client>, Fault>;
        verdict(user: &str, mutation: &str) -> Result<Option<StoredVerdict>, Fault>;
        manifest(version: i64, hash: Option<&str>) -> Result<Option<String>, Fault>;
        manifests(most: usize) -> Result<Vec<ManifestVersion>, Fault>;
        clients(after: Option<(&str, &str)>, most: usize) -> Result<Vec<KnownClient>, Fault>;
        schema_followed_at(version: i64) -> Result<Option<String>, Fault>;
    }
}

impl Writing for FlakyTransaction<'_> {
    fn insert(&self, table: &Table, cells: &[(usize, Value)]) -> Result<(), WriteError> {
        let left = self.failing.load(Ordering::Relaxed);
        if left > 0 {
            self.failing.store(left - 1, Ordering::Relaxed);
            return Err(WriteError::Fault(Fault::Transient(String::from(
                "database or disk is full",
            ))));
        }
        self.inner.insert(table, cells)
    }

    hand_on! {
        begin() -> Result<(), Fault>;
        keep() -> Result<(), Fault>;
        undo() -> Result<(), Fault>;
        update(table: &Table, key: &Value, cells: &[(usize, Value)]) -> Result<(), WriteError>;
        remove(table: &Table, key: &Value) -> Result<(), WriteError>;
        put_written_at(table: &Table, id: &str, version: &str, at: i64) -> Result<(), Fault>;
        put_verdict(user: &str, mutation: &str, verdict: &StoredVerdict) -> Result<(), Fault>;
        put_client(user: &str, client_id: &str, client: &Client) -> Result<(), Fault>;
        subscribe(user: &str, bucket: &str) -> Result<bool, Fault>;
        unsubscribe(user: &str, bucket: &str) -> Result<bool, Fault>;
        new_epoch() -> Result<String, Fault>;
        compacts_alone() -> Result<bool, Fault>;
        forget_entries(watermark: i64, most: usize) -> Result<usize, Fault>;
        lowest_position(seen_since: &str) -> Result<Option<i64>, Fault>;
        forget_written(most: usize) -> Result<usize, Fault>;
        forget_verdicts(seen_since: &str, most: usize) -> Result<usize, Fault>;
    }
}

fn flaky(backend: Backend) -> (World, Arc<AtomicUsize>) {
    let mut world = World::new(backend);
    let failing = Arc::new(AtomicUsize::new(0));
    let now = "2026-11-20T08:00:00.000000Z";
    let tables = &world.config.tables;
    let inner: Box<dyn Store> = match &world.config.store {
        Some(url) => {
            Box::new(PostgresStore::open(url, tables, Duration::from_secs(5), now).unwrap())
        }
        None => Box::new(SqliteStore::open(&world.path(), tables, Duration::ZERO, now).unwrap()),
    };
    let store = Flaky { inner, failing: Arc::clone(&failing) };
    let clock = Arc::new(world.clock.clone());
    world.server = Server::over(world.config.clone(), Arc::new(store), clock);
    (world, failing)
}

#[apply(stores!)]
async fn a_moments_failure_is_no_verdict_and_the_same_attempt_is_judged_later(backend: Backend) {
    let (world, failing) = flaky(backend);
    let mut anna = world.device("anna", "a1").await;
    let first = anna.group("m1", &json!([place("p1", "Quay")]));
    let second = anna.group("m2", &json!([place("p2", "Pier")]));
    let mut third = anna.group("m3", &json!([place("p3", "Dock")]));
    third["after"] = json!(["m1"]);
    failing.store(1, Ordering::Relaxed);
    let answer = anna.push_groups(json!([first, second, third])).await.rejoin.unwrap();
    let endings: Vec<Ending> = answer.verdicts.iter().map(|verdict| verdict.verdict).collect();
    assert_eq!(endings, [Ending::Retry, Ending::Accepted, Ending::Blocked]);
    assert_eq!(answer.verdicts[0].code.as_deref(), Some("transient"));
    assert!(answer.verdicts[0].retryable);
    let absent: Vec<bool> = answer.rows.iter().map(|row| row.absent).collect();
    assert_eq!(absent, [true, false, true]);
    let kept = world.one("SELECT count(*) FROM rejoin_verdict WHERE mutation_id = 'm1'");
    assert_eq!(kept, "0", "nothing is stored");
    assert_eq!(anna.push_group(first).await.0.verdict, Ending::Accepted);
    third["attempt"] = json!(2);
    assert_eq!(anna.push_group(third).await.0.verdict, Ending::Accepted);
}

/// A trigger that cannot run, one that refuses, and how the first is taken away.
const IN_SQLITE: (&str, &str) = (
    "CREATE TRIGGER broken AFTER INSERT ON places WHEN NEW.name = 'poison'
     BEGIN SELECT json_extract('no json', '$'); END;
     CREATE TRIGGER strict AFTER INSERT ON places WHEN NEW.name = 'refused'
     BEGIN SELECT RAISE(ABORT, 'not such a name'); END;",
    "DROP TRIGGER broken",
);

const IN_POSTGRES: (&str, &str) = (
    "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN IF NEW.name = 'poison' THEN PERFORM no_such_function(); END IF; RETURN NULL; END $$;
     CREATE FUNCTION strict() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN IF NEW.name = 'refused' THEN RAISE 'not such a name'; END IF; RETURN NULL; END $$;
     CREATE TRIGGER broken AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION broken();
     CREATE TRIGGER strict AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION strict()",
    "DROP TRIGGER broken ON places",
);

#[apply(stores!)]
async fn a_trigger_that_cannot_run_holds_up_its_own_group_only(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let (made, gone) = if world.database.is_some() { IN_POSTGRES } else { IN_SQLITE };
    world.write(made);
    let poison = anna.group("m1", &json!([place("p1", "poison")]));
    let refused = anna.group("m2", &json!([place("p2", "refused")]));
    let good = anna.group("m3", &json!([place("p3", "good")]));
    let answer = anna.push_groups(json!([poison, refused, good])).await.rejoin.unwrap();
    let found: Vec<(Ending, Option<&str>)> =
        answer.verdicts.iter().map(|v| (v.verdict, v.code.as_deref())).collect();
    let expected = [
        (Ending::Retry, Some("transient")),
        (Ending::Rejected, Some("constraint.trigger")),
        (Ending::Accepted, None),
    ];
    assert_eq!(found, expected);
    assert_eq!(answer.verdicts[1].message.as_deref(), Some("not such a name"));
    world.write(gone);
    assert_eq!(anna.push_group(poison).await.0.verdict, Ending::Accepted);
}
