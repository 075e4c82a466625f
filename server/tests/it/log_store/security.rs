//! With row level security, the serving role reads nothing of the log, and the log's statements run
//! as the store's own role.

use std::time::Duration;

use rejoin_log::fixture::row;
use rejoin_log::server::store::LogStore as _;
use rejoin_postgres::Database;
use rejoin_protocol::Value;
use rejoin_server::model::ReadScope;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::{FurtherBuckets, Reading, read, write};
use rejoin_server::{PostgresUrl, RowSecurity, TableConfig};

use super::fixture::{NOW, create, insert, of_log, publish};

/// A secured store with a table of the row model, which has one row of Anna, and a log table.
fn secured() -> (PostgresStore, Database, String) {
    let database = Database::new();
    database.run(
        r#"CREATE TABLE places(id text PRIMARY KEY, owner_id text NOT NULL, updated_at timestamptz);
           CREATE TABLE r(id text PRIMARY KEY, "buckets" text, "text" text, "number" bigint, "owner" text);
           INSERT INTO places VALUES ('p1', 'anna', now());"#,
    );
    let (url, role) = (PostgresUrl::from(database.url.clone()), database.role("app"));
    let security = RowSecurity { role: role.clone(), ..RowSecurity::default() };
    let mut tables = of_log(&[String::from("r")]);
    tables.push(TableConfig::owned("places", "owner_id"));
    let store = PostgresStore::open(&url, &tables, Duration::from_secs(5), NOW);
    let store = store.unwrap();
    database.run(&store.policies(&security));
    (store.secured(security).unwrap(), database, role)
}

#[test]
fn serving_role_on_postgres_sees_nothing_of_the_log() {
    let (store, database, role) = secured();
    create(&store, 1);
    publish(&store, 1, 1, vec![insert(1, 1, "r1")]).unwrap();
    let session = database.session();
    for table in ["facts", "entry", "base", "link", "final", "author", "member"] {
        let count = format!("SELECT count(*) > 0 FROM rejoin.log_{table}");
        let is_filled = session.one(&count) == "t";
        assert_eq!(is_filled, !matches!(table, "base" | "final"), "{table}");
        let seen = session.lines(&format!("SET ROLE {role}; {count}; RESET ROLE"));
        assert_eq!(seen.last().map(String::as_str), Some("f"), "{table}");
        let put = format!("SET ROLE {role}; INSERT INTO rejoin.log_{table} DEFAULT VALUES");
        let refused = session.attempt(&put).unwrap_err();
        assert!(
            refused.contains("row-level security") || refused.starts_with("23502"),
            "{refused}"
        );
        session.run("RESET ROLE");
    }
    let refused = session.attempt(&format!("SET ROLE {role}; SELECT * FROM r")).unwrap_err();
    assert!(refused.starts_with("42501"), "the log table is not granted either: {refused}");
}

/// Whether Ben, under a scope that claims Anna's rows, sees a row of Anna.
fn sees(reading: &dyn Reading) -> bool {
    let schema = reading.schema().clone();
    let owners = vec![String::from("anna")];
    let scope = ReadScope { owners, global: false, buckets: vec![String::from("user:anna")] };
    let found = reading.image(&schema.tables[0], &Value::from("p1"), &scope);
    found.unwrap().is_some()
}

#[test]
fn policies_on_postgres_apply_again_after_the_log_was_read() {
    let (store, ..) = secured();
    create(&store, 1);
    read(&store, |reading| {
        reading.act_for("ben", &FurtherBuckets::default())?;
        assert!(!sees(reading));
        assert!(reading.log().facts().unwrap().is_some());
        assert!(!sees(reading), "the serving role is back");
        assert!(reading.log().facts().unwrap().is_some());
        reading.act_for("anna", &FurtherBuckets::default())?;
        assert!(sees(reading), "the row is there");
        Ok(())
    })
    .unwrap();
    write(&store, NOW, |writing| {
        writing.act_for("ben", &FurtherBuckets::default())?;
        writing.begin()?;
        assert!(writing.log().put_base(&row("r1"), None).is_ok());
        writing.undo()?;
        assert!(!sees(writing));
        assert!(writing.log().facts().unwrap().is_some());
        writing.begin()?;
        assert!(!sees(writing));
        writing.undo()?;
        assert!(!sees(writing), "the roll-back leaves the serving role");
        assert!(writing.log().facts().unwrap().is_some());
        Ok(())
    })
    .unwrap();
}
