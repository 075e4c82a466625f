//! The real session over a file; each step runs inline, without moving the paused clock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rejoin_protocol::Manifest;
use tempfile::TempDir;

use crate::engine::tests::{open, table};
use crate::engine::{Engine, OpenOptions};
use crate::error::Result;
use crate::host::TestHost;
use crate::sync::driver::DriverConfig;
use crate::sync::driver::exchange::{Exchange, SessionState, session_state};
use crate::sync::session::{Next, Request, Response, Session, SessionConfig};
use crate::sync::subject::Signer;
use crate::writer::Task;

/// The tables of the file and of the server.
pub(super) fn manifest() -> Manifest {
    Manifest::new(1, vec![table("notes", &[("id", "string"), ("body", "string")], vec![])])
}

pub(super) struct RealSession {
    inside: Mutex<Inside>,
}

pub(super) struct Inside {
    pub(super) engine: Engine,
    session: Session,
    /// Whether a request is waiting for its response.
    flight: bool,
    written: u64,
    pub(super) passes: u64,
    pub(super) lost: u64,
    pub(super) renewed: u64,
    /// The users of the credentials at each start and change.
    pub(super) signed: Vec<Signer>,
    folder: TempDir,
}

impl fmt::Debug for RealSession {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RealSession")
    }
}

fn session() -> Session {
    let driver = DriverConfig::from(&crate::config::Config::new("unused"));
    Session::new(SessionConfig {
        user_id: None,
        device_name: None,
        platform: "linux".to_owned(),
        app_version: driver.app_version,
        page_size: 1_000,
        batch_size: 100,
    })
}

impl RealSession {
    /// A session over a file after its first sync, or over a new file.
    pub(super) fn new(fresh: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = open(&folder, Some(manifest())).unwrap();
        if !fresh {
            for (fact, value) in [("first_sync", "done"), ("epoch", "e"), ("cursor", "c")] {
                engine.set_meta(fact, Some(value)).unwrap();
            }
        }
        let (passes, lost, renewed, written) = (0, 0, 0, 0);
        let inside = Inside {
            engine,
            session: session(),
            flight: false,
            written,
            passes,
            lost,
            renewed,
            signed: Vec::new(),
            folder,
        };
        Self { inside: Mutex::new(inside) }
    }

    pub(super) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn step<R>(&self, body: impl FnOnce(&mut Inside) -> Result<R>) -> Task<R> {
        Task::ready(body(&mut self.inside()))
    }
}

impl Inside {
    /// Writes `count` notes of this length.
    pub(super) fn write(&mut self, count: u64, length: usize) {
        for _ in 0..count {
            self.written += 1;
            let (id, body) = (format!("w{}", self.written), "x".repeat(length));
            let sql = "INSERT INTO notes (id, body) VALUES (?1, ?2)";
            self.engine.execute(sql, &[id.into(), body.into()]).unwrap();
        }
    }

    /// The number of mutations without a verdict.
    pub(super) fn pending(&self) -> usize {
        self.engine.queue.len()
    }

    fn land(&mut self) {
        self.lost += u64::from(std::mem::take(&mut self.flight));
    }
}

impl Exchange for RealSession {
    fn look(&self) -> Task<SessionState> {
        self.step(|inside| session_state(&inside.session, &inside.engine))
    }

    fn start(&self, who: Signer, current: bool) -> Task<SessionState> {
        self.step(move |inside| {
            inside.passes += 1;
            inside.land();
            inside.signed.push(who.clone());
            inside.session.signed_by(&inside.engine, who)?;
            inside.session.start_pass(&mut inside.engine, current)?;
            session_state(&inside.session, &inside.engine)
        })
    }

    fn signed_by(&self, who: Signer) -> Task<()> {
        self.step(|inside| {
            inside.signed.push(who.clone());
            inside.session.signed_by(&inside.engine, who)
        })
    }

    fn next(&self) -> Task<Next> {
        self.step(|inside| {
            let next = inside.session.next(&mut inside.engine)?;
            inside.flight = matches!(next, Next::Send(_));
            Ok(next)
        })
    }

    fn ahead(&self, end: Bytes, took: Option<Duration>) -> Task<Option<Request>> {
        self.step(|inside| inside.session.ahead(&mut inside.engine, &end, took))
    }

    fn answered(&self, response: Response) -> Task<SessionState> {
        self.step(|inside| {
            inside.flight = false;
            inside.session.answered(&mut inside.engine, response)?;
            session_state(&inside.session, &inside.engine)
        })
    }

    fn lost(&self, took: Option<Duration>) -> Task<()> {
        self.step(|inside| {
            inside.land();
            inside.session.lost(&mut inside.engine, took)
        })
    }

    fn held_back(&self) -> Task<bool> {
        self.step(|inside| {
            inside.land();
            inside.session.held_back(&mut inside.engine)
        })
    }

    fn renew(&self) {
        let mut inside = self.inside();
        inside.renewed += 1;
        inside.session = session();
        // As in production the file is closed and opened: sent mutations become uncertain.
        let empty = tempfile::tempdir().unwrap();
        let other = open(&empty, None).unwrap();
        std::mem::replace(&mut inside.engine, other).close().unwrap();
        let path = inside.folder.path().join("app.db");
        let host = Arc::new(TestHost::new(1 + inside.renewed)); // Random ids must not repeat.
        inside.engine = Engine::open(&OpenOptions { path, manifest: None }, host).unwrap();
    }
}
