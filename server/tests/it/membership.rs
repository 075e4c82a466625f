//! Membership from the application's own tables: what the query names is held, and a change of the
//! tables wakes the devices of the users concerned.

use macro_rules_attribute::apply;
use rejoin_server::{Config, MembershipConfig, PushPolicy, Server, ServerError, TableConfig};
use serde_json::json;

use crate::world::{Backend, Device, World, create, ended, update};

const TABLES: &str = "
    CREATE TABLE team(id INTEGER PRIMARY KEY, name TEXT, open INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE team_member(
      user_id TEXT NOT NULL, team_id INTEGER NOT NULL, role TEXT NOT NULL, PRIMARY KEY(user_id, team_id));
    CREATE TABLE reports(id TEXT PRIMARY KEY, team_id INTEGER, title TEXT, updated_at TEXT, deleted_at TEXT);
";

const QUERY: &str = "SELECT user_id, 'team:' || team_id AS bucket, role <> 'viewer' AS writes
    FROM team_member JOIN team ON team.id = team_member.team_id WHERE team.open = 1";

fn configure(config: Config) -> Config {
    let reports = TableConfig::new("reports").with_bucket("team_id", "team:");
    let tables = ["team_member", "team"].map(String::from).into();
    config
        .with_table(reports.with_push(PushPolicy::Bucket))
        .with_membership(MembershipConfig { query: QUERY.into(), tables })
}

/// Anna is a member of teams 1 and 2, ben of team 1; vera reads team 1.
fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, configure);
    world.write(
        "INSERT INTO team(id, name) VALUES(1, 'red'), (2, 'blue');
         INSERT INTO team_member(user_id, team_id, role) VALUES
           ('anna', 1, 'member'), ('anna', 2, 'member'), ('ben', 1, 'member'), ('vera', 1, 'viewer');
         INSERT INTO reports(id, team_id, title) VALUES('r1', 1, 'a'), ('r2', 2, 'b'), ('r3', 3, 'c')",
    );
    world
}

async fn sees(world: &World, user: &str) -> Vec<String> {
    world.device(user, "look").await.snapshot(9).await
}

async fn push(device: &mut Device<'_>, id: &str, change: serde_json::Value) -> String {
    ended(&device.push(id, json!([change])).await.0)
}

fn retitle(id: &str, old: &str, new: &str) -> serde_json::Value {
    update("reports", id, &json!({"title": old}), &json!({"title": new}))
}

#[apply(secured_stores!)]
async fn tables_of_the_application_name_members(backend: Backend) {
    let world = world(backend);
    assert_eq!(sees(&world, "anna").await, ["reports/r1", "reports/r2"]);
    assert_eq!(sees(&world, "vera").await, ["reports/r1"]);
    assert_eq!(sees(&world, "zoe").await, [""; 0]);
    let mut anna = world.device("anna", "a").await;
    let mut ben = world.device("ben", "b").await;
    let mut vera = world.device("vera", "v").await;
    assert_eq!(push(&mut anna, "m1", retitle("r1", "a", "x")).await, "accepted -");
    assert_eq!(push(&mut ben, "m2", retitle("r1", "x", "y")).await, "accepted -");
    assert_eq!(
        push(&mut ben, "m3", create("reports", "n", &json!({"team_id": 1}))).await,
        "accepted -"
    );
    assert_eq!(push(&mut vera, "m4", retitle("r1", "y", "z")).await, "refused ownership");
    assert_eq!(push(&mut ben, "m5", retitle("r2", "b", "z")).await, "conflict row.not_found");
    // Granted buckets are held beside.
    world.server.grant("vera", "team:3").unwrap();
    assert_eq!(sees(&world, "vera").await, ["reports/n", "reports/r1", "reports/r3"]);
    assert_eq!(push(&mut vera, "m6", retitle("r3", "c", "z")).await, "accepted -");
}

/// Each statement changes what some users hold; exactly their devices are woken, and their next pull
/// brings the rows or removes them.
#[apply(secured_stores!)]
async fn change_of_the_tables_wakes_the_users_concerned(backend: Backend) {
    let world = world(backend);
    let mut ben = world.device("ben", "b").await;
    let mut base = ben.snapshot_rows().await;
    for (statement, woken, rows) in [
        ("INSERT INTO team_member(user_id, team_id, role) VALUES('ben', 2, 'viewer')", "ben", 2),
        ("UPDATE team_member SET role = 'member' WHERE user_id = 'ben' AND team_id = 2", "ben", 2),
        ("UPDATE team SET open = 0 WHERE id = 2", "anna ben", 1),
        ("UPDATE team SET open = 1 WHERE id = 2", "anna ben", 2),
        (
            "UPDATE team_member SET user_id = 'zoe' WHERE user_id = 'ben' AND team_id = 2",
            "ben zoe",
            1,
        ),
        ("DELETE FROM team_member WHERE user_id = 'vera'", "vera", 1),
        ("DELETE FROM team_member WHERE user_id = 'ben'", "ben", 0),
        ("INSERT INTO team(id, name) VALUES(9, 'empty')", "", 0),
    ] {
        let before = entries(&world);
        world.write(statement);
        while ben.pull_into(&mut base, 2).await {}
        assert_eq!(woken_after(&world, &before), woken, "{statement}");
        let live = base.values().filter(|row| row.is_some()).count();
        assert_eq!(live, rows, "{statement}");
    }
}

/// The last position of the change log.
fn entries(world: &World) -> String {
    let position = if world.database.is_some() { "position" } else { "seq" };
    world.one(&format!("SELECT coalesce(max({position}), 0) FROM rejoin_changelog"))
}

/// The users who are woken by entries after this position.
fn woken_after(world: &World, position: &str) -> String {
    let (column, list) = match world.database {
        Some(_) => ("position", "coalesce(string_agg(substr(bucket, 6), ' ' ORDER BY bucket), '')"),
        None => ("seq", "coalesce(group_concat(substr(bucket, 6), ' ' ORDER BY bucket), '')"),
    };
    let users = "(SELECT DISTINCT bucket FROM rejoin_changelog WHERE table_number = 0";
    world.one(&format!("SELECT {list} FROM {users} AND {column} > {position}) AS users"))
}

/// An id that is no value of the column's type has no memberships; the column's index serves.
#[tokio::test]
async fn user_ids_in_postgres_are_compared_in_their_own_type() {
    let configure = |config: Config| {
        let reports = TableConfig::new("reports").with_bucket("team_id", "team:");
        let query = "SELECT user_id, 'team:' || team_id AS bucket FROM team_member".into();
        let membership = MembershipConfig { query, tables: vec!["team_member".into()] };
        config.with_table(reports.with_push(PushPolicy::Bucket)).with_membership(membership)
    };
    let tables = "
        CREATE TABLE team_member(user_id uuid NOT NULL, team_id uuid NOT NULL, PRIMARY KEY(user_id, team_id));
        CREATE TABLE reports(id TEXT PRIMARY KEY, team_id uuid, title TEXT, updated_at TEXT)";
    let world = World::with(Backend::Postgres, tables, configure);
    let (anna, team) =
        ("7d0e8f9a-1b2c-4d3e-8f90-a1b2c3d4e5f6", "00000000-0000-4000-8000-000000000001");
    world.write(&format!(
        "INSERT INTO team_member VALUES('{anna}', '{team}'); INSERT INTO reports VALUES('r', '{team}', 'a', NULL)"
    ));
    assert_eq!(sees(&world, anna).await, ["reports/r"]);
    for other in ["anna", &anna.to_uppercase(), "' OR true --", ""] {
        if !other.is_empty() {
            assert_eq!(sees(&world, other).await, [""; 0], "{other}");
        }
    }
    let mut device = world.device(anna, "a").await;
    assert_eq!(push(&mut device, "m1", retitle("r", "a", "b")).await, "accepted -");
    let plan = world.server.query_plans().unwrap().remove(0).steps;
    assert!(plan.iter().all(|step| !step.is_scan), "{plan:?}");
}

#[apply(stores!)]
async fn plan_of_the_query_shows_a_scan(backend: Backend) {
    let world = world(backend);
    let plan = world.server.query_plans().unwrap().remove(0).steps;
    assert!(plan.iter().all(|step| !step.is_scan), "the key serves: {plan:?}");
    let config = Config {
        membership: Some(MembershipConfig {
            query: "SELECT role AS user_id, 'team:' || team_id AS bucket FROM team_member".into(),
            tables: vec!["team_member".into()],
        }),
        ..world.config.clone()
    };
    let plan = Server::open(config).unwrap().query_plans().unwrap().remove(0).steps;
    assert!(plan.iter().any(|step| step.is_scan), "{plan:?}");
}

/// What cannot be used is refused at start, with the setting concerned.
#[apply(stores!)]
async fn unusable_membership_is_refused_at_start(backend: Backend) {
    let world = world(backend);
    let all = ["team_member"];
    for (query, tables, expected) in [
        ("SELECT nothing FROM team_member", &all[..], "membership.query: "),
        ("SELECT user_id FROM team_member", &all, "membership.query: it has no column bucket"),
        ("SELECT team_id AS bucket FROM team_member", &all, "it has no column user_id"),
        ("DELETE FROM team_member", &all, "membership.query: "),
        ("SELECT 1; SELECT 2", &all, "membership.query: one SELECT"),
        ("", &all, "membership.query: missing"),
        (QUERY, &[], "membership.tables: missing"),
        (QUERY, &["nowhere"], "membership.tables: the database has no table nowhere"),
    ] {
        let tables = tables.iter().map(|name| String::from(*name)).collect();
        let membership = Some(MembershipConfig { query: query.into(), tables });
        let error = Server::open(Config { membership, ..world.config.clone() }).unwrap_err();
        assert!(matches!(error, ServerError::Config(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{query}: {error}");
    }
    // Nothing was changed by the attempts.
    assert_eq!(sees(&world, "ben").await, ["reports/r1"]);
}

/// A server without the query removes what the other has installed.
#[apply(stores!)]
async fn removed_query_grants_nothing(backend: Backend) {
    let world = world(backend);
    let server = Server::open(Config { membership: None, ..world.config.clone() }).unwrap();
    let triggers = match world.database {
        Some(_) => "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rejoin\\_membership%'",
        None => {
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'rejoin\\_member\\_%' ESCAPE '\\'"
        }
    };
    assert_eq!(world.one(triggers), "0");
    assert_eq!(server.grants("anna").unwrap(), []);
    let before = entries(&world);
    world.write("UPDATE team_member SET role = 'viewer'");
    sees(&world, "anna").await;
    assert_eq!(woken_after(&world, &before), "");
}

/// A change of the tables that the query does not survive fails no write of the application.
#[tokio::test]
async fn broken_query_in_postgres_fails_no_write_of_the_application() {
    let world = world(Backend::Postgres);
    world.write("ALTER TABLE team RENAME COLUMN open TO is_open");
    world.write("INSERT INTO team_member(user_id, team_id, role) VALUES('zoe', 1, 'member')");
    world.write("ALTER TABLE team RENAME COLUMN is_open TO open");
    assert_eq!(sees(&world, "zoe").await, ["reports/r1"]);
}

/// The application may change what the query does not name.
#[tokio::test]
async fn columns_that_the_query_does_not_name_can_be_dropped_in_sqlite() {
    let world = world(Backend::Sqlite);
    world.write("ALTER TABLE team DROP COLUMN name");
    world.write("ALTER TABLE team ADD COLUMN note TEXT");
    world.write("INSERT INTO team_member(user_id, team_id, role) VALUES('zoe', 1, 'member')");
    assert_eq!(sees(&world, "zoe").await, ["reports/r1"]);
    let refused = world.outsider().execute_batch("ALTER TABLE team DROP COLUMN open");
    assert!(refused.is_err(), "the query names it");
}

/// A table that only wakes is dropped: the rights stay as the query says.
#[tokio::test]
async fn dropped_table_that_only_wakes_gives_no_right_in_sqlite() {
    let world = World::with(
        Backend::Sqlite,
        &format!("{TABLES} CREATE TABLE extra(id INTEGER);"),
        |config| {
            let mut config = configure(config);
            config.membership.as_mut().unwrap().tables.push("extra".into());
            config
        },
    );
    world.write(
        "INSERT INTO team(id) VALUES(1); INSERT INTO team_member VALUES('vera', 1, 'viewer');
         INSERT INTO reports(id, team_id, title) VALUES('r1', 1, 'a'); DROP TABLE extra",
    );
    let mut vera = world.device("vera", "v").await;
    assert_eq!(push(&mut vera, "m1", retitle("r1", "a", "z")).await, "refused ownership");
    assert_eq!(sees(&world, "vera").await, ["reports/r1"]);
}
