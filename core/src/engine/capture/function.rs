//! The SQL functions of the engine: those for our triggers, and those for apps.
//!
//! They are INNOCUOUS, so that they work under `trusted_schema = OFF`; the authorizer ensures that
//! only our triggers call theirs. Their errors roll the statement back under every conflict clause.

use std::sync::Arc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Error as SqlError};

use rejoin_protocol::manifest::Rule;

use crate::death::{self, Failpoint};
use crate::engine::capture::check;
use crate::engine::capture::guard::{Capture, CaptureState};
use crate::engine::row_state::SharedRowStates;
use crate::engine::schema::guarded::GuardedTable;
use crate::error::{Error, InputFault};
use crate::host::Host;
use crate::ids::TableNumber;
use crate::value::Value;

/// Registers the functions on the writing connection.
pub(crate) fn register(conn: &Connection, capture: &Arc<Capture>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    let shared = Arc::clone(capture);
    conn.create_scalar_function("rejoin_capture", -1, flags, move |context| {
        if !shared.is_on() {
            return Ok(Null);
        }
        let mut state = shared.state();
        let recorded = record(&mut state, context, shared.acts_at().is_some());
        match recorded.and_then(|()| roomy(&shared, &state)) {
            Ok(()) => {
                death::pass(Failpoint::AfterTrigger);
                Ok(Null)
            }
            Err(error) => Err(fail(&mut state, error)),
        }
    })?;
    let shared = Arc::clone(capture);
    conn.create_scalar_function("rejoin_local", 0, flags, move |_| Ok(shared.is_on()))?;
    let shared = Arc::clone(capture);
    conn.create_scalar_function("rejoin_replaces", 0, flags, move |_| Ok(shared.is_replacing()))?;
    let shared = Arc::clone(capture);
    conn.create_scalar_function("rejoin_fail", 2, flags, move |context| {
        let mut state = shared.state();
        let error = broken(&state, context);
        Err::<Null, _>(fail(&mut state, error))
    })?;
    Ok(())
}

/// Registers the functions for apps: `rejoin_now()`, the instant in the canonical form, and
/// `rejoin_new_id()`, a UUIDv7.
///
/// While an action runs on the connection of `capture`, `rejoin_now()` is the action's time.
pub(crate) fn of_apps(
    conn: &Connection,
    host: &Arc<dyn Host>,
    capture: Option<&Arc<Capture>>,
) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    let (clock, capture) = (Arc::clone(host), capture.cloned());
    conn.create_scalar_function("rejoin_now", 0, flags, move |_| {
        let given = capture.as_ref().and_then(|capture| capture.acts_at());
        Ok(rejoin_protocol::time::format(given.unwrap_or_else(|| clock.now_micros())))
    })?;
    let host = Arc::clone(host);
    conn.create_scalar_function("rejoin_new_id", 0, flags, move |_| Ok(host.uuid7().to_string()))
}

/// Registers `rejoin_row_state(table, id)`: the current sync state of a row.
pub(crate) fn row_state(conn: &Connection, states: SharedRowStates) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("rejoin_row_state", 2, flags, move |context| {
        let table: String = context.get(0)?;
        let key: Value = context.get(1)?;
        let states = states.read();
        let Some(name) = states.name_of(&table) else {
            let error = Error::InvalidInput(InputFault::NotSynced(table));
            return Err(SqlError::UserFunctionError(error.to_string().into()));
        };
        Ok(states.state(name, &key).as_str())
    })
}

/// Stops an action that writes without end, before it fills the memory.
fn roomy(capture: &Capture, state: &CaptureState) -> Result<(), Error> {
    if capture.has_room(state.buffer.len()) {
        return Ok(());
    }
    Err(Error::InvalidInput(InputFault::Refused {
        what: String::from("another row of this action"),
        reason: String::from("the action exceeds its byte limit"),
    }))
}

/// Stores the error and gives SQLite its text.
fn fail(state: &mut CaptureState, error: Error) -> SqlError {
    let text = error.to_string();
    state.failure = Some(error);
    SqlError::UserFunctionError(text.into())
}

fn integer(context: &Context<'_>, index: usize) -> Option<u32> {
    match context.get_raw(index) {
        ValueRef::Integer(number) => u32::try_from(number).ok(),
        _ => None,
    }
}

/// The operations, as the triggers name them.
pub(crate) const INSERT: u32 = 0;
/// Old values, then new ones.
pub(crate) const UPDATE: u32 = 1;
/// Old values.
pub(crate) const DELETE: u32 = 2;

/// Checks a change and adds it to the buffer; nothing if no column changed.
fn record(state: &mut CaptureState, context: &Context<'_>, acting: bool) -> Result<(), Error> {
    let CaptureState { buffer, tables, guarded, .. } = state;
    let table = integer(context, 0)
        .and_then(|number| tables.get(usize::try_from(number).ok()?)?.as_deref())
        .ok_or_else(|| Error::Internal(String::from("a trigger of a table that is not synced")))?;
    let columns = table.columns.len();
    let operation = integer(context, 1).unwrap_or(DELETE);
    if context.len() != 2 + if operation == UPDATE { 2 * columns } else { columns } {
        return Err(Error::Internal(format!("a stale trigger on {}", table.table.name)));
    }
    if !table.table.writable {
        return Err(InputFault::Refused {
            what: format!("a write to {}", table.table.name),
            reason: String::from("the table is read-only on devices"),
        }
        .into());
    }
    if !acting && !guarded.is_empty() && guarded.contains(&table.table.name.to_ascii_lowercase()) {
        return Err(InputFault::Refused {
            what: format!("a write to {}", table.table.name),
            reason: String::from("only actions write this table; use perform()"),
        }
        .into());
    }
    let mark = buffer.len();
    let first = |at: usize| context.get_raw(2 + at);
    let tested = |at, value| test(table, at, value);
    let recorded = match operation {
        INSERT => buffer.insert(&table.table, |at| {
            let value = first(at);
            tested(at, value).map(|()| value)
        }),
        UPDATE => {
            buffer.update(&table.table, first, |at| context.get_raw(2 + columns + at), tested)
        }
        _ => {
            buffer.delete(&table.table, first);
            Ok(())
        }
    };
    if recorded.is_err() {
        buffer.cut(mark);
    }
    recorded
}

fn test(table: &GuardedTable, position: usize, value: ValueRef<'_>) -> Result<(), Error> {
    let guard = table.columns[position];
    let name = || (table.table.name.clone(), table.table.columns[position].name.clone());
    if guard.not_null && value == ValueRef::Null {
        let (table, column) = name();
        return Err(Error::Constraint { table, column, rule: String::from("NOT NULL") });
    }
    check::value(guard, value).map_err(|why| {
        let (table, column) = name();
        Error::InvalidInput(InputFault::Value { table, column, reason: why })
    })
}

fn broken(state: &CaptureState, context: &Context<'_>) -> Error {
    let rule = integer(context, 0)
        .and_then(|number| state.table(TableNumber(number)))
        .zip(integer(context, 1).and_then(|position| usize::try_from(position).ok()))
        .and_then(|(table, position)| Some((table, table.table.rules.get(position)?)));
    match rule {
        Some((table, Rule::Check { name, .. })) => Error::Constraint {
            table: table.table.name.clone(),
            column: name.clone(),
            rule: String::from("CHECK"),
        },
        Some((table, Rule::References { column, .. })) => Error::Constraint {
            table: table.table.name.clone(),
            column: column.clone(),
            rule: String::from("FOREIGN KEY"),
        },
        _ => Error::Internal(String::from("a trigger named an unknown rule")),
    }
}
