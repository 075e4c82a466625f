//! While the server is unreachable: edits and crashes.

use super::{SHARED, World};
use crate::claims::Claims;
use crate::device::Device;
use crate::values::Sample;
use anyhow::{Result, ensure};
use serde_json::{Value as Json, json};

const QUEUED: u32 = 1;
const KILLED: u32 = 2;
/// Prepared here, evaluated after the sync.
pub(super) const EXACT: u32 = 3;

/// Number of writes sent at once, and of responses to wait for before the kill.
const FLOOD: usize = 40;
const AWAITED: usize = 15;

pub(super) fn edits_are_queued(world: &mut World, claims: &mut Claims) {
    let rounds_integers = claims.is_sabotaged(EXACT);
    let World { devices, samples, .. } = world;
    if claims.is_sabotaged(QUEUED) {
        devices[0].drops_next = true;
    }
    let mut all = || -> Result<()> {
        for (number, device) in devices.iter_mut().enumerate() {
            edit(device)?;
            shared(device, number)?;
            let rounded = rounds_integers && number == 0;
            write_samples(device, samples, rounded)?;
            let offline = device.refusal(&json!({"do": "sync"}))?;
            ensure!(offline == "Offline", "{}: a sync fails with {offline}", device.name);
        }
        Ok(())
    };
    let claim = "offline, every edit is immediately in the rows and once in the queue, and a sync fails with Offline";
    claims.make(QUEUED, claim, all());
}

/// Edits of rows that no other device edits.
fn edit(device: &mut Device) -> Result<()> {
    let name = device.name.clone();
    let note = format!("{name} was here \u{1f44b}");
    let own = format!("own-{name}");
    device.edit(
        "UPDATE task SET note = ?1, rank = rank + 1 WHERE id = ?2",
        &[json!(note), json!(own)],
    )?;
    let seen = device.rows(&format!("SELECT note, rank FROM task WHERE id = '{own}'"))?;
    ensure!(seen == [json!([note, {"i": "1"}])], "{name} sees {seen:?}");
    let fresh = format!("new-{name}");
    let tag = |word: &str| {
        let insert = "INSERT INTO tag (id, task_id, name) VALUES (?1, ?2, ?3)";
        json!({"do": "exec", "sql": insert, "params": [format!("{word}-{name}"), fresh, word]})
    };
    let task = json!({
        "do": "exec", "sql": "INSERT INTO task (id, title, done, rank) VALUES (?1, ?2, ?3, ?4)",
        "params": [fresh, "made offline", {"i": "1"}, {"i": i64::MIN.to_string()}]
    });
    device.edit_together(&[task, tag("red"), tag("green")])?;
    device.edit("DELETE FROM task WHERE id = ?1", &[json!(format!("gone-{name}"))])?;
    device.edit(
        "UPDATE task SET title = 'refused' WHERE id = ?1",
        &[json!(format!("strict-{name}"))],
    )?;
    let once = once(&name);
    device.edit(once["sql"].as_str().unwrap_or_default(), &[])
}

/// A write whose repetition would be visible: each run creates a random key.
pub(super) fn once(name: &str) -> Json {
    let sql = format!(
        "INSERT INTO tag (id, task_id, name) VALUES (lower(hex(randomblob(8))), 'own-{name}', 'once-{name}')"
    );
    json!({"do": "exec", "sql": sql, "params": []})
}

/// Edits of rows that all devices edit. The first device at the server wins.
fn shared(device: &mut Device, number: usize) -> Result<()> {
    for row in 0..SHARED {
        let title = format!("{} says {row}", device.name);
        let params = [json!(title), json!(format!("shared-{row}"))];
        device.edit("UPDATE task SET title = ?1 WHERE id = ?2", &params)?;
    }
    if number == 0 {
        device.edit("DELETE FROM task WHERE id = 'torn'", &[])
    } else {
        device.edit("UPDATE task SET note = ?1 WHERE id = 'torn'", &[json!(device.name)])
    }
}

/// Writes half of the samples one by one, and half in one transaction.
fn write_samples(device: &mut Device, samples: &[Sample], rounded: bool) -> Result<()> {
    let insert =
        "INSERT INTO sample (id, number, measure, label, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    let name = device.name.clone();
    let params = |at: usize, sample: &Sample| {
        let mut params = vec![json!(format!("{name}-{at:02}"))];
        params.extend(sample.iter().map(|cell| if rounded { round(cell) } else { cell.clone() }));
        params
    };
    let half = samples.len() / 2;
    for (at, sample) in samples[..half].iter().enumerate() {
        device.edit(insert, &params(at, sample))?;
    }
    let rest = samples.iter().enumerate().skip(half);
    let exec = |(at, sample)| json!({"do": "exec", "sql": insert, "params": params(at, sample)});
    let rest: Vec<Json> = rest.map(exec).collect();
    device.edit_together(&rest)
}

/// Rounds like a language that has only doubles.
fn round(cell: &Json) -> Json {
    let number: Option<i64> = cell["i"].as_str().and_then(|digits| digits.parse().ok());
    number.map_or_else(
        || cell.clone(),
        |number| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            // Rounding is intended.
            let rounded = number as f64 as i64;
            json!({"i": rounded.to_string()})
        },
    )
}

pub(super) fn killed_device_keeps_confirmed_writes(world: &mut World, claims: &mut Claims) {
    let loses = claims.is_sabotaged(KILLED);
    let mut all = || -> Result<()> {
        for (number, device) in world.devices.iter_mut().enumerate() {
            killed_in_a_transaction(device)?;
            killed_between_writes(device, loses && number == 0)?;
        }
        Ok(())
    };
    let claim = "a device killed while editing keeps all confirmed writes, and nothing of an open transaction";
    claims.make(KILLED, claim, all());
}

fn killed_in_a_transaction(device: &mut Device) -> Result<()> {
    let insert = "INSERT INTO task (id, title) VALUES ('held', 'never committed')";
    let update = "UPDATE task SET title = 'never committed'";
    let steps = [insert, update].map(|sql| json!({"do": "exec", "sql": sql}));
    let answer = device.must(&json!({"do": "hold", "steps": steps}))?;
    ensure!(answer == json!({"held": true}), "{}: {answer}", device.name);
    device.crash(false)?;
    let seen = device.rows("SELECT id FROM task WHERE title = 'never committed'")?;
    let fresh = device.note()?;
    ensure!(
        seen.is_empty() && fresh == 0,
        "{}: rows of the open transaction: {seen:?}",
        device.name
    );
    Ok(())
}

fn killed_between_writes(device: &mut Device, file_is_lost: bool) -> Result<()> {
    let name = device.name.clone();
    let insert = "INSERT INTO task (id, title) VALUES (?1, 'in a hurry')";
    let order =
        |at| json!({"do": "exec", "sql": insert, "params": [format!("flood-{name}-{at:02}")]});
    let orders: Vec<Json> = (0..FLOOD).map(order).collect();
    device.flood(&orders, AWAITED)?;
    device.crash(file_is_lost)?;
    let seen = device.rows("SELECT id FROM task WHERE title = 'in a hurry' ORDER BY id")?;
    let expected: Vec<Json> =
        (0..seen.len()).map(|at| json!([format!("flood-{name}-{at:02}")])).collect();
    ensure!(seen == expected, "{name}: not a prefix of the writes: {seen:?}");
    ensure!(
        seen.len() >= AWAITED,
        "{name}: {} writes found, expected at least {AWAITED}",
        seen.len()
    );
    let before: Vec<String> = device.edits.iter().map(|edit| edit.id.clone()).collect();
    let fresh = device.note()?;
    ensure!(fresh == seen.len(), "{name}: {} rows and {fresh} mutations", seen.len());
    let queue: Vec<String> = device.pending()?.into_iter().map(|(edit, _)| edit.id).collect();
    let lost = before.iter().filter(|id| !queue.contains(id)).count();
    ensure!(lost == 0, "{name}: {lost} earlier edits are not in the queue");
    Ok(())
}
