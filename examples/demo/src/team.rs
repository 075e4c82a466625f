//! The chapter of a team: two members and a viewer share inspections. The app's own table names them.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use rejoin_server::{MembershipConfig, PushPolicy, TableConfig};

use crate::control::{Order, Report};
use crate::proxy::Cable;
use crate::scene::{Scene, cell, number};
use crate::story::{Device, Story};

/// The devices of the team, each with the name of its user.
const TEAM: [&str; 3] = ["ana", "ben", "vera"];

/// Inspections are written by their team, and say who created them.
pub(crate) fn inspections() -> TableConfig {
    let table = TableConfig::new("inspections").with_bucket("team", "team:");
    TableConfig { owner_column: Some(String::from("created_by")), ..table }
        .with_push(PushPolicy::Bucket)
}

/// The buckets of users, from the app's table of members.
pub(crate) fn membership() -> MembershipConfig {
    MembershipConfig {
        query: String::from(
            "SELECT user_id, 'team:' || team AS bucket, role <> 'viewer' AS writes FROM team_member",
        ),
        tables: vec![String::from("team_member")],
    }
}

impl Story {
    /// Members and a viewer edit offline; then a member leaves the team.
    pub(crate) fn work_as_a_team(&self, server: SocketAddr) -> Result<Vec<Device>> {
        self.teller.chapter("A team: ana and ben are members, vera is a viewer");
        self.scene.server().run(
            "INSERT INTO team_member (user_id, team, role)
             VALUES ('ana', 'north', 'member'), ('ben', 'north', 'member'), ('vera', 'north', 'viewer');
             INSERT INTO inspections (id, team, place, state)
             VALUES ('roof', 'north', 'Bergen', 'open'), ('gate', 'north', 'Bergen', 'open'), ('dock', 'south', 'Oslo', 'open')",
        )?;
        let mut team = Vec::new();
        for name in TEAM {
            let mut device = self.device(name, name, server)?;
            device.process.carry_out(&Order::FirstSync, |_, _, _| ())?;
            team.push(device);
        }
        self.claim(17)?;
        for (device, sql, text) in [
            (0, "UPDATE inspections SET state = 'done' WHERE id = 'roof'", "closes the roof"),
            (1, "UPDATE inspections SET note = 'two tiles' WHERE id = 'roof'", "adds a note to it"),
            (2, "UPDATE inspections SET state = 'mine' WHERE id = 'roof'", "edits it as a viewer"),
        ] {
            self.edit(&mut team, device, sql, text)?;
        }
        self.sync_all(&mut team)?;
        self.claim(18)?;
        self.claim(19)?;
        self.edit(
            &mut team,
            1,
            "UPDATE inspections SET state = 'late' WHERE id = 'gate'",
            "edits the gate",
        )?;
        self.scene.server().run("DELETE FROM team_member WHERE user_id = 'ben'")?;
        self.teller.say("Another program removes ben from the team.");
        self.sync_all(&mut team)?;
        self.claim(20)?;
        Ok(team)
    }

    /// Writes on a device without a network.
    fn edit(&self, team: &mut [Device], at: usize, sql: &str, text: &str) -> Result<()> {
        let Some(device) = team.get_mut(at) else { bail!("the team has no device {at}") };
        device.cable.set(Cable::Cut);
        let statements = vec![sql.to_owned()];
        device.process.carry_out(&Order::Write { statements }, |_, _, _| ())?;
        self.teller.say(&format!("{:<6} {text}", device.name));
        self.fail_to_sync(device)
    }

    /// Syncs all devices, then the members again.
    fn sync_all(&self, team: &mut [Device]) -> Result<()> {
        for at in [0, 1, 2, 0, 1] {
            let Some(device) = team.get_mut(at) else { bail!("the team has no device {at}") };
            device.cable.set(Cable::Whole);
            let report = device.process.carry_out(&Order::Sync, |_, _, _| ())?;
            ensure!(matches!(report, Report::Done { .. }), "{}: {report:?}", device.name);
        }
        Ok(())
    }
}

/// Checks the first cell of a query on these devices.
fn each(scene: &Scene, devices: &[&str], sql: &str, expected: &str) -> Result<()> {
    for name in devices {
        let found = cell(&scene.device(name), sql)?;
        ensure!(found == expected, "{name}: {sql}: expected {expected}, found {found}");
    }
    Ok(())
}

pub(crate) fn rows_reach_the_team(scene: &Scene) -> Result<()> {
    let ids = "SELECT string_agg(id, ' ' ORDER BY id) FROM inspections";
    each(scene, &TEAM, ids, "gate roof")?;
    each(scene, &["phone"], "SELECT count(*) FROM inspections", "0")
}

pub(crate) fn members_are_merged(scene: &Scene) -> Result<()> {
    let roof = "SELECT state || ', ' || note FROM inspections WHERE id = 'roof'";
    each(scene, &["server", "ana", "ben", "vera"], roof, "done, two tiles")
}

pub(crate) fn viewer_is_parked(scene: &Scene) -> Result<()> {
    each(scene, &["server"], "SELECT state FROM inspections WHERE id = 'roof'", "done")?;
    let parked = "SELECT detail FROM rejoin_mutation WHERE state = 3";
    let detail = cell(&scene.device("vera"), parked)?;
    ensure!(detail.contains("team:north"), "parked without the bucket: {detail}");
    Ok(())
}

pub(crate) fn left_member_is_parked(scene: &Scene) -> Result<()> {
    each(scene, &["ben"], "SELECT count(*) FROM inspections", "0")?;
    each(scene, &["server", "ana"], "SELECT state FROM inspections WHERE id = 'gate'", "open")?;
    let kept = "SELECT count(*) FROM rejoin_mutation WHERE state = 3 AND length(effect) > 0";
    let found = number(&scene.device("ben"), kept)?;
    ensure!(found == 1, "ben has parked {found} edits");
    Ok(())
}
