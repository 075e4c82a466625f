//! Databases that store another value than the one that they were sent, or none: a device's next edit
//! is compared with what its own mutation left.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::row::RowImage;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, World, column, create, delete, ended, update};

const TABLES: &str = "
    CREATE TABLE e(id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, note TEXT, updated_at TEXT);";

/// Names are stored in lower case; a row named `drop` is not stored, and one named `keep` stays.
const IN_A_FILE: &str = "
    CREATE TRIGGER made AFTER INSERT ON e WHEN NEW.name <> lower(NEW.name)
      BEGIN UPDATE e SET name = lower(name) WHERE id = NEW.id; END;
    CREATE TRIGGER edited AFTER UPDATE OF name ON e WHEN NEW.name <> lower(NEW.name)
      BEGIN UPDATE e SET name = lower(name) WHERE id = NEW.id; END;
    CREATE TRIGGER dropped BEFORE INSERT ON e WHEN NEW.name = 'drop' BEGIN SELECT RAISE(IGNORE); END;
    CREATE TRIGGER fixed BEFORE UPDATE ON e WHEN NEW.note = 'drop' BEGIN SELECT RAISE(IGNORE); END;
    CREATE TRIGGER kept BEFORE DELETE ON e WHEN OLD.name = 'keep' BEGIN SELECT RAISE(IGNORE); END;";

const ON_POSTGRES: &str = "
    CREATE FUNCTION lower_name() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.name = 'keep' THEN RETURN NULL; END IF;
        RETURN OLD;
      END IF;
      IF NEW.name = 'drop' OR NEW.note = 'drop' THEN RETURN NULL; END IF;
      NEW.name := lower(NEW.name);
      RETURN NEW;
    END $$;
    CREATE TRIGGER lower_name BEFORE INSERT OR UPDATE OR DELETE ON e
      FOR EACH ROW EXECUTE FUNCTION lower_name();";

fn configured(config: Config) -> Config {
    config.with_table(TableConfig::owned("e", "owner_id"))
}

/// A server over a table with triggers that rewrite and drop.
struct Rewriting(World);

impl From<Backend> for Rewriting {
    fn from(backend: Backend) -> Self {
        let triggers = if backend == Backend::Sqlite { IN_A_FILE } else { ON_POSTGRES };
        Self(World::with(backend, &format!("{TABLES}{triggers}"), configured))
    }
}

fn name(name: &str) -> Value {
    json!({"name": name})
}

fn renamed(old: &str, new: &str) -> Value {
    update("e", "1", &name(old), &name(new))
}

/// The names that a mutation left.
fn left(images: &[RowImage]) -> Vec<Value> {
    images.iter().map(|image| column(image, "name")).collect()
}

#[apply(secured_stores!)]
async fn edit_of_an_own_rewritten_value_is_accepted(world: Rewriting) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let groups = [
        anna.group("m1", &json!([create("e", "1", &json!({"name": "One", "note": null}))])),
        anna.group("m2", &json!([renamed("One", "Two")])),
        anna.group("m3", &json!([renamed("Two", "three")])),
    ];
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    let endings: Vec<String> = answer.verdicts.iter().map(ended).collect();
    assert_eq!(endings, ["accepted -"; 3]);
    assert_eq!(left(&answer.verdicts[0].left), ["one"]);
    assert_eq!(left(&answer.verdicts[1].left), ["two"]);
    assert!(answer.verdicts[2].left.is_empty(), "stored as sent");
    assert_eq!(column(&answer.rows[0], "name"), "three");
    assert_eq!(world.one("SELECT name FROM e"), "three");
}

/// The answer was lost: the later push names the earlier mutation, whose verdict is stored.
#[apply(secured_stores!)]
async fn edit_of_a_later_push_is_compared_with_what_was_left(world: Rewriting) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let first = anna.group("m1", &json!([create("e", "1", &json!({"name": "One", "note": "n"}))]));
    let (verdict, _) = anna.push_group(first.clone()).await;
    assert_eq!(left(&verdict.left), ["one"]);
    let (verdict, _) = anna.push_group(first).await;
    assert_eq!(left(&verdict.left), ["one"], "of the stored verdict");
    let mut note =
        anna.group("m2", &json!([update("e", "1", &json!({"note": "n"}), &json!({"note": "o"}))]));
    note["after"] = json!(["m1"]);
    anna.push_group(note).await;
    let mut second = anna.group("m3", &json!([renamed("One", "Two")]));
    second["after"] = json!(["m2"]);
    let (verdict, _) = anna.push_group(second).await;
    assert_eq!(ended(&verdict), "accepted -", "m2 has not written the name");
    // Another writer's value is a conflict.
    world.write("UPDATE e SET name = 'theirs'");
    let mut third = anna.group("m4", &json!([renamed("Two", "Three")]));
    third["after"] = json!(["m3"]);
    assert_eq!(ended(&anna.push_group(third).await.0), "conflict row.changed");
    let mut gone =
        anna.group("m5", &json!([delete("e", "1", &json!({"name": "Two", "note": "o"}))]));
    gone["after"] = json!(["m3"]);
    assert_eq!(ended(&anna.push_group(gone).await.0), "conflict row.changed");
}

#[apply(secured_stores!)]
async fn delete_of_an_own_rewritten_row_is_accepted(world: Rewriting) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let row = json!({"name": "One", "note": "n"});
    let groups = [
        anna.group("m1", &json!([create("e", "1", &row)])),
        anna.group("m2", &json!([delete("e", "1", &row)])),
    ];
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    assert_eq!(ended(&answer.verdicts[1]), "accepted -");
    assert_eq!(world.one("SELECT count(*) FROM e"), "0");
}

#[apply(secured_stores!)]
async fn dropped_write_is_parked(world: Rewriting) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let row = |id: &str, name: &str| create("e", id, &json!({"name": name, "note": "n"}));
    let good = anna.group("m1", &json!([row("1", "one")]));
    let bad = anna.group("m2", &json!([row("2", "two"), row("3", "drop")]));
    let answer = anna.push_groups(json!([good, bad])).await.rejoin.unwrap();
    assert_eq!(ended(&answer.verdicts[0]), "accepted -");
    assert_eq!(ended(&answer.verdicts[1]), "rejected constraint.trigger");
    assert_eq!(answer.verdicts[1].record_id.as_deref(), Some("3"));
    assert_eq!(world.one("SELECT count(*) FROM e"), "1", "nothing of it");
    let note = update("e", "1", &json!({"note": "n"}), &json!({"note": "drop"}));
    assert_eq!(ended(&anna.push("m3", json!([note])).await.0), "rejected constraint.trigger");
    anna.accept("m4", json!([renamed("one", "keep")])).await;
    let gone = delete("e", "1", &json!({"name": "keep", "note": "n"}));
    assert_eq!(ended(&anna.push("m5", json!([gone])).await.0), "rejected constraint.trigger");
}
