//! A group is applied as a set: rows that need each other are accepted in any order, if the database
//! is satisfied in the end.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::Verdict;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, Device, World, create, delete, ended, update};

/// A tree, two tables that refer to each other, and a ring without gaps; deletes are hard.
const IN_A_FILE: &str = "
    CREATE TABLE node(
      id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, parent TEXT REFERENCES node, updated_at TEXT);
    CREATE TABLE team(id TEXT PRIMARY KEY, owner_id TEXT, lead TEXT REFERENCES member(id), updated_at TEXT);
    CREATE TABLE member(id TEXT PRIMARY KEY, owner_id TEXT, team TEXT REFERENCES team(id), updated_at TEXT);
    CREATE TABLE ring(
      id TEXT PRIMARY KEY, owner_id TEXT, next TEXT NOT NULL REFERENCES ring(id), updated_at TEXT);
    CREATE TABLE slot(id TEXT PRIMARY KEY, owner_id TEXT, place TEXT NOT NULL, updated_at TEXT);
";

const ON_POSTGRES: &str = "
    CREATE TABLE node(
      id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, parent TEXT REFERENCES node ON DELETE RESTRICT,
      updated_at TEXT);
    CREATE TABLE team(id TEXT PRIMARY KEY, owner_id TEXT, lead TEXT, updated_at TEXT);
    CREATE TABLE member(id TEXT PRIMARY KEY, owner_id TEXT, team TEXT REFERENCES team(id), updated_at TEXT);
    ALTER TABLE team ADD FOREIGN KEY (lead) REFERENCES member(id);
    CREATE TABLE ring(
      id TEXT PRIMARY KEY, owner_id TEXT,
      next TEXT NOT NULL REFERENCES ring(id) DEFERRABLE INITIALLY DEFERRED, updated_at TEXT);
    CREATE TABLE slot(id TEXT PRIMARY KEY, owner_id TEXT, place TEXT NOT NULL UNIQUE, updated_at TEXT);
";

fn configured(config: Config) -> Config {
    let names = ["node", "team", "member", "ring", "slot"];
    names
        .into_iter()
        .fold(config, |config, name| config.with_table(TableConfig::owned(name, "owner_id")))
}

/// A server over tables whose rows refer to each other.
struct Knotted(World);

impl From<Backend> for Knotted {
    fn from(backend: Backend) -> Self {
        let tables = if backend == Backend::Sqlite { IN_A_FILE } else { ON_POSTGRES };
        Self(World::with(backend, tables, configured))
    }
}

fn node(id: &str, parent: Option<&str>) -> Value {
    create("node", id, &json!({"parent": parent}))
}

fn erase(id: &str, parent: Option<&str>) -> Value {
    delete("node", id, &json!({"parent": parent, "name": null}))
}

/// The verdict, with the row and the column that it names.
fn named(verdict: &Verdict) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
    let Verdict { table_name, record_id, column, .. } = verdict;
    format!("{} {}/{} {}", ended(verdict), text(table_name), text(record_id), text(column))
}

async fn refused(device: &mut Device<'_>, id: &str, changes: Value) -> String {
    let (verdict, _) = device.push(id, changes).await;
    named(&verdict)
}

const TREE: &str = "SELECT coalesce(string_agg(id || '<' || coalesce(parent, ''), ' '), '')
    FROM (SELECT * FROM node ORDER BY id) AS n";

#[apply(secured_stores!)]
async fn child_before_its_parent_is_accepted(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([node("c", Some("p")), node("p", None)])).await;
    assert_eq!(world.one(TREE), "c<p p<");
    let deep = [node("a", Some("b")), node("b", Some("d")), node("d", Some("e")), node("e", None)];
    anna.accept("m2", json!(deep)).await;
    assert_eq!(world.one(TREE), "a<b b<d c<p d<e e< p<");
    let to_later = update("node", "c", &json!({"parent": "p"}), &json!({"parent": "z"}));
    anna.accept("m3", json!([to_later, node("z", Some("a"))])).await;
    assert_eq!(world.one(TREE), "a<b b<d c<z d<e e< p< z<a");
}

#[apply(secured_stores!)]
async fn chain_is_deleted_in_any_order(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let rows = [node("a", None), node("b", Some("a")), node("c", Some("b")), node("d", Some("c"))];
    anna.accept("m1", json!(rows)).await;
    let ends = [erase("a", None), erase("c", Some("b")), erase("b", Some("a"))];
    let (verdict, _) = anna.push("m2", json!(ends)).await;
    assert_eq!(ended(&verdict), "rejected constraint.references", "d refers to c");
    assert_eq!(verdict.record_id.as_deref(), Some("c"));
    assert_eq!(world.one(TREE), "a< b<a c<b d<c", "nothing of it");
    let moved = update("node", "d", &json!({"parent": "c"}), &json!({"parent": "e"}));
    let [one, two, three] = ends;
    anna.accept("m3", json!([one, moved, two, node("e", None), three])).await;
    assert_eq!(world.one(TREE), "d<e e<");
}

#[apply(secured_stores!)]
async fn cycle_is_created_and_deleted(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let rows = [node("a", Some("b")), node("b", Some("c")), node("c", Some("a"))];
    anna.accept("m1", json!(rows)).await;
    assert_eq!(world.one(TREE), "a<b b<c c<a");
    let ends = [erase("a", Some("b")), erase("b", Some("c")), erase("c", Some("a"))];
    anna.accept("m2", json!(ends)).await;
    assert_eq!(world.one(TREE), "");
    anna.accept("m3", json!([node("s", Some("s"))])).await;
    anna.accept("m4", json!([erase("s", Some("s"))])).await;
    let team = create("team", "t", &json!({"lead": "m"}));
    let member = create("member", "m", &json!({"team": "t"}));
    anna.accept("m5", json!([team, member])).await;
    assert_eq!(world.one("SELECT lead FROM team") + &world.one("SELECT team FROM member"), "mt");
    let team = delete("team", "t", &json!({"lead": "m"}));
    let member = delete("member", "m", &json!({"team": "t"}));
    anna.accept("m6", json!([team, member])).await;
    assert_eq!(world.one("SELECT count(*) FROM team"), "0");
}

#[apply(secured_stores!)]
async fn cycle_without_gaps_is_created(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let ring = |id: &str, next: &str| create("ring", id, &json!({"next": next}));
    anna.accept("m1", json!([ring("a", "b"), ring("b", "c"), ring("c", "a")])).await;
    let open = json!([ring("x", "y"), ring("y", "nowhere")]);
    let found = refused(&mut anna, "m2", open).await;
    assert!(found.starts_with("rejected constraint.references ring/"), "{found}");
    assert_eq!(world.one("SELECT count(*) FROM ring"), "3");
    // Foreign keys are checked again.
    let found = refused(&mut anna, "m3", json!([ring("z", "nowhere")])).await;
    assert_eq!(found, "rejected constraint.references ring/z next");
}

/// A missing row and a row of another user are the same to the device, whatever else is in the group.
#[apply(secured_stores!)]
async fn missing_reference_in_a_set_names_its_row(world: Knotted) {
    let world = world.0;
    let mut ben = world.device("ben", "b1").await;
    ben.accept("m0", json!([node("his", None)])).await;
    let mut anna = world.device("anna", "a1").await;
    let mut messages = Vec::new();
    for parent in ["nowhere", "his"] {
        let rows = [node("a", Some("b")), node("c", Some(parent)), node("b", Some("a"))];
        let (verdict, _) = anna.push(&format!("of {parent}"), json!(rows)).await;
        assert_eq!(named(&verdict), "rejected constraint.references node/c parent", "{parent}");
        messages.push(verdict.message);
    }
    assert_eq!(messages[0], messages[1]);
    assert_eq!(world.one(TREE), "his<");
    let mine = json!([node("a", Some("b")), node("b", None)]);
    anna.accept("m1", mine).await;
}

/// More rows than are refused in a row before another order is tried.
#[apply(secured_stores!)]
async fn many_rows_that_need_each_other_are_accepted(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let name = |at: usize| format!("n{at:03}");
    let pair = |at: usize| node(&name(at), Some(&name(at ^ 1)));
    anna.accept("m1", json!((0..60).map(pair).collect::<Vec<_>>())).await;
    assert_eq!(world.one("SELECT count(*) FROM node WHERE parent IS NOT NULL"), "60");
}

/// The same for values that are unique.
#[apply(postgres_stores!)]
async fn many_rows_that_exchange_values_are_accepted(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let name = |at: usize| format!("n{at:03}");
    let place = |at: usize| format!("p{at:03}");
    let slot = |at: usize| create("slot", &name(at), &json!({"place": place(at)}));
    anna.accept("m2", json!((0..60).map(slot).collect::<Vec<_>>())).await;
    let moved = |at: usize, to: usize| {
        update("slot", &name(at), &json!({"place": place(at)}), &json!({"place": place(to)}))
    };
    let reverse: Vec<Value> = (0..60).map(|at| moved(at, 59 - at)).collect();
    anna.accept("m3", json!(reverse)).await;
    assert_eq!(world.one("SELECT place FROM slot WHERE id = 'n000'"), "p059");
    assert_eq!(world.one("SELECT place FROM slot WHERE id = 'n059'"), "p000");
    // The last row stays, and has the place of the first.
    let back = |at: usize| {
        update("slot", &name(at), &json!({"place": place(59 - at)}), &json!({"place": place(at)}))
    };
    let back: Vec<Value> = (0..59).map(back).collect();
    let (verdict, _) = anna.push("m4", json!(back)).await;
    assert_eq!(ended(&verdict), "rejected constraint.unique", "{verdict:?}");
}

/// The groups beside a set, in the same push, are not affected by it.
#[apply(secured_stores!)]
async fn sets_in_one_push_are_applied_one_by_one(world: Knotted) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let groups = [
        anna.group("m1", &json!([node("p", None)])),
        anna.group("m2", &json!([node("a", Some("b")), node("b", Some("a"))])),
        anna.group("m3", &json!([node("x", Some("nowhere")), node("y", None)])),
        anna.group("m4", &json!([node("c", Some("a"))])),
    ];
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    let found: Vec<String> = answer.verdicts.iter().map(ended).collect();
    let refused = "rejected constraint.references";
    assert_eq!(found, ["accepted -", "accepted -", refused, "accepted -"]);
    assert_eq!(world.one(TREE), "a<b b<a c<a p<");
    let mut two = world.device("anna", "a2").await;
    assert_eq!(two.snapshot(10).await, ["node/a", "node/b", "node/c", "node/p"]);
}
