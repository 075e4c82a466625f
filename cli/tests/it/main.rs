//! The command as run by a user.

#![allow(clippy::unwrap_used)] // In a test, a panic is a failure.

use std::path::Path;
use std::process::{Command, Output};

use rejoin_core::{Client, Config, block_on};

mod authority;
mod generate;
mod serve;
mod serve_parked;
mod served;

const SCHEMA: &str = r#"{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
    "push_policy": "owner_only", "updated_at_column": "updated_at", "deleted_at_column": "", "primary_key": ["id"],
    "columns": [
        {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
        {"name": "title", "db_type": "text", "logical_type": "string"},
        {"name": "updated_at", "db_type": "text", "logical_type": "datetime", "nullable": true}]}]}"#;

fn inspect(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rejoin")).arg("inspect").arg(file).args(more).output().unwrap()
}

#[test]
fn inspect_shows_pending_work_of_a_running_app() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let config = Config::new(&file).schema(schema);
    let client = block_on(Client::open(config)).unwrap();
    block_on(client.execute("INSERT INTO task (id, title) VALUES ('a', 'buy milk')", ())).unwrap();
    block_on(client.execute("UPDATE task SET title = 'buy oats'", ())).unwrap();

    let output = inspect(&file, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for expected in [
        "2 pending, 0 sent, 0 uncertain, 0 parked, 0 in the history",
        "insert task 'a'  title: 'buy milk', updated_at: NULL",
        "update task 'a'  title: 'buy milk' -> 'buy oats'",
        "parked: none",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }

    let output = inspect(&file, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["counts"]["pending"], 2);
    assert_eq!(
        (&json["tables"][0]["rows"], &json["tables"][0]["base_rows"]),
        (&1.into(), &0.into())
    );
    assert_eq!(json["queue"][1]["rows"][0]["columns"]["title"]["old"], "buy milk");
}

#[test]
fn inspect_refuses_a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "milk").unwrap();
    let output = inspect(&file, &[]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("not a database"), "{message}");
}
