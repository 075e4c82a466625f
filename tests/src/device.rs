//! A test device: an engine over a file, a session, and the faults between it and the server.

mod exchange;
mod file;
mod progress;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rejoin_core::engine::change::Change;
use rejoin_core::engine::queue::mutation::Mutation;
use rejoin_core::engine::{Engine, OpenOptions, Policies};
use rejoin_core::host::TestHost;
use rejoin_core::sync::doctor;
use rejoin_core::sync::session::{
    Next, PassReport, Phase, Progress, Request, Response, Session, SessionConfig,
};
use rejoin_core::value::Value;
use rejoin_protocol::Manifest;
use tempfile::TempDir;

use crate::fault::Fault;
use crate::peer::Peer;
use exchange::lost;
pub use exchange::undecided;

/// The state at which a device stops.
#[derive(Debug, Clone, PartialEq)]
pub enum Moment {
    /// A request is about to leave.
    Leaving(Phase),
    /// The pass is over.
    Finished(PassReport),
}

/// A test device.
#[derive(Debug)]
pub struct Device {
    /// Its clock and random numbers.
    pub host: Arc<TestHost>,
    /// The user of its credentials.
    pub user: String,
    /// Faults of its next exchanges, in order; later exchanges succeed.
    pub faults: VecDeque<Fault>,
    /// Every request it has sent, late ones too: path and body.
    pub sent: Vec<Request>,
    engine: Option<Engine>,
    session: Session,
    config: SessionConfig,
    policies: Policies,
    /// How often the server may fail on a mutation or record, if not as often as by default.
    attempts: Option<u32>,
    options: OpenOptions,
    outbox: Option<Request>,
    /// The request for the next page with its response, made before the last page was applied.
    early: Option<(String, Request, Option<Response>)>,
    late: Vec<(String, Request)>,
    in_pass: bool,
    /// The contents of the file when the pass began.
    pass: progress::Pass,
    _folder: TempDir,
}

impl Device {
    /// A new device of `user`; `seed` determines its random numbers.
    pub fn new(user: &str, seed: u64) -> Self {
        Self::with(user, seed, None, |_| {})
    }

    /// A new device with a bundled schema.
    pub fn bundled(user: &str, seed: u64, manifest: Manifest) -> Self {
        Self::with(user, seed, Some(manifest), |_| {})
    }

    /// A new device with its own configuration.
    pub fn with(
        user: &str,
        seed: u64,
        manifest: Option<Manifest>,
        change: impl FnOnce(&mut SessionConfig),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the device");
        let options = OpenOptions { path: folder.path().join("app.db"), manifest };
        let mut config = SessionConfig {
            user_id: None,
            device_name: Some(format!("device {seed}")),
            platform: "test".to_owned(),
            app_version: "1.0.0".to_owned(),
            page_size: 100,
            batch_size: 100,
        };
        change(&mut config);
        Self::over(options, folder, user, seed, config)
    }

    /// Starts the app on this file.
    fn over(
        options: OpenOptions,
        folder: TempDir,
        user: &str,
        seed: u64,
        config: SessionConfig,
    ) -> Self {
        let host = Arc::new(TestHost::new(seed));
        let engine = Engine::open(&options, host.clone()).expect("the device's file opens");
        Self {
            host,
            user: user.to_owned(),
            faults: VecDeque::new(),
            sent: Vec::new(),
            engine: Some(engine),
            session: Session::new(config.clone()),
            config,
            policies: Policies::new(),
            attempts: None,
            options,
            outbox: None,
            early: None,
            late: Vec::new(),
            in_pass: false,
            pass: progress::Pass::default(),
            _folder: folder,
        }
    }

    /// The engine.
    pub fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("the engine is open")
    }

    /// The device's file.
    pub fn path(&self) -> &Path {
        &self.options.path
    }

    /// The progress of the engine.
    pub fn progress(&self) -> Progress {
        self.session.progress()
    }

    /// Sets the app's conflict policies, now and after each start.
    pub fn govern(&mut self, policies: Policies) {
        self.policies = policies;
        let policies = self.policies.clone();
        self.engine().set_policies(policies).expect("the tables take the policies");
    }

    /// Sets how often the server may fail on a mutation or record, for whatever time, now and after
    /// each start.
    pub fn limit_faults(&mut self, attempts: u32) {
        self.attempts = Some(attempts);
        self.engine().set_fault_limit(attempts, Duration::MAX);
    }

    /// Writes as the app does.
    #[track_caller]
    pub fn write(&mut self, sql: &str) -> &mut Self {
        if let Err(error) = self.engine().execute_batch(sql) {
            panic!("{sql}: {error}");
        }
        self
    }

    /// Writes a statement that may be refused; returns whether it was kept.
    pub fn try_write(&mut self, sql: &str) -> bool {
        self.engine().execute_batch(sql).is_ok()
    }

    /// Writes several statements as one mutation.
    #[track_caller]
    pub fn write_together(&mut self, statements: &[&str]) -> &mut Self {
        let result = self
            .engine()
            .transaction(|tx| statements.iter().try_for_each(|sql| tx.execute(sql, &[]).map(drop)));
        if let Err(error) = result {
            panic!("{statements:?}: {error}");
        }
        self
    }

    /// The result of a query as text: cells by `|`, rows by ` `; NULL is `-`.
    #[track_caller]
    pub fn see(&mut self, sql: &str) -> String {
        let rows = self.engine().transaction(|tx| tx.query(sql, &[], line));
        match rows {
            Ok(rows) => rows.join(" "),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The result of a query over a separate connection, in the format of [`Device::see`].
    #[track_caller]
    pub fn raw(&self, sql: &str) -> String {
        let conn = rusqlite::Connection::open(&self.options.path).expect("the file opens");
        let rows = conn.prepare(sql).and_then(|mut statement| {
            statement.query_map([], line)?.collect::<rusqlite::Result<Vec<String>>>()
        });
        match rows {
            Ok(rows) => rows.join(" "),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// A cell of the staged row of this key.
    #[track_caller]
    pub fn staged(&mut self, table: &str, column: &str, key: &str) -> String {
        let schema = self.engine().schema().clone();
        let table = schema.named(table).expect("a synced table");
        let column = &table.columns[table.column_named(column).expect("a column")];
        self.raw(&format!(
            "SELECT c{} FROM rejoin_staging_{} WHERE c{} = '{key}'",
            column.id.0,
            table.number.0,
            table.key_column().id.0
        ))
    }

    /// Collects the change notifications of every commit.
    pub fn listen(&mut self) -> Arc<Mutex<Vec<Change>>> {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let sink = changes.clone();
        self.engine().on_commit(Box::new(move |change| {
            sink.lock().expect("no panic while collecting changes").push(change.clone());
        }));
        changes
    }

    /// Runs one slice of local work of the session, if there is any.
    pub fn local_slice(&mut self) {
        assert!(self.outbox.is_none(), "a request waits to be sent");
        let engine = self.engine.as_mut().expect("the engine is open");
        let next = self.session.next(engine).expect("the slice goes well");
        assert_eq!(next, Next::Again, "there was local work to do");
    }

    /// The pending mutations.
    pub fn queue(&mut self) -> Vec<Mutation> {
        self.engine().pending().expect("the queue reads")
    }

    /// The pending mutations as text: `state/attempt` of each; a parked one with its reason.
    pub fn waiting(&mut self) -> String {
        let words = self.queue().into_iter().map(|mutation| match mutation.reason {
            Some(reason) => format!("{:?}:{reason:?}/{}", mutation.state, mutation.attempt),
            None => format!("{:?}/{}", mutation.state, mutation.attempt),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Requires all rows again, as the app's `resync` does.
    pub fn resync(&mut self) -> &mut Self {
        doctor::resync(self.engine()).expect("the file is written");
        self
    }

    /// Ends the process without a shutdown and starts the app again.
    pub fn crash(&mut self) -> &mut Self {
        self.close();
        let engine = Engine::open(&self.options, self.host.clone());
        self.engine = Some(engine.expect("the file opens after a crash"));
        self.govern(self.policies.clone());
        if let Some(attempts) = self.attempts {
            self.limit_faults(attempts);
        }
        self.session = Session::new(self.config.clone());
        self.outbox = None;
        self.early = None;
        self.in_pass = false;
        self
    }

    /// Starts another app version on the same file.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut SessionConfig)) {
        change(&mut self.config);
        self.crash();
    }

    /// Continues until a request is ready to be sent (it is not sent yet) or the pass is over.
    pub fn prepare(&mut self) -> Result<Moment> {
        if let Some(request) = &self.outbox {
            return Ok(Moment::Leaving(request.phase));
        }
        let engine = self.engine.as_mut().context("closed")?;
        if !self.in_pass {
            self.session.start_pass(engine, false)?;
            self.in_pass = true;
            self.pass.begin(engine, &self.options.path);
        }
        loop {
            let next = self.session.next(engine);
            self.in_pass = next.is_ok();
            match next? {
                Next::Again => {}
                Next::Send(request) => {
                    let phase = request.phase;
                    self.outbox = Some(request);
                    return Ok(Moment::Leaving(phase));
                }
                Next::Finished(report) => {
                    self.in_pass = false;
                    self.pass.check(engine, &self.options.path, &report)?;
                    return Ok(Moment::Finished(report));
                }
            }
        }
    }

    /// The path of the request that is ready to be sent.
    pub fn next_path(&self) -> Option<&str> {
        self.outbox.as_ref().map(|request| request.path.as_str())
    }

    /// Ends the pass before the request that is ready, as a metered network does.
    pub fn hold_back(&mut self) -> Result<()> {
        (self.outbox, self.in_pass) = (None, false);
        self.session.held_back(self.engine.as_mut().context("closed")?)?;
        Ok(())
    }

    /// Runs one exchange, with the next fault if there is one. An error ends the pass.
    pub fn step(&mut self, server: &dyn Peer) -> Result<Moment> {
        let moment = self.prepare()?;
        let Some(request) = self.outbox.take() else { return Ok(moment) };
        self.sent.push(request.clone());
        let answered = self.carry(server, request);
        self.in_pass &= answered.is_ok();
        answered.map(|()| moment)
    }

    /// Runs one exchange whose response is changed in transit.
    pub fn step_with(
        &mut self,
        server: &dyn Peer,
        change: impl FnOnce(Response) -> Response,
    ) -> Result<Moment> {
        let moment = self.prepare()?;
        let Some(request) = self.outbox.take() else { bail!("the pass is over") };
        self.sent.push(request.clone());
        let answer = server.exchange(&self.user, &request).map(change);
        let engine = self.engine.as_mut().context("closed")?;
        let answered = match answer {
            Some(answer) => self.session.answered(engine, answer),
            None => lost(&mut self.session, engine),
        };
        self.in_pass &= answered.is_ok();
        Ok(answered.map(|()| moment)?)
    }

    /// Continues until a request of this phase is ready to be sent.
    pub fn until(&mut self, server: &dyn Peer, phase: Phase) -> Result<()> {
        loop {
            match self.prepare()? {
                Moment::Leaving(now) if now == phase => return Ok(()),
                Moment::Finished(report) => bail!("the pass ended before {phase:?}: {report:?}"),
                Moment::Leaving(_) => {
                    self.step(server)?;
                }
            }
        }
    }

    /// Sends the pending mutations; the request or its response is lost by this fault.
    #[track_caller]
    pub fn lose_push(&mut self, server: &dyn Peer, fault: Fault) {
        self.until(server, Phase::Pushing).expect("a push leaves");
        self.faults.push_back(fault);
        self.step(server).expect_err("the push is lost");
    }

    /// Runs one pass, to its end or its first error.
    pub fn pass(&mut self, server: &dyn Peer) -> Result<PassReport> {
        loop {
            if let Moment::Finished(report) = self.step(server)? {
                return Ok(report);
            }
        }
    }

    /// Runs one pass in which the server answers pushes with `retry`, so that a pull arrives while
    /// edits are uncertain.
    #[track_caller]
    pub fn pull_only(&mut self, server: &dyn Peer) {
        loop {
            match self.prepare() {
                Ok(Moment::Finished(_)) => return,
                Ok(Moment::Leaving(Phase::Pushing)) => {
                    let Some(request) = self.outbox.take() else { return };
                    let answer = undecided(request.body.as_deref().unwrap_or_default());
                    self.sent.push(request);
                    let engine = self.engine.as_mut().expect("the engine is open");
                    self.session.answered(engine, answer).expect("an answer that decides nothing");
                }
                Ok(Moment::Leaving(_)) => {
                    self.step(server).expect("the exchange goes well");
                }
                Err(error) => panic!("{error:#}"),
            }
        }
    }

    /// Sends the prepared push; the server answers every mutation with `retry`.
    pub fn push_undecided(&mut self, server: &dyn Peer) -> Result<()> {
        self.until(server, Phase::Pushing)?;
        let Some(request) = self.outbox.take() else { bail!("no push is about to leave") };
        let answer = undecided(request.body.as_deref().unwrap_or_default());
        self.sent.push(request);
        Ok(self.session.answered(self.engine.as_mut().context("closed")?, answer)?)
    }

    /// Runs passes until one succeeds.
    #[track_caller]
    pub fn sync(&mut self, server: &dyn Peer) -> PassReport {
        let mut last = None;
        for _ in 0..20 {
            match self.pass(server) {
                Ok(report) => return report,
                Err(error) => last = Some(error),
            }
        }
        panic!("no pass of twenty went well: {last:?}");
    }

    /// Delivers the late requests now; their responses are dropped.
    pub fn deliver_late(&mut self, server: &dyn Peer) {
        for (user, request) in std::mem::take(&mut self.late) {
            server.exchange(&user, &request);
        }
    }

    /// Passes a response to the session that matches no request.
    pub fn unexpected(&mut self, answer: Response) -> rejoin_core::Result<()> {
        let engine = self.engine.as_mut().expect("the engine is open");
        self.session.answered(engine, answer)
    }
}

pub(crate) fn line(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    let mut cells = Vec::new();
    for index in 0..row.as_ref().column_count() {
        cells.push(match row.get::<_, Value>(index)? {
            Value::Null => "-".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => format!("{} bytes", bytes.len()),
        });
    }
    Ok(cells.join("|"))
}
