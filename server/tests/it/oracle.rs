//! Oracle test: after any statements of other programs, a device that pulls equals a fresh
//! snapshot.

use macro_rules_attribute::apply;
use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Backend, World, cases};

/// After random statements, a device that pulls equals a fresh snapshot, and receives no row that
/// was never visible to its user.
#[apply(stores!)]
async fn random_statements_keep_devices_equal_to_snapshots(backend: Backend) {
    let mut covered = BTreeMap::new();
    for seed in 0..cases(if backend == Backend::Sqlite { 10 } else { 3 }) {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World::new(backend);
        let mut outsider = outsider(&world);
        let mut devices = Vec::new();
        for user in ["anna", "ben", "cleo"] {
            let mut device = world.device(user, user).await;
            let base = device.snapshot_rows().await;
            devices.push((device, base, BTreeSet::new()));
        }
        for _ in 0..12 {
            for _ in 0..random.usize(1..5) {
                let (kind, statement) = statement(&mut random);
                if outsider(&statement) {
                    *covered.entry(kind).or_insert(0) += 1;
                }
            }
            for (device, base, ever) in &mut devices {
                let changes = device.pull_rows().await;
                let cursor = device.cursor.clone();
                let now = device.snapshot_rows().await;
                device.cursor = cursor;
                ever.extend(now.keys().cloned());
                for (name, row) in changes {
                    let known = base.contains_key(&name) || ever.contains(&name);
                    assert!(row.is_some() || known || was_between(&world, &device.user, &name));
                    match row {
                        Some(row) => base.insert(name, Some(row)),
                        None => base.remove(&name),
                    };
                }
                assert_eq!(*base, now, "seed {seed}, {}", device.user);
            }
        }
    }
    assert!(covered.len() == 9 && covered.values().all(|count| *count > 1), "{covered:?}");
}

/// Whether the log shows that the row was in the user's own bucket between two pulls.
fn was_between(world: &World, user: &str, name: &str) -> bool {
    let (log, tables) = match world.database {
        Some(_) => ("rejoin_changelog", "rejoin_table_number"),
        None => ("rejoin_changelog", "rejoin_table"),
    };
    let entries = format!(
        "SELECT count(*) FROM {log} AS c JOIN {tables} AS t ON t.number = c.table_number
         WHERE bucket = 'user:{user}' AND t.name || '/' || record_id = '{name}'"
    );
    world.one(&entries) != "0"
}

/// Another program that writes; returns whether its statement succeeded.
fn outsider(world: &World) -> Box<dyn FnMut(&str) -> bool> {
    if let Some(database) = &world.database {
        let session = database.session();
        session.run("SET session_replication_role = replica");
        return Box::new(move |sql| session.attempt(&in_postgres(sql)).is_ok());
    }
    let outsider = world.outsider();
    Box::new(move |sql| outsider.execute_batch(sql).is_ok())
}

/// Translates SQLite's `OR REPLACE`.
fn in_postgres(sql: &str) -> String {
    if let Some(insert) = sql.strip_prefix("REPLACE INTO ") {
        let (table, rest) = insert.split_once('(').unwrap();
        let columns = rest.split_once(')').unwrap().0.split(", ").skip(1);
        let sets: Vec<String> =
            columns.map(|column| format!("{column} = excluded.{column}")).collect();
        return format!(
            "INSERT INTO {table}({rest} ON CONFLICT(id) DO UPDATE SET {}",
            sets.join(", ")
        );
    }
    if let Some(update) = sql.strip_prefix("UPDATE OR REPLACE places SET id = ") {
        let (to, from) = update.split_once(" WHERE id = ").unwrap();
        return format!(
            "DELETE FROM places WHERE id = {to} AND id <> {from} AND EXISTS (SELECT FROM places WHERE id = {from});
             UPDATE places SET id = {update}"
        );
    }
    sql.to_owned()
}

fn statement(random: &mut fastrand::Rng) -> (&'static str, String) {
    let user = ["'anna'", "'ben'", "'cleo'", "'dora'"][random.usize(..4)];
    let (p, q) = (random.usize(..4), random.usize(..4));
    let (v, t) = (random.usize(..5), random.usize(1..5));
    let word = random.u16(..);
    match random.usize(..9) {
        0 => (
            "insert",
            format!("INSERT INTO places(id, owner_id, name) VALUES('p{p}', {user}, '{word}')"),
        ),
        1 => (
            "replace",
            format!("REPLACE INTO places(id, owner_id, name) VALUES('p{p}', {user}, '{word}')"),
        ),
        2 => (
            "child",
            format!("REPLACE INTO visits(id, place_id, note) VALUES('v{v}', 'p{p}', '{word}')"),
        ),
        3 => (
            "grandchild",
            format!("REPLACE INTO tags(id, visit_id, label) VALUES({t}, 'v{v}', '{word}')"),
        ),
        4 => ("update", format!("UPDATE places SET name = '{word}' WHERE id >= 'p{p}'")),
        5 => ("move", format!("UPDATE places SET owner_id = {user} WHERE id = 'p{p}'")),
        6 => ("key", format!("UPDATE OR REPLACE places SET id = 'p{q}' WHERE id = 'p{p}'")),
        7 => (
            "delete",
            format!(
                "DELETE FROM {} WHERE id = '{}'",
                ["places", "visits"][p % 2],
                ["p1", "v1"][p % 2]
            ),
        ),
        _ => (
            "child move",
            format!(
                "UPDATE visits SET place_id = 'p{p}', deleted_at = CASE {v} WHEN 1 THEN 'now' END WHERE id = 'v{v}'"
            ),
        ),
    }
}
