//! The conformance suite: the binary passes over both stores, deliberately broken servers fail the
//! matching scenario, and v0.1.2 fails at its known defects.

use std::path::Path;

use clap::Parser as _;
use jsonwebtoken::{EncodingKey, Header, encode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::ending::Running;
use rejoin_conformance::Options;
use rejoin_postgres::Database;

mod flaws;
mod v0_1_2;

const SECRET: &str = "a secret of at least thirty-two bytes";

/// A table with every kind of column, one of children, and one without writers. Valid SQL in both
/// databases.
const TABLES: &str = "
    CREATE TABLE notes(
      id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, body TEXT NOT NULL, number BIGINT, small SMALLINT DEFAULT 7,
      price NUMERIC, share DOUBLE PRECISION, done BOOLEAN NOT NULL, at TIMESTAMP, day DATE, meta JSON, blob BYTEA,
      created_at TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE lines(
      id TEXT PRIMARY KEY, note_id TEXT NOT NULL REFERENCES notes(id), words TEXT DEFAULT 'a<b & c>d \u{2028}', updated_at TEXT, deleted_at TEXT);
    CREATE TABLE countries(id TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
";

const SYNCED: &str = "
    [[tables]]
    name = \"notes\"
    owner_column = \"owner_id\"
    [[tables]]
    name = \"lines\"
    parent_table = \"notes\"
    parent_fk_col = \"note_id\"
    [[tables]]
    name = \"countries\"
    allow_global_read = true
";

/// Starts the binary with this configuration; returns its address.
fn serve(folder: &Path, config: &str) -> (Running, String) {
    std::fs::write(folder.join("rejoin.toml"), format!("{config}{SYNCED}")).unwrap();
    let server = Running::serve(folder, &[]);
    let url = format!("http://{}", server.address);
    (server, url)
}

fn users_by_header() -> Vec<String> {
    ["--header", "X-User-ID: anna", "--header", "X-User-ID: ben"].map(str::to_owned).to_vec()
}

/// The suite's output, and why it failed, if it did.
fn run(url: &str, arguments: &[String]) -> (String, Result<(), String>) {
    let fixed = ["rejoin-conformance", "--url", url].map(str::to_owned);
    let options = Options::try_parse_from(fixed.iter().chain(arguments)).unwrap();
    let mut out = Vec::new();
    let ended = rejoin_conformance::run(&options, &mut out);
    (String::from_utf8(out).unwrap(), ended.map_err(|error| format!("{error:#}")))
}

/// Runs the suite; returns whether it succeeded, and its report.
fn conformance(url: &str, arguments: &[String]) -> (bool, Value) {
    let arguments: Vec<String> =
        arguments.iter().cloned().chain([String::from("--json")]).collect();
    let (report, ended) = run(url, &arguments);
    let report = serde_json::from_str(&report).unwrap_or_else(|_| panic!("no report: {ended:?}"));
    (ended.is_ok(), report)
}

/// The names of the scenarios with this outcome.
fn named(report: &Value, outcome: &str) -> Vec<String> {
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    let ended = scenarios.filter(|scenario| scenario["outcome"] == outcome);
    ended.map(|scenario| scenario["name"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that every applicable scenario passed and nothing was left over.
fn is_content((succeeded, report): &(bool, Value), not_applicable: &[&str]) {
    let failed: Vec<&Value> = report["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|scenario| scenario["outcome"] == "failed")
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(succeeded);
    assert_eq!(named(report, "not_applicable"), not_applicable);
    assert!(report["passed"].as_u64().unwrap() > 70, "{report}");
    assert_eq!(report["left_behind"], json!([]));
    assert_eq!(report["table"], "notes");
}

fn token(user: &str) -> String {
    let claims =
        json!({"sub": user, "iss": "https://issuer", "aud": "app", "exp": 4_000_000_000_i64});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Users by tokens, and a minimum app version.
#[test]
fn sqlite_server_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    Connection::open(&file).unwrap().execute_batch(TABLES).unwrap();
    let config = format!(
        "database = \"app.db\"\nmin_app_version = \"1.0.0\"\n[auth.jwt]\nsecret = \"{SECRET}\"\nissuer = \"https://issuer\"\naudience = \"app\"\n"
    );
    let (_server, url) = serve(folder.path(), &config);
    let users = ["anna", "ben"].into_iter().flat_map(|user| [String::from("--token"), token(user)]);
    let result = conformance(&url, &users.collect::<Vec<_>>());
    is_content(&result, &["values/array", "values/array-as-text"]);
    let live: i64 = Connection::open(&file)
        .unwrap()
        .query_row("SELECT count(*) FROM notes WHERE deleted_at IS NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(live, 0, "what was made is deleted again");
}

#[test]
fn postgres_server_passes_the_suite() {
    let database = Database::new();
    database.session().run(TABLES);
    database.session().run("ALTER TABLE notes ADD tags TEXT[]");
    let folder = tempfile::tempdir().unwrap();
    let config = format!("store = \"{}\"\n[auth]\nheader = \"X-User-ID\"\n", database.url);
    let (_server, url) = serve(folder.path(), &config);
    let result = conformance(&url, &users_by_header());
    is_content(&result, &["gates/wrong-token", "gates/old-app", "gates/app-of-no-version"]);
    assert_eq!(database.one("SELECT count(*) FROM notes WHERE deleted_at IS NULL"), "0");
}

#[test]
fn column_with_a_check_needs_a_value_or_leave() {
    let folder = tempfile::tempdir().unwrap();
    let checked = TABLES.replace("number BIGINT", "number BIGINT CHECK (number IN (1, 2))");
    let file = Connection::open(folder.path().join("app.db")).unwrap();
    file.execute_batch(&checked).unwrap();
    let (_server, url) =
        serve(folder.path(), "database = \"app.db\"\n[auth]\nheader = \"X-User-ID\"\n");
    let mut arguments = users_by_header();
    arguments.extend(["--only", "values/integer"].map(str::to_owned));
    let (succeeded, report) = conformance(&url, &arguments);
    assert!(!succeeded, "{report:#}");
    for wish in [["--leave", "number"], ["--value", "number=1"]] {
        let arguments: Vec<String> =
            arguments.iter().cloned().chain(wish.map(str::to_owned)).collect();
        let (succeeded, report) = conformance(&url, &arguments);
        assert!(succeeded, "{wish:?}: {report:#}");
    }
}

#[test]
fn single_user_and_unsuitable_tables_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    Connection::open(folder.path().join("app.db")).unwrap().execute_batch(TABLES).unwrap();
    let (_server, url) =
        serve(folder.path(), "database = \"app.db\"\n[auth]\nheader = \"X-User-ID\"\n");
    let mut arguments = users_by_header()[..2].to_vec();
    arguments.extend(["--only", "users/"].map(str::to_owned));
    let (succeeded, report) = conformance(&url, &arguments);
    assert!(succeeded);
    assert_eq!(named(&report, "not_applicable").len(), 8);
    let table = [
        (vec!["--table", "countries"], "no table that devices write"),
        (vec!["--value", "done=maybe"], "no table takes a row"),
        (vec!["--only", "nothing/"], "no scenario has a name that begins so"),
    ];
    for (more, why) in table {
        let mut arguments = users_by_header();
        arguments.extend(more.into_iter().map(str::to_owned));
        let error = run(&url, &arguments).1.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let error = run("http://127.0.0.1:1", &users_by_header()).1.unwrap_err();
    assert!(error.contains("no answer"), "{error}");
}
