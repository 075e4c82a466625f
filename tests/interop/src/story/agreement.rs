//! After the server is back: everything is pushed and pulled until nothing moves, and then all must be the same.

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
const JUDGED: u32 = 5;
pub(super) const NOTHING_TWICE: u32 = 6;

/// Rounds after which they should long agree.
const ROUNDS: usize = 20;

pub(super) fn they_agree(world: &mut World, claims: &mut Claims) {
    let quiet = until_quiet(world);
    claims.make(
        EXACT,
        "every value of every language is everywhere what it was, bit by bit",
        exact(world),
    );
    let agreed = quiet.and_then(|()| {
        if claims.is_sabotaged(AGREED) {
            world.order(&json!({"do": "stop"}))?;
            let behind =
                "UPDATE task SET note = 'written behind their backs' WHERE id = 'shared-0'";
            world.order(&json!({"do": "sql", "sql": behind}))?;
        }
        tables_are_equal(world)
    });
    claims.make(
        AGREED,
        "all devices agree with the server row by row, and by the digest of each table",
        agreed,
    );
    if claims.is_sabotaged(JUDGED) {
        let edits = world.devices.first().map(|device| device.edits.clone()).unwrap_or_default();
        let forget = edits.first().map_or(String::new(), |edit| {
            format!("DELETE FROM rejoin_verdict WHERE mutation_id = '{}'", edit.id)
        });
        // Whether it was forgotten is seen below.
        let _ = world.order(&json!({"do": "sql", "sql": forget}));
    }
    let claim = "every edit was accepted, or is parked on its device with its payload; a row that all edited has one winner";
    claims.make(JUDGED, claim, judged(world));
    claims.make(
        NOTHING_TWICE,
        "nothing was done twice, and nothing that nobody did",
        nothing_twice(world),
    );
}

/// Syncs the devices in turn, each round begun by another, until one round moves nothing.
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
    anyhow::bail!("after {ROUNDS} rounds there is still something to sync");
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
    let told = world.rows(read)?;
    same("the server", &told, &expected)?;
    for device in &mut world.devices {
        let told = device.rows(read)?;
        same(&device.name, &told, &expected)?;
    }
    Ok(())
}

/// Names the first difference, shortened: cells may be large.
fn same(who: &str, told: &[Json], expected: &[Json]) -> Result<()> {
    let differs = told.iter().zip(expected).find(|(told, expected)| told != expected);
    if let Some((told, expected)) = differs {
        let short = |row: &Json| row.to_string().chars().take(300).collect::<String>();
        anyhow::bail!("{who} has {} instead of {}", short(told), short(expected));
    }
    ensure!(told.len() == expected.len(), "{who} has {} rows of {}", told.len(), expected.len());
    Ok(())
}

fn tables_are_equal(world: &mut World) -> Result<()> {
    for table in world.manifest.tables.clone() {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let read = format!(
            "SELECT {} FROM {} WHERE deleted_at IS NULL ORDER BY id",
            columns.join(", "),
            table.table_name
        );
        let expected = world.rows(&read)?;
        let order = json!({"do": "digest", "user": USER, "table": table.table_name});
        let digest = world.order(&order)?;
        for device in &mut world.devices {
            let told = device.rows(&read)?;
            same(&format!("{}: {}", device.name, table.table_name), &told, &expected)?;
            let own = digest_of(&table, &told)?;
            let is_same = digest["count"] == own.count && digest["sum"] == own.sum_text();
            ensure!(
                is_same,
                "{}: {}: {own:?} is not the server's {digest}",
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
        let cells = row.as_array().context("a row is a list")?;
        let values = columns
            .iter()
            .map(|(at, kind)| Ok((cell::value(&cells[*at])?, *kind)))
            .collect::<Result<Vec<_>>>()?;
        digest.add(values.iter().map(|(value, kind)| (value, *kind)));
    }
    Ok(digest)
}

/// The server's verdicts by mutation: whether it was accepted.
fn verdicts(world: &mut World) -> Result<BTreeMap<String, bool>> {
    let read = format!("SELECT mutation_id, ending FROM rejoin_verdict WHERE user_id = '{USER}'");
    let rows = world.rows(&read)?;
    let verdict = |row: &Json| {
        let id = row[0].as_str().context("an id is a text")?.to_owned();
        Ok((id, row[1] == "accepted"))
    };
    rows.iter().map(verdict).collect()
}

fn judged(world: &mut World) -> Result<()> {
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
    ensure!(winners == [1; SHARED], "rows that all edited were won {winners:?} times");
    Ok(())
}

/// Whether this is the edit that the server must refuse.
fn is_strict(row: &Json) -> bool {
    row[1].as_str().is_some_and(|key| key.starts_with("strict-"))
}

fn nothing_twice(world: &mut World) -> Result<()> {
    let edits: usize = world.devices.iter().map(|device| device.edits.len()).sum();
    let known = verdicts(world)?.len();
    ensure!(known == edits, "{edits} edits were made, and {known} judged");
    let once =
        "SELECT name, count(*) FROM tag WHERE name LIKE 'once-%' GROUP BY name ORDER BY name";
    let mut expected: Vec<Json> = world
        .devices
        .iter()
        .map(|device| json!([format!("once-{}", device.name), {"i": "1"}]))
        .collect();
    expected.sort_by_key(ToString::to_string);
    let told = world.rows(once)?;
    same("the server", &told, &expected)?;
    let ranks = world.rows("SELECT rank FROM task WHERE id LIKE 'own-%'")?;
    ensure!(
        ranks.iter().all(|row| row[0] == json!({"i": "1"})),
        "counted more than once: {ranks:?}"
    );
    let tasks = SHARED + 3 * world.devices.len();
    let read = "SELECT count(*) FROM task WHERE deleted_at IS NULL AND id <> 'torn' AND id NOT LIKE 'flood-%'";
    let told = world.rows(read)?;
    // For each device the seeded `own` and `strict`, and its `new`; `gone` has gone.
    ensure!(told == [json!([{"i": tasks.to_string()}])], "{told:?} tasks instead of {tasks}");
    Ok(())
}
