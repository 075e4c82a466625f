//! The actions of the simulated app, defined once for devices and authority (the log model's
//! [`Draft`]) and for the oracle.
//!
//! An action uses only the trait [`ActionContext`], so the oracle runs the same action on rows that
//! the log model has never touched. All actions but `dice` are pure; `dice` writes another number
//! at each run, as no action of an app should.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rejoin_core::ids::row_id::row_id;
use rejoin_core::value::Value;
use rejoin_log::entry::Intent;
use rejoin_log::handler::{Draft, Handlers, Stop};
use rejoin_log::ids::Name;
use rejoin_log::row::{Columns, LogRow, RowName};

/// Rows that all users edit.
pub(super) const ITEM: &str = "item";
/// Rows that actions create, with deterministic ids.
pub(super) const NOTE: &str = "note";
/// Rows that only one user sees.
pub(super) const MINE: &str = "mine";

/// The operations of an action.
pub(super) trait ActionContext {
    fn row(&mut self, table: &str, id: &str) -> Result<Option<Columns>, Stop>;
    fn rows(&mut self, table: &str) -> Result<Vec<(RowName, Columns)>, Stop>;
    fn put(&mut self, table: &str, id: &str, row: Columns);
    fn set(&mut self, table: &str, id: &str, columns: Columns) -> Result<bool, Stop>;
    fn remove(&mut self, table: &str, id: &str) -> Result<bool, Stop>;
    /// Whether the author may write there; true on a device that does not have its buckets yet.
    fn member(&mut self, bucket: &str) -> bool;
    fn entry(&self) -> String;
    fn time(&self) -> u64;
}

impl ActionContext for Draft<'_> {
    fn row(&mut self, table: &str, id: &str) -> Result<Option<Columns>, Stop> {
        Ok(Draft::row(self, &RowName::new(table, id))?.map(|image| image.columns().clone()))
    }

    fn rows(&mut self, table: &str) -> Result<Vec<(RowName, Columns)>, Stop> {
        let rows = self.table(&Name::from(table))?;
        Ok(rows.into_iter().map(|(name, image)| (name, image.columns().clone())).collect())
    }

    fn put(&mut self, table: &str, id: &str, row: Columns) {
        Draft::put(self, &RowName::new(table, id), LogRow::from(row));
    }

    fn set(&mut self, table: &str, id: &str, columns: Columns) -> Result<bool, Stop> {
        Draft::set(self, &RowName::new(table, id), &columns)
    }

    fn remove(&mut self, table: &str, id: &str) -> Result<bool, Stop> {
        Draft::remove(self, &RowName::new(table, id))
    }

    fn member(&mut self, bucket: &str) -> bool {
        self.buckets().is_none_or(|buckets| buckets.contains(bucket))
    }

    fn entry(&self) -> String {
        Draft::entry(self).to_string()
    }

    fn time(&self) -> u64 {
        Draft::time(self)
    }
}

/// The versions of the actions that an installed app has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// The first.
    First,
    /// The second, which still has the first.
    Both,
    /// Only the second: entries of the first keep their effects.
    Second,
}

/// The actions as a device or an authority has them.
#[derive(Debug)]
pub(super) struct Actions {
    pub(super) app: App,
    /// The next value that `dice` writes.
    dice: AtomicU64,
}

impl Actions {
    pub(super) fn new(app: App) -> Self {
        Self { app, dice: AtomicU64::new(0) }
    }

    /// The version that this app uses for new actions.
    pub(super) fn version(&self) -> u32 {
        if self.app == App::First { 1 } else { 2 }
    }
}

impl Handlers for Actions {
    fn run(&self, intent: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop> {
        let known = match self.app {
            App::First => intent.version == 1,
            App::Both => true,
            App::Second => intent.version == 2,
        };
        if !known {
            return Err(Stop::NoHandler);
        }
        let arguments = Arguments::of(intent);
        if intent.action.as_str() == "dice" {
            return dice(draft, &arguments, self.dice.fetch_add(1, Ordering::SeqCst));
        }
        run_pure(intent, draft)
    }
}

/// The arguments of an intent, by name.
pub(super) struct Arguments<'a>(&'a BTreeMap<Name, Value>);

impl<'a> Arguments<'a> {
    fn of(intent: &'a Intent) -> Self {
        Self(&intent.arguments)
    }

    fn text(&self, name: &str) -> &'a str {
        match self.0.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    fn number(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(Value::Integer(number)) => *number,
            _ => 0,
        }
    }
}

/// Runs a pure intent.
pub(super) fn run_pure(intent: &Intent, context: &mut dyn ActionContext) -> Result<(), Stop> {
    let a = Arguments::of(intent);
    let (row, to, text) = (a.text("row"), a.text("to"), a.text("text"));
    match intent.action.as_str() {
        "append" if intent.version == 2 => append(context, row, &text.to_uppercase()),
        "append" => append(context, row, text),
        "increment" => increment(context, row, a.number("limit")),
        "sell" => sell(context, row),
        "create" => create(context, to, text),
        "child" => child(context, row),
        "delete" => delete(context, row),
        "blank" => change(context, row, |_| Ok(vec![("v", Value::Null)])),
        "move" => place(context, row, "b", Some(to)),
        "share" => place(context, row, "also", Some(to).filter(|to| !to.is_empty())),
        "transfer" => transfer(context, row, to),
        "copy_secret" => copy_secret(context, a.text("from"), row),
        "upsert" => upsert(context, row, to, text),
        "cap" => cap(context, to, a.number("limit"), true),
        "cap_all" => cap(context, to, a.number("limit"), false),
        "reset" => reset(context, row, text),
        "toggle" => change(context, row, |row| {
            Ok(vec![("n", Value::Integer(1 - integer(row, "n").clamp(0, 1)))])
        }),
        "blind" => blind(context, row, a.number("n")),
        "plant" => {
            // Writes a whole row without reading.
            context.put(ITEM, row, fresh(to, "planted", 0));
            Ok(())
        }
        "stamp" => stamp(context, row),
        "grow" => {
            change(context, row, |row| Ok(vec![("x", Value::Integer(integer(row, "x") + 1))]))
        }
        "empty" => empty(context, to),
        other => Err(Stop::Refused(format!("there is no action {other}"))),
    }
}

type ActionResult = Result<(), Stop>;

fn refused<T>(why: &str) -> Result<T, Stop> {
    Err(Stop::Refused(why.to_owned()))
}

fn require_row(context: &mut dyn ActionContext, id: &str) -> Result<Columns, Stop> {
    match context.row(ITEM, id)? {
        Some(row) => Ok(row),
        None => refused("the row is gone"),
    }
}

fn change(
    context: &mut dyn ActionContext,
    id: &str,
    new: impl FnOnce(&Columns) -> Result<Vec<(&'static str, Value)>, Stop>,
) -> ActionResult {
    let row = require_row(context, id)?;
    let columns = new(&row)?.into_iter().map(|(name, value)| (Name::from(name), value)).collect();
    context.set(ITEM, id, columns).map(drop)
}

fn append(context: &mut dyn ActionContext, id: &str, text: &str) -> ActionResult {
    change(context, id, |row| Ok(vec![("v", Value::from(format!("{}{text}", string(row, "v"))))]))
}

fn increment(context: &mut dyn ActionContext, id: &str, limit: i64) -> ActionResult {
    change(context, id, |row| match integer(row, "n") {
        n if n >= limit => refused("the limit is reached"),
        n => Ok(vec![("n", Value::Integer(n + 1))]),
    })
}

fn sell(context: &mut dyn ActionContext, id: &str) -> ActionResult {
    let buyer = context.entry();
    change(context, id, |row| match row.get("o") {
        None | Some(Value::Null) => Ok(vec![("o", Value::from(buyer))]),
        Some(_) => refused("it is sold"),
    })
}

fn member(context: &mut dyn ActionContext, bucket: &str) -> ActionResult {
    if context.member(bucket) { Ok(()) } else { refused("not a member of the bucket") }
}

fn create(context: &mut dyn ActionContext, bucket: &str, text: &str) -> ActionResult {
    member(context, bucket)?;
    let id = own_id(context, text);
    context.put(NOTE, &id, fresh(bucket, text, 0));
    Ok(())
}

fn child(context: &mut dyn ActionContext, parent: &str) -> ActionResult {
    let of = require_row(context, parent)?;
    let id = own_id(context, parent);
    let mut row = fresh(string(&of, "b"), "child", 0);
    row.insert(Name::from("p"), Value::from(parent.to_owned()));
    context.put(NOTE, &id, row);
    Ok(())
}

fn delete(context: &mut dyn ActionContext, id: &str) -> ActionResult {
    if context.remove(ITEM, id)? { Ok(()) } else { refused("the row is gone") }
}

fn place(
    context: &mut dyn ActionContext,
    id: &str,
    column: &'static str,
    to: Option<&str>,
) -> ActionResult {
    require_row(context, id)?;
    if let Some(to) = to {
        member(context, to)?;
    }
    let value = to.map_or(Value::Null, |to| Value::from(to.to_owned()));
    change(context, id, |_| Ok(vec![(column, value)]))
}

fn transfer(context: &mut dyn ActionContext, from: &str, to: &str) -> ActionResult {
    let (giver, taker) = (require_row(context, from)?, require_row(context, to)?);
    if integer(&giver, "n") <= 0 {
        return refused("nothing is left");
    }
    if from == to {
        return Ok(());
    }
    change(context, from, |_| Ok(vec![("n", Value::Integer(integer(&giver, "n") - 1))]))?;
    change(context, to, |_| Ok(vec![("n", Value::Integer(integer(&taker, "n") + 1))]))
}

/// Writes a value that it reads in a private row into a shared row.
fn copy_secret(context: &mut dyn ActionContext, private: &str, id: &str) -> ActionResult {
    let Some(secret) = context.row(MINE, private)? else { return refused("the row is gone") };
    change(context, id, |row| {
        Ok(vec![("v", Value::from(format!("{}{}", string(row, "v"), integer(&secret, "n"))))])
    })
}

fn upsert(context: &mut dyn ActionContext, id: &str, bucket: &str, text: &str) -> ActionResult {
    member(context, bucket)?;
    if context.row(ITEM, id)?.is_some() {
        return change(context, id, |_| Ok(vec![("v", Value::from(text.to_owned()))]));
    }
    context.put(ITEM, id, fresh(bucket, text, 0));
    Ok(())
}

/// Creates a note while there are fewer than `limit`: in the bucket, or among all that the author
/// sees.
fn cap(context: &mut dyn ActionContext, bucket: &str, limit: i64, of_bucket: bool) -> ActionResult {
    member(context, bucket)?;
    let mut count: i64 = 0;
    for table in [ITEM, NOTE] {
        let rows = context.rows(table)?;
        count += rows
            .iter()
            .map(|(_, row)| i64::from(!of_bucket || string(row, "b") == bucket))
            .sum::<i64>();
    }
    if count >= limit {
        return refused("it is full");
    }
    let id = own_id(context, "cap");
    let text = if of_bucket { "cap".to_owned() } else { format!("all{count}") };
    context.put(NOTE, &id, fresh(bucket, &text, 0));
    Ok(())
}

/// Writes only if another value is present; otherwise it has no effect.
fn reset(context: &mut dyn ActionContext, id: &str, text: &str) -> ActionResult {
    if integer(&require_row(context, id)?, "n") <= 0 {
        return Ok(());
    }
    change(context, id, |_| Ok(vec![("v", Value::from(text.to_owned())), ("n", Value::Integer(0))]))
}

/// Reads nothing, and may write the value that is already present.
fn blind(context: &mut dyn ActionContext, id: &str, number: i64) -> ActionResult {
    let columns = [(Name::from("n"), Value::Integer(number))].into_iter().collect();
    context.set(ITEM, id, columns).map(drop)
}

fn stamp(context: &mut dyn ActionContext, id: &str) -> ActionResult {
    let time = i64::try_from(context.time()).unwrap_or(i64::MAX);
    change(context, id, |_| Ok(vec![("n", Value::Integer(time))]))
}

/// Removes every note of a bucket.
fn empty(context: &mut dyn ActionContext, bucket: &str) -> ActionResult {
    for (name, row) in context.rows(NOTE)? {
        if string(&row, "b") == bucket {
            context.remove(NOTE, name.id.as_str())?;
        }
    }
    Ok(())
}

fn dice(context: &mut dyn ActionContext, arguments: &Arguments<'_>, shows: u64) -> ActionResult {
    let text = Value::from(format!("dice {shows}"));
    change(context, arguments.text("row"), |_| Ok(vec![("v", text)]))
}

fn own_id(context: &dyn ActionContext, identity: &str) -> String {
    let row = [("of".to_owned(), serde_json::Value::from(identity))].into_iter().collect();
    row_id(&context.entry(), NOTE, &row, None)
        .map_or_else(|error| error.to_string(), |id| id.to_string())
}

/// A row of any of the tables.
pub(super) fn fresh(bucket: &str, text: &str, number: i64) -> Columns {
    let columns = [
        ("b", Value::from(bucket.to_owned())),
        ("also", Value::Null),
        ("v", Value::from(text.to_owned())),
        ("n", Value::Integer(number)),
        ("o", Value::Null),
    ];
    columns.into_iter().map(|(name, value)| (Name::from(name), value)).collect()
}

/// A text column; empty where it is NULL or missing.
pub(super) fn string<'a>(row: &'a Columns, column: &str) -> &'a str {
    match row.get(column) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// An integer column; 0 where it is NULL or missing.
pub(super) fn integer(row: &Columns, column: &str) -> i64 {
    match row.get(column) {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    }
}
