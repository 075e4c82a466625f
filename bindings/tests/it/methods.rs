//! Each method once, through the exported objects.

use rejoin_core::block_on;
use rejoin_ffi::{CheckpointMode, FirstSync, MeteredPolicy, RejoinError, SqlValue, SyncState};

use crate::home::{Home, column, statement, text};

#[test]
fn what_is_written_is_read_and_every_value_comes_back_as_it_was() {
    let home = Home::new();
    home.runs("CREATE TABLE sample (i INTEGER, r REAL, t TEXT, b BLOB, n)");
    let values = vec![
        SqlValue::Integer { value: i64::MIN },
        SqlValue::Real { value: -0.5 },
        text("a \u{1f600}"),
        SqlValue::Blob { value: vec![0, 255] },
        SqlValue::Null,
    ];
    let insert = "INSERT INTO sample VALUES (?, ?, ?, ?, ?)".to_owned();
    assert_eq!(block_on(home.client.execute(insert, values.clone())).unwrap(), 1);
    let same =
        "SELECT count(*) || '' FROM sample WHERE i = ? AND r = ? AND t = ? AND b = ? AND n IS ?";
    let found = block_on(home.client.query(same.to_owned(), values)).unwrap();
    assert_eq!(column(found), ["1"]);
}

#[test]
fn a_statement_that_gives_rows_and_several_without_parameters() {
    let home = Home::new();
    let insert = "INSERT INTO note VALUES ('a', 'x') RETURNING id".to_owned();
    assert_eq!(column(block_on(home.client.execute_returning(insert, vec![])).unwrap()), ["a"]);
    let two = "INSERT INTO note VALUES ('b', 'x'); INSERT INTO note VALUES ('c', 'x')".to_owned();
    block_on(home.client.execute_batch(two)).unwrap();
    assert_eq!(home.sees("SELECT id FROM note ORDER BY id"), ["a", "b", "c"]);
}

#[test]
fn a_batch_is_one_transaction_and_says_which_statement_failed() {
    let home = Home::new();
    let put = |id| statement("INSERT INTO note VALUES (?, 'x')", &[id]);
    assert_eq!(block_on(home.client.batch(vec![put("a"), put("b")])).unwrap(), [1, 1]);
    let error = block_on(home.client.batch(vec![put("c"), put("a")])).unwrap_err();
    let RejoinError::Constraint { reason, table, column, rule } = error else {
        panic!("{error:?}");
    };
    assert_eq!((table.as_str(), column.as_str(), rule.as_str()), ("note", "id", "UNIQUE"));
    assert_eq!(reason, "statement 1 of the batch: UNIQUE constraint failed: note.id");
    assert_eq!(home.sees("SELECT id FROM note ORDER BY id"), ["a", "b"]);
}

#[test]
fn several_queries_answer_from_one_state() {
    let home = Home::new();
    home.runs("INSERT INTO note VALUES ('a', 'x')");
    let both = vec![
        statement("SELECT id FROM note", &[]),
        statement("SELECT body FROM note WHERE id = ?", &["a"]),
    ];
    let results = block_on(home.client.query_all(both)).unwrap();
    let results: Vec<_> = results.into_iter().map(column).collect();
    assert_eq!(results, [["a"], ["x"]]);
}

#[test]
fn tables_of_the_app_are_made_changed_and_indexed() {
    let home = Home::new();
    let client = &home.client;
    let owned = str::to_owned;
    block_on(client.create_table(owned("draft"), owned("id TEXT PRIMARY KEY"))).unwrap();
    block_on(client.alter_table(owned("draft"), owned("seen INTEGER NOT NULL DEFAULT 0"))).unwrap();
    let index = block_on(client.create_index(owned("draft"), vec![owned("seen")])).unwrap();
    assert_eq!(index, "idx_draft_seen");
}

#[test]
fn a_checkpoint_goes_as_far_as_it_is_told() {
    let home = Home::new();
    for mode in [CheckpointMode::Passive, CheckpointMode::Full, CheckpointMode::Restart] {
        let done = block_on(home.client.checkpoint(mode)).unwrap();
        assert!(!done.busy && done.pages == done.moved, "{done:?}");
    }
    let done = block_on(home.client.checkpoint(CheckpointMode::Truncate)).unwrap();
    assert_eq!((done.pages, done.moved), (0, 0));
}

#[test]
fn what_a_client_knows_of_itself() {
    let home = Home::new();
    let folder = home.folder.path().canonicalize().unwrap();
    assert_eq!(home.client.path(), folder.join("app.db").to_string_lossy());
    let status = home.client.status();
    assert_eq!((status.state, status.first_sync), (SyncState::Idle, FirstSync::Absent));
    home.client.set_network(false, true);
    home.client.foreground();
    let bundle = block_on(home.client.diagnose()).unwrap();
    assert!(bundle.contains(r#""pending":0"#), "{bundle}");
    let counts = block_on(home.client.pending_counts()).unwrap();
    assert_eq!((counts.pending, counts.sent, counts.uncertain, counts.parked), (0, 0, 0, 0));
    assert!(block_on(home.client.pending()).unwrap().is_empty());
}

#[test]
fn suspended_means_refused_and_resumed_means_as_before() {
    let home = Home::new();
    block_on(home.client.suspend()).unwrap();
    let error = block_on(home.client.query("SELECT 1".to_owned(), vec![])).unwrap_err();
    assert!(matches!(error, RejoinError::Suspended { .. }), "{error:?}");
    block_on(home.client.resume()).unwrap();
    assert_eq!(home.sees("SELECT '1'"), ["1"]);
}

#[test]
fn after_a_shutdown_calls_say_that_it_ended_and_the_file_opens_again() {
    let home = Home::new();
    home.runs("INSERT INTO note VALUES ('a', 'x')");
    block_on(home.client.shutdown()).unwrap();
    block_on(home.client.shutdown()).unwrap();
    let error = block_on(home.client.pending()).unwrap_err();
    assert!(matches!(error, RejoinError::Ended { .. }), "{error:?}");
    let config = crate::home::config(&home.client.path());
    let again = block_on(rejoin_ffi::RejoinClient::open(config, None, None, None)).unwrap();
    let rows = block_on(again.query("SELECT id FROM note".to_owned(), vec![])).unwrap();
    assert_eq!(column(rows), ["a"]);
}

#[test]
fn without_a_server_there_is_no_syncing_and_everything_else() {
    let home = Home::new();
    let error = block_on(home.client.start()).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
    let error = block_on(home.client.sync_and_wait(Some(10))).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
    block_on(home.client.stop()).unwrap();
    block_on(home.client.credentials_changed()).unwrap();
}

#[test]
fn what_names_nothing_is_invalid_input() {
    let home = Home::new();
    let client = &home.client;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for id in ["nonsense", unknown] {
        let error = block_on(client.discard(id.to_owned())).unwrap_err();
        assert!(matches!(&error, RejoinError::InvalidInput { reason } if reason.contains(id)));
    }
    let error = block_on(client.row_sync_state("note".to_owned(), text("a"))).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
}

#[test]
fn every_problem_of_a_configuration_is_named_at_once() {
    let mut config = crate::home::config(":memory:");
    config.server_url = Some("ftp://host".to_owned());
    config.user_id = Some(String::new());
    config.device_name = Some(String::new());
    config.platform = Some(String::new());
    config.app_version = Some("1".to_owned());
    config.sync_interval_ms = Some(1);
    config.push_debounce_ms = Some(60_001);
    config.ack_deadline_ms = Some(1);
    config.max_retries = Some(101);
    config.page_size = Some(1);
    config.batch_size = Some(1);
    config.metered = Some(MeteredPolicy::Never);
    config.readers = Some(0);
    config.wal_limit = Some(1);
    config.transaction_idle_ms = Some(1);
    let error =
        block_on(rejoin_ffi::RejoinClient::open(config.clone(), None, None, None)).unwrap_err();
    let RejoinError::Configuration { reason } = error else { panic!("{error:?}") };
    // Each setting but the policy arrived, and was looked at.
    assert_eq!(reason.matches("; ").count() + 1, 15, "{reason}");
    config.schema_json = Some("{".to_owned());
    let error = block_on(rejoin_ffi::RejoinClient::open(config, None, None, None)).unwrap_err();
    assert!(error.to_string().starts_with("schema_json: "), "{error}");
}
