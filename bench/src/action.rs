//! The cost of performing a write as a named action, recorded with its arguments.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rejoin_core::engine::Engine;
use rejoin_core::engine::action::perform;
use rejoin_core::value::Value;
use rejoin_core::{Actions, Client, Performed, Services, Task};
use serde_json::{Value as Json, json};

use crate::measure::{Run, Variant, cpu};
use crate::rebase::{TABLE, filled};
use crate::{capture, log, raw};

/// Moves a number from one row to another: as an action, and as the statements in it.
const MOVE: &str = r#"{"name": "move", "parameters": [{"name": "n", "type": "integer"},
    {"name": "source", "type": "text"}, {"name": "target", "type": "text"}],
    "statements": ["UPDATE item SET count = count - :n WHERE id = :source",
        "UPDATE item SET count = count + :n WHERE id = :target"]}"#;
const TAKE: &str = "UPDATE item SET count = count - ? WHERE id = ?";
const GIVE: &str = "UPDATE item SET count = count + ? WHERE id = ?";

/// Sets one row's number, as [`crate::rebase`] does in plain SQL.
const SET: &str = r#"{"name": "set", "parameters": [{"name": "n", "type": "integer"}, {"name": "id", "type": "text"}],
    "statements": ["UPDATE item SET count = :n WHERE id = :id"]}"#;

/// Updates one row, whose number it reads.
const ADD: &str = r#"{"name": "add", "parameters": [{"name": "title", "type": "text"}, {"name": "n", "type": "integer"},
        {"name": "id", "type": "text"}],
    "statements": ["UPDATE item SET title = :title, count = count + :n WHERE id = :id"]}"#;

/// A declared action of two statements, against the same two captured as plain SQL in one
/// transaction.
pub(crate) const PERFORM: Run = |variant, folder, count| {
    let mut engine = filled(&folder.join("bench.db"))?;
    let moves: Vec<_> = (0..count).map(moved).collect();
    if variant == Variant::Ours {
        declare(&mut engine, MOVE)?;
        let moves: Vec<Json> = moves
            .into_iter()
            .map(|[source, target]| json!({"n": 1, "source": source, "target": target}))
            .collect();
        let mut perform =
            || moves.iter().try_for_each(|it| perform::perform(&mut engine, "move", it).map(drop));
        return Ok(cpu(count, || Ok(perform()?))?.0);
    }
    let moves: Vec<[Vec<Value>; 2]> =
        moves.into_iter().map(|both| both.map(|id| vec![1.into(), id.into()])).collect();
    let (sample, ()) = cpu(count, || {
        for [source, target] in &moves {
            engine.transaction(|tx| {
                tx.execute(TAKE, source)?;
                tx.execute(GIVE, target)
            })?;
        }
        Ok(())
    })?;
    Ok(sample)
};

/// An action on a row of the log in each transaction, offline, against the floor of captured
/// updates.
pub(crate) const PERFORM_IN_LOG: Run = |variant, folder, count| {
    if variant == Variant::Reference {
        return capture::LOG_UPDATE(variant, folder, count);
    }
    let mut engine = open_log(&folder.join("bench.db"), count)?;
    let additions: Vec<_> = (0..count).map(|number| addition(number, count)).collect();
    let mut perform =
        || additions.iter().try_for_each(|it| perform::perform(&mut engine, "add", it).map(drop));
    let (sample, ()) = cpu(count, || Ok(perform()?))?;
    let updated = log::found(&engine, "SELECT count(*) FROM item WHERE title LIKE '%, again'")?;
    ensure!(updated == i64::try_from(count)?, "{updated} rows were updated");
    Ok(sample)
};

/// An engine with the action and this many rows of the log.
pub(crate) fn open_log(path: &Path, rows: usize) -> Result<Engine> {
    let mut engine = log::started_in_buckets(path, rows)?;
    declare(&mut engine, ADD)?;
    Ok(engine)
}

/// Performs the action on a different row of [`TABLE`] each time.
pub(crate) fn add(engine: &mut Engine, number: usize) -> Result<()> {
    Ok(perform::perform(engine, "add", &addition(number, TABLE)).map(drop)?)
}

/// The same through a client.
pub(crate) fn begin_adding(client: &Client, number: usize) -> Task<Performed> {
    client.perform("add", addition(number, TABLE))
}

/// The services of such a client.
pub(crate) fn services() -> Services {
    Services { actions: Some(Actions::new().declare(ADD).into()), ..Services::default() }
}

/// Arguments for a different row each time, spread over this many.
fn addition(number: usize, rows: usize) -> Json {
    let id = raw::key(number * 7_919 % rows);
    json!({"title": format!("item number {number}, again"), "n": 1, "id": id})
}

/// A different pair of rows each time, spread over the table.
fn moved(number: usize) -> [String; 2] {
    [number * 7_919, number * 7_919 + TABLE / 2].map(|number| raw::key(number % TABLE))
}

/// This many pending actions, each on its own row.
pub(crate) fn set_counts(engine: &mut Engine, count: usize) -> Result<()> {
    declare(engine, SET)?;
    for number in 0..count {
        perform::perform(engine, "set", &json!({"n": number + 7, "id": raw::key(number)}))?;
    }
    Ok(())
}

fn declare(engine: &mut Engine, action: &str) -> Result<()> {
    Ok(perform::set_actions(engine, Arc::new(Actions::new().declare(action)), true)?)
}
