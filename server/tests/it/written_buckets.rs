//! The bucket of a row as it was written counts: the device, a default or a trigger may name it.

use macro_rules_attribute::apply;
use rejoin_server::TableConfig;
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, create, ended, record, update};

const TABLES: &str = "
    CREATE TABLE posts(
      id TEXT PRIMARY KEY, owner TEXT, team TEXT DEFAULT 'red', body TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE notices(id TEXT PRIMARY KEY, owner TEXT, team TEXT, body TEXT, updated_at TEXT);
";

const MOVES_IN_SQLITE: &str = "CREATE TRIGGER moves AFTER UPDATE ON posts WHEN NEW.body = 'move'
    BEGIN UPDATE posts SET team = 'red' WHERE id = NEW.id; END";

const MOVES_IN_POSTGRES: &str = "CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.body = 'move' THEN NEW.team := 'red'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER moves BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION moves()";

const ROWS: &str = "INSERT INTO posts(id, owner, team, body, deleted_at) VALUES
    ('gone', 'ben', 'red', 'x', '2026-11-20T07:00:00.000000Z'), ('left', 'ben', 'red', 'x', NULL),
    ('mine', 'ben', 'blue', 'x', NULL)";

/// Posts are of team red unless they name another; notices without a team are public. Ben reads the
/// bucket of team blue.
fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, |config| {
        let notices = TableConfig::owned("notices", "owner").with_bucket("team", "team:");
        config
            .with_table(TableConfig::owned("posts", "owner").with_bucket("team", "team:"))
            .with_table(TableConfig {
                allow_global_read: true,
                global_when_bucket_null: true,
                ..notices
            })
    });
    world.write(ROWS);
    world.write(if world.database.is_some() { MOVES_IN_POSTGRES } else { MOVES_IN_SQLITE });
    world.server.grant("ben", "team:blue").unwrap();
    world
}

/// Changes by operation, table, key and data, and whether each is permitted.
fn changes() -> [(&'static str, &'static str, &'static str, Value, bool); 9] {
    [
        ("create", "posts", "p1", json!({"body": "by default in red"}), false),
        ("create", "posts", "p2", json!({"body": "named", "team": "blue"}), true),
        ("create", "posts", "p3", json!({"body": "in none", "team": null}), true),
        ("create", "notices", "n1", json!({"body": "public"}), false),
        ("create", "notices", "n2", json!({"body": "named", "team": "blue"}), true),
        ("create", "posts", "gone", json!({"body": "restored in red"}), false),
        ("update", "posts", "left", json!({"body": "stays in red"}), true),
        ("update", "posts", "mine", json!({"body": "move"}), false),
        ("create", "posts", "gone", json!({"body": "restored", "team": "blue"}), true),
    ]
}

async fn assert_in_no_foreign_bucket(world: &World) {
    let mut eve = world.device("eve", "e1").await;
    world.server.grant("eve", "team:red").unwrap();
    assert_eq!(eve.snapshot(100).await, ["posts/left"]);
}

#[apply(secured_stores!)]
async fn bucket_of_the_written_row_is_checked(backend: Backend) {
    let world = world(backend);
    let mut ben = world.device("ben", "b1").await;
    let change =
        |(operation, table, id, data, _): &(&str, &str, &str, Value, bool)| match *operation {
            "create" => create(table, id, data),
            _ => update(table, id, &json!({"body": "x"}), data),
        };
    let expected = |is_permitted: bool| {
        if is_permitted { "accepted -" } else { "refused ownership" }
    };
    for (number, tried) in changes().iter().enumerate() {
        let (verdict, _) = ben.push(&format!("m{number}"), json!([change(tried)])).await;
        assert_eq!(ended(&verdict), expected(tried.4), "{tried:?}");
        let column = (!tried.4).then_some("team");
        assert_eq!(verdict.column.as_deref(), column, "{tried:?}");
    }
    assert_in_no_foreign_bucket(&world).await;
}

/// Groups of one push are written together where the store can.
#[apply(secured_stores!)]
async fn foreign_bucket_refuses_one_of_many_groups(backend: Backend) {
    let world = world(backend);
    let mut ben = world.device("ben", "b1").await;
    let tried: Vec<(String, bool)> = (0..9).map(|n| (format!("p{n}"), n % 4 != 1)).collect();
    let group = |ben: &mut Device<'_>, id: &str, is_good: bool| {
        let data = if is_good { json!({"team": "blue"}) } else { json!({"body": "x"}) };
        ben.group(id, &json!([create("posts", id, &data)]))
    };
    let groups: Vec<Value> = tried.iter().map(|(id, good)| group(&mut ben, id, *good)).collect();
    let answer = ben.push_groups(json!(groups)).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    let expected = |good: bool| if good { "accepted -" } else { "refused ownership" };
    assert_eq!(found, tried.iter().map(|(_, good)| expected(*good)).collect::<Vec<_>>());
    assert_in_no_foreign_bucket(&world).await;
}

#[apply(secured_stores!)]
async fn bucket_of_a_plain_record_is_checked(backend: Backend) {
    let world = world(backend);
    let mut ben = Device::plain(&world, "ben", "b1").await;
    for (operation, table, id, data, is_permitted) in changes() {
        let mut record = record(operation, id, &data, "2030-11-20T08:00:00Z");
        record["table_name"] = json!(table);
        let found = ben.push_records(&json!([record])).await;
        let expected = if is_permitted {
            format!("{id} applied -")
        } else {
            format!("{id} rejected_terminal record_not_found")
        };
        assert_eq!(found, [expected], "{operation} {data}");
    }
    assert_in_no_foreign_bucket(&world).await;
}

/// Large rows are not loaded together with others.
#[apply(secured_stores!)]
async fn bucket_of_a_large_row_is_checked(backend: Backend) {
    let world = world(backend);
    let mut ben = world.device("ben", "b1").await;
    let large = "x".repeat(100_000);
    let red = ben.group("m1", &json!([create("posts", "p1", &json!({"body": large}))]));
    let blue = json!({"body": large, "team": "blue"});
    let blue = ben.group("m2", &json!([create("posts", "p2", &blue)]));
    let answer = ben.push_groups(json!([red, blue])).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(found, ["refused ownership", "accepted -"]);
    assert_in_no_foreign_bucket(&world).await;
}
