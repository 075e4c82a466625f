//! After the server is back: syncs until nothing changes, then compares devices and server.

use super::{SHARED, USER, World};
use crate::claims::Claims;
use crate::story::offline::EXACT;
use anyhow::{Context as _, Result, ensure};
use rejoin_protocol::digest::{Digest, covered};
use rejoin_protocol::manifest::TableManifest;
use rejoin_story_server::cell;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const AGREED: u32 = 4;
const VERDICTS: u32 = 5;
pub(super) const NOTHING_TWICE: u32 = 6;

/// Maximum rounds until all devices agree.
const ROUNDS: usize = 20;

pub(super) fn they_agree(world: &mut World, claims: &mut Claims) {
    let quiet = until_quiet(world);
    claims.make(
        EXACT,
        "every value of every language is bit-identical on all devices and the server",
        exact(world),
    );
    let agreed = quiet.and_then(|()| {
        if claims.is_sabotaged(AGREED) {
            world.order(&json!({"do": "stop"}))?;
            let tamper = "UPDATE task SET note = 'changed on the server' WHERE id = 'shared-0'";
            world.order(&json!({"do": "sql", "sql": tamper}))?;
        }
        tables_are_equal(world).and_then(|()| nothing_is_damaged(world))
    });
    claims.make(
        AGREED,
        "all devices agree with the server, row by row and by the digest of each table, and find no damage",
        agreed,
    );
    if claims.is_sabotaged(VERDICTS) {
        let edits = world.devices.first().map(|device| device.edits.clone()).unwrap_or_default();
        let forget = edits.first().map_or(String::new(), |edit| {
            format!("DELETE FROM rejoin_verdict WHERE mutation_id = '{}'", edit.id)
        });
        // The check below detects the deleted verdict.
        let _ = world.order(&json!({"do": "sql", "sql": forget}));
    }
    let claim = "every edit was accepted, or is parked on its device with its payload; each row edited by all has one winner";
    claims.make(VERDICTS, claim, verdicts_match(world));
    claims.make(
        NOTHING_TWICE,
        "no edit was applied twice, and no row changed without an edit",
        nothing_twice(world),
    );
}

/// Syncs the devices in turn, starting each round with the next device, until a round changes
/// nothing.
fn until_quiet(world: &mut World) -> Result<()> {
    let devices = world.devices.len();
    for round in 0..ROUNDS {
        let mut moved = false;
        for turn in 0..devices {
            moved |= world.devices[(round + turn) % devices].sync()?;
        }
        if !moved {
            return Ok(());
        }
    }
    anyhow::bail!("devices still sync changes after {ROUNDS} rounds");
}

fn exact(world: &mut World) -> Result<()> {
    let read = "SELECT id, number, measure, label, data FROM sample ORDER BY id";
    let mut expected = BTreeMap::new();
    for device in &world.devices {
        for (at, sample) in world.samples.iter().enumerate() {
            let id = format!("{}-{at:02}", device.name);
            let [number, measure, label, data] = sample;
            expected.insert(id.clone(), json!([id, number, measure, label, data]));
        }
    }
    let expected: Vec<Json> = expected.into_values().collect();
    let actual = world.rows(read)?;
    same("the server", &actual, &expected)?;
    for device in &mut world.devices {
        let actual = device.rows(read)?;
        same(&device.name, &actual, &expected)?;
    }
    Ok(())
}

/// Reports the first difference, shortened because cells may be large.
fn same(who: &str, actual: &[Json], expected: &[Json]) -> Result<()> {
    let differs = actual.iter().zip(expected).find(|(actual, expected)| actual != expected);
    if let Some((actual, expected)) = differs {
        let short = |row: &Json| row.to_string().chars().take(300).collect::<String>();
        anyhow::bail!("{who} has {} instead of {}", short(actual), short(expected));
    }
    ensure!(
        actual.len() == expected.len(),
        "{who} has {} rows of {}",
        actual.len(),
        expected.len()
    );
    Ok(())
}

/// The devices' own check of their rows.
fn nothing_is_damaged(world: &mut World) -> Result<()> {
    let tables = world.manifest.synced().count();
    for device in &mut world.devices {
        let report = device.must(&json!({"do": "doctor"}))?;
        let checks = report["tables"].as_array().with_context(|| format!("no tables: {report}"))?;
        let is_sound = |check: &Json| check["differing"] == 0;
        ensure!(
            checks.len() == tables && checks.iter().all(is_sound),
            "{}: a check finds damage, or leaves a table out: {report}",
            device.name
        );
    }
    Ok(())
}

fn tables_are_equal(world: &mut World) -> Result<()> {
    for table in world.manifest.clone().in_rows() {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let kept = if table.deleted_at_column.is_empty() { "TRUE" } else { "deleted_at IS NULL" };
        let read = format!(
            "SELECT {} FROM {} WHERE {kept} ORDER BY id",
            columns.join(", "),
            table.table_name
        );
        let expected = world.rows(&read)?;
        let order = json!({"do": "digest", "user": USER, "table": table.table_name});
        let digest = world.order(&order)?;
        for device in &mut world.devices {
            let actual = device.rows(&read)?;
            same(&format!("{}: {}", device.name, table.table_name), &actual, &expected)?;
            let own = digest_of(table, &actual)?;
            let is_same = digest["count"] == own.count && digest["sum"] == own.sum_text();
            ensure!(
                is_same,
                "{}: {}: {own:?} differs from the server's {digest}",
                device.name,
                table.table_name
            );
        }
    }
    Ok(())
}

fn digest_of(table: &TableManifest, rows: &[Json]) -> Result<Digest> {
    let columns = covered(table);
    let mut digest = Digest::default();
    for row in rows {
        let cells = row.as_array().context("a row must be a list")?;
        let values = columns
            .iter()
            .map(|(at, kind)| Ok((cell::value(&cells[*at])?, *kind)))
            .collect::<Result<Vec<_>>>()?;
        digest.add(values.iter().map(|(value, kind)| (value, *kind)));
    }
    Ok(digest)
}

/// The server's verdicts by mutation: true if accepted.
fn verdicts(world: &mut World) -> Result<BTreeMap<String, bool>> {
    let read = format!("SELECT mutation_id, ending FROM rejoin_verdict WHERE user_id = '{USER}'");
    let rows = world.rows(&read)?;
    let verdict = |row: &Json| {
        let id = row[0].as_str().context("an id must be text")?.to_owned();
        Ok((id, row[1] == "accepted"))
    };
    rows.iter().map(verdict).collect()
}

fn verdicts_match(world: &mut World) -> Result<()> {
    let verdicts = verdicts(world)?;
    let mut winners = [0; SHARED];
    for device in &mut world.devices {
        let name = device.name.clone();
        let parked: BTreeMap<String, (Json, String)> = device
            .pending()?
            .into_iter()
            .map(|(edit, state)| (edit.id, (edit.payload, state)))
            .collect();
        for edit in &device.edits {
            let verdict = verdicts.get(&edit.id);
            let row = &edit.payload[0];
            match (verdict, parked.get(&edit.id)) {
                (Some(true), None) => {
                    let shared = |at: &usize| row[1] == format!("shared-{at}");
                    if let Some(at) = (0..SHARED).find(shared) {
                        winners[at] += 1;
                    }
                    ensure!(!is_strict(row), "{name}: {row} was accepted");
                }
                (Some(false), Some((payload, state))) => {
                    ensure!(state.starts_with("parked "), "{name}: {row} is {state}");
                    ensure!(*payload == edit.payload, "{name}: {payload} is parked, not {row}");
                    let why = if is_strict(row) { "parked rejected" } else { "parked conflicted" };
                    ensure!(state == why, "{name}: {row} is {state}");
                }
                (verdict, parked) => anyhow::bail!(
                    "{name}: {row}: accepted by the server: {verdict:?}; in the queue: {:?}",
                    parked.map(|(_, state)| state)
                ),
            }
        }
    }
    ensure!(winners == [1; SHARED], "accepted edits per shared row: {winners:?}");
    Ok(())
}

/// Whether this is the edit that the server must reject.
fn is_strict(row: &Json) -> bool {
    row[1].as_str().is_some_and(|key| key.starts_with("strict-"))
}

fn nothing_twice(world: &mut World) -> Result<()> {
    let edits: usize = world.devices.iter().map(|device| device.edits.len()).sum();
    let evaluated = verdicts(world)?.len();
    ensure!(evaluated == edits, "{edits} edits, but {evaluated} verdicts");
    let once =
        "SELECT name, count(*) FROM tag WHERE name LIKE 'once-%' GROUP BY name ORDER BY name";
    let mut expected: Vec<Json> = world
        .devices
        .iter()
        .map(|device| json!([format!("once-{}", device.name), {"i": "1"}]))
        .collect();
    expected.sort_by_key(ToString::to_string);
    let actual = world.rows(once)?;
    same("the server", &actual, &expected)?;
    let ranks = world.rows("SELECT rank FROM task WHERE id LIKE 'own-%'")?;
    ensure!(
        ranks.iter().all(|row| row[0] == json!({"i": "1"})),
        "incremented more than once: {ranks:?}"
    );
    let tasks = SHARED + 3 * world.devices.len();
    let read = "SELECT count(*) FROM task WHERE deleted_at IS NULL AND id <> 'torn' AND id NOT LIKE 'flood-%'";
    let actual = world.rows(read)?;
    // Per device: the seeded `own` and `strict`, and its `new`; `gone` was deleted.
    ensure!(actual == [json!([{"i": tasks.to_string()}])], "{actual:?} tasks instead of {tasks}");
    Ok(())
}
