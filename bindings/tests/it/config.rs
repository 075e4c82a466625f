//! Tests that each field of the configuration reaches the core.

use std::collections::HashMap;

use rejoin_core::{Config, block_on};
use rejoin_ffi::{
    ActionBudget, ClientConfig, ConflictPolicy, Durability, MeteredPolicy, RejoinClient,
};

/// Every field, with another value than the default. It has no `..`, so that a new field of the
/// FFI must be added.
fn unusual() -> ClientConfig {
    let schema = r#"{"schema_version": 1, "schema_hash": "", "tables": []}"#;
    ClientConfig {
        path: "other.db".to_owned(),
        server: Some("https://host".to_owned()),
        allow_http: Some(true),
        user_id: Some("user".to_owned()),
        device_name: Some("tablet".to_owned()),
        platform: Some("plan9".to_owned()),
        app_version: Some("1.2.3".to_owned()),
        schema: Some(schema.to_owned()),
        policies: Some(HashMap::from([("task".to_owned(), ConflictPolicy::Manual)])),
        sync_interval_ms: Some(2001),
        push_debounce_ms: Some(2002),
        ack_deadline_ms: Some(2003),
        max_retries: Some(7),
        server_fault_attempts: Some(8),
        server_fault_age_ms: Some(60_001),
        page_size: Some(900),
        batch_size: Some(901),
        metered: Some(MeteredPolicy::Never),
        durability: Some(Durability::Full),
        readers: Some(2),
        wal_limit: Some(65_536),
        transaction_idle_ms: Some(2004),
        action_budget: Some(ActionBudget {
            run_ms: Some(2005),
            rebase_ms: Some(2006),
            bytes: Some(2007),
        }),
    }
}

/// The fields of a configuration, each with its name and value.
fn fields(config: &Config) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in format!("{config:#?}").lines().skip(1) {
        let is_name = |rest: &str| rest.starts_with(|char: char| char.is_ascii_lowercase());
        match fields.last_mut() {
            Some(field) if !line.strip_prefix("    ").is_some_and(is_name) => field.push_str(line),
            _ => fields.push(line.trim().to_owned()),
        }
    }
    fields
}

/// A field of the core that the FFI lacks, or a field of the FFI that is not converted, keeps its
/// default.
#[test]
fn every_field_of_the_core_can_be_set() {
    let default = fields(&Config::new("app.db"));
    let set = fields(&Config::try_from(unusual()).unwrap());
    assert_eq!((default.len(), default.len()), (24, set.len()), "{default:#?}");
    let kept = default.iter().filter(|field| set.contains(field)).collect::<Vec<_>>();
    assert_eq!(kept, ["temporary_folder: None,}"]);
}

#[test]
fn temporary_file_is_removed_at_shutdown() {
    let open =
        || block_on(RejoinClient::open(crate::home::config(":temporary:"), None, None, None));
    let (one, other) = (open().unwrap(), open().unwrap());
    assert_ne!(one.path(), other.path());
    assert!(std::path::Path::new(&one.path()).exists());
    block_on(one.shutdown()).unwrap();
    block_on(other.shutdown()).unwrap();
    assert!(!std::path::Path::new(&one.path()).exists());
}
