//! Tables of the log: edits count in the order in which they were made, not in which they arrive.

use std::thread::sleep;
use std::time::Duration;

use super::World;
use crate::claims::Claims;
use anyhow::{Result, ensure};
use serde_json::{Value as Json, json};

const ORDERED: u32 = 7;
const RUN_AGAIN: u32 = 8;

/// All seats, with their notes.
const SEATS: &str = "SELECT id, event, note FROM seat ORDER BY id";

/// Every device edits one row offline, one after another; then they sync in the opposite order.
pub(super) fn order_of_edits_counts(world: &mut World, claims: &mut Claims) {
    let claim = "edits of a row of the log count in the order in which they were made, on all devices and the server";
    let late = claims.is_sabotaged(ORDERED);
    claims.make(ORDERED, claim, ordered(world, late));
}

fn ordered(world: &mut World, late: bool) -> Result<()> {
    world.devices[0].must(&insert("shared"))?;
    for _ in 0..2 {
        world.devices.iter_mut().try_for_each(|device| device.sync().map(drop))?;
    }
    world.order(&json!({"do": "stop"}))?;
    for device in &mut world.devices {
        let name = device.name.clone();
        device.must(&insert(&format!("of-{name}")))?;
        device.must(&note(&name))?;
        sleep(Duration::from_millis(5)); // Keys are times in milliseconds.
    }
    if late {
        world.devices[0].must(&note("another one"))?;
    }
    world.order(&json!({"do": "go"}))?;
    for _ in 0..2 {
        world.devices.iter_mut().rev().try_for_each(|device| device.sync().map(drop))?;
    }
    let mut names: Vec<String> = world.devices.iter().map(|device| device.name.clone()).collect();
    let last = names.last().cloned().unwrap_or_default();
    names.sort_unstable();
    let own = names.iter().map(|name| json!([format!("of-{name}"), "e1", null]));
    let expected: Vec<Json> = own.chain([json!(["shared", "e1", last])]).collect();
    let found = world.rows(SEATS)?;
    ensure!(found == expected, "the server has {found:?} instead of {expected:?}");
    for device in &mut world.devices {
        let found = device.rows(SEATS)?;
        ensure!(found == expected, "{} has {found:?} instead of {expected:?}", device.name);
        let waiting = device.must(&json!({"do": "pending"}))?;
        let in_log = |one: &&Json| one["rows"][0]["table"] == "seat";
        let waiting =
            waiting["pending"].as_array().map_or(0, |all| all.iter().filter(in_log).count());
        ensure!(waiting == 0, "{} has {waiting} entries left", device.name);
    }
    Ok(())
}

/// The actions of a device: `buy`, which is data and rejects a seat that is sold, and `sign`, which is
/// code of its language.
pub(crate) fn actions_of(name: &str) -> Json {
    let buy = json!({
        "name": "buy",
        "parameters": [{"name": "seat", "type": "text"}],
        "preconditions": [{"sql": "SELECT note IS NULL FROM seat WHERE id = :seat", "message": "it is sold"}],
        "statements": [format!("UPDATE seat SET note = '{name}' WHERE id = :seat")],
    });
    let sql = "UPDATE seat SET note = coalesce(note, '') || ?1 WHERE id = 'signed'";
    let step = json!({"do": "exec", "sql": sql, "params": [format!("{name} ")]});
    json!([buy, {"name": "sign", "parameters": [], "runs": [[step]]}])
}

/// Every device buys one seat and signs one row offline, one after another; then they sync in the
/// opposite order, so that all but the first run their actions again. This is done in both orders.
pub(super) fn actions_run_again(world: &mut World, claims: &mut Claims) {
    let claim = "actions in JSON and in code of every language run again: the first buyer has the seat, and no addition is lost";
    let late = claims.is_sabotaged(RUN_AGAIN);
    claims.make(RUN_AGAIN, claim, ran_again(world, late));
}

fn ran_again(world: &mut World, late: bool) -> Result<()> {
    for id in ["signed", "sold-1", "sold-2"] {
        world.devices[0].must(&insert(id))?;
    }
    for _ in 0..2 {
        world.devices.iter_mut().try_for_each(|device| device.sync().map(drop))?;
    }
    perform_offline(world, "sold-1", late)?;
    world.devices.reverse();
    perform_offline(world, "sold-2", false)?;
    world.devices.reverse();
    let names: Vec<&str> = world.devices.iter().map(|device| device.name.as_str()).collect();
    let signed: Vec<&str> = names.iter().chain(names.iter().rev()).copied().collect();
    let expected = [
        json!(["signed", signed.join(" ") + " "]),
        json!(["sold-1", names.first()]),
        json!(["sold-2", names.last()]),
    ];
    let sql = "SELECT id, note FROM seat WHERE id = 'signed' OR id LIKE 'sold-%' ORDER BY id";
    let found = world.rows(sql)?;
    ensure!(found == expected, "the server has {found:?} instead of {expected:?}");
    let last = world.devices.len() - 1;
    for (number, device) in world.devices.iter_mut().enumerate() {
        let found = device.rows(sql)?;
        ensure!(found == expected, "{} has {found:?} instead of {expected:?}", device.name);
        let states: Vec<String> = device.pending()?.into_iter().map(|(_, state)| state).collect();
        let refused = states.iter().filter(|state| *state == "parked unreplayable").count();
        let expected = usize::from(number > 0) + usize::from(number < last);
        ensure!(refused == expected, "{}: {refused} rejected actions in {states:?}", device.name);
    }
    Ok(())
}

/// Performs both actions on each device in turn, and syncs in the opposite order. If `late`, the last
/// device buys first.
fn perform_offline(world: &mut World, seat: &str, late: bool) -> Result<()> {
    world.order(&json!({"do": "stop"}))?;
    let buy = json!({"do": "perform", "action": "buy", "arguments": {"seat": seat}});
    let sign = json!({"do": "perform", "action": "sign"});
    if late && let Some(last) = world.devices.last_mut() {
        last.must(&buy)?;
        sleep(Duration::from_millis(5));
    }
    for device in &mut world.devices {
        if !late {
            device.must(&buy)?;
        }
        device.must(&sign)?;
        sleep(Duration::from_millis(5)); // Keys are times in milliseconds.
    }
    world.order(&json!({"do": "go"}))?;
    // Each device fetches the entries of the others, runs its own again, and publishes the result.
    for _ in 0..4 {
        world.devices.iter_mut().rev().try_for_each(|device| device.sync().map(drop))?;
    }
    Ok(())
}

fn insert(id: &str) -> Json {
    json!({"do": "exec", "sql": "INSERT INTO seat (id, event) VALUES (?1, 'e1')", "params": [id]})
}

fn note(text: &str) -> Json {
    json!({"do": "exec", "sql": "UPDATE seat SET note = ?1 WHERE id = 'shared'", "params": [text]})
}
