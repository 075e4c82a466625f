//! The actions of the simulated app, defined once for devices and authority (the log model's
//! [`Draft`]) and for the oracle.
//!
//! An action uses only the trait [`Desk`], so the oracle runs the same action on rows that the log
//! model has never touched. All actions but `dice` are pure; `dice` writes another number at each
//! run, as no action of an app should.

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
pub(super) trait Desk {
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

impl Desk for Draft<'_> {
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
        act(intent, draft)
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
pub(super) fn act(intent: &Intent, desk: &mut dyn Desk) -> Result<(), Stop> {
    let a = Arguments::of(intent);
    let (row, to, text) = (a.text("row"), a.text("to"), a.text("text"));
    match intent.action.as_str() {
        "append" if intent.version == 2 => append(desk, row, &text.to_uppercase()),
        "append" => append(desk, row, text),
        "increment" => increment(desk, row, a.number("limit")),
        "sell" => sell(desk, row),
        "create" => create(desk, to, text),
        "child" => child(desk, row),
        "delete" => delete(desk, row),
        "blank" => change(desk, row, |_| Ok(vec![("v", Value::Null)])),
        "move" => place(desk, row, "b", Some(to)),
        "share" => place(desk, row, "also", Some(to).filter(|to| !to.is_empty())),
        "transfer" => transfer(desk, row, to),
        "tell" => tell(desk, a.text("from"), row),
        "upsert" => upsert(desk, row, to, text),
        "cap" => cap(desk, to, a.number("limit"), true),
        "cap_all" => cap(desk, to, a.number("limit"), false),
        "reset" => reset(desk, row, text),
        "toggle" => change(desk, row, |row| {
            Ok(vec![("n", Value::Integer(1 - integer(row, "n").clamp(0, 1)))])
        }),
        "blind" => blind(desk, row, a.number("n")),
        "plant" => {
            // Writes a whole row without reading.
            desk.put(ITEM, row, fresh(to, "planted", 0));
            Ok(())
        }
        "stamp" => stamp(desk, row),
        "grow" => change(desk, row, |row| Ok(vec![("x", Value::Integer(integer(row, "x") + 1))])),
        "empty" => empty(desk, to),
        other => Err(Stop::Refused(format!("there is no action {other}"))),
    }
}

type Done = Result<(), Stop>;

fn refused<T>(why: &str) -> Result<T, Stop> {
    Err(Stop::Refused(why.to_owned()))
}

fn need(desk: &mut dyn Desk, id: &str) -> Result<Columns, Stop> {
    match desk.row(ITEM, id)? {
        Some(row) => Ok(row),
        None => refused("the row is gone"),
    }
}

fn change(
    desk: &mut dyn Desk,
    id: &str,
    new: impl FnOnce(&Columns) -> Result<Vec<(&'static str, Value)>, Stop>,
) -> Done {
    let row = need(desk, id)?;
    let columns = new(&row)?.into_iter().map(|(name, value)| (Name::from(name), value)).collect();
    desk.set(ITEM, id, columns).map(drop)
}

fn append(desk: &mut dyn Desk, id: &str, text: &str) -> Done {
    change(desk, id, |row| Ok(vec![("v", Value::from(format!("{}{text}", string(row, "v"))))]))
}

fn increment(desk: &mut dyn Desk, id: &str, limit: i64) -> Done {
    change(desk, id, |row| match integer(row, "n") {
        n if n >= limit => refused("the limit is reached"),
        n => Ok(vec![("n", Value::Integer(n + 1))]),
    })
}

fn sell(desk: &mut dyn Desk, id: &str) -> Done {
    let buyer = desk.entry();
    change(desk, id, |row| match row.get("o") {
        None | Some(Value::Null) => Ok(vec![("o", Value::from(buyer))]),
        Some(_) => refused("it is sold"),
    })
}

fn member(desk: &mut dyn Desk, bucket: &str) -> Done {
    if desk.member(bucket) { Ok(()) } else { refused("not a member of the bucket") }
}

fn create(desk: &mut dyn Desk, bucket: &str, text: &str) -> Done {
    member(desk, bucket)?;
    let id = own_id(desk, text);
    desk.put(NOTE, &id, fresh(bucket, text, 0));
    Ok(())
}

fn child(desk: &mut dyn Desk, parent: &str) -> Done {
    let of = need(desk, parent)?;
    let id = own_id(desk, parent);
    let mut row = fresh(string(&of, "b"), "child", 0);
    row.insert(Name::from("p"), Value::from(parent.to_owned()));
    desk.put(NOTE, &id, row);
    Ok(())
}

fn delete(desk: &mut dyn Desk, id: &str) -> Done {
    if desk.remove(ITEM, id)? { Ok(()) } else { refused("the row is gone") }
}

fn place(desk: &mut dyn Desk, id: &str, column: &'static str, to: Option<&str>) -> Done {
    need(desk, id)?;
    if let Some(to) = to {
        member(desk, to)?;
    }
    let value = to.map_or(Value::Null, |to| Value::from(to.to_owned()));
    change(desk, id, |_| Ok(vec![(column, value)]))
}

fn transfer(desk: &mut dyn Desk, from: &str, to: &str) -> Done {
    let (giver, taker) = (need(desk, from)?, need(desk, to)?);
    if integer(&giver, "n") <= 0 {
        return refused("nothing is left");
    }
    if from == to {
        return Ok(());
    }
    change(desk, from, |_| Ok(vec![("n", Value::Integer(integer(&giver, "n") - 1))]))?;
    change(desk, to, |_| Ok(vec![("n", Value::Integer(integer(&taker, "n") + 1))]))
}

/// Writes a value that it reads in a private row into a shared row.
fn tell(desk: &mut dyn Desk, private: &str, id: &str) -> Done {
    let Some(secret) = desk.row(MINE, private)? else { return refused("the row is gone") };
    change(desk, id, |row| {
        Ok(vec![("v", Value::from(format!("{}{}", string(row, "v"), integer(&secret, "n"))))])
    })
}

fn upsert(desk: &mut dyn Desk, id: &str, bucket: &str, text: &str) -> Done {
    member(desk, bucket)?;
    if desk.row(ITEM, id)?.is_some() {
        return change(desk, id, |_| Ok(vec![("v", Value::from(text.to_owned()))]));
    }
    desk.put(ITEM, id, fresh(bucket, text, 0));
    Ok(())
}

/// Creates a note while there are fewer than `limit`: in the bucket, or among all that the author
/// sees.
fn cap(desk: &mut dyn Desk, bucket: &str, limit: i64, of_bucket: bool) -> Done {
    member(desk, bucket)?;
    let mut count: i64 = 0;
    for table in [ITEM, NOTE] {
        let rows = desk.rows(table)?;
        count += rows
            .iter()
            .map(|(_, row)| i64::from(!of_bucket || string(row, "b") == bucket))
            .sum::<i64>();
    }
    if count >= limit {
        return refused("it is full");
    }
    let id = own_id(desk, "cap");
    let text = if of_bucket { "cap".to_owned() } else { format!("all{count}") };
    desk.put(NOTE, &id, fresh(bucket, &text, 0));
    Ok(())
}

/// Writes only if another value is present; otherwise it has no effect.
fn reset(desk: &mut dyn Desk, id: &str, text: &str) -> Done {
    if integer(&need(desk, id)?, "n") <= 0 {
        return Ok(());
    }
    change(desk, id, |_| Ok(vec![("v", Value::from(text.to_owned())), ("n", Value::Integer(0))]))
}

/// Reads nothing, and may write the value that is already present.
fn blind(desk: &mut dyn Desk, id: &str, number: i64) -> Done {
    let columns = [(Name::from("n"), Value::Integer(number))].into_iter().collect();
    desk.set(ITEM, id, columns).map(drop)
}

fn stamp(desk: &mut dyn Desk, id: &str) -> Done {
    let time = i64::try_from(desk.time()).unwrap_or(i64::MAX);
    change(desk, id, |_| Ok(vec![("n", Value::Integer(time))]))
}

/// Removes every note of a bucket.
fn empty(desk: &mut dyn Desk, bucket: &str) -> Done {
    for (name, row) in desk.rows(NOTE)? {
        if string(&row, "b") == bucket {
            desk.remove(NOTE, name.id.as_str())?;
        }
    }
    Ok(())
}

fn dice(desk: &mut dyn Desk, arguments: &Arguments<'_>, shows: u64) -> Done {
    let text = Value::from(format!("dice {shows}"));
    change(desk, arguments.text("row"), |_| Ok(vec![("v", text)]))
}

fn own_id(desk: &dyn Desk, identity: &str) -> String {
    let row = [("of".to_owned(), serde_json::Value::from(identity))].into_iter().collect();
    row_id(&desk.entry(), NOTE, &row, None)
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
