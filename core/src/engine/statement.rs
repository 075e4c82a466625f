//! One statement of the app: compiled under the authorizer, with its footprint.
//!
//! The authorizer runs only when SQLite compiles a statement, not for a hit in the cache of
//! prepared statements. So footprints have their own cache, which is cleared when the schema
//! changes.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use rusqlite::{CachedStatement, Connection, ErrorCode, Statement};

use crate::engine::capture::guard::Capture;
use crate::engine::capture::replace;
use crate::engine::change::Touched;
use crate::engine::database::authorizer::{Authorizer, Footprint, Recursion, TRIGGER_FUNCTIONS};
use crate::engine::database::{Database, OURS, user_version};
use crate::engine::firing::AppTriggers;
use crate::error::{Error, InputFault, Result};
use crate::value::Value;

/// Footprints by the text of the statement.
#[derive(Debug)]
pub(crate) struct Footprints {
    known: LruCache<String, Arc<Footprint>>,
    /// The last one returned: a loop uses it again.
    last: Option<(String, Arc<Footprint>)>,
    /// Capture of the writing connection: lists tables with rules that are checked after a
    /// statement.
    capture: Option<Arc<Capture>>,
    /// The triggers of the app, until the schema changes.
    triggers: Option<AppTriggers>,
    /// Whether triggers of the connection are recursive. They are not at first, as in SQLite.
    is_recursive: bool,
}

impl Default for Footprints {
    fn default() -> Self {
        let size = NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN);
        Self {
            known: LruCache::new(size),
            last: None,
            capture: None,
            triggers: None,
            is_recursive: false,
        }
    }
}

impl Footprints {
    /// Footprints of the writing connection.
    pub(crate) fn of_writer(capture: &Arc<Capture>) -> Self {
        Self { capture: Some(Arc::clone(capture)), ..Self::default() }
    }

    /// What this statement reads and writes; compiles it if that is not cached.
    pub(crate) fn of(
        &mut self,
        conn: &Connection,
        gate: &Authorizer,
        sql: &str,
    ) -> Result<Arc<Footprint>> {
        if let Some((last, footprint)) = &self.last
            && last == sql
        {
            return Ok(Arc::clone(footprint));
        }
        if let Some(footprint) = self.known.get(sql) {
            self.last = Some((sql.to_owned(), Arc::clone(footprint)));
            return Ok(Arc::clone(footprint));
        }
        let compiled = user_version::of_app(sql);
        let mut footprint = self.compile(conn, gate, sql, || conn.prepare(compiled))?.1;
        if has_inner_tables(&footprint) {
            // A module compiles its own statements when it connects to its table, once.
            footprint = self.compile(conn, gate, sql, || conn.prepare(compiled))?.1;
        }
        let footprint = Arc::new(footprint);
        if !footprint.ddl {
            self.known.put(sql.to_owned(), Arc::clone(&footprint));
        }
        Ok(footprint)
    }

    /// [`Footprints::of`] for a statement that is run next: SQLite compiles it with the triggers
    /// that it needs.
    pub(crate) fn ready(&mut self, db: &Database, sql: &str) -> Result<Arc<Footprint>> {
        loop {
            let footprint = self.of(db.conn(), &db.gate, sql)?;
            if !self.prepare_triggers(db, &footprint)? {
                return Ok(footprint);
            }
            self.known.pop(sql);
            self.last = None;
        }
    }

    /// Makes triggers recursive or not, as a statement needs them, and creates those of REPLACE;
    /// returns whether that changed anything. SQLite compiles every statement again afterwards, so it
    /// stays until a statement needs the opposite.
    pub(crate) fn prepare_triggers(
        &mut self,
        db: &Database,
        footprint: &Footprint,
    ) -> Result<bool> {
        let mut is_changed = match footprint.recursion {
            Recursion::Any => false,
            Recursion::Off | Recursion::Replace => self.set_recursive(db, false)?,
            Recursion::On => self.set_recursive(db, true)?,
        };
        if let (Recursion::Replace, Some(capture)) = (footprint.recursion, &self.capture) {
            for table in capture.among(&footprint.writes) {
                is_changed |= replace::create_triggers(db.conn(), &table)?;
            }
            if is_changed {
                db.note_ours()?;
            }
        }
        Ok(is_changed)
    }

    fn set_recursive(&mut self, db: &Database, wanted: bool) -> Result<bool> {
        if wanted == self.is_recursive {
            return Ok(false);
        }
        let value = if wanted { "ON" } else { "OFF" };
        let sql = format!("PRAGMA recursive_triggers = {value}");
        db.conn().execute_batch(&sql)?;
        self.is_recursive = wanted;
        Ok(true)
    }

    /// Prepares for statements of the engine that write base rows: triggers of the app on local-only
    /// tables are not recursive.
    pub(crate) fn prepare_base(&mut self, db: &Database) -> Result<()> {
        if self.is_recursive && !self.triggers(db.conn(), &db.gate)?.on_local.is_empty() {
            self.set_recursive(db, false)?;
        }
        Ok(())
    }

    /// Clears the cache after a schema change.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.last = None;
        self.triggers = None;
    }

    /// The triggers of the app.
    fn triggers(&mut self, conn: &Connection, gate: &Authorizer) -> Result<&mut AppTriggers> {
        let known = match self.triggers.take() {
            Some(known) => known,
            None => AppTriggers::load(conn, gate)?,
        };
        Ok(self.triggers.insert(known))
    }

    /// Adds the tables that triggers fill with the rows that statements of the engine wrote.
    pub(crate) fn add_filled(&mut self, db: &Database, touched: &mut Touched) -> Result<()> {
        if touched.of_engine().next().is_none() {
            return Ok(());
        }
        let triggers = self.triggers(db.conn(), &db.gate)?;
        if !triggers.is_any {
            return Ok(());
        }
        let synced: Vec<String> =
            touched.of_engine().filter(|table| db.gate.is_synced(table)).cloned().collect();
        for table in synced {
            triggers.written_with(db, &table).iter().for_each(|filled| touched.table(filled));
        }
        Ok(())
    }

    /// Compiles a statement of the app without the cache, and returns its footprint.
    pub(crate) fn compile<S>(
        &mut self,
        conn: &Connection,
        gate: &Authorizer,
        sql: &str,
        prepare: impl FnOnce() -> rusqlite::Result<S>,
    ) -> Result<(S, Footprint)> {
        may_be_an_apps(sql)?;
        let app = gate.app();
        gate.record();
        let prepared = prepare();
        let mut footprint = gate.recorded();
        footprint.synced = footprint.writes.iter().any(|table| gate.is_synced(table));
        let prepared = prepared.map_err(|error| explain_compile(error, gate, &footprint))?;
        drop(app);
        footprint.local = (footprint.writes.iter())
            .filter(|table| !gate.is_synced(table) && !is_internal(table))
            .cloned()
            .collect();
        if let Some(capture) = self.capture.clone() {
            footprint.checked = capture.checks_after(&footprint.writes);
            footprint.recursion = self.recursion(conn, gate, sql, (&footprint, &capture))?;
        }
        if matches!(footprint.recursion, Recursion::On | Recursion::Replace) {
            // Another trigger may fire than those that were compiled now.
            footprint.app_trigger |= self.triggers(conn, gate)?.is_any;
        }
        Ok((prepared, footprint))
    }

    fn recursion(
        &mut self,
        conn: &Connection,
        gate: &Authorizer,
        sql: &str,
        (footprint, capture): (&Footprint, &Capture),
    ) -> Result<Recursion> {
        if footprint.local.is_empty() && !footprint.synced {
            return Ok(Recursion::Any);
        }
        let on_local = &self.triggers(conn, gate)?.on_local;
        let has_local = footprint.local.iter().any(|table| on_local.contains(table));
        let is_replace = footprint.synced && replaces(sql);
        let is_circular =
            (footprint.cascades || is_replace) && capture.is_circular(&footprint.writes);
        Ok(match is_replace {
            _ if is_circular => Recursion::On,
            // An upsert updates a row instead of replacing it.
            true if on_local.is_empty() || has_word(sql, "conflict") => Recursion::On,
            true => Recursion::Replace,
            false if has_local => Recursion::Off,
            false => Recursion::Any,
        })
    }
}

fn has_word(sql: &str, word: &str) -> bool {
    sql.to_ascii_lowercase().contains(word)
}

/// Whether the keyword REPLACE may occur, which no parenthesis follows.
fn replaces(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    let mut found = lower.match_indices("replace");
    found.any(|(at, word)| !lower[at + word.len()..].trim_start().starts_with('('))
}

/// Whether a name may be that of a table inside another one, as `t_node` of `t`.
fn has_inner_tables(footprint: &Footprint) -> bool {
    let all = || footprint.reads.union(&footprint.writes);
    let is_inner = |name: &String, of: &String| {
        name.strip_prefix(of.as_str()).is_some_and(|rest| rest.starts_with('_'))
    };
    all().any(|of| all().any(|name| is_inner(name, of)))
}

/// Rejects a statement with the engine's prefix: it could come from the cache, where the authorizer
/// does not run.
fn not_one_of_ours(sql: &str) -> Result<()> {
    if sql.trim_start().starts_with(OURS) {
        return Err(InputFault::Refused {
            what: format!("a statement that begins with {OURS}"),
            reason: String::from("this prefix is reserved for the engine"),
        }
        .into());
    }
    Ok(())
}

/// Rejects what the authorizer cannot see. Inside a common table expression SQLite reports the
/// expression's name in place of a trigger's name, so it could imitate our trigger: the functions
/// of our triggers are rejected by name.
fn may_be_an_apps(sql: &str) -> Result<()> {
    not_one_of_ours(sql)?;
    let lower = sql.to_ascii_lowercase();
    match TRIGGER_FUNCTIONS.iter().find(|name| lower.contains(**name)) {
        Some(name) => Err(Error::InvalidInput(InputFault::Refused {
            what: format!("a call of {name}"),
            reason: String::from("only the engine's triggers record what was written"),
        })),
        None => Ok(()),
    }
}

/// Whether a table belongs to the engine, or is the schema.
pub(crate) fn is_internal(table: &str) -> bool {
    table.starts_with("rejoin_") || matches!(table, "sqlite_master" | "sqlite_temp_master")
}

/// A statement of the app from the cache; the authorizer must be in app mode.
pub(crate) fn prepare<'c>(
    conn: &'c Connection,
    gate: &Authorizer,
    sql: &str,
) -> Result<CachedStatement<'c>> {
    not_one_of_ours(sql)?;
    conn.prepare_cached(user_version::of_app(sql)).map_err(|error| explain(error, gate))
}

/// Binds by position; the number of parameters must match.
pub(crate) fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), wanted).into());
    }
    Ok(params
        .iter()
        .enumerate()
        .try_for_each(|(index, value)| statement.raw_bind_parameter(index + 1, value))?)
}

/// Translates an error of a statement of the app.
pub(crate) fn explain(error: rusqlite::Error, gate: &Authorizer) -> Error {
    if let Some((what, why)) = gate.take_refusal() {
        return Error::InvalidInput(InputFault::Refused { what, reason: why });
    }
    if error.to_string().starts_with("cannot VACUUM") {
        return Error::InvalidInput(InputFault::Refused {
            what: String::from("VACUUM"),
            reason: String::from("the engine maintains the file; it cannot run in a transaction"),
        });
    }
    if matches!(error, rusqlite::Error::MultipleStatement) {
        return Error::InvalidInput(InputFault::Refused {
            what: String::from("several statements at once"),
            reason: String::from("run one at a time, or all of them with execute_script()"),
        });
    }
    // SQLite compiles an empty text to nothing, which cannot be run.
    if error.sqlite_error_code() == Some(ErrorCode::ApiMisuse) {
        return InputFault::Sql(String::from("the text contains no statement")).into();
    }
    error.into()
}

/// Translates a compile error: explains an UPSERT that names more than the key of a synced table.
fn explain_compile(error: rusqlite::Error, gate: &Authorizer, footprint: &Footprint) -> Error {
    let words = error.to_string();
    if footprint.synced && words.contains("ON CONFLICT clause does not match") {
        return Error::InvalidInput(InputFault::Refused {
            what: String::from("ON CONFLICT on a column that is not the key"),
            reason: String::from(
                "UNIQUE on a synced table is the engine's rule, not SQLite's; an upsert can name the key only",
            ),
        });
    }
    explain(error, gate)
}
