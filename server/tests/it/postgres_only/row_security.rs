//! Row level security of PostgreSQL in addition to the engine's predicates: what it refuses by
//! itself, when a start fails, and that it blocks nothing else. Tests whose path ends in
//! `::postgres_rls` run with it as well.

use std::process::Command;

use rejoin_server::{
    ActionConfig, Bypass, Config, RowSecurity, RowSecurityProblem, Server, ServerError,
};
use serde_json::json;

use crate::world::{TABLES, World, place, standard};
use rejoin_postgres::Database;

/// Roles belong to the whole cluster: each test has its own.
fn named(database: &Database, sql: &str) -> String {
    sql.replace("{app}", &database.role("app")).replace("{owner}", &database.role("owner"))
}

fn security(database: &Database) -> RowSecurity {
    RowSecurity { role: database.role("app"), ..RowSecurity::default() }
}

fn problems(config: &Config) -> Vec<RowSecurityProblem> {
    match Server::open(config.clone()) {
        Ok(_) => Vec::new(),
        Err(ServerError::RowSecurity(problems)) => problems,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn start_is_refused_if_policies_are_ineffective() {
    let world = World::postgres(TABLES, standard);
    let database = world.database.as_ref().unwrap();
    let session = database.session();
    let with = |security| world.config.clone().with_row_security(security);
    let config = with(security(database));
    let role = database.role("app");
    assert_eq!(problems(&config), [RowSecurityProblem::NoRole { role: role.clone() }]);
    session.run(&named(database, "CREATE ROLE {app} NOLOGIN; CREATE ROLE {owner} NOLOGIN"));
    let not_enabled = problems(&config);
    assert_eq!(not_enabled.len(), 5, "{not_enabled:?}");
    assert_eq!(not_enabled[1], RowSecurityProblem::NotEnabled { table: "places".into() });
    session.run(&rejoin_server::row_security(&config).unwrap());
    let bypasses = |how| Some(RowSecurityProblem::Bypasses { role: role.clone(), how });
    let stale = || Some(RowSecurityProblem::Stale { table: "places".into() });
    let restricts = || Some(RowSecurityProblem::Restricts { table: "countries".into() });
    let open_policy = "DROP POLICY rejoin_read ON places; CREATE POLICY rejoin_read ON places FOR SELECT TO {app} USING (true)";
    let steps = [
        ("SELECT", None),
        ("ALTER ROLE {app} SUPERUSER", bypasses(Bypass::Superuser)),
        ("ALTER ROLE {app} NOSUPERUSER BYPASSRLS", bypasses(Bypass::Attribute)),
        ("ALTER ROLE {app} NOBYPASSRLS; GRANT {owner} TO {app}", None),
        ("ALTER TABLE places OWNER TO {owner}", bypasses(Bypass::Owner)),
        ("REVOKE {owner} FROM {app}; REVOKE DELETE ON places FROM {app}", stale()),
        ("GRANT SELECT, INSERT, UPDATE, DELETE ON places TO {app}", None),
        ("CREATE POLICY mine ON countries AS RESTRICTIVE USING (code <> 'x')", restricts()),
        ("ALTER POLICY mine ON countries TO {owner}", None),
        ("CREATE POLICY mine ON places AS RESTRICTIVE TO {app} USING (id <> 'x')", None),
        (open_policy, stale()),
    ];
    for (sql, expected) in steps {
        session.run(&named(database, sql));
        let is_bypass = matches!(expected, Some(RowSecurityProblem::Bypasses { .. }));
        assert_eq!(problems(&config), Vec::from_iter(expected), "{sql}");
        if is_bypass {
            let bypassing = RowSecurity { allow_bypass: true, ..security(database) };
            assert_eq!(problems(&with(bypassing)), [], "{sql}");
        }
    }
}

#[test]
fn rls_command_prints_the_required_policies() {
    let world = World::postgres(TABLES, standard);
    let database = world.database.as_ref().unwrap();
    let text = format!(
        "store = \"{}\"\n[auth]\nheader = \"X-User-ID\"\n[postgres]\nrls = true\nrole = \"{}\"\n\
         [[tables]]\nname = \"places\"\nowner_column = \"owner_id\"\n\
         [[tables]]\nname = \"visits\"\nparent_table = \"places\"\nparent_fk_col = \"place_id\"\n\
         [[tables]]\nname = \"countries\"\nallow_global_read = true\n",
        database.url,
        database.role("app"),
    );
    std::fs::write(world.folder.path().join("rejoin.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-server"));
        command.args(arguments).current_dir(world.folder.path()).output().unwrap()
    };
    let refused = run(&["check"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("rejoin-server rls --print"), "{words}");
    let printed = run(&["rls", "--print"]);
    let script = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(script.matches("CREATE POLICY").count(), 12, "{script}");
    // Running it again changes nothing.
    for _ in 0..2 {
        database.session().run(&script);
        assert!(run(&["check"]).status.success());
    }
}

/// The statement that sets the user of a transaction.
fn acting_for(user: &str, former: &str) -> String {
    let former = if former.is_empty() { "{}" } else { former };
    let held = format!(
        "ARRAY['user:{user}', 'global'] || ARRAY(SELECT bucket FROM rejoin.bucket WHERE user_id = '{user}') || '{former}'::text[]"
    );
    let held = if user.is_empty() { String::from("ARRAY[]::text[]") } else { held };
    format!(
        "SELECT set_config('rejoin.user', '{user}', true), set_config('rejoin.buckets', ({held})::text, true),
         set_config('rejoin.owners', ARRAY(SELECT substr(b, 6) FROM unnest({held}) AS b WHERE b LIKE 'user:%')::text, true)"
    )
}

/// Queries the database directly under the serving role.
#[test]
fn policies_alone_isolate_users() {
    let mut world = World::postgres(TABLES, standard);
    world.secure();
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('pa', 'anna', 'x'), ('pb', 'ben', 'x'), ('pc', 'cleo', 'x');
         INSERT INTO visits(id, place_id) VALUES('va', 'pa'), ('vb', 'pb'), ('vc', 'pc');
         INSERT INTO countries(code) VALUES('NO'); INSERT INTO secrets(id) VALUES('s');
         INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:cleo')",
    );
    let database = world.database.as_ref().unwrap();
    let session = database.session();
    let count = "SELECT (SELECT count(*) FROM places), (SELECT count(*) FROM visits), (SELECT count(*) FROM tags),
        (SELECT count(*) FROM countries), (SELECT count(*) FROM secrets)";
    let seen = [
        ("", "", "0 0 0 0 0"),
        ("anna", "", "2 2 0 1 0"),
        ("ben", "", "1 1 0 1 0"),
        ("ben", "{user:anna}", "2 2 0 1 0"),
        ("BEN", "", "0 0 0 1 0"),
        ("{ben,anna}", "", "0 0 0 1 0"),
    ];
    let begin = |user: &str, former: &str| {
        session.run(&named(database, "BEGIN; SET LOCAL ROLE {app}"));
        session.run(&acting_for(user, former));
    };
    for (user, former, expected) in seen {
        begin(user, former);
        assert_eq!(session.one(count), expected, "{user} {former}");
        session.run("ROLLBACK");
    }
    let (none, one) = (Ok("0"), Ok("1"));
    let refused = Err("42501");
    let tries = [
        ("UPDATE places SET name = 'y' WHERE id = 'pa'", one),
        ("UPDATE places SET name = 'y' WHERE id = 'pb'", none),
        ("UPDATE places SET name = 'y' WHERE id = 'pc'", refused),
        ("UPDATE places SET owner_id = 'ben' WHERE id = 'pa'", refused),
        ("DELETE FROM visits WHERE id IN ('vb', 'vc')", none),
        ("UPDATE visits SET place_id = 'pb' WHERE id = 'va'", refused),
        ("INSERT INTO places(id, owner_id, name) VALUES('n', 'ben', 'x')", refused),
        ("INSERT INTO visits(id, place_id) VALUES('n', 'pa')", one),
        ("INSERT INTO visits(id, place_id) VALUES('n', 'pc')", refused),
        ("INSERT INTO tags(id, visit_id) VALUES(1, 'vb')", refused),
        ("INSERT INTO countries(code) VALUES('SE')", refused),
        ("DELETE FROM countries", none),
        ("INSERT INTO secrets(id) VALUES('t')", refused),
    ];
    for (sql, expected) in tries {
        begin("anna", "");
        let counted = format!("WITH done AS ({sql} RETURNING 1) SELECT count(*) FROM done");
        session.run("SAVEPOINT before");
        let touched = session.attempt(&counted).map_err(|why| why[..5].to_owned()).map(|()| {
            session.run("ROLLBACK TO before");
            session.one(&counted)
        });
        let touched = touched.as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(touched, expected, "{sql}");
        session.run("ROLLBACK");
    }
}

/// Otherwise the response time would reveal whether another user's row exists. Only the comparison
/// of the found row remains.
#[test]
fn policy_cost_is_equal_for_hidden_and_missing_rows() {
    let mut world = World::postgres(TABLES, standard);
    world.secure();
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('pb', 'ben', 'x');
         INSERT INTO visits(id, place_id) VALUES('vb', 'pb');
         INSERT INTO rejoin_bucket(user_id, bucket) VALUES('anna', 'user:cleo')",
    );
    let database = world.database();
    let session = database.session();
    session.run("SET track_functions = 'all'");
    // Function calls, and scans of other tables.
    let counted = "SELECT coalesce((SELECT sum(calls) FROM pg_stat_xact_user_functions), 0)
        + (SELECT sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)) FROM pg_stat_xact_user_tables WHERE relname <> 'places')";
    let count = || session.one(counted).parse::<i64>().unwrap();
    let executed = |sql: &str, id: &str| {
        session.run("BEGIN");
        session.run(&acting_for("anna", ""));
        let before = count();
        session.run(&named(database, "SET LOCAL ROLE {app}"));
        session.run(&sql.replace("ID", id));
        session.run("RESET ROLE");
        let executed = count() - before;
        session.run("ROLLBACK");
        executed
    };
    for sql in [
        "SELECT FROM places WHERE id = 'ID'",
        "SELECT FROM places WHERE id = 'ID' FOR UPDATE",
        "UPDATE places SET name = 'y' WHERE id = 'ID'",
        "DELETE FROM places WHERE id = 'ID'",
    ] {
        assert_eq!((executed(sql, "pb"), executed(sql, "none")), (0, 0), "{sql}");
    }
}

/// A check counts all rows, not those visible to the user; later statements run for the user again.
#[tokio::test]
async fn action_check_sees_every_row() {
    let two = ActionConfig::new("enter").with_check("SELECT count(*) = 2 FROM places", "not two");
    let mut world = World::postgres(TABLES, |config| standard(config).with_action(two.clone()));
    world.secure();
    world.write(
        "INSERT INTO places(id, owner_id, name) VALUES('pa', 'anna', 'x'), ('pb', 'ben', 'x')",
    );
    let mut anna = world.device("anna", "a").await;
    let mut groups = Vec::new();
    for id in ["first", "second"] {
        let mut group = anna.group(id, &json!([place(id, "x")]));
        group["action"] = json!({"name": "enter", "version": 1, "arguments": {}});
        groups.push(group);
    }
    let theirs =
        json!([{"operation": "delete", "table_name": "places", "id": "pb", "old": {"name": "x"}}]);
    groups.push(anna.group("third", &theirs));
    let answer = anna.push_groups(json!(groups)).await.rejoin.unwrap();
    let codes: Vec<&str> =
        answer.verdicts.iter().map(|verdict| verdict.code.as_deref().unwrap_or("-")).collect();
    assert_eq!(codes, ["-", "action.check", "-"]);
    assert_eq!(world.one("SELECT count(*) FROM places WHERE id = 'pb'"), "1");
    assert!(answer.rows.iter().any(|row| row.id == "pb" && row.absent));
}

/// The triggers run as the owner of the tables: no policy restricts it, but FORCE would.
#[tokio::test]
async fn triggers_of_a_normal_owner_record_every_change() {
    let database = Database::new();
    let session = database.session();
    let name = database.url.rsplit('/').next().unwrap();
    session.run(&named(
        &database,
        &format!(
            "CREATE ROLE {{app}} NOLOGIN; CREATE ROLE {{owner}} NOLOGIN; GRANT {{app}} TO {{owner}};
             GRANT CREATE ON DATABASE {name} TO {{owner}}; GRANT ALL ON SCHEMA public TO {{owner}};
             SET ROLE {{owner}}; {TABLES}"
        ),
    ));
    let as_owner = format!("{}?options=-c%20role%3D{}", database.url, database.role("owner"));
    let config = standard(Config::postgres(as_owner)).with_row_security(security(&database));
    session.run(&rejoin_server::row_security(&config).unwrap());
    let world = World::over(database, |_| config.clone());
    let mut anna = world.device("anna", "a").await;
    let mut ben = world.device("ben", "b").await;
    anna.snapshot(10).await;
    ben.snapshot(10).await;
    anna.accept("m1", json!([place("p1", "x")])).await;
    session.run("INSERT INTO visits(id, place_id) VALUES('v1', 'p1'); INSERT INTO tags(id, visit_id) VALUES(1, 'v1')");
    assert_eq!(anna.pull().await, ["places/p1", "tags/1", "visits/v1"]);
    session.run("UPDATE places SET owner_id = 'ben'");
    assert_eq!(anna.pull().await, ["-places/p1", "-tags/1", "-visits/v1"]);
    assert_eq!(ben.pull().await, ["places/p1", "tags/1", "visits/v1"]);
    session.run("ALTER TABLE visits FORCE ROW LEVEL SECURITY");
    assert_eq!(problems(&world.config), [RowSecurityProblem::Blinds { table: "visits".into() }]);
}
