//! While the server is unreachable: edits and crashes.

use super::{SHARED, World};
use crate::claims::Claims;
use crate::device::Device;
use crate::values::Sample;
use anyhow::{Result, ensure};
use serde_json::{Value as Json, json};

const QUEUED: u32 = 1;
const KILLED: u32 = 2;
/// Shown after the sync, prepared here.
pub(super) const EXACT: u32 = 3;

/// Writes that are sent in one breath, and how many answers are waited for before the kill.
const FLOOD: usize = 40;
const HEARD: usize = 15;

pub(super) fn edits_are_queued(world: &mut World, claims: &mut Claims) {
    let bent = claims.is_sabotaged(EXACT);
    let World { devices, samples, .. } = world;
    if claims.is_sabotaged(QUEUED) {
        devices[0].drops_next = true;
    }
    let mut all = || -> Result<()> {
        for (number, device) in devices.iter_mut().enumerate() {
            edit(device)?;
            shared(device, number)?;
            let rounded = bent && number == 0;
            write_samples(device, samples, rounded)?;
            let offline = device.refusal(&json!({"do": "sync"}))?;
            ensure!(offline == "Offline", "{}: a sync ends with {offline}", device.name);
        }
        Ok(())
    };
    let claim =
        "offline, every edit is in the rows and once in the queue at once, and a sync says Offline";
    claims.make(QUEUED, claim, all());
}

/// What a device does to rows that nobody else touches.
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

/// A write that would be seen if it were done twice: the key is made by whoever runs it.
pub(super) fn once(name: &str) -> Json {
    let sql = format!(
        "INSERT INTO tag (id, task_id, name) VALUES (lower(hex(randomblob(8))), 'own-{name}', 'once-{name}')"
    );
    json!({"do": "exec", "sql": sql, "params": []})
}

/// What all devices do to the same rows: one wins each, by whoever is first at the server.
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

/// Half of them one by one, half in one transaction.
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

/// As a language does that has doubles only.
fn round(cell: &Json) -> Json {
    let number: Option<i64> = cell["i"].as_str().and_then(|digits| digits.parse().ok());
    number.map_or_else(
        || cell.clone(),
        |number| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            // That is the point.
            let rounded = number as f64 as i64;
            json!({"i": rounded.to_string()})
        },
    )
}

pub(super) fn a_killed_device_keeps_what_it_answered(world: &mut World, claims: &mut Claims) {
    let loses = claims.is_sabotaged(KILLED);
    let mut all = || -> Result<()> {
        for (number, device) in world.devices.iter_mut().enumerate() {
            killed_in_a_transaction(device)?;
            killed_between_writes(device, loses && number == 0)?;
        }
        Ok(())
    };
    let claim = "a device killed in mid-edit comes back with all that it answered, and nothing of an open transaction";
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
    ensure!(seen.is_empty() && fresh == 0, "{}: it left {seen:?}", device.name);
    Ok(())
}

fn killed_between_writes(device: &mut Device, file_is_lost: bool) -> Result<()> {
    let name = device.name.clone();
    let insert = "INSERT INTO task (id, title) VALUES (?1, 'in a hurry')";
    let order =
        |at| json!({"do": "exec", "sql": insert, "params": [format!("flood-{name}-{at:02}")]});
    let orders: Vec<Json> = (0..FLOOD).map(order).collect();
    device.flood(&orders, HEARD)?;
    device.crash(file_is_lost)?;
    let seen = device.rows("SELECT id FROM task WHERE title = 'in a hurry' ORDER BY id")?;
    let expected: Vec<Json> =
        (0..seen.len()).map(|at| json!([format!("flood-{name}-{at:02}")])).collect();
    ensure!(seen == expected, "{name}: not the first writes, but {seen:?}");
    ensure!(seen.len() >= HEARD, "{name}: {} of at least {HEARD} writes are there", seen.len());
    let before: Vec<String> = device.edits.iter().map(|edit| edit.id.clone()).collect();
    let fresh = device.note()?;
    ensure!(fresh == seen.len(), "{name}: {} rows and {fresh} mutations", seen.len());
    let queue: Vec<String> = device.pending()?.into_iter().map(|(edit, _)| edit.id).collect();
    let lost = before.iter().filter(|id| !queue.contains(id)).count();
    ensure!(lost == 0, "{name}: {lost} earlier edits are not in the queue");
    Ok(())
}
