//! What an action may take, over the border: set by the configuration, and told by errors of their own.

use std::sync::Arc;

use rejoin_core::block_on;
use rejoin_ffi::{ActionBudget, ActionContext, ActionRegistry, RejoinClient, RejoinError};

use crate::actions::{SCHEMA, code, definition, perform, waiting};
use crate::home::Home;

/// Makes so many tasks.
const FILL: &str = r#"{"name": "fill", "parameters": [{"name": "n", "type": "integer"}],
    "statements": ["INSERT INTO task (id, title) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :n) SELECT 'f' || i, 'x' FROM c"]}"#;

const ENDLESS: &str =
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT max(i) FROM c";

const SPIN: &str = r#"{"name": "spin", "statements": ["INSERT INTO task (id, title) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT max(i), 'x' FROM c"]}"#;

#[test]
fn what_takes_more_than_the_budget_is_told_with_what_is_allowed() {
    let registry = ActionRegistry::new();
    registry.declare(FILL.to_owned());
    registry.declare(SPIN.to_owned());
    let spin = |context: Arc<ActionContext>, _| async move {
        let _passed_over = context.query(ENDLESS.to_owned(), vec![]).await;
        Ok(String::new())
    };
    registry.handler(definition("spin in code", &[]), code(spin));
    let change = |config: &mut rejoin_ffi::ClientConfig| {
        config.schema_json = Some(SCHEMA.to_owned());
        config.action_budget =
            Some(ActionBudget { run_ms: Some(100), bytes: Some(1_024), rebase_ms: None });
    };
    let home = Home::opened(change, None, None, Some(registry));
    let error = perform(&home, "fill", r#"{"n": 500}"#).unwrap_err();
    assert!(
        matches!(&error, RejoinError::ActionTooLarge { action, most_bytes: 1_024, .. } if action == "fill"),
        "{error:?}"
    );
    for name in ["spin", "spin in code"] {
        let error = perform(&home, name, "").unwrap_err();
        assert!(
            matches!(&error, RejoinError::ActionTooSlow { action, most_ms: 100, .. } if action == name),
            "{error:?}"
        );
    }
    assert_eq!(waiting(&home).len(), 0, "nothing of these is kept");
    assert!(perform(&home, "fill", r#"{"n": 3}"#).unwrap().id.is_some());
}

#[test]
fn a_budget_beyond_its_limits_is_told_when_the_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::home::config(&folder.path().join("app.db").to_string_lossy());
    config.action_budget =
        Some(ActionBudget { run_ms: Some(99), rebase_ms: Some(60_001), bytes: Some(1_023) });
    let error = block_on(RejoinClient::open(config, None, None, None)).unwrap_err();
    let RejoinError::Configuration { reason } = &error else { panic!("{error:?}") };
    for field in ["action_budget.run", "action_budget.rebase", "action_budget.bytes"] {
        assert!(reason.contains(field), "{reason}");
    }
}
