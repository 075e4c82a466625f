//! Rejects forbidden operations in the app's SQL, by name, while SQLite compiles a statement.
//!
//! The writing connection runs statements of the engine and of the app; the gate stores whose
//! statement is being compiled or run. What an app trigger must never do is rejected in engine
//! statements as well: a trigger that writes a synced table would break base application.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::engine::database::fit;
use crate::engine::database::user_version::{self, USER_VERSION, is_user_version};

mod footprint;

pub(crate) use footprint::{Footprint, Recursion};

/// Bytes of a value, of a row, and of the recorded changes of a transaction, which SQLite would allow
/// to have 1 GB: without it, a function in a server's rule could allocate that for each row.
pub(crate) const LARGEST: i32 = 256 * 1024 * 1024;

/// Pragmas that only read.
const READING_PRAGMAS: &[&str] = &[
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "foreign_key_check",
    "function_list",
    "collation_list",
    "module_list",
    "pragma_list",
    "database_list",
    "compile_options",
    "integrity_check",
    "quick_check",
];

/// Pragmas that only read without an argument.
const READ_ONLY_WITHOUT_ARGUMENT: &[&str] = &[
    "application_id",
    "schema_version",
    "data_version",
    "page_count",
    "page_size",
    "freelist_count",
    "encoding",
    "journal_mode",
    "foreign_keys",
    "recursive_triggers",
    "query_only",
    "synchronous",
    "trusted_schema",
    "cache_size",
];

/// Functions that only our own triggers may call.
pub(crate) const TRIGGER_FUNCTIONS: &[&str] =
    &["rejoin_capture", "rejoin_fail", "rejoin_local", "rejoin_replaces"];

/// Tables of the engine that a schema change writes: the new form of a table, and the record of the
/// app's dropped triggers.
const OF_SCHEMA_CHANGES: &[&str] = &["rejoin_rebuilt", "rejoin_meta"];

/// Source of the current statement, the synced tables, and the last rejection.
#[derive(Debug, Default)]
pub(crate) struct Authorizer {
    app: AtomicBool,
    reader: bool,
    /// Whether a reader may compile writes, which modules of SQLite do when they connect.
    connects: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    synced: HashSet<String>,
    ours: HashSet<String>,
    recording: Option<Footprint>,
    refusal: Option<(String, String)>,
    changes_schema: bool,
    dropped_trigger: bool,
    /// Whether the app has compiled a statement that makes a temporary object.
    temporary: bool,
}

/// While this guard exists, statements are the app's.
#[derive(Debug)]
pub(crate) struct AppSpeaks<'a>(&'a Authorizer, bool);

impl Drop for AppSpeaks<'_> {
    fn drop(&mut self) {
        self.0.app.store(self.1, Ordering::Release);
    }
}

/// While this guard exists, a reader may compile writes.
#[derive(Debug)]
pub(crate) struct Connects<'a>(&'a Authorizer);

impl Drop for Connects<'_> {
    fn drop(&mut self) {
        self.0.connects.store(false, Ordering::Release);
    }
}

/// While this guard exists, statements change the schema and contain text of a server's manifest.
#[derive(Debug)]
pub(crate) struct SchemaChange<'a>(&'a Authorizer);

impl Drop for SchemaChange<'_> {
    fn drop(&mut self) {
        self.0.state().changes_schema = false;
    }
}

impl Authorizer {
    /// The gate of a reader, which writes nothing.
    pub(crate) fn of_reader() -> Self {
        Self { reader: true, ..Self::default() }
    }

    /// Lets a reader compile writes until the guard is dropped.
    pub(crate) fn connects(&self) -> Connects<'_> {
        self.connects.store(true, Ordering::Release);
        Connects(self)
    }

    /// Marks statements as the app's until the guard is dropped.
    pub(crate) fn app(&self) -> AppSpeaks<'_> {
        self.state().refusal = None;
        AppSpeaks(self, self.app.swap(true, Ordering::AcqRel))
    }

    /// Until the guard is dropped, no statement writes a table of the engine, except those that a
    /// schema change needs.
    pub(crate) fn schema_change(&self) -> SchemaChange<'_> {
        self.state().changes_schema = true;
        SchemaChange(self)
    }

    /// Sets the synced tables.
    pub(crate) fn set_synced<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.state().synced = names.map(str::to_ascii_lowercase).collect();
    }

    /// Whether this table is synced.
    pub(crate) fn is_synced(&self, table: &str) -> bool {
        self.state().synced.contains(&table.to_ascii_lowercase())
    }

    /// The synced tables, lower case, in order.
    pub(crate) fn synced(&self) -> Vec<String> {
        let mut names: Vec<String> = self.state().synced.iter().cloned().collect();
        names.sort();
        names
    }

    /// Sets the objects in the file that belong to the engine.
    pub(crate) fn set_ours(&self, names: impl Iterator<Item = String>) {
        self.state().ours = names.map(|name| name.to_ascii_lowercase()).collect();
    }

    /// Whether this object belongs to the engine.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        self.state().ours.contains(&name.to_ascii_lowercase())
    }

    /// Starts recording what is compiled.
    pub(crate) fn record(&self) {
        let mut state = self.state();
        state.recording = Some(Footprint::default());
        state.refusal = None;
    }

    /// What was compiled since [`Authorizer::record`].
    pub(crate) fn recorded(&self) -> Footprint {
        self.state().recording.take().unwrap_or_default()
    }

    /// Whether a temporary object may have been made since the last call.
    pub(crate) fn take_temporary(&self) -> bool {
        std::mem::take(&mut self.state().temporary)
    }

    /// The last rejection, and its reason.
    pub(crate) fn take_refusal(&self) -> Option<(String, String)> {
        self.state().refusal.take()
    }

    /// Whether the engine has dropped a trigger of the app since the last call.
    pub(crate) fn has_dropped_trigger(&self) -> bool {
        std::mem::take(&mut self.state().dropped_trigger)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reading connection may not run this. A module may prepare writes when it connects.
    fn is_write(&self, action: &AuthAction<'_>) -> bool {
        match action {
            AuthAction::Insert { .. } | AuthAction::Delete { .. } | AuthAction::Update { .. } => {
                !self.connects.load(Ordering::Acquire)
            }
            AuthAction::Pragma { pragma_value: Some(_), .. } => is_user_version(action),
            _ => false,
        }
    }

    fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        let mut state = self.state();
        let app = self.app.load(Ordering::Acquire);
        let verdict = if self.reader && self.is_write(&context.action) {
            refuse(
                "a write in query()",
                "readers cannot write; use execute(), execute_returning() or a transaction",
            )
        } else {
            state.authorize(context, app)
        };
        match verdict {
            // Only the engine's number is in the file's header.
            Ok(()) if app && is_user_version(&context.action) => Authorization::Ignore,
            Ok(()) => Authorization::Allow,
            Err(refusal) => {
                state.refusal = Some(refusal);
                Authorization::Deny
            }
        }
    }
}

/// Installs the gate as authorizer of this connection. No statement can open another file,
/// including the engine's, and no value is longer than [`LARGEST`].
pub(crate) fn install(conn: &mut Connection, gate: &Arc<Authorizer>) -> rusqlite::Result<()> {
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST)?;
    let gate = Arc::clone(gate);
    conn.authorizer(Some(move |context: AuthContext<'_>| gate.decide(&context)))
}

type Verdict = Result<(), (String, String)>;

fn refuse(what: impl Into<String>, why: impl Into<String>) -> Verdict {
    Err((what.into(), why.into()))
}

fn ours(name: &str) -> bool {
    name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("rejoin_"))
}

impl State {
    fn synced(&self, table: &str) -> bool {
        self.synced.contains(&table.to_ascii_lowercase())
    }

    fn authorize(&mut self, context: &AuthContext<'_>, app: bool) -> Verdict {
        let accessor = context.accessor;
        let by_us = accessor.is_some_and(ours);
        let main = context.database_name.is_none_or(|name| name.eq_ignore_ascii_case("main"));
        match context.action {
            AuthAction::Insert { table_name }
            | AuthAction::Delete { table_name }
            | AuthAction::Update { table_name, .. } => {
                self.authorize_write(table_name, accessor, main, app)
            }
            AuthAction::Read { table_name, column_name } => {
                if let Some(footprint) = &mut self.recording {
                    let table = table_name.to_ascii_lowercase();
                    footprint.read_columns.insert(column_name.to_ascii_lowercase());
                    if accessor.is_none() {
                        footprint.own_columns.insert(column_name.to_ascii_lowercase());
                    }
                    if !by_us {
                        let named = (table.clone(), accessor.map(str::to_owned));
                        // An INTEGER PRIMARY KEY is reported by its own name.
                        if column_name == "ROWID" {
                            footprint.rowids.insert(named.clone());
                        }
                        footprint.by_app.insert(named);
                    }
                    footprint.reads.insert(table);
                }
                Ok(())
            }
            AuthAction::Function { function_name } => {
                self.authorize_function(function_name, accessor)
            }
            AuthAction::Select | AuthAction::Recursive => Ok(()),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => refuse(
                "ATTACH, DETACH or VACUUM",
                "rows in another file would not be captured; open it with a separate connection",
            ),
            AuthAction::DropTrigger { trigger_name, .. } if !app && !ours(trigger_name) => {
                self.dropped_trigger = true;
                Ok(())
            }
            _ if !app => Ok(()),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => refuse(
                "transaction control in SQL",
                "the engine owns every transaction; use transaction() and savepoint()",
            ),
            AuthAction::Pragma { pragma_name, pragma_value } => {
                self.authorize_pragma(pragma_name, pragma_value)
            }
            _ => self.authorize_schema(context),
        }
    }

    fn authorize_write(
        &mut self,
        table: &str,
        accessor: Option<&str>,
        main: bool,
        app: bool,
    ) -> Verdict {
        let is = |name: &&str| table.eq_ignore_ascii_case(name);
        if self.changes_schema && ours(table) && !OF_SCHEMA_CHANGES.iter().any(is) {
            return refuse(
                format!("a write to {table} in a schema change"),
                "text of a server's manifest must not change tables of the engine",
            );
        }
        let trigger = accessor.filter(|name| !ours(name));
        let cascades = accessor.is_some_and(ours) && self.synced(table);
        if let Some(footprint) = &mut self.recording {
            footprint.app_trigger |= trigger.is_some();
            footprint.cascades |= cascades;
            if !accessor.is_some_and(ours) {
                let trigger = trigger.map(str::to_owned);
                footprint.by_app.insert((table.to_ascii_lowercase(), trigger));
            }
            footprint.writes.insert(table.to_ascii_lowercase());
        }
        if !main {
            return Ok(());
        }
        match trigger {
            Some(trigger) if self.synced(table) => refuse(
                format!("trigger {trigger}"),
                format!(
                    "it writes the synced table {table}; triggers of the app may write local-only tables"
                ),
            ),
            Some(trigger) if ours(table) => refuse(
                format!("trigger {trigger}"),
                format!("it writes {table}, which belongs to the engine"),
            ),
            None if app && accessor.is_none() && ours(table) => {
                refuse(format!("a write to {table}"), "tables named rejoin_ belong to the engine")
            }
            _ => Ok(()),
        }
    }

    fn authorize_function(&mut self, name: &str, accessor: Option<&str>) -> Verdict {
        let by_us = accessor.is_some_and(ours);
        let named = |other: &&str| name.eq_ignore_ascii_case(other);
        if TRIGGER_FUNCTIONS.iter().any(named) && !by_us {
            return refuse(
                format!("a call of {name}"),
                "only the engine's triggers record what was written",
            );
        }
        if let Some(footprint) = &mut self.recording {
            if self.changes_schema {
                footprint.called.insert(name.to_ascii_lowercase());
            }
            footprint.row_state |= name.eq_ignore_ascii_case("rejoin_row_state");
            if !by_us && fit::is_of_interest(name) {
                let named = (name.to_ascii_lowercase(), accessor.map(str::to_owned));
                footprint.functions.insert(named);
            }
        }
        Ok(())
    }

    fn authorize_schema(&mut self, context: &AuthContext<'_>) -> Verdict {
        let temp = context.database_name.is_some_and(|name| name.eq_ignore_ascii_case("temp"));
        let (mut triggered, mut altered) = (None, None);
        let verdict =
            match context.action {
                AuthAction::CreateTempTrigger { trigger_name, .. } => refuse(
                    format!("temporary trigger {trigger_name}"),
                    "make it an ordinary trigger; it may write local-only tables",
                ),
                AuthAction::CreateTempTable { table_name } => self.authorize_temp_name(table_name),
                AuthAction::CreateVtable { table_name, .. } if temp => {
                    self.authorize_temp_name(table_name)
                }
                AuthAction::CreateTempView { view_name } => self.authorize_temp_name(view_name),
                AuthAction::CreateTrigger { trigger_name, table_name } => {
                    triggered = Some(table_name.to_owned());
                    authorize_name(trigger_name)
                }
                AuthAction::CreateIndex { index_name: name, table_name: table }
                | AuthAction::DropIndex { index_name: name, table_name: table }
                | AuthAction::DropTrigger { trigger_name: name, table_name: table } => {
                    if ours(table) { authorize_name(table) } else { authorize_name(name) }
                }
                AuthAction::CreateTable { table_name: name }
                | AuthAction::CreateVtable { table_name: name, .. }
                | AuthAction::CreateView { view_name: name }
                | AuthAction::DropView { view_name: name } => authorize_name(name),
                AuthAction::DropTable { table_name }
                | AuthAction::DropVtable { table_name, .. }
                | AuthAction::AlterTable { table_name, .. } => {
                    altered = Some(table_name.to_owned());
                    self.authorize_table(table_name, temp)
                }
                _ => Ok(()),
            };
        if let Some(footprint) = &mut self.recording {
            footprint.ddl |=
                !matches!(context.action, AuthAction::Analyze { .. } | AuthAction::Reindex { .. });
            footprint.triggered.extend(triggered);
            footprint.altered.extend(altered);
        }
        verdict
    }

    fn authorize_table(&self, table: &str, temp: bool) -> Verdict {
        if !temp && self.synced(table) {
            return refuse(
                format!("DROP or ALTER of the synced table {table}"),
                "its schema is the manifest's; change it on the server, or bundle a new manifest",
            );
        }
        authorize_name(table)
    }

    fn authorize_temp_name(&mut self, name: &str) -> Verdict {
        self.temporary = true;
        if self.synced(name) || ours(name) {
            return refuse(
                format!("temporary {name}"),
                "it would stand before the synced table of this name; choose another",
            );
        }
        Ok(())
    }

    fn authorize_pragma(&mut self, name: &str, value: Option<&str>) -> Verdict {
        let listed = |list: &[&str]| list.iter().any(|other| name.eq_ignore_ascii_case(other));
        if listed(READING_PRAGMAS) || (value.is_none() && listed(READ_ONLY_WITHOUT_ARGUMENT)) {
            return Ok(());
        }
        if name.eq_ignore_ascii_case(USER_VERSION) {
            let number = value.and_then(user_version::parse);
            if let Some(footprint) = &mut self.recording {
                footprint.user_version = number;
            }
            return match number {
                Some(_) => Ok(()),
                None => refuse(
                    "PRAGMA user_version",
                    "write it alone: query `PRAGMA user_version`, or set a 32-bit number",
                ),
            };
        }
        refuse(
            format!("PRAGMA {name}"),
            "the engine sets the pragmas; only user_version and those that read the schema are allowed",
        )
    }
}

fn authorize_name(name: &str) -> Verdict {
    if ours(name) {
        return refuse(name, "names that begin with rejoin_ are the engine's");
    }
    Ok(())
}
