//! The stock chapters: two devices take from the same five parts with one declared action.
//!
//! A plain `UPDATE` records the resulting number. The action records the operation, so it runs
//! again on the number that the other device has left, or is refused there.

pub(crate) mod claims;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use self::claims::Cast;
use crate::control::{Order, Report};
use crate::proxy::Cable;
use crate::site::Site;
use crate::story::{Device, Story};

/// The action, the same for every device and language.
pub(crate) const TAKE_PART: &str = include_str!("../data/take_part.json");

/// Number of parts that each action takes.
const QUANTITY: i64 = 2;

/// Inserts five of each part into the server's table.
pub(crate) fn fill(server: &Site, owner: &str) -> Result<()> {
    server.run(&format!(
        "INSERT INTO parts (id, owner_id, name, stock)
         VALUES ('part-bracket', '{owner}', 'bracket', 5), ('part-hinge', '{owner}', 'hinge', 5)"
    ))
}

impl Story {
    /// Two devices share a stock: actions performed offline, replayed, refused, undone and redone.
    pub(crate) fn share_a_stock(
        &self,
        first: &mut Device,
        second: &mut Device,
        cast: &Cast,
    ) -> Result<()> {
        self.teller.chapter(&format!(
            "{} and {} take 2 of the same 5 parts while offline, with the action take_part",
            first.name, second.name
        ));
        let (of_first, of_second) = self.take_offline(first, second, cast)?;
        self.reconnect(first, second, cast)?;
        self.undo_and_redo(first, second, cast, &of_first, &of_second)
    }

    /// Performs the actions on both devices offline. Returns the first mutation of each device.
    fn take_offline(
        &self,
        first: &mut Device,
        second: &mut Device,
        cast: &Cast,
    ) -> Result<(String, String)> {
        first.cable.set(Cable::Cut);
        second.cable.set(Cable::Cut);
        let of_first = self.takes(first, cast)?;
        let of_second = self.takes(second, cast)?;
        self.takes(second, cast)?;
        self.claim(cast.first_claim)?;
        Ok((of_first, of_second))
    }

    /// The first device syncs first, so the actions of the second run again on what is left.
    fn reconnect(&self, first: &mut Device, second: &mut Device, cast: &Cast) -> Result<()> {
        first.cable.set(Cable::Whole);
        self.sync(first)?;
        second.cable.set(Cable::Whole);
        self.sync(second)?;
        self.sync(first)?;
        self.claim(cast.first_claim + 1)?;
        let Report::Refused { why } = second.process.carry_out(&take(cast), |_, _, _| ())? else {
            bail!("{} took {QUANTITY} although only 1 is left", second.name)
        };
        self.teller.say(&format!("{:<6} cannot take 2 when only 1 is left: {why}", second.name));
        self.claim(cast.first_claim + 2)
    }

    fn undo_and_redo(
        &self,
        first: &mut Device,
        second: &mut Device,
        cast: &Cast,
        of_first: &str,
        of_second: &str,
    ) -> Result<()> {
        let undo = |id: &str| Order::Undo { id: id.to_owned() };
        let Report::Refused { why } = first.process.carry_out(&undo(of_first), |_, _, _| ())?
        else {
            bail!("{} has undone an action that others depend on", first.name)
        };
        self.teller.say(&format!("{:<6} cannot undo its action now: {why}", first.name));
        for (order, what) in [
            (undo(of_second), "undoes its action"),
            (Order::Redo { id: of_second.to_owned() }, "redoes it"),
        ] {
            let report = second.process.carry_out(&order, |_, _, _| ())?;
            ensure!(matches!(report, Report::Made { id: Some(_), .. }), "{what}: {report:?}");
            self.teller.say(&format!("{:<6} {what}", second.name));
            self.sync(second)?;
            self.sync(first)?;
            self.claim(cast.first_claim + if matches!(order, Order::Undo { .. }) { 3 } else { 4 })?;
        }
        Ok(())
    }

    /// Performs the action once and returns the id of its mutation.
    fn takes(&self, device: &mut Device, cast: &Cast) -> Result<String> {
        let report = device.process.carry_out(&take(cast), |_, _, _| ())?;
        let Report::Made { id, value } = report else { bail!("{}: {report:?}", device.name) };
        self.teller.say(&format!(
            "{:<6} takes {QUANTITY} of {}: {} left on this device",
            device.name, cast.part, value["left"]
        ));
        id.with_context(|| format!("{} took nothing", device.name))
    }

    pub(crate) fn sync(&self, device: &mut Device) -> Result<()> {
        let report = device.process.carry_out(&Order::Sync, |_, _, _| ())?;
        let Report::Done { detail } = report else { bail!("{}: {report:?}", device.name) };
        self.teller.say(&format!("{:<6} {detail}", device.name));
        Ok(())
    }
}

fn take(cast: &Cast) -> Order {
    Order::Perform {
        action: "take_part".to_owned(),
        arguments: json!({"part": cast.part, "quantity": QUANTITY}),
    }
}
