//! Checks of the stock claims, which read the databases of the server and the two devices.

use anyhow::{Result, ensure};

use crate::scene::{Scene, cell, number, rows, tamper};

/// The devices and the part of a stock chapter.
pub(crate) struct Cast {
    /// The device that syncs first.
    pub(crate) first: &'static str,
    /// The device whose actions run again.
    pub(crate) second: &'static str,
    /// The part that both take.
    pub(crate) part: &'static str,
    /// The first of the five claims.
    pub(crate) first_claim: usize,
}

/// Two devices in Rust.
pub(crate) const RUST: Cast =
    Cast { first: "tablet", second: "phone", part: "part-bracket", first_claim: 10 };

/// The same with a device in Kotlin instead of the phone.
pub(crate) const KOTLIN: Cast =
    Cast { first: "tablet", second: "kotlin", part: "part-hinge", first_claim: 23 };

/// Number of mutations per device: one action; two actions, an undo and a redo.
pub(crate) const DEEDS: [(&str, i64); 2] = [("tablet", 1), ("phone", 4)];

/// Each device sees its own actions only, and the server none.
pub(crate) fn taken_apart(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [5, 3, 1])?;
    for (name, expected) in [(cast.first, 1), (cast.second, 2)] {
        let found = count_actions(scene, cast, name, "rejoin_mutation", "state <> 3")?;
        ensure!(found == expected, "{name}: {found} of {expected} actions are pending");
    }
    Ok(())
}

/// One action of each device is accepted: 5 - 2 - 2 parts are left.
pub(crate) fn both_count(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    for name in [cast.first, cast.second] {
        let found = count_actions(scene, cast, name, "rejoin_history", "TRUE")?;
        ensure!(found == 1, "{name}: {found} actions were accepted, not one");
    }
    Ok(())
}

/// The refused action is parked with all its data and changes no row.
pub(crate) fn too_much_is_parked(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    let parked =
        "SELECT detail, args, length(effect) FROM rejoin_mutation WHERE action = 'take_part'";
    let found: Vec<_> = rows(&scene.device(cast.second), parked)?;
    let [action] = found.as_slice() else {
        anyhow::bail!("the {} has {} actions in its queue, not one", cast.second, found.len())
    };
    ensure!(action[0].contains("not enough in stock"), "parked without the rule: {}", action[0]);
    let arguments: serde_json::Value = serde_json::from_str(&action[1])?;
    ensure!(
        arguments["part"] == cast.part && arguments["quantity"] == 2,
        "parked without its arguments: {arguments}"
    );
    ensure!(action[2] != "0" && action[2] != "-", "parked without its effect");
    let first = count_actions(scene, cast, cast.first, "rejoin_mutation", "TRUE")?;
    ensure!(first == 0, "the {} has {first} actions in its queue", cast.first);
    Ok(())
}

/// The action of the second device is undone, that of the first is not.
pub(crate) fn undone(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [3, 3, 3])?;
    for (name, expected) in [(cast.first, 0), (cast.second, 1)] {
        let found = undos(scene, cast, name)?;
        ensure!(found == expected, "the {name} has undone {found} actions, not {expected}");
    }
    Ok(())
}

/// Undo and redo are in the history, and the stock is as before the undo.
pub(crate) fn redone(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    let found = undos(scene, cast, cast.second)?;
    ensure!(found == 1, "the {} has undone {found} actions, not one", cast.second);
    let waiting = "SELECT count(*) FROM rejoin_mutation WHERE state <> 3";
    let found = number(&scene.device(cast.second), waiting)?;
    ensure!(found == 0, "{found} mutations of the {} are still pending", cast.second);
    Ok(())
}

/// The stock on the server, the first and the second device.
fn stocks(scene: &Scene, cast: &Cast, expected: [i64; 3]) -> Result<()> {
    let sql = format!("SELECT stock FROM parts WHERE id = '{}'", cast.part);
    let names = ["server", cast.first, cast.second];
    for (name, expected) in names.into_iter().zip(expected) {
        let found = cell(&scene.device(name), &sql)?;
        ensure!(found == expected.to_string(), "{name}: {found} in stock, not {expected}");
    }
    Ok(())
}

/// Number of actions on the part in a table of a device's file.
fn count_actions(scene: &Scene, cast: &Cast, name: &str, table: &str, which: &str) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM {table} WHERE action = 'take_part' AND args ->> 'part' = '{}' AND {which}",
        cast.part
    );
    number(&scene.device(name), &sql)
}

/// Number of actions on the part that a device has undone; the undo is accepted or pending.
fn undos(scene: &Scene, cast: &Cast, name: &str) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT undoes FROM rejoin_history UNION ALL SELECT undoes FROM rejoin_mutation) AS undo
         JOIN rejoin_history AS original ON original.id = undo.undoes
         WHERE original.action = 'take_part' AND original.args ->> 'part' = '{}'",
        cast.part
    );
    number(&scene.device(name), &sql)
}

/// Changes the stock in a database, for `--sabotage`.
pub(crate) fn change(scene: &Scene, cast: &Cast, name: &str, stock: i64) -> Result<()> {
    let sql = format!("UPDATE parts SET stock = {stock} WHERE id = '{}'", cast.part);
    tamper(&scene.device(name), &sql)
}
