//! The test scenario: devices sync once, lose the server, edit, crash, reconnect, and agree.

use crate::Command;
use crate::claims::Claims;
use crate::device::{Account, Device};
use crate::process::Process;
use crate::values::{Sample, samples};
use anyhow::{Context as _, Result, ensure};
use rejoin_protocol::Manifest;
use serde_json::{Value as Json, json};
use std::path::Path;

mod agreement;
mod log;
mod offline;

pub(crate) use log::actions_of;

/// The user of all rows.
const USER: &str = "u1";

/// Rows that every device edits.
const SHARED: usize = 4;

/// The server, the devices and the test data.
struct World {
    server: Process,
    devices: Vec<Device>,
    manifest: Manifest,
    samples: Vec<Sample>,
}

/// Runs the scenario and evaluates its claims. An error means that the scenario could not run.
pub(crate) fn tell(server: &Path, devices: &[Command], claims: &mut Claims) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = begin(server, devices, folder.path())?;
    world.order(&json!({"do": "stop"}))?;
    offline::edits_are_queued(&mut world, claims);
    offline::killed_device_keeps_confirmed_writes(&mut world, claims);
    if claims.is_sabotaged(agreement::NOTHING_TWICE) {
        let again = offline::once(&world.devices[0].name);
        world.devices[0].must(&again)?;
    }
    world.order(&json!({"do": "go"}))?;
    agreement::they_agree(&mut world, claims);
    log::order_of_edits_counts(&mut world, claims);
    log::actions_run_again(&mut world, claims);
    for device in &mut world.devices {
        device.quit()?;
    }
    Ok(())
}

/// Starts the server with some rows, and every device up to its first sync.
fn begin(server: &Path, commands: &[Command], folder: &Path) -> Result<World> {
    let options = ["--tokens", "--log"].map(str::to_owned);
    let words = [server.to_string_lossy().into_owned()].into_iter().chain(options).collect();
    let how = Command { name: "server".to_owned(), folder: None, words };
    let mut server = Process::start(&how, folder)?;
    let first = server.answer()?;
    let url = first["url"].as_str().context("the server printed no URL")?.to_owned();
    let order = json!({"do": "token", "user": USER, "seconds": 3600});
    let token = server.must(&order)?["token"].as_str().context("no token")?.to_owned();
    let schema = server.must(&json!({"do": "schema"}))?["schema"].clone();
    let names: Vec<&str> = commands.iter().map(|command| command.name.as_str()).collect();
    server.must(&json!({"do": "sql", "sql": seed(&names)}))?;
    server.must(&json!({"do": "subscribe", "user": USER, "bucket": "event:e1"}))?;
    let manifest = serde_json::from_value(schema.clone())?;
    let account = Account { url, user: USER.to_owned(), token, schema };
    let start = |command| Device::start(command, folder, &account);
    let mut devices = commands.iter().map(start).collect::<Result<Vec<_>>>()?;
    for device in &mut devices {
        device.sync()?;
        let found = device.rows("SELECT count(*) FROM task")?;
        let expected = json!([{"i": (SHARED + 1 + 3 * names.len()).to_string()}]);
        ensure!(found == [expected], "{}: {found:?} tasks after the first sync", device.name);
    }
    Ok(World { server, devices, manifest, samples: samples() })
}

/// Rows that all devices edit, and for each device an own row, a row whose edit is rejected, and
/// one to delete.
fn seed(names: &[&str]) -> String {
    let shared = (0..SHARED).map(|number| format!("shared-{number}"));
    let own = names
        .iter()
        .flat_map(|name| ["own", "strict", "gone"].map(|what| format!("{what}-{name}")));
    let rows: Vec<String> = shared
        .chain(["torn".to_owned()])
        .chain(own)
        .map(|id| format!("('{id}', '{USER}', 'as seeded', 0)"))
        .collect();
    format!("INSERT INTO task (id, user_id, title, rank) VALUES {}", rows.join(", "))
}

impl World {
    fn order(&mut self, order: &Json) -> Result<Json> {
        self.server.must(order)
    }

    /// Rows of the server's database, without loss of precision.
    fn rows(&mut self, sql: &str) -> Result<Vec<Json>> {
        let answer = self.order(&json!({"do": "rows", "sql": sql, "exact": true}))?;
        Ok(answer["rows"].as_array().context("no rows")?.clone())
    }
}
