//! The demo of the log model (`--log`): every operation counts at the time at which it was
//! performed, whichever device syncs first.
//!
//! The tablet and the phone belong to two users. Concerts at real places, their seats and their
//! guest lists are tables of the log, beside the tables of rows.

pub(crate) mod claims;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use self::claims::{KEFLAVIK, OSLO, REYKJAVIK};
use crate::control::{Order, Report};
use crate::proxy::Cable;
use crate::scene::{USER, cell, number};
use crate::server;
use crate::story::{Device, Story, wait_for};

/// The actions, as the app declares them.
pub(crate) const SELL_SEAT: &str = include_str!("../data/sell_seat.json");
pub(crate) const ADD_GUEST: &str = include_str!("../data/add_guest.json");

/// The user of the phone; that of the tablet is [`USER`].
const PHONE_USER: &str = "box-office";

/// The tables of the log; each row is in the bucket of its country.
pub(crate) const TABLES: [&str; 3] = ["concerts", "seats", "guests"];

const SERVER_TABLES: &str = "
CREATE TABLE concerts (id TEXT PRIMARY KEY NOT NULL, country TEXT, city TEXT, status TEXT, hall TEXT, doors TEXT);
CREATE TABLE seats (id TEXT PRIMARY KEY NOT NULL, country TEXT, concert TEXT, buyer TEXT);
CREATE TABLE guests (id TEXT PRIMARY KEY NOT NULL, country TEXT, concert TEXT, name TEXT);
";

/// Reads the places, which are rows of the other model, and writes entries of the log.
const CONCERTS: [&str; 2] = [
    "INSERT INTO concerts (id, country, city, status)
     SELECT replace(id, 'geo', 'concert'), country, name, 'open' FROM places WHERE country IN ('IS', 'NO')",
    "INSERT INTO seats (id, country, concert)
     SELECT concerts.id || number.value, country, concerts.id FROM concerts, json_each('[\"/1\", \"/2\"]') AS number",
];

/// Two operations this far apart have different times in milliseconds.
const LATER: Duration = Duration::from_millis(5);

impl Story {
    /// Runs the demo of the log model; the error names the claim that failed.
    pub(crate) fn run_log_model(&self) -> Result<()> {
        let started = Instant::now();
        self.scene.server().run(SERVER_TABLES)?;
        let (server, address) = self.open_the_server(&["--log"])?;
        for user in [USER, PHONE_USER] {
            self.scene.server().run(&format!(
                "INSERT INTO rejoin_bucket (user_id, bucket) VALUES ('{user}', 'country:IS'), ('{user}', 'country:NO')"
            ))?;
        }
        let mut tablet = self.device("tablet", USER, address)?;
        let mut phone = self.device("phone", PHONE_USER, address)?;
        self.open_the_sale(&mut tablet, &mut phone)?;
        self.sell_twice(&mut tablet, &mut phone)?;
        self.edit_late(&mut tablet, &mut phone)?;
        self.close_a_list(&mut tablet, &mut phone)?;
        self.lose_a_bucket(&mut tablet, &mut phone)?;
        self.lose_responses(&mut tablet, &mut phone)?;
        let authority = self.correct_a_sale(&mut tablet, &mut phone, address)?;
        self.teller.chapter("Final state");
        self.show_queues([&mut tablet, &mut phone])?;
        (13..=14).try_for_each(|number| self.claim(number))?;
        self.close(vec![tablet, phone, authority], server, started)
    }

    fn open_the_sale(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("Two users, a device each: concerts in Iceland and Norway");
        tablet.process.carry_out(&Order::FirstSync, |_, _, _| ())?;
        let statements = CONCERTS.map(str::to_owned).into();
        act(tablet, &Order::Write { statements })?;
        self.sync(tablet)?;
        phone.process.carry_out(&Order::FirstSync, |_, _, _| ())?;
        let concerts = number(&self.scene.device("phone"), "SELECT count(*) FROM concerts")?;
        self.teller.say(&format!(
            "The tablet inserts {concerts} concerts with 2 seats each, in one transaction."
        ));
        self.claim(1)
    }

    fn sell_twice(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("Both devices sell the same two seats while offline");
        cut(tablet, phone);
        self.perform(tablet, "sells the seat in Oslo to Ann", &sell(OSLO, "Ann"))?;
        self.perform(phone, "sells it to Ben, later", &sell(OSLO, "Ben"))?;
        self.perform(phone, "sells the seat in Reykjavik to Cleo", &sell(REYKJAVIK, "Cleo"))?;
        self.perform(tablet, "sells it to Dan, later", &sell(REYKJAVIK, "Dan"))?;
        self.claim(2)?;
        self.reconnect_in_order(tablet, phone)?;
        (3..=4).try_for_each(|number| self.claim(number))
    }

    fn edit_late(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("Both devices edit a row while offline; the earlier edit arrives last");
        cut(tablet, phone);
        let first = set(OSLO, "hall = 'A', doors = '19:00'");
        self.perform(tablet, "Oslo: Hall A, doors at 19:00", &first)?;
        self.perform(phone, "Oslo: Hall B, later", &set(OSLO, "hall = 'B'"))?;
        self.reconnect_in_order(phone, tablet)?;
        self.claim(5)
    }

    fn close_a_list(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("A guest is added to a list that another device has closed");
        cut(tablet, phone);
        self.perform(phone, "adds Eva to the list in Reykjavik", &add_guest("Eva"))?;
        self.perform(tablet, "closes the list", &set(REYKJAVIK, "status = 'closed'"))?;
        self.perform(phone, "adds Finn to the list, later", &add_guest("Finn"))?;
        self.reconnect_in_order(phone, tablet)?;
        self.claim(6)?;
        for device in [tablet, phone] {
            self.discard_parked(device)?;
            self.sync(device)?;
        }
        self.claim(7)
    }

    fn lose_a_bucket(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("The phone's user loses the bucket of Norway while offline");
        cut(tablet, phone);
        self.scene.server().run(&format!(
            "DELETE FROM rejoin_bucket WHERE user_id = '{PHONE_USER}' AND bucket = 'country:NO'"
        ))?;
        let insert = format!("INSERT INTO guests VALUES ('guest-Gus', 'NO', '{OSLO}', 'Gus')");
        let insert = Order::Write { statements: vec![insert] };
        self.perform(phone, "adds Gus to the list in Oslo", &insert)?;
        self.perform(phone, "Oslo: Hall C", &set(OSLO, "hall = 'C'"))?;
        self.perform(phone, "Reykjavik: doors at 20:00", &set(REYKJAVIK, "doors = '20:00'"))?;
        self.reconnect_in_order(phone, tablet)?;
        (8..=9).try_for_each(|number| self.claim(number))
    }

    /// Both devices publish and receive no response; the tablet is killed meanwhile.
    fn lose_responses(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("The responses to both devices are lost, and the tablet is killed");
        self.publish_without_response(tablet, "concert-3415212", "Gil")?;
        let pid = tablet.process.pid();
        tablet.process.kill()?;
        self.teller.say(&format!("Killed process {pid} (SIGKILL)."));
        self.publish_without_response(phone, "concert-2633274", "Hana")?;
        self.claim(10)?;
        tablet.process = self.start("tablet", tablet.user, &tablet.cable)?;
        self.reconnect_in_order(tablet, phone)
    }

    /// The phone is away when an earlier sale arrives; another device corrects its sale.
    fn correct_a_sale(
        &self,
        tablet: &mut Device,
        phone: &mut Device,
        address: SocketAddr,
    ) -> Result<Device> {
        self.teller.chapter("The authority corrects a sale while its author is away");
        cut(tablet, phone);
        self.perform(tablet, "sells a seat in Keflavik to Ines", &sell(KEFLAVIK, "Ines"))?;
        self.perform(phone, "sells it to Jon, later", &sell(KEFLAVIK, "Jon"))?;
        phone.cable.set(Cable::Whole);
        self.sync(phone)?;
        phone.cable.set(Cable::Cut);
        tablet.cable.set(Cable::Whole);
        self.sync(tablet)?;
        self.teller.say("The phone syncs and goes offline; then the tablet syncs.");
        let mut authority = self.device("authority", "operator", address)?;
        self.sync(&mut authority)?;
        let id = "SELECT value FROM rejoin_meta WHERE key = 'client_id'";
        let id = cell(&self.scene.device("authority"), id)?;
        let postgres = self.scene.postgres.as_ref().map(|postgres| postgres.url.as_str());
        server::open(&self.scene.file("server"), postgres, true)?.appoint_authority(Some(&id))?;
        self.teller.say("A third device is appointed; its user has no buckets.");
        self.sync(&mut authority)?;
        self.sync(tablet)?;
        self.claim(11)?;
        phone.cable.set(Cable::Whole);
        self.sync(phone)?;
        self.claim(12)?;
        Ok(authority)
    }

    /// Sells a seat and edits the concert; the server receives both, the device no response.
    fn publish_without_response(
        &self,
        device: &mut Device,
        concert: &str,
        buyer: &str,
    ) -> Result<()> {
        device.cable.set(Cable::Cut);
        let text = format!("sells a seat to {buyer}, and sets the hall");
        self.perform(device, &text, &sell(concert, buyer))?;
        act(device, &set(concert, "hall = 'D'"))?;
        self.fail_to_sync(device)?;
        device.cable.set(Cable::HoldsPushAnswers);
        act(device, &Order::SyncInBackground)?;
        let arrived = format!(
            "SELECT count(*) FROM seats JOIN concerts ON concerts.id = concert
             WHERE buyer = '{buyer}' AND hall = 'D'"
        );
        wait_for("the entries to arrive", || {
            Ok(number(&self.scene.server(), &arrived)? == 1 && device.cable.held() > 0)
        })
    }

    /// The second device connects after the first has synced. Then each receives what the other
    /// has corrected.
    fn reconnect_in_order(&self, first: &mut Device, second: &mut Device) -> Result<()> {
        first.cable.set(Cable::Whole);
        self.sync(first)?;
        second.cable.set(Cable::Whole);
        self.sync(second)?;
        self.sync(first)?;
        self.sync(second)
    }

    fn discard_parked(&self, device: &mut Device) -> Result<()> {
        for item in self.queue(device)? {
            let text = format!("discards a parked action: {}", item.reason.unwrap_or_default());
            self.perform(device, &text, &Order::Discard { id: item.id })?;
        }
        Ok(())
    }

    /// Carries out a write or an action, and shows it.
    fn perform(&self, device: &mut Device, text: &str, order: &Order) -> Result<()> {
        act(device, order)?;
        self.teller.say(&format!("{:<6} {text}", device.name));
        Ok(())
    }
}

/// Carries out a write or an action, and waits until the next one is later by the clock.
fn act(device: &mut Device, order: &Order) -> Result<()> {
    let report = device.process.carry_out(order, |_, _, _| ())?;
    let is_done = matches!(report, Report::Made { .. } | Report::Done { .. });
    ensure!(is_done, "{}: {order:?}: {report:?}", device.name);
    sleep(LATER);
    Ok(())
}

fn cut(tablet: &Device, phone: &Device) {
    tablet.cable.set(Cable::Cut);
    phone.cable.set(Cable::Cut);
}

/// Sells the first seat of a concert.
fn sell(concert: &str, buyer: &str) -> Order {
    let arguments = json!({"seat": format!("{concert}/1"), "buyer": buyer});
    Order::Perform { action: "sell_seat".to_owned(), arguments }
}

fn add_guest(guest: &str) -> Order {
    let arguments = json!({"concert": REYKJAVIK, "guest": guest});
    Order::Perform { action: "add_guest".to_owned(), arguments }
}

fn set(concert: &str, columns: &str) -> Order {
    let sql = format!("UPDATE concerts SET {columns} WHERE id = '{concert}'");
    Order::Write { statements: vec![sql] }
}
