//! Registering and performing actions.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rejoin_core as core;

use crate::acting::ForeignAction;
use crate::acting::{ActionHandler, json};
use crate::error::{RejoinError, Result};

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ActionParameterType {
    /// Text without NUL.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number, including whole numbers.
    Real,
    /// `true` or `false`; 1 or 0 in SQL.
    Boolean,
    /// An instant, RFC 3339.
    Time,
    /// Bytes, base64.
    Blob,
    /// Any JSON; its text in SQL.
    Json,
}

/// A parameter of an action.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ActionParameter {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// Its type.
    pub kind: ActionParameterType,
    /// Whether it may be missing or null. Default: no.
    #[uniffi(default = false)]
    pub optional: bool,
}

/// Converts the arguments of an older version of an action to the current version, for a mutation
/// that was performed with the older version and has to run again.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ActionUpgrade {
    /// The older version.
    pub version: i64,
    /// Old names and their new names.
    #[uniffi(default = None)]
    pub rename: Option<HashMap<String, String>>,
    /// Values of missing arguments: a JSON object.
    #[uniffi(default = None)]
    pub set_json: Option<String>,
    /// Arguments to remove.
    #[uniffi(default = [])]
    pub drop: Vec<String>,
}

/// The definition of an action whose code is in the app.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ActionDefinition {
    /// Its name.
    pub name: String,
    /// Its version: increase it when its effect or its arguments change. Default 1.
    #[uniffi(default = None)]
    pub version: Option<i64>,
    /// Its parameters.
    #[uniffi(default = [])]
    pub parameters: Vec<ActionParameter>,
    /// Older versions whose arguments it accepts. A mutation of any other version is applied as
    /// recorded.
    #[uniffi(default = [])]
    pub upgrades: Vec<ActionUpgrade>,
}

/// The result of a performed action.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Performed {
    /// The pending mutation; nothing if the action wrote nothing to synced tables.
    pub id: Option<String>,
    /// The return value of the action, as JSON.
    pub value_json: String,
}

/// The actions of an app and the rules for their tables; passed when the file is opened.
///
/// Methods only collect definitions. Opening reports all problems at once. Later additions do not
/// affect an open file.
#[derive(Default, uniffi::Object)]
pub struct ActionRegistry {
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone)]
enum Entry {
    Declared(String),
    Handler(ActionDefinition, Arc<dyn ActionHandler>),
    Identity(String, Vec<String>),
    Projection(String),
    OnlyByActions(String),
}

#[uniffi::export]
impl ActionRegistry {
    /// An empty registry.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds an action that is data, one JSON object for all languages; see `docs/actions.md`.
    pub fn declare(&self, json: String) {
        self.add(Entry::Declared(json));
    }

    /// Adds an action that is code. Several versions of a name may coexist: the newest is
    /// performed.
    pub fn handler(&self, definition: ActionDefinition, handler: Arc<dyn ActionHandler>) {
        self.add(Entry::Handler(definition, handler));
    }

    /// Sets the identity columns of a table: `row_id` derives ids from these columns.
    pub fn identity(&self, table: String, columns: Vec<String>) {
        self.add(Entry::Identity(table, columns));
    }

    /// Declares that an app function computes the identity of a table's rows: `row_id` gets the
    /// function's result and derives the id from all of it. The function is called in its own
    /// language.
    pub fn projection(&self, table: String) {
        self.add(Entry::Projection(table));
    }

    /// Declares that only actions write this table: any other local write is `InvalidInput`. Rows
    /// from the server are applied as usual.
    pub fn only_by_actions(&self, table: String) {
        self.add(Entry::OnlyByActions(table));
    }
}

impl ActionRegistry {
    fn add(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Converts the registry for the core.
    pub(crate) fn actions(&self) -> Result<core::Actions> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        entries.into_iter().try_fold(core::Actions::new(), |actions, entry| {
            Ok(match entry {
                Entry::Declared(json) => actions.declare(&json),
                Entry::Handler(definition, handler) => {
                    actions.register_async(ForeignAction::new(definition, handler)?)
                }
                Entry::Identity(table, columns) => {
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    actions.identity(&table, &columns)
                }
                Entry::Projection(table) => actions.projection(&table, Clone::clone),
                Entry::OnlyByActions(table) => actions.only_by_actions(&table),
            })
        })
    }
}

pub(crate) fn arguments(whose: &str, given: &str) -> Result<serde_json::Value> {
    json(given).map_err(|why| RejoinError::InvalidInput {
        reason: format!("the arguments of {whose} are no JSON: {why}"),
    })
}

impl From<core::Performed> for Performed {
    fn from(performed: core::Performed) -> Self {
        Self { id: performed.id.map(|id| id.to_string()), value_json: performed.value.to_string() }
    }
}

impl From<ActionParameter> for core::Parameter {
    fn from(parameter: ActionParameter) -> Self {
        let kind = match parameter.kind {
            ActionParameterType::Text => core::ParameterType::Text,
            ActionParameterType::Integer => core::ParameterType::Integer,
            ActionParameterType::Real => core::ParameterType::Real,
            ActionParameterType::Boolean => core::ParameterType::Boolean,
            ActionParameterType::Time => core::ParameterType::Time,
            ActionParameterType::Blob => core::ParameterType::Blob,
            ActionParameterType::Json => core::ParameterType::Json,
        };
        Self { name: parameter.name, kind, optional: parameter.optional }
    }
}

/// The upgrades by older version, for the core.
pub(crate) fn upgrades(
    action: &str,
    upgrades: Vec<ActionUpgrade>,
) -> Result<BTreeMap<i64, core::Upgrade>> {
    let one = |upgrade: ActionUpgrade| {
        let wrong = |why: String| RejoinError::Configuration {
            reason: format!("action {action}: upgrade of version {}: {why}", upgrade.version),
        };
        let set = match upgrade.set_json.as_deref().map(serde_json::from_str).transpose() {
            Ok(set) => set.unwrap_or_default(),
            Err(error) => return Err(wrong(format!("set_json: {error}"))),
        };
        let rename = upgrade.rename.unwrap_or_default().into_iter().collect();
        Ok((upgrade.version, core::Upgrade { rename, set, drop: upgrade.drop }))
    };
    upgrades.into_iter().map(one).collect()
}

impl fmt::Debug for ActionRegistry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ActionRegistry").finish_non_exhaustive()
    }
}
