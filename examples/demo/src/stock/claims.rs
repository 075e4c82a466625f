//! What is claimed of the stock, read from the files of the server and of the two devices that share it.

use anyhow::{Result, ensure};

use crate::scene::{Scene, cell, number, rows, tamper};

/// Who takes of what.
pub(crate) struct Cast {
    /// The device that comes back first.
    pub(crate) first: &'static str,
    /// The device whose takings have to run again.
    pub(crate) second: &'static str,
    /// The part that both take.
    pub(crate) part: &'static str,
    /// The first of the five claims.
    pub(crate) first_claim: usize,
}

/// Two devices in Rust.
pub(crate) const RUST: Cast =
    Cast { first: "tablet", second: "phone", part: "part-bracket", first_claim: 10 };

/// The same with a device in Kotlin in the place of the phone.
pub(crate) const KOTLIN: Cast =
    Cast { first: "tablet", second: "kotlin", part: "part-hinge", first_claim: 17 };

/// How many mutations the chapters leave with each device: a taking; two takings, an undo and a redo.
pub(crate) const DEEDS: [(&str, i64); 2] = [("tablet", 1), ("phone", 4)];

/// Each sees its own takings, and nobody else knows of them.
pub(crate) fn taken_apart(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [5, 3, 1])?;
    for (name, expected) in [(cast.first, 1), (cast.second, 2)] {
        let found = takings(scene, cast, name, "rejoin_mutation", "state <> 3")?;
        ensure!(found == expected, "{found} of the {expected} takings of the {name} wait");
    }
    Ok(())
}

/// Five less two less two.
pub(crate) fn both_count(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    for name in [cast.first, cast.second] {
        let found = takings(scene, cast, name, "rejoin_history", "TRUE")?;
        ensure!(found == 1, "{found} takings of the {name} were accepted, not one");
    }
    Ok(())
}

/// One is parked, whole, and nothing else is left of what was refused.
pub(crate) fn too_much_is_parked(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    let parked =
        "SELECT detail, args, length(effect) FROM rejoin_mutation WHERE action = 'take_part'";
    let found: Vec<_> = rows(&scene.device(cast.second), parked)?;
    let [taking] = found.as_slice() else {
        anyhow::bail!("the {} keeps {} takings, not one", cast.second, found.len())
    };
    ensure!(taking[0].contains("not enough in stock"), "parked without the rule: {}", taking[0]);
    let arguments: serde_json::Value = serde_json::from_str(&taking[1])?;
    ensure!(
        arguments["part"] == cast.part && arguments["quantity"] == 2,
        "parked without its arguments: {arguments}"
    );
    ensure!(taking[2] != "0" && taking[2] != "-", "parked without what it wrote");
    let first = takings(scene, cast, cast.first, "rejoin_mutation", "TRUE")?;
    ensure!(first == 0, "the {} keeps {first} takings", cast.first);
    Ok(())
}

/// The second's taking is undone, the first's is not.
pub(crate) fn undone(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [3, 3, 3])?;
    for (name, expected) in [(cast.first, 0), (cast.second, 1)] {
        let found = undos(scene, cast, name)?;
        ensure!(found == expected, "the {name} has undone {found} takings, not {expected}");
    }
    Ok(())
}

/// The undo is undone: both are in the history, and the stock is what it was.
pub(crate) fn redone(scene: &Scene, cast: &Cast) -> Result<()> {
    stocks(scene, cast, [1, 1, 1])?;
    let found = undos(scene, cast, cast.second)?;
    ensure!(found == 1, "the {} has undone {found} takings, not one", cast.second);
    let waiting = "SELECT count(*) FROM rejoin_mutation WHERE state <> 3";
    let found = number(&scene.device(cast.second), waiting)?;
    ensure!(found == 0, "{found} mutations of the {} still wait", cast.second);
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

/// How many takings of the part a table of a device's file holds.
fn takings(scene: &Scene, cast: &Cast, name: &str, table: &str, which: &str) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM {table} WHERE action = 'take_part' AND args ->> 'part' = '{}' AND {which}",
        cast.part
    );
    number(&scene.device(name), &sql)
}

/// How many takings of the part a device has taken back, accepted by the server or on their way.
fn undos(scene: &Scene, cast: &Cast, name: &str) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT undoes FROM rejoin_history UNION ALL SELECT undoes FROM rejoin_mutation) AS undo
         JOIN rejoin_history AS taking ON taking.id = undo.undoes
         WHERE taking.action = 'take_part' AND taking.args ->> 'part' = '{}'",
        cast.part
    );
    number(&scene.device(name), &sql)
}

/// Breaks a file on purpose: another stock.
pub(crate) fn change(scene: &Scene, cast: &Cast, name: &str, stock: i64) -> Result<()> {
    let sql = format!("UPDATE parts SET stock = {stock} WHERE id = '{}'", cast.part);
    tamper(&scene.device(name), &sql)
}
