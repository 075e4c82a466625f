//! The chapter of a subscription: a device holds the surveys of the site at which it works, and of no
//! other.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_server::{PushPolicy, StreamConfig, TableConfig};

use crate::control::Order;
use crate::proxy::Cable;
use crate::scene::{Scene, cell};
use crate::story::{Device, Story};

/// Surveys are written by the team of their site.
pub(crate) fn table() -> TableConfig {
    TableConfig::new("surveys").with_bucket("site", "site:").with_push(PushPolicy::Bucket)
}

/// The surveys of one site, for the members of its team.
pub(crate) fn stream() -> StreamConfig {
    let allow =
        "SELECT role <> 'viewer' FROM team_member JOIN sites ON sites.team = team_member.team
        WHERE user_id = :user AND sites.id = :site";
    StreamConfig::new("site", "site:{site}", allow)
        .with_parameter(Parameter::new("site", ParameterType::Text))
}

impl Story {
    /// A device subscribes to a site, edits a survey offline, and unsubscribes before it is sent.
    pub(crate) fn survey_a_site(&self, ana: &mut Device) -> Result<()> {
        self.teller.chapter("A subscription: ana works at one of the sites of her team");
        self.scene.server().run(
            "INSERT INTO sites (id, team) VALUES ('bergen', 'north'), ('tromso', 'north'), ('rome', 'south');
             INSERT INTO surveys (id, site, finding)
             VALUES ('cellar', 'bergen', 'dry'), ('attic', 'bergen', 'dry'), ('mast', 'tromso', 'rust'), ('dome', 'rome', 'crack')",
        )?;
        let parameters: BTreeMap<_, _> = [("site".to_owned(), "bergen".to_owned())].into();
        let stream = String::from("site");
        let mut act = |order: &Order| ana.process.carry_out(order, |_, _, _| ());
        act(&Order::Subscribe { stream: stream.clone(), parameters: parameters.clone() })?;
        self.teller.say("ana    subscribes to the site bergen");
        act(&Order::Sync)?;
        self.claim(21)?;
        ana.cable.set(Cable::Cut);
        let statements = vec!["UPDATE surveys SET finding = 'wet' WHERE id = 'cellar'".to_owned()];
        let mut act = |order: &Order| ana.process.carry_out(order, |_, _, _| ());
        act(&Order::Write { statements })?;
        act(&Order::Unsubscribe { stream, parameters })?;
        self.teller.say("ana    edits a survey offline, and unsubscribes");
        self.fail_to_sync(ana)?;
        ana.cable.set(Cable::Whole);
        self.sync(ana)?;
        self.claim(22)
    }
}

const SURVEYS: &str = "SELECT coalesce(string_agg(id, ' ' ORDER BY id), 'none') FROM surveys";

/// Checks which surveys each device has.
fn devices_have(scene: &Scene, of_ana: &str) -> Result<()> {
    for (name, expected) in [("ana", of_ana), ("ben", "none"), ("vera", "none"), ("phone", "none")]
    {
        let found = cell(&scene.device(name), SURVEYS)?;
        ensure!(found == expected, "{name} has the surveys {found}, not {expected}");
    }
    Ok(())
}

pub(crate) fn site_is_on_one_device(scene: &Scene) -> Result<()> {
    devices_have(scene, "attic cellar")
}

pub(crate) fn edit_outlives_the_subscription(scene: &Scene) -> Result<()> {
    let finding = cell(&scene.server(), "SELECT finding FROM surveys WHERE id = 'cellar'")?;
    ensure!(finding == "wet", "the server has {finding}, not the edit");
    devices_have(scene, "none")
}
