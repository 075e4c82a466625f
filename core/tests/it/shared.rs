//! Writes that wait at the same time share a transaction, and each ends as if it had run alone.

use std::path::PathBuf;
use std::sync::Arc;

use rejoin_core::host::TestHost;
use rejoin_core::{
    Actions, Client, Config, Parameter, ParameterType, PendingMutation, Performed, Services, Task,
    Value,
};
use serde_json::json;

use crate::world::{World, within};

/// A table of rows and one of the log.
const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [
  {"table_name": "stock", "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "",
    "primary_key": ["id"], "columns": [
      {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "n", "db_type": "integer", "logical_type": "int64", "nullable": true}]},
  {"table_name": "seat", "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "",
    "rejoin": {"sync": "log"}, "primary_key": ["id"], "columns": [
      {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
      {"name": "n", "db_type": "integer", "logical_type": "int64", "nullable": true}]}]}"#;

/// Fails when there is not enough.
const TAKE: &str = r#"{"name": "take", "parameters": [{"name": "id", "type": "text"}],
    "preconditions": [{"sql": "SELECT n >= 3 FROM stock WHERE id = :id", "message": "not enough"}],
    "statements": ["UPDATE stock SET n = n - 3 WHERE id = :id"],
    "result": "SELECT n FROM stock WHERE id = :id"}"#;
const SIT: &str = r#"{"name": "sit", "parameters": [{"name": "id", "type": "text"}],
    "preconditions": [{"sql": "SELECT n >= 3 FROM seat WHERE id = :id", "message": "taken"}],
    "statements": ["UPDATE seat SET n = n - 3 WHERE id = :id"]}"#;

/// A client whose clock stands still; perhaps triggers of the app mirror what actions write.
fn opened(mirrors: bool) -> World {
    let folder = tempfile::tempdir().unwrap();
    let code = [Parameter::new("id", ParameterType::Text)];
    let actions = Actions::new().declare(TAKE).declare(SIT).handler("code", code, |tx, given| {
        let id = given.value("id");
        assert!(id != Value::from("c"), "planted");
        tx.execute("UPDATE stock SET n = n + 1 WHERE id = ?", (id,))?;
        Ok(json!("done"))
    });
    let config =
        Config::new(folder.path().join("app.db")).schema(serde_json::from_str(SCHEMA).unwrap());
    let host = Some(Arc::new(TestHost::new(1)) as _);
    let services = Services { host, actions: Some(actions.into()), ..Services::default() };
    let client = Client::open_with(config, services).wait().unwrap();
    let world = World { client, folder };
    world.run("CREATE TABLE draft (id TEXT PRIMARY KEY, n, CHECK (n IS NOT 7))");
    world.run(
        "CREATE TRIGGER harsh BEFORE INSERT ON draft WHEN NEW.n = 5
         BEGIN SELECT RAISE(ROLLBACK, 'harsh'); END",
    );
    world.run(
        "CREATE TABLE line (id TEXT PRIMARY KEY, draft TEXT REFERENCES draft (id)
         DEFERRABLE INITIALLY DEFERRED, n INTEGER)",
    );
    if mirrors {
        world.run("CREATE TABLE trail (id TEXT, n)");
        world.run(
            "CREATE TRIGGER mirror AFTER UPDATE ON stock
             BEGIN INSERT INTO trail VALUES (NEW.id, rejoin_row_state('stock', NEW.id)); END",
        );
    } else {
        world.run("CREATE VIEW trail AS SELECT id, n FROM stock");
    }
    world
}

/// A write and how it ended, as text.
enum Begun {
    Statement(Task<usize>),
    Action(Task<Performed>),
}

impl Begun {
    fn end(self) -> String {
        match self {
            Self::Statement(task) => format!("{:?}", within(task)),
            Self::Action(task) => format!("{:?}", within(task).map(|performed| performed.value)),
        }
    }
}

/// A random write, valid or not.
fn begin(client: &Client, random: &mut fastrand::Rng) -> Begun {
    let id = ["a", "b", "c", "d"][random.usize(..4)];
    let n = random.i64(0..10);
    let statement = |sql: &str| Begun::Statement(client.execute(sql, (id, n)));
    match random.usize(..17) {
        0 => statement("INSERT INTO stock (id, n) VALUES (?, ?)"),
        1 => statement("INSERT OR ROLLBACK INTO stock (id, n) VALUES (?, ?)"),
        2 => statement("INSERT OR FAIL INTO stock (id, n) VALUES ('x' || ?2, 1), (?1, ?2)"),
        3 => statement("UPDATE stock SET n = n + ?2 WHERE id >= ?1"),
        4 => statement("DELETE FROM stock WHERE id = ? AND n < ?"),
        5 => statement("INSERT INTO seat (id, n) VALUES (?, ?) ON CONFLICT DO UPDATE SET n = 9"),
        6 => statement("UPDATE seat SET n = n + ?2 WHERE id = ?1"),
        7 => statement("INSERT INTO draft (id, n) VALUES (?, ?)"),
        8 => statement("UPDATE nothing SET n = ? WHERE id = ?"),
        9 => Begun::Action(client.perform("take", json!({ "id": id }))),
        10 => Begun::Action(client.perform("sit", json!({ "id": id }))),
        11 => Begun::Action(client.perform("code", json!({ "id": id }))),
        12 => statement("INSERT INTO line (id, draft, n) VALUES (?1, ?1, ?2)"),
        13 => statement(
            "INSERT OR REPLACE INTO draft SELECT ?1, rejoin_row_state('stock', ?1) WHERE ?2 > 1",
        ),
        14 => statement(
            "UPDATE stock SET n = length(rejoin_row_state('stock', ?1)) WHERE id > ?1 AND n < ?2",
        ),
        15 => statement("UPDATE stock SET n = last_insert_rowid() WHERE id > ?1 AND n < ?2"),
        _ => Begun::Action(client.perform("unknown", json!({ "id": id }))),
    }
}

/// What the file shows, and the queue without the times and ids of its mutations.
fn state(client: &Client) -> String {
    let rows = |table: &str| {
        let sql =
            format!("SELECT group_concat(id || '=' || ifnull(n, '-') ORDER BY id) FROM {table}");
        let row = within(client.query_one(&sql, ())).unwrap().unwrap();
        row.get::<Option<String>>(0).unwrap()
    };
    let pending = within(client.queue().all()).unwrap();
    let mutation = |it: &PendingMutation| format!("{:?} {:?}", it.action, it.rows);
    let queue: Vec<_> = pending.iter().map(mutation).collect();
    format!("{:#?}", (["stock", "seat", "draft", "line", "trail"].map(rows), queue))
}

/// Begins writes while the writer is busy, so that all of them wait.
fn at_once<T>(client: &Client, begin: impl FnOnce() -> Vec<T>) -> Vec<T> {
    let busy = within(client.begin()).unwrap();
    let waiting = begin();
    within(busy.rollback()).unwrap();
    waiting
}

#[test]
fn shared_writes_end_as_if_each_had_run_alone() {
    let mut most = 0;
    for seed in 0..40 {
        let (alone, together) = (opened(seed % 2 == 1), opened(seed % 2 == 1));
        let mut random = fastrand::Rng::with_seed(seed);
        let one_by_one: Vec<_> = (0..60).map(|_| begin(&alone.client, &mut random).end()).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ends = Vec::new();
        for _ in 0..3 {
            let client = &together.client;
            let begun = at_once(client, || (0..20).map(|_| begin(client, &mut random)).collect());
            ends.extend(begun.into_iter().map(Begun::end));
        }
        assert_eq!(ends, one_by_one, "seed {seed}");
        assert_eq!(state(&together.client), state(&alone.client), "seed {seed}");
        most = most.max(ends.iter().filter(|end| end.starts_with("Ok")).count());
        within(alone.client.shutdown()).unwrap();
        within(together.client.shutdown()).unwrap();
    }
    assert!(most > 20, "hardly a write succeeded: {most}");
}

#[test]
fn waiting_writes_share_a_commit() {
    let written = |world: &World| {
        let mut path = world.client.path().as_os_str().to_owned();
        path.push("-wal");
        PathBuf::from(path).metadata().unwrap().len()
    };
    let insert = |world: &World, number: i64| {
        world.client.execute("INSERT INTO stock (id, n) VALUES (?1, ?1)", (number,))
    };
    let (alone, together) = (opened(false), opened(false));
    let before = (written(&alone), written(&together));
    for number in 0..40 {
        within(insert(&alone, number)).unwrap();
    }
    let begun = at_once(&together.client, || (0..40).map(|it| insert(&together, it)).collect());
    assert!(begun.into_iter().all(|task| within(task).unwrap() == 1));
    let (alone, together) = (written(&alone) - before.0, written(&together) - before.1);
    assert!(together * 10 < alone, "{together} bytes, alone {alone}");
}
