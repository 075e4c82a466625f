//! One statement of the app: compiled under the authorizer, with its footprint, and run.
//!
//! The authorizer speaks only when SQLite really compiles; a hit in the cache of prepared statements says nothing. So
//! footprints have a cache of their own, emptied when the schema changes.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use rusqlite::{CachedStatement, Connection};

use crate::engine::database::authorizer::{Footprint, Gate};
use crate::engine::database::{OURS, fault};
use crate::error::{Error, Result};
use crate::value::Value;

/// Footprints by the text of the statement.
#[derive(Debug)]
pub(crate) struct Footprints(LruCache<String, Arc<Footprint>>);

impl Default for Footprints {
    fn default() -> Self {
        Self(LruCache::new(NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN)))
    }
}

impl Footprints {
    /// What this statement touches; compiles it if that is not known yet.
    pub(crate) fn of(
        &mut self,
        conn: &Connection,
        gate: &Gate,
        sql: &str,
    ) -> Result<Arc<Footprint>> {
        if let Some(footprint) = self.0.get(sql) {
            return Ok(Arc::clone(footprint));
        }
        let footprint = Arc::new(compile(conn, gate, sql)?);
        if !footprint.ddl {
            self.0.put(sql.to_owned(), Arc::clone(&footprint));
        }
        Ok(footprint)
    }

    /// The schema has changed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Compiles a statement of the app without the cache, and says what it touches.
fn compile(conn: &Connection, gate: &Gate, sql: &str) -> Result<Footprint> {
    if sql.trim_start().starts_with(OURS) {
        return Err(Error::Refused {
            what: format!("a statement that begins with {OURS}"),
            why: String::from("the engine marks its own statements so"),
        });
    }
    let _app = gate.app();
    gate.record();
    let prepared = conn.prepare(sql).map(drop);
    let footprint = gate.recorded();
    prepared.map_err(|error| explain(error, gate))?;
    Ok(footprint)
}

/// A statement of the app from the cache; the gate must know that the app speaks.
pub(crate) fn prepare<'c>(
    conn: &'c Connection,
    gate: &Gate,
    sql: &str,
) -> Result<CachedStatement<'c>> {
    conn.prepare_cached(sql).map_err(|error| explain(error, gate))
}

/// Binds by position; the number must be right.
pub(crate) fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        return Err(fault::of(rusqlite::Error::InvalidParameterCount(params.len(), wanted)));
    }
    params
        .iter()
        .enumerate()
        .try_for_each(|(index, value)| statement.raw_bind_parameter(index + 1, value))
        .map_err(fault::of)
}

/// An error of a statement of the app, in the engine's words.
pub(crate) fn explain(error: rusqlite::Error, gate: &Gate) -> Error {
    if let Some((what, why)) = gate.take_refusal() {
        return Error::Refused { what, why };
    }
    fault::of(error)
}
