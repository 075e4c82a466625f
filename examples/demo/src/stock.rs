//! The chapters of the stock: two devices take of the same five parts by an action that is declared once, as data.
//!
//! A plain `UPDATE` says which number shall stand there; the action keeps what was meant, and so it runs again on the number that
//! the other has left, or is refused there.

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

/// How many each taking takes.
const QUANTITY: i64 = 2;

/// Puts five of each part into the server's own table.
pub(crate) fn fill(server: &Site, owner: &str) -> Result<()> {
    server.run(&format!(
        "INSERT INTO parts (id, owner_id, name, stock)
         VALUES ('part-bracket', '{owner}', 'bracket', 5), ('part-hinge', '{owner}', 'hinge', 5)"
    ))
}

impl Story {
    /// Two devices, one stock: taken offline, replayed, refused, undone and done again.
    pub(crate) fn share_a_stock(
        &self,
        first: &mut Device,
        second: &mut Device,
        cast: &Cast,
    ) -> Result<()> {
        self.teller.chapter(&format!(
            "{} and {} take of the same five: an action, not a number",
            first.name, second.name
        ));
        let (of_first, of_second) = self.take_apart(first, second, cast)?;
        self.meet_again(first, second, cast)?;
        self.take_back(first, second, cast, &of_first, &of_second)
    }

    /// Both are offline. Gives the mutations of their first takings.
    fn take_apart(
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

    /// The first comes back first; the second has to take from what that one left.
    fn meet_again(&self, first: &mut Device, second: &mut Device, cast: &Cast) -> Result<()> {
        first.cable.set(Cable::Whole);
        self.sync(first)?;
        second.cable.set(Cable::Whole);
        self.sync(second)?;
        self.sync(first)?;
        self.claim(cast.first_claim + 1)?;
        let Report::Refused { why } = second.process.carry_out(&take(cast), |_, _, _| ())? else {
            bail!("{} took {QUANTITY} of one", second.name)
        };
        self.teller.say(&format!("{:<6} asks for two of the one that is left: {why}", second.name));
        self.claim(cast.first_claim + 2)
    }

    fn take_back(
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
            bail!("{} has undone what others had built on", first.name)
        };
        self.teller.say(&format!("{:<6} cannot undo its taking now: {why}", first.name));
        for (order, what) in [
            (undo(of_second), "undoes its taking"),
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

    /// Performs the action once; its mutation.
    fn takes(&self, device: &mut Device, cast: &Cast) -> Result<String> {
        let report = device.process.carry_out(&take(cast), |_, _, _| ())?;
        let Report::Made { id, value } = report else { bail!("{}: {report:?}", device.name) };
        self.teller.say(&format!(
            "{:<6} takes {QUANTITY} of {}: {} left there",
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
