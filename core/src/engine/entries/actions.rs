//! Runs of actions for the log: on the current rows, in a savepoint that is always rolled back. The
//! log applies the effects.
//!
//! A run that fails is a rejection, unless the machine failed. An action that exceeded its time is
//! rejected from then on, until the app retries it or the file is opened again, because SQLite rolls back the whole
//! transaction of an interrupted statement.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rejoin_log::entry::Intent;
use rejoin_log::handler::{Context, Ran};
use rejoin_log::ids::{Buckets, EntryId, Name};
use rejoin_protocol::{Manifest, Value};
use serde_json::{Map, Value as Json};

use super::captured;
use crate::engine::action::Actions;
use crate::engine::action::budget::Bounds;
use crate::engine::action::run::{ActionRun, RunResult, run};
use crate::engine::capture::guard::Capture;
use crate::engine::change::Touched;
use crate::engine::database::{Database, Triggers};
use crate::engine::log::RunAction;
use crate::engine::queue;
use crate::engine::run::ours;
use crate::engine::schema::model::Schema;
use crate::engine::schema::sql::quoted;
use crate::engine::statement::Footprints;
use crate::engine::transaction::StatementContext;
use crate::error::{Error, Result};
use crate::ids::{MutationId, TableNumber};

/// What a run needs of an engine.
pub(super) struct Runner<'a> {
    pub(super) db: &'a Database,
    pub(super) capture: &'a Arc<Capture>,
    pub(super) schema: &'a Schema,
    pub(super) footprints: &'a mut Footprints,
    pub(super) actions: &'a Actions,
    pub(super) bounds: &'a Bounds,
    pub(super) exhausted: &'a mut HashSet<EntryId>,
}

impl RunAction for Runner<'_> {
    fn run(
        &mut self,
        touched: &mut Touched,
        intent: &Intent,
        context: &Context,
    ) -> Result<Option<Ran>> {
        if self.exhausted.contains(&context.entry) {
            return Ok(Some(refused("the action took too long", BTreeSet::new())));
        }
        let known = queue_intent(intent);
        let prepared = known.and_then(|known| self.actions.prepared(&known));
        let Some(prepared) = prepared.filter(|_| !self.bounds.is_spent()) else { return Ok(None) };
        let db = self.db;
        ours(db, "SAVEPOINT rejoin_entry")?;
        if let Some(readable) = &context.readable {
            db.set_triggers(Triggers::Rest)?;
            hide(db, self.schema, readable)?;
        }
        db.set_triggers(Triggers::Fire)?;
        self.capture.clear();
        let ran = match prepared {
            Err(error) => RunResult::not_started(Vec::new(), error),
            Ok((registered, arguments)) => {
                let (capture, schema) = (self.capture, self.schema);
                let footprints = &mut *self.footprints;
                let parts = StatementContext { db, capture, schema, footprints, touched };
                run(
                    parts,
                    ActionRun {
                        actions: self.actions,
                        registered: &registered,
                        arguments: &arguments,
                        mutation: MutationId(context.entry.0),
                        time_ms: i64::try_from(context.time).unwrap_or(i64::MAX),
                        bounds: self.bounds,
                    },
                )
            }
        };
        let recorded = self.capture.compose(0);
        self.capture.clear();
        self.footprints.prepare_base(db)?;
        let out_of_time = ran.is_out_of_time();
        let tables = names_of(self.schema, &ran.reads);
        let outcome = match ran.result {
            Err(error) if error.is_of_the_machine() => return Err(error),
            Err(error) if db.conn().is_autocommit() => {
                self.exhausted.insert(context.entry);
                return Err(error);
            }
            Err(_) if out_of_time => None,
            Err(error) => Some(refused(&error.to_string(), tables)),
            Ok(_) => {
                let effects = captured::effects(self.schema, &recorded?)?;
                Some(Ran { effects, tables, refusal: None })
            }
        };
        ours(db, "ROLLBACK TO rejoin_entry")?;
        ours(db, "RELEASE rejoin_entry")?;
        Ok(outcome)
    }
}

/// Deletes the rows outside of these buckets, in the savepoint of a run: an action of an author must
/// not see them, and any SQL may read them. The app's triggers are off.
fn hide(db: &Database, schema: &Schema, buckets: &Buckets) -> Result<()> {
    let shown: Vec<&str> = buckets.iter().map(Name::as_str).collect();
    let shown =
        serde_json::to_string(&shown).map_err(|error| Error::Internal(error.to_string()))?;
    for table in schema.manifest.iter().flat_map(Manifest::in_log) {
        let (name, prefix) = (quoted(&table.table_name), table.bucket_prefix.as_deref());
        let Some(column) = table.bucket_by_column.as_deref().map(quoted) else { continue };
        let sql = format!(
            "/*rejoin*/DELETE FROM {name} WHERE (typeof({column}) IN ('text', 'integer') \
             AND {column} <> '' AND ?1 || {column} IN (SELECT value FROM json_each(?2))) IS NOT TRUE"
        );
        let hidden = db.conn().execute(&sql, (prefix.unwrap_or_default(), &shown));
        hidden?;
    }
    Ok(())
}

fn refused(reason: &str, tables: BTreeSet<Name>) -> Ran {
    Ran { tables, refusal: Some(reason.to_owned()), ..Ran::default() }
}

/// The names of these tables.
pub(super) fn names_of(schema: &Schema, tables: &[TableNumber]) -> BTreeSet<Name> {
    let named = tables.iter().filter_map(|number| schema.table(*number));
    named.map(|table| Name::from(table.name.as_str())).collect()
}

/// The intent of an entry: each argument as its JSON text.
pub(super) fn log_intent(intent: &queue::Intent) -> Result<Intent> {
    let damaged = |error: serde_json::Error| Error::Internal(format!("arguments: {error}"));
    let arguments: Map<String, Json> = serde_json::from_str(&intent.args).map_err(damaged)?;
    let text = |(name, value): (String, Json)| (Name::from(name), Value::Text(value.to_string()));
    Ok(Intent {
        action: Name::from(intent.action.as_str()),
        version: u32::try_from(intent.version).map_err(|_| version(intent))?,
        arguments: Arc::new(arguments.into_iter().map(text).collect::<BTreeMap<_, _>>()),
    })
}

fn version(intent: &queue::Intent) -> Error {
    super::refused(
        &format!("version {} of action {}", intent.version, intent.action),
        String::from("tables of the log take versions from 0 to 4294967295"),
    )
}

/// The same in the form of the queue; `None` if the arguments are not those of an action.
fn queue_intent(intent: &Intent) -> Option<queue::Intent> {
    let argument = |(name, value): (&Name, &Value)| {
        let json: Json = serde_json::from_str(value.as_text()?).ok()?;
        Some((name.as_str().to_owned(), json))
    };
    let arguments: Map<String, Json> =
        intent.arguments.iter().map(argument).collect::<Option<_>>()?;
    Some(queue::Intent {
        action: intent.action.as_str().to_owned(),
        version: i64::from(intent.version),
        args: Json::Object(arguments).to_string(),
        reads: Vec::new(),
        seen: Vec::new(),
    })
}
