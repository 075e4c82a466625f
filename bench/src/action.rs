//! The cost of performing a write as a named action, recorded with its arguments.

use std::sync::Arc;

use anyhow::Result;
use rejoin_core::Actions;
use rejoin_core::engine::Engine;
use rejoin_core::engine::action::perform;
use rejoin_core::value::Value;
use serde_json::{Value as Json, json};

use crate::measure::{Run, Variant, cpu};
use crate::raw;
use crate::rebase::{TABLE, filled};

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
