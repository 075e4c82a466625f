//! The chapters of the demo: each runs its steps and then checks its claims ([`crate::claims`]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::claims::Claim;
use crate::control::{Order, Process, QueueItem, Report};
use crate::edits::{CONTESTED, DELETED, EDITS, MERGED};
use crate::interop::Program;
use crate::proxy::{Cable, Proxy};
use crate::scene::{SERVER_TABLES, Scene, USER, number, rows};
use crate::stock::claims::{KOTLIN, RUST};
use crate::tell::Teller;
use crate::{digests, places, stock};

/// One run of the demo.
pub(crate) struct Story {
    pub(crate) scene: Scene,
    pub(crate) teller: Teller,
    pub(crate) claims: &'static [Claim],
    /// The claim to break, if any.
    pub(crate) sabotage: Option<usize>,
    /// The command line of the device in Kotlin, if there is one.
    pub(crate) kotlin: Option<Program>,
}

/// A device: its process, and the proxy between it and the server.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) user: &'static str,
    pub(crate) process: Process,
    pub(crate) cable: Proxy,
}

impl Story {
    /// Runs the demo; the error names the claim that failed.
    pub(crate) fn tell(&self) -> Result<()> {
        let started = Instant::now();
        let (server, address) = self.open_the_server(&[])?;
        let mut tablet = self.device("tablet", USER, address)?;
        let mut phone = self.device("phone", USER, address)?;
        self.first_sync(&mut tablet, &mut phone)?;
        self.edit_offline(&mut tablet, &mut phone)?;
        self.die_in_mid_push(&mut tablet)?;
        self.come_back(&mut tablet, &mut phone)?;
        self.share_a_stock(&mut tablet, &mut phone, &RUST)?;
        self.account(&mut tablet, &mut phone)?;
        let mut team = self.work_as_a_team(address)?;
        self.survey_a_site(&mut team[0])?;
        let mut devices = vec![tablet, phone];
        devices.extend(team);
        if let Some(program) = &self.kotlin {
            self.teller.chapter("A device in Kotlin joins");
            let mut device = self.foreign("kotlin", address, program)?;
            self.sync(&mut device)?;
            self.share_a_stock(&mut devices[0], &mut device, &KOTLIN)?;
            devices.push(device);
        }
        self.close(devices, server, started)
    }

    /// Ends all processes, and the demo.
    pub(crate) fn close(
        &self,
        devices: Vec<Device>,
        server: Process,
        started: Instant,
    ) -> Result<()> {
        for mut device in devices {
            device.process.carry_out(&Order::Shutdown, |_, _, _| ())?;
        }
        drop(server);
        self.teller.chapter("Done");
        self.teller.say(&format!(
            "{} claims, each checked in the databases, in {:.1} s.",
            self.claims.len(),
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Starts the server with these further arguments.
    pub(crate) fn open_the_server(&self, further: &[&str]) -> Result<(Process, SocketAddr)> {
        self.teller.chapter("Server: existing tables with real places");
        let database = self.scene.server();
        database.run(SERVER_TABLES)?;
        let file = self.scene.file("server").display().to_string();
        let mut arguments = vec!["server", "--file", &file];
        arguments.extend(further);
        if let Some(postgres) = &self.scene.postgres {
            self.teller.say("Its tables are in PostgreSQL.");
            arguments.extend(["--postgres", &postgres.url]);
        }
        let server = Process::start("the server", &arguments, &self.scene.log("server"))?;
        let line = server.line()?;
        let address = line.rsplit("http://").next().and_then(|text| text.trim().parse().ok());
        let address = address.with_context(|| format!("no address in: {line}"))?;
        let count = places::fill(&database, USER)?;
        stock::fill(&database, USER)?;
        self.teller.say(&format!(
            "It listens on {address}; another program inserts {count} places from GeoNames (CC BY 4.0) with plain SQL."
        ));
        Ok((server, address))
    }

    pub(crate) fn device(
        &self,
        name: &'static str,
        user: &'static str,
        server: SocketAddr,
    ) -> Result<Device> {
        let cable = Proxy::open(server)?;
        let process = self.start(name, user, &cable)?;
        Ok(Device { name, user, process, cable })
    }

    fn foreign(&self, name: &'static str, server: SocketAddr, program: &Program) -> Result<Device> {
        let cable = Proxy::open(server)?;
        let (file, log) = (self.scene.file(name), self.scene.log(name));
        let process = program.open(name, &file, &cable.url(), &log)?;
        Ok(Device { name, user: USER, process, cable })
    }

    pub(crate) fn start(&self, name: &str, user: &str, cable: &Proxy) -> Result<Process> {
        let (file, url) = (self.scene.file(name).display().to_string(), cable.url());
        let arguments = ["device", "--name", name, "--user", user, "--file", &file, "--url", &url];
        Process::start(name, &arguments, &self.scene.log(name))
    }

    fn first_sync(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("First sync: a tablet and a phone, each with its process and file");
        for device in [tablet, phone] {
            let mut last = (0, 0, 0.0);
            let report = device.process.carry_out(&Order::FirstSync, |done, total, rate| {
                last = (done, total, rate);
                self.teller.progress(device.name, done, total, rate, false);
            })?;
            let Report::Done { detail } = report else { bail!("{}: {report:?}", device.name) };
            self.teller.progress(device.name, last.0, last.1, last.2, true);
            self.teller.say(&format!("{}: {detail}", device.name));
        }
        self.claim(1)
    }

    fn edit_offline(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("Both devices edit offline");
        tablet.cable.set(Cable::Cut);
        phone.cable.set(Cable::Cut);
        for edit in &EDITS {
            let device = if edit.device == "tablet" { &mut *tablet } else { &mut *phone };
            let statements = edit.statements.iter().map(|sql| (*sql).to_owned()).collect();
            device.process.carry_out(&Order::Write { statements }, |_, _, _| ())?;
            self.teller.say(&format!("{:<6} {}", edit.device, edit.text));
        }
        for device in [tablet, phone] {
            self.fail_to_sync(device)?;
        }
        self.show("before")?;
        self.claim(2)
    }

    /// Syncs while the device is offline. A pass that began before the last write ends with it: once the
    /// device is online, each request contains all writes.
    pub(crate) fn fail_to_sync(&self, device: &mut Device) -> Result<()> {
        let report = device.process.carry_out(&Order::Sync, |_, _, _| ())?;
        ensure!(report == Report::Offline, "{} is offline, but reported {report:?}", device.name);
        Ok(())
    }

    fn die_in_mid_push(&self, tablet: &mut Device) -> Result<()> {
        self.teller.chapter("The tablet is killed between its push and the response");
        tablet.cable.set(Cable::HoldsPushAnswers);
        // The response is lost, so the tablet has sent mutations without verdicts.
        tablet.process.order(&Order::SyncInBackground)?;
        let arrived = || {
            number(
                &self.scene.server(),
                "SELECT count(*) FROM notes WHERE visit_id = 'visit-tablet'",
            )
        };
        wait_for("the tablet's push to arrive", || Ok(arrived()? == 2 && tablet.cable.held() > 0))?;
        let pid = tablet.process.pid();
        tablet.process.kill()?;
        self.teller.say(&format!(
            "Killed process {pid} (SIGKILL); {} bytes of responses never reached it.",
            tablet.cable.held()
        ));
        self.claim(3)
    }

    fn come_back(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("The tablet restarts, and both devices are online again");
        tablet.cable.set(Cable::Whole);
        phone.cable.set(Cable::Whole);
        tablet.process = self.start("tablet", tablet.user, &tablet.cable)?;
        for name in ["tablet", "phone", "tablet"] {
            let device = if name == "tablet" { &mut *tablet } else { &mut *phone };
            let report = device.process.carry_out(&Order::Sync, |_, _, _| ())?;
            let Report::Done { detail } = report else { bail!("{}: {report:?}", device.name) };
            self.teller.say(&format!("{:<6} {detail}", device.name));
        }
        self.show("after")?;
        (4..=9).try_for_each(|number| self.claim(number))
    }

    fn account(&self, tablet: &mut Device, phone: &mut Device) -> Result<()> {
        self.teller.chapter("Final state");
        digests::show(&self.scene, &self.teller)?;
        self.claim(15)?;
        self.show_queues([tablet, phone])?;
        self.claim(16)
    }

    /// The queue of a device, as its app sees it.
    pub(crate) fn queue(&self, device: &mut Device) -> Result<Vec<QueueItem>> {
        let report = device.process.carry_out(&Order::Pending, |_, _, _| ())?;
        let Report::Queue { mutations } = report else { bail!("{}: {report:?}", device.name) };
        Ok(mutations)
    }

    pub(crate) fn show_queues(&self, devices: [&mut Device; 2]) -> Result<()> {
        for device in devices {
            for item in self.queue(device)? {
                self.teller.say(&format!(
                    "{:<6} has mutation {} in its queue, {}, {}{}",
                    device.name,
                    &item.id[..8.min(item.id.len())],
                    item.state,
                    item.reason.unwrap_or_default(),
                    item.detail.map_or_else(String::new, |detail| format!(": {detail}"))
                ));
            }
        }
        Ok(())
    }

    /// Prints the edited rows of the server and both devices.
    fn show(&self, when: &str) -> Result<()> {
        let sql = format!(
            "SELECT name, coalesce(status, '-'), coalesce(inspector, '-') FROM places
             WHERE id IN ('{MERGED}', '{CONTESTED}', '{DELETED}') AND deleted_at IS NULL ORDER BY name"
        );
        let visits = "SELECT 'visit ' || visits.id, score, string_agg(notes.id, ' ')
             FROM visits LEFT JOIN notes ON notes.visit_id = visits.id GROUP BY visits.id ORDER BY visits.id";
        for (name, site) in [
            ("server", self.scene.server()),
            ("tablet", self.scene.device("tablet")),
            ("phone", self.scene.device("phone")),
        ] {
            let mut table = rows(&site, &sql)?;
            table.extend(rows(&site, visits)?);
            self.teller.table(&format!("{name}, {when}"), &["row", "status", "inspector"], &table);
        }
        Ok(())
    }

    /// Checks a claim; damages the data first if `--sabotage` names it.
    pub(crate) fn claim(&self, number: usize) -> Result<()> {
        let claim = &self.claims[number - 1];
        if self.sabotage == Some(number) {
            (claim.sabotage)(&self.scene)?;
            self.teller.say(&format!("(sabotage {number})"));
        }
        match (claim.proof)(&self.scene) {
            Ok(()) => self.teller.holds(number, claim.says),
            Err(found) => {
                self.teller.broken(number, claim.says, &format!("{found:#}"));
                bail!("claim {number} is broken: {}", claim.says);
            }
        }
        Ok(())
    }
}

/// Polls until the condition is true; fails after ten seconds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition()? {
        ensure!(started.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
