//! Tests of the error conversion and of the configuration conversion.

use std::time::Duration;

use rejoin_core::{
    ActionFault, Error, InputFault, MutationId, QueueFault, RefusalCode, StorageFault, SyncFault,
    block_on,
};
use rejoin_ffi::{MeteredPolicy, RejoinClient, RejoinError};

use crate::home::Home;

/// Errors of the core with the expected kinds.
fn table() -> Vec<(Error, &'static str)> {
    let id = MutationId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    let text = || "message".to_owned();
    let rule =
        || Error::Constraint { table: "t".into(), column: "c".into(), rule: "UNIQUE".into() };
    vec![
        (sql(), "InvalidInput"),
        (Error::InvalidInput(InputFault::Refused { what: text(), reason: text() }), "InvalidInput"),
        (rule(), "Constraint"),
        (
            Error::InvalidInput(InputFault::Value {
                table: text(),
                column: text(),
                reason: text(),
            }),
            "InvalidInput",
        ),
        (Error::InvalidInput(InputFault::PartialStatement(text())), "InvalidInput"),
        (Error::TransactionTimeout, "TransactionTimeout"),
        (Error::Batch { index: 7, error: Box::new(rule()) }, "Constraint"),
        (Error::Batch { index: 7, error: Box::new(Error::Storage(StorageFault::Full)) }, "Storage"),
        (Error::InvalidInput(InputFault::Reentrant), "InvalidInput"),
        (Error::InvalidInput(InputFault::NotSynced(text())), "InvalidInput"),
        (Error::Queue(QueueFault::Unknown(id)), "InvalidInput"),
        (Error::Queue(QueueFault::Uncertain(id)), "InvalidInput"),
        (Error::Queue(QueueFault::ParentParked(id)), "ParentParked"),
        (Error::Queue(QueueFault::Changed { rows: Vec::new() }), "Changed"),
        (Error::Queue(QueueFault::Unsent { waiting: 3 }), "Unsent"),
        (action(ActionFault::Unknown), "Action"),
        (action(ActionFault::TimedOut), "Action"),
        (action(ActionFault::TooSlow { limit: Duration::from_secs(2) }), "ActionTooSlow"),
        (action(ActionFault::TooLarge { limit: 8 << 20 }), "ActionTooLarge"),
        (
            Error::InvalidInput(InputFault::SchemaRefused { table: text(), reason: text() }),
            "InvalidInput",
        ),
        (Error::Storage(StorageFault::TooNew { found: 2, known: 1 }), "Storage"),
        (Error::Storage(StorageFault::Corrupt(text())), "Storage"),
        (Error::Storage(StorageFault::ReadOnly(text())), "Storage"),
        (Error::Storage(StorageFault::Full), "Storage"),
        (Error::Storage(StorageFault::Io(text())), "Storage"),
        (Error::Storage(StorageFault::Locked { path: text() }), "Storage"),
        (Error::WrongUser { pending: 3 }, "WrongUser"),
        (Error::Configuration(vec![text(), text()]), "Configuration"),
        (Error::Suspended, "Suspended"),
        (Error::Closed, "Closed"),
        (Error::Sync(SyncFault::Offline(text())), "Offline"),
        (Error::Sync(SyncFault::Unauthorized), "Unauthorized"),
        (Error::Sync(SyncFault::UpgradeRequired(text())), "UpgradeRequired"),
        (server(), "Server"),
        (refused(), "SubscriptionRefused"),
        (Error::InvalidInput(InputFault::TooManySubscriptions { limit: 6144 }), "InvalidInput"),
        (Error::Sync(SyncFault::Protocol(text())), "Protocol"),
        (Error::Callback(text()), "Callback"),
        (Error::Internal(text()), "Internal"),
    ]
}

fn action(fault: ActionFault) -> Error {
    Error::Action { action: "take".into(), fault }
}

fn server() -> Error {
    Error::Sync(SyncFault::Server {
        status: 507,
        code: "quota".into(),
        message: "full".into(),
        retryable: true,
    })
}

fn refused() -> Error {
    Error::Sync(SyncFault::SubscriptionRefused {
        stream: "project".into(),
        code: RefusalCode::Forbidden,
        message: "not a member".into(),
    })
}

/// A real error of SQLite.
fn sql() -> Error {
    let folder = tempfile::tempdir().unwrap();
    let config = rejoin_core::Config::new(folder.path().join("a.db"));
    let client = rejoin_core::Client::open(config).wait().unwrap();
    client.query("SELECT", ()).wait().unwrap_err()
}

#[test]
fn core_error_keeps_its_kind_and_message() {
    for (error, kind) in table() {
        let message = error.to_string();
        let foreign = RejoinError::from(error);
        assert!(format!("{foreign:?}").starts_with(&format!("{kind} {{")), "{foreign:?}: {kind}");
        assert_eq!(foreign.to_string(), message);
    }
}

#[test]
fn error_carries_typed_fields_beside_the_message() {
    let expected = RejoinError::Server {
        reason: server().to_string(),
        status: 507,
        code: "quota".into(),
        retryable: true,
    };
    assert_eq!(RejoinError::from(server()), expected);
    let expected = RejoinError::SubscriptionRefused {
        reason: refused().to_string(),
        stream: "project".into(),
        refusal: rejoin_ffi::RefusalCode::Forbidden,
        detail: "not a member".into(),
    };
    assert_eq!(RejoinError::from(refused()), expected);
    let home = Home::new();
    let insert = "INSERT INTO note (id) VALUES ('a')".to_owned();
    let error = block_on(home.client.execute(insert, vec![])).unwrap_err();
    let RejoinError::Constraint { table, column, rule, .. } = error else { panic!("{error:?}") };
    assert_eq!((table.as_str(), column.as_str(), rule.as_str()), ("note", "body", "NOT NULL"));
}

#[test]
fn refused_call_names_others_as_the_languages_do() {
    let home = Home::new();
    let scripts = "DELETE FROM note; DELETE FROM note".to_owned();
    let error = block_on(home.client.execute(scripts, vec![])).unwrap_err();
    assert!(error.to_string().contains("executeScript()"), "{error}");
    let fault = InputFault::Refused {
        what: "last_insert_rowid()".to_owned(),
        reason: "set it by rejoin_new_id(), or drop_search_index() of my_table".to_owned(),
    };
    let text = RejoinError::from(Error::from(fault)).to_string();
    let reason = "set it by rejoin_new_id(), or dropSearchIndex() of my_table";
    assert_eq!(text, format!("refused last_insert_rowid(): {reason}"));
}

#[test]
fn undeclared_exception_becomes_a_callback_error() {
    let thrown = uniffi::UnexpectedUniFFICallbackError::new("boom");
    let foreign = RejoinError::from(thrown);
    assert!(matches!(&foreign, RejoinError::Callback { reason } if reason.contains("boom")));
}

#[test]
fn open_reports_all_configuration_problems_at_once() {
    let mut config = crate::home::config(":memory:");
    config.server = Some("ftp://host".to_owned());
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
    let error = block_on(RejoinClient::open(config.clone(), None, None, None)).unwrap_err();
    let RejoinError::Configuration { reason } = error else { panic!("{error:?}") };
    // All settings but the policy are converted and checked.
    assert_eq!(reason.matches("; ").count() + 1, 15, "{reason}");
    config.schema = Some("schema.json".to_owned());
    let error = block_on(RejoinClient::open(config, None, None, None)).unwrap_err();
    let start = "schema: this text is not the content of schema.json: ";
    assert!(error.to_string().starts_with(start), "{error}");
}
