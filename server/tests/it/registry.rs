//! Table configuration: explicit and inferred settings, and all problems with their kinds.

use macro_rules_attribute::apply;
use rejoin_server::ProblemKind::{
    Cycle, DuplicateTable, InvalidBucketConfig, InvalidPushPolicy, MissingOwnership,
    MissingParentColumn, OrphanedChain, RedundantProtected, Setting, TwoOwners, UnknownTable,
    UnregisteredParent,
};
use rejoin_server::{Config, ProblemKind, PushPolicy, Server, ServerError, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, World};

const HEAD: &str = "database = \"a.db\"\n[auth]\nheader = \"X-User-ID\"\n";

fn table(name: &str, keys: &str) -> String {
    format!("[[tables]]\nname = \"{name}\"\n{keys}\n")
}

/// Reads a valid table `o` with an owner, followed by these.
fn read(tables: &str) -> Result<Config, Vec<(ProblemKind, String)>> {
    let text = format!("{HEAD}{}{tables}", table("o", "owner_column = \"owner\""));
    Config::from_toml(&text, &[]).map_err(|problems| {
        problems.into_iter().map(|problem| (problem.kind, problem.place)).collect()
    })
}

/// A file with one mistake, the kind of the problem, and its place: a key of the table `t`, or a
/// path.
type Case = (String, ProblemKind, &'static str);

fn t(keys: &str) -> String {
    table("t", keys)
}

fn owned(keys: &str) -> String {
    t(&format!("owner_column = \"owner\"\n{keys}"))
}

fn rules_of_ownership() -> Vec<Case> {
    vec![
        (t("push = \"always\"\nowner_column = \"x\""), InvalidPushPolicy, "push"),
        (t("push = \"owner_only\""), MissingOwnership, "push"),
        (owned("write = \"team\""), InvalidPushPolicy, "write"),
        (owned("write = \"owner\"\npush = \"owner_only\""), Setting, "write"),
        (t("write = \"bucket\""), MissingOwnership, "write"),
        (
            owned("write = \"bucket\"\nbucket_by_column = \"owner\""),
            InvalidBucketConfig,
            "bucket_by_column",
        ),
        (t("write = \"bucket\"\nparent_table = \"o\"\nparent_fk_col = \"x\""), TwoOwners, "write"),
        (t("parent_table = \"o\""), MissingParentColumn, "parent_fk_col"),
        (t("parent_table = \"o\"\nparent_fk_col = \"\""), MissingParentColumn, "parent_fk_col"),
        (t("parent_fk_col = \"x\""), UnregisteredParent, "parent_table"),
        (t("parent_table = \"z\"\nparent_fk_col = \"x\""), UnregisteredParent, "parent_table"),
        (t("parent_table = \"t\"\nparent_fk_col = \"x\""), Cycle, "parent_table"),
        (
            t("parent_table = \"u\"\nparent_fk_col = \"x\"") + &table("u", "push = \"disabled\""),
            OrphanedChain,
            "parent_table",
        ),
        (owned("parent_table = \"o\"\nparent_fk_col = \"x\""), TwoOwners, "parent_table"),
        (owned("protected = [\"created_at\"]"), RedundantProtected, "protected"),
        (owned("protected = [\"owner\"]"), RedundantProtected, "protected"),
        (owned("protected = [\"id\"]"), RedundantProtected, "protected"),
        (owned("id_column = \"code\"\nprotected = [\"code\"]"), RedundantProtected, "protected"),
        (owned("updated_at_column = \"v\"\nprotected = [\"v\"]"), RedundantProtected, "protected"),
    ]
}

fn rules_of_buckets() -> Vec<Case> {
    vec![
        (owned("global_when_bucket_null = true"), InvalidBucketConfig, "global_when_bucket_null"),
        (
            t("allow_global_read = true\nglobal_when_bucket_null = true"),
            InvalidBucketConfig,
            "global_when_bucket_null",
        ),
        (t("bucket_prefix = \"team:\""), InvalidBucketConfig, "bucket_prefix"),
        (owned("bucket_prefix = \"\""), InvalidBucketConfig, "bucket_prefix"),
        (owned("bucket_prefix = \"#x\""), InvalidBucketConfig, "bucket_prefix"),
        (owned("bucket_prefix = \"us\""), InvalidBucketConfig, "bucket_prefix"),
        (owned("bucket_prefix = \"user:x\""), InvalidBucketConfig, "bucket_prefix"),
        (owned("bucket_prefix = \"glob\""), InvalidBucketConfig, "bucket_prefix"),
        (t("bucket_by_column = \"\""), InvalidBucketConfig, "bucket_by_column"),
        (owned("dependencies = [\"z\"]"), UnknownTable, "dependencies"),
        (table("o", "owner_column = \"x\""), DuplicateTable, "tables[1].name"),
        (owned("id_column = \"\""), Setting, "id_column"),
        (owned("colour = \"red\""), Setting, "colour"),
    ]
}

/// Each rule of v0.1.2's registry, and ours.
#[test]
fn every_registry_rule_has_its_kind() {
    for (tables, kind, place) in rules_of_ownership().into_iter().chain(rules_of_buckets()) {
        let found = read(&tables).unwrap_err();
        let place = if place.contains('[') { place.into() } else { format!("tables.t.{place}") };
        assert_eq!(found, [(kind, place)], "{tables}");
    }
}

#[test]
fn valid_configurations_are_accepted() {
    for keys in [
        "bucket_by_column = \"team\"",
        "owner_column = \"owner\"\nbucket_by_column = \"team\"\nbucket_prefix = \"team:\"",
        "owner_column = \"owner\"\nbucket_prefix = \"user:\"",
        "owner_column = \"owner\"\nallow_global_read = true\nglobal_when_bucket_null = true",
        "owner_column = \"owner\"\nid_column = \"code\"\nprotected = [\"id\"]",
        "parent_table = \"o\"\nparent_fk_col = \"o_id\"\nbucket_by_column = \"o_id\"\nbucket_prefix = \"o:\"",
        "owner_column = \"owner\"\nsync_columns = [\"name\"]\ndependencies = [\"o\"]",
    ] {
        assert!(read(&table("t", keys)).is_ok(), "{keys}");
    }
}

/// The first problem hides no other, neither of the same table nor of the same key.
#[test]
fn problems_of_one_key_are_reported_together() {
    let found = read(&table(
        "t",
        "push = \"owner_only\"\nprotected = [\"id\", \"created_at\", \"note\"]\nbucket_prefix = \"x\"",
    ));
    let kinds: Vec<ProblemKind> = found.unwrap_err().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [MissingOwnership, RedundantProtected, RedundantProtected, InvalidBucketConfig]
    );
}

#[test]
fn builder_configurations_are_validated_at_open() {
    let twice = Config::new("never-made.db")
        .with_table(TableConfig::owned("t", "owner"))
        .with_table(TableConfig::owned("t", "owner"))
        .with_table(TableConfig::child("c", "nowhere", ""))
        .with_table(TableConfig::global("g").with_push(PushPolicy::OwnerOnly));
    let Err(ServerError::Config(problems)) = Server::open(twice) else { panic!("it opened") };
    let kinds: Vec<ProblemKind> = problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [DuplicateTable, MissingParentColumn, UnregisteredParent, MissingOwnership]);
    assert!(!std::path::Path::new("never-made.db").exists());
}

#[test]
fn omitted_settings_are_inferred() {
    let config = read(
        &(table("c", "parent_table = \"o\"\nparent_fk_col = \"o_id\"")
            + &table("g", "allow_global_read = true")),
    )
    .unwrap();
    let policies: Vec<PushPolicy> = config.tables.iter().map(TableConfig::push_policy).collect();
    assert_eq!(policies, [PushPolicy::OwnerOnly, PushPolicy::OwnerOnly, PushPolicy::Disabled]);
    let columns = |table: &TableConfig| {
        (table.updated_at_column.clone(), table.deleted_at_column.clone(), table.id_column.clone())
    };
    let defaults = (String::from("updated_at"), String::from("deleted_at"), None);
    assert!(config.tables.iter().all(|table| columns(table) == defaults));
    assert!(config.tables.iter().all(|table| table.sync_columns.is_none()));
}

const NOTES: &str = "
    CREATE TABLE tasks(id TEXT PRIMARY KEY, owner TEXT, updated_at TEXT);
    CREATE TABLE notes(
      code TEXT PRIMARY KEY, id TEXT, owner TEXT, body TEXT, secret TEXT DEFAULT 'hush', needed TEXT NOT NULL DEFAULT 'x',
      task TEXT REFERENCES tasks(id), created_at TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE INDEX by_secret ON notes(secret, body);
    CREATE INDEX by_body ON notes(body);
";

fn notes(config: Config) -> Config {
    let notes = TableConfig::owned("notes", "owner").with_columns(["body"]);
    config.with_table(TableConfig::owned("tasks", "owner")).with_table(TableConfig {
        id_column: Some(String::from("code")),
        dependencies: vec![String::from("tasks")],
        ..notes
    })
}

/// Columns left out do not exist for devices: in rows, in the manifest, and for writes.
#[apply(stores!)]
async fn devices_get_named_and_required_columns(backend: Backend) {
    let world = World::with(backend, NOTES, notes);
    world.write("INSERT INTO notes(code, owner, body) VALUES('n1', 'anna', 'x')");
    let mut anna = world.device("anna", "a1").await;
    let rows = anna.snapshot_rows().await;
    let row = rows["notes/n1"].clone().unwrap();
    let mut names: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["body", "code", "created_at", "deleted_at", "owner", "updated_at"]);
    let create = |id: &str, data: Value| json!([{"operation": "create", "table_name": "notes", "id": id, "data": data}]);
    let (verdict, _) = anna.push("m1", create("n2", json!({"secret": "mine"}))).await;
    assert_eq!(verdict.code.as_deref(), Some("column.unknown"));
    anna.accept("m2", create("n3", json!({"body": "mine"}))).await;
    assert_eq!(world.one("SELECT secret FROM notes WHERE code = 'n3'"), "hush");
    world.write("UPDATE notes SET secret = 'louder' WHERE code = 'n3'");
    let again = anna.pull_rows().await;
    assert!(!format!("{again:?}").contains("louder"));
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (_, _, manifest) = world.send("GET", "/sync/schema", &headers, "").await;
    let table = &manifest["tables"][0];
    assert_eq!(table["dependencies"], json!(["tasks"]));
    assert!(
        !table.to_string().contains("secret") && !table.to_string().contains("needed"),
        "{table}"
    );
    assert!(table.to_string().contains("by_body"), "{table}");
}

#[apply(stores!)]
fn configured_columns_missing_in_the_table_are_reported(backend: Backend) {
    let open = |config: Config| match Server::open(Config { strict: true, ..config }) {
        Err(ServerError::Schema(problems)) => {
            problems.into_iter().map(|p| (p.table, p.column.unwrap_or_default())).collect()
        }
        other => vec![(format!("{other:?}"), String::new())],
    };
    let bad = |config: Config| {
        let t =
            TableConfig::owned("t", "owner").with_columns(["nowhere"]).with_bucket("team", "team:");
        config.with_table(TableConfig { id_column: Some(String::from("body")), ..t })
    };
    let tables = "CREATE TABLE t(id TEXT PRIMARY KEY, owner TEXT, body TEXT, must TEXT NOT NULL, updated_at TEXT)";
    let expected: Vec<(String, String)> = ["team", "nowhere", "body", "must"]
        .map(|column| (String::from("t"), String::from(column)))
        .into();
    let world = World::new(backend);
    world.write(tables);
    let config = Config { tables: Vec::new(), ..world.config.clone() };
    assert_eq!(open(bad(config)), expected);
}

/// A device computes a generated column from its other columns.
#[test]
fn generated_column_requires_its_source_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let tables = "CREATE TABLE t(id TEXT PRIMARY KEY, owner TEXT, price INTEGER, twice INTEGER AS (price * 2), updated_at TEXT)";
    rusqlite::Connection::open(&path).unwrap().execute_batch(tables).unwrap();
    let with = |columns: &[&str]| {
        let table = TableConfig::owned("t", "owner").with_columns(columns.iter().copied());
        Server::open(Config::new(&path).with_table(table))
    };
    assert!(with(&["twice"]).is_err());
    assert!(with(&["twice", "price"]).is_ok());
    assert!(with(&[]).is_ok());
}
