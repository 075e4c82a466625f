//! The app's actions: what it registers before the file is opened, and performing one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rejoin_core as core;

use crate::RejoinClient;
use crate::acting::ForeignAction;
use crate::acting::{ActionHandler, json};
use crate::error::{RejoinError, Result};
use crate::queue::named;

/// What a parameter of an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ActionParameterType {
    /// Text without NUL.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number; whole ones too.
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
    /// What it takes.
    pub kind: ActionParameterType,
    /// Whether it may be left out, or be null. Default: no.
    #[uniffi(default = false)]
    pub optional: bool,
}

/// How arguments of an older version of an action become those of the present one, for a mutation that was performed with the
/// older and has to run again.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ActionUpgrade {
    /// The older version.
    pub version: i64,
    /// Old names, and the new ones.
    #[uniffi(default = None)]
    pub rename: Option<HashMap<String, String>>,
    /// What is set where it is not there: a JSON object.
    #[uniffi(default = None)]
    pub set_json: Option<String>,
    /// What is not taken any more.
    #[uniffi(default = [])]
    pub drop: Vec<String>,
}

/// What is said of an action that is code.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ActionDefinition {
    /// Its name.
    pub name: String,
    /// Its version: rises when it does something else, or takes other arguments. Default 1.
    #[uniffi(default = None)]
    pub version: Option<i64>,
    /// What it takes.
    #[uniffi(default = [])]
    pub parameters: Vec<ActionParameter>,
    /// The older versions whose arguments it takes over. A mutation of another one is laid down as it was recorded.
    #[uniffi(default = [])]
    pub upgrades: Vec<ActionUpgrade>,
}

/// What became of an action that was performed.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Performed {
    /// The mutation that waits for the server; nothing if the action wrote nothing to synced tables.
    pub id: Option<String>,
    /// What the action gave back, as JSON.
    pub value_json: String,
}

/// The actions of an app, and the rules that belong to them; handed over when the file is opened.
///
/// Methods only collect. What is wrong is told by opening, all of it together. What is added later has no effect on a file that
/// is open.
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
    /// None yet.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds an action that is data, one JSON object: the same for every language. Its members stand in `docs/actions.md`.
    pub fn declare(&self, json: String) {
        self.add(Entry::Declared(json));
    }

    /// Adds an action that is code of the app. Several versions of one name may stand side by side: the newest is performed.
    pub fn handler(&self, definition: ActionDefinition, handler: Arc<dyn ActionHandler>) {
        self.add(Entry::Handler(definition, handler));
    }

    /// Says what tells the rows of a table apart that one action makes: `row_id` makes their ids of these columns.
    pub fn identity(&self, table: String, columns: Vec<String>) {
        self.add(Entry::Identity(table, columns));
    }

    /// Says that a function tells the rows of a table apart that one action makes: `row_id` is then given what that made of the
    /// row, and makes their ids of all of it. So the function itself stays in its language, and is never waited for.
    pub fn projection(&self, table: String) {
        self.add(Entry::Projection(table));
    }

    /// Says that only actions write this table: any other local write is `InvalidInput`. What the server sends is laid down as
    /// ever.
    pub fn only_by_actions(&self, table: String) {
        self.add(Entry::OnlyByActions(table));
    }
}

impl ActionRegistry {
    fn add(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// What the core takes.
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

#[uniffi::export]
impl RejoinClient {
    /// Performs an action that was registered when the file was opened: in one transaction, which becomes one mutation that knows
    /// its name and arguments. As long as no server has it, it runs again when remote changes come in under it.
    ///
    /// `arguments_json` is an object with the parameters by name, or empty. Works offline. Throws `Action` if there is no such
    /// action, for arguments that it does not take, for what its own rules refuse and where its code does not end; `ActionTooSlow` and
    /// `ActionTooLarge` beyond the budget; what its code throws, as `Callback` where it is no error of these; and as `execute` does.
    /// Nothing of it is kept then.
    pub async fn perform(&self, name: String, arguments_json: String) -> Result<Performed> {
        let arguments = arguments(&format!("action {name}"), &arguments_json)?;
        Ok(self.inner.perform(&name, arguments).await?.into())
    }

    /// Mends an action that is parked or waits: what it wrote leaves the rows, and the newest version of it is performed with these
    /// arguments on what is there then. What comes out is a new mutation at the end of the queue, in the place of the old one,
    /// which goes out of it, whatever it was parked for; all of it, or nothing, also across a crash.
    ///
    /// Works offline. What was parked because of the old one now waits for the new one: `retry_chain` with its id offers that
    /// again. Where nothing is written this time, there is no id, and the old one is given up. Throws as `perform` does, and `InvalidInput` if there is no mutation of this name, if it is no action, and if it was
    /// sent, has no verdict, and the server cannot withdraw it. Nothing was changed then.
    pub async fn perform_again(&self, id: String, arguments_json: String) -> Result<Performed> {
        let id = named(&id)?;
        let arguments = arguments(&format!("mutation {id}"), &arguments_json)?;
        Ok(self.inner.perform_again(id, arguments).await?.into())
    }
}

fn arguments(whose: &str, given: &str) -> Result<serde_json::Value> {
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

/// Upgrades as the core takes them, by older version.
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
