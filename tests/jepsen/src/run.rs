//! One run: a server process and device processes execute transactions under faults for some time.
//! The faults end, the run waits until every device is idle, and then the checker runs.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::check::{self, Evidence, Property, Violation};
use crate::device::{self, Answer, Order};
use crate::history;
use crate::nemesis::{self, Fault, Step, Target};
use crate::process::Process;
use crate::proxy::{Network, Proxy};
use crate::site::{self, Site};
use crate::{Break, Scope, Store, name};

/// The parameters of a run. They reproduce it, except for the timing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) store: Store,
    pub(crate) devices: usize,
    pub(crate) fault: Fault,
    pub(crate) writes: Scope,
    pub(crate) length: Duration,
    pub(crate) broken: Option<Break>,
}

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) transactions: usize,
    pub(crate) faults: usize,
    /// Number of reads of the files of stopped devices.
    pub(crate) stopped: usize,
    /// Time until the last device had emptied its queue after the faults ended.
    pub(crate) drained: Duration,
    /// Time until the last device had the rows of the server.
    pub(crate) converged: Duration,
    /// Sync status of the last device at that time.
    pub(crate) last: String,
    pub(crate) violations: Vec<Violation>,
}

/// The longest time that a mutation may wait for its verdict while the server is reachable. The
/// client needs at most 5 s until a request counts as lost and 16 s until the next attempt, twice
/// if that attempt meets the end of the fault. The rest is a margin for a loaded machine.
const PROGRESS_BOUND: Duration = Duration::from_mins(3);

/// Polling interval.
const POLL: Duration = Duration::from_millis(100);

/// Executes a run with all files in this folder.
pub(crate) fn run(plan: &Plan, folder: &Path) -> Result<Outcome> {
    let mut cluster = Cluster::start(plan, folder)?;
    cluster.all(Order::Run)?;
    let steps = nemesis::plan(plan.seed, plan.fault, plan.devices, plan.length);
    let begin = Instant::now();
    for step in &steps {
        wait_until(begin + step.at);
        cluster.take(step)?;
    }
    wait_until(begin + plan.length);
    cluster.heal()?;
    let healed = Instant::now();
    cluster.all(Order::Hold)?;
    let mut violations = cluster.drain(healed)?;
    let drained = healed.elapsed();
    let last = cluster.converge()?;
    let converged = healed.elapsed();
    let evidence = cluster.evidence(folder)?;
    violations.extend(check::check(&evidence));
    let transactions = evidence.histories.iter().flatten();
    let committed = |event: &&history::Event| matches!(event, history::Event::Committed { .. });
    Ok(Outcome {
        transactions: transactions.filter(committed).count(),
        faults: steps.iter().filter(|step| step.begins).count(),
        stopped: evidence.stopped.iter().map(Vec::len).sum(),
        drained,
        converged,
        last,
        violations,
    })
}

fn wait_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// The processes of a run.
#[derive(Debug)]
struct Cluster<'r> {
    plan: &'r Plan,
    folder: &'r Path,
    site: Site,
    server: Option<Process>,
    devices: Vec<Option<Process>>,
    proxies: Vec<Proxy>,
    /// Contents of the files of stopped devices.
    stopped: Vec<Vec<Vec<String>>>,
}

impl<'r> Cluster<'r> {
    fn start(plan: &'r Plan, folder: &'r Path) -> Result<Self> {
        let site = Site::create(plan.store, folder)?;
        let proxies = (0..plan.devices).map(|_| Proxy::open()).collect::<Result<_>>()?;
        let devices = (0..plan.devices).map(|_| None).collect();
        let stopped = vec![Vec::new(); plan.devices];
        let mut cluster = Self { plan, folder, site, server: None, devices, proxies, stopped };
        cluster.start_server()?;
        for device in 0..plan.devices {
            cluster.start_device(device)?;
        }
        Ok(cluster)
    }

    fn start_server(&mut self) -> Result<()> {
        let file = self.folder.join("server.db").display().to_string();
        let mut arguments = vec!["server".to_owned(), "--file".to_owned(), file];
        if let Some(url) = self.site.postgres_url() {
            arguments.extend(["--postgres".to_owned(), url.to_owned()]);
        }
        let server = Process::start("server", &arguments, self.folder)?;
        let address = server.address()?;
        self.server = Some(server);
        self.proxies.iter().for_each(|proxy| proxy.set_server(Some(address)));
        Ok(())
    }

    fn start_device(&mut self, device: usize) -> Result<()> {
        let Plan { seed, devices, writes, broken, .. } = self.plan;
        let mut arguments = vec!["device".to_owned()];
        let mut argument =
            |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        argument("number", device.to_string());
        argument("devices", devices.to_string());
        argument("folder", self.folder.display().to_string());
        argument("url", self.proxies[device].url());
        argument("seed", seed.to_string());
        argument("writes", name(writes));
        if let Some(broken) = broken {
            argument("break", name(broken));
        }
        let process = Process::start(&format!("device-{device}"), &arguments, self.folder)?;
        self.devices[device] = Some(process);
        Ok(())
    }

    /// Sends a command to every device and waits for the responses.
    fn all(&mut self, order: Order) -> Result<Vec<Answer>> {
        self.devices.iter_mut().flatten().try_for_each(|device| device.send(order))?;
        self.devices.iter().flatten().map(Process::answer).collect()
    }

    /// Starts or ends a fault.
    fn take(&mut self, step: &Step) -> Result<()> {
        match step.target {
            Target::Server => self.fault_of_server(step.fault, step.begins),
            Target::Device(device) => self.fault_of_device(device, step.fault, step.begins),
        }
    }

    fn fault_of_server(&mut self, fault: Fault, begins: bool) -> Result<()> {
        match (fault, begins, &mut self.server) {
            (Fault::ServerPause, true, Some(server)) => server.pause(),
            (Fault::ServerPause, false, Some(server)) => server.resume(),
            (Fault::ServerKill, true, Some(server)) => {
                server.kill()?;
                self.proxies.iter().for_each(|proxy| proxy.set_server(None));
                Ok(())
            }
            (Fault::ServerKill, false, _) => self.start_server(),
            _ => bail!("{fault:?} is not a fault of the server"),
        }
    }

    fn fault_of_device(&mut self, device: usize, fault: Fault, begins: bool) -> Result<()> {
        let network = match (fault, begins) {
            (Fault::Kill | Fault::Pause | Fault::Freeze, _) => None,
            (_, false) => Some(Network::Whole),
            (Fault::PartitionIn, true) => Some(Network::StallsAnswers),
            (Fault::PartitionOut, true) => Some(Network::StallsRequests),
            (Fault::PartitionBoth, true) => Some(Network::Stalls),
            (Fault::Disconnect, true) => Some(Network::Refuses),
            _ => bail!("{fault:?} is not a fault of a device"),
        };
        if let Some(network) = network {
            self.proxies[device].set(network);
            return Ok(());
        }
        match (fault, begins, &mut self.devices[device]) {
            (Fault::Pause | Fault::Freeze, true, Some(process)) => {
                process.pause()?;
                self.read_stopped(device)
            }
            (Fault::Pause | Fault::Freeze, false, Some(process)) => process.resume(),
            (Fault::Kill, true, process) => {
                // Dropping the process kills it.
                *process = None;
                Ok(())
            }
            (_, _, process) => {
                debug_assert!(process.is_none(), "{fault:?} ends a process that was killed");
                self.start_device(device)?;
                self.devices[device]
                    .as_mut()
                    .map_or(Ok(()), |process| process.ask(Order::Run).map(drop))
            }
        }
    }

    /// Reads the file of a stopped device, like another process of the same user.
    fn read_stopped(&mut self, device: usize) -> Result<()> {
        let read = site::read_beside(&device::file_of(self.folder, device))?;
        self.stopped[device].extend(read);
        Ok(())
    }

    /// Ends all faults.
    fn heal(&mut self) -> Result<()> {
        let server = self.server.as_mut();
        let is_running = server.map_or(Ok(false), Process::is_running)?;
        match &self.server {
            Some(server) if is_running => server.resume()?,
            _ => self.start_server()?,
        }
        for device in 0..self.devices.len() {
            self.proxies[device].set(Network::Whole);
            match &self.devices[device] {
                Some(process) => process.resume()?,
                None => self.start_device(device)?,
            }
        }
        Ok(())
    }

    /// Waits until all queues are empty. It requests no sync: the client must reconnect by itself.
    fn drain(&mut self, healed: Instant) -> Result<Vec<Violation>> {
        let is_quiet = |answer: &Answer| answer.waiting == 0;
        let mut answers = self.all(Order::Queue)?;
        while !answers.iter().all(is_quiet) && healed.elapsed() < PROGRESS_BOUND {
            thread::sleep(POLL);
            answers = self.all(Order::Queue)?;
        }
        let mut violations = Vec::new();
        for (device, answer) in answers.iter().enumerate() {
            let Answer { waiting, parked, why, status, .. } = answer;
            if *waiting > 0 {
                let what = format!(
                    "device {device}: {waiting} mutations wait {:.0} s after the last fault; {status}",
                    healed.elapsed().as_secs_f64()
                );
                violations.push(Violation::new(Property::Progress, what));
            }
            if *parked > 0 {
                let what = format!("device {device}: {parked} mutations are parked: {why}");
                violations.push(Violation::new(Property::Progress, what));
            }
        }
        Ok(violations)
    }

    /// Waits until all devices have the rows of the server; the checker compares them. Returns the
    /// sync status of the last device.
    fn converge(&mut self) -> Result<String> {
        let begin = Instant::now();
        let rows = self.site.rows()?;
        let mut last = String::new();
        loop {
            let answers = self.all(Order::Rows)?;
            let behind = answers.iter().position(|answer| answer.rows != rows);
            let Some(device) = behind.filter(|_| begin.elapsed() < PROGRESS_BOUND) else {
                return Ok(last);
            };
            last = format!("device {device}: {}", answers[device].status);
            thread::sleep(POLL);
        }
    }

    /// Collects the input of the checker, and saves it in the folder.
    fn evidence(&mut self, folder: &Path) -> Result<Evidence> {
        let ends = self.all(Order::Rows)?.into_iter().map(|answer| answer.rows).collect();
        let load = |device| history::load(&device::history_of(folder, device));
        let evidence = Evidence {
            histories: (0..self.devices.len()).map(load).collect::<Result<_>>()?,
            stored: self.site.stored()?,
            ends,
            server_end: self.site.rows()?,
            stopped: std::mem::take(&mut self.stopped),
        };
        std::fs::write(folder.join("stored.json"), serde_json::to_vec(&evidence.stored)?)?;
        Ok(evidence)
    }
}
