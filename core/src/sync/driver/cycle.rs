//! The loop: waits until a pass is due, runs it, and decides what follows from how it ended.
//!
//! Promise: suspending and stopping take effect at the next poll, whatever is under way; each waiter hears of the pass that
//! began after it had asked, and of no other.

use std::time::Duration;

use super::listen;
use super::pass::{Ending, Known, Pass};
use super::schedule::{Halt, Schedule};
use super::shared::{Network, Report, Waiter, random};
use crate::config::Metered;
use crate::error::{Error, Result};
use crate::runtime::{Spawner, Task};
use crate::sync::status::State;

/// The running loop.
#[derive(Debug)]
pub(super) struct Cycle {
    pass: Pass,
    spawner: Spawner,
    schedule: Schedule,
    /// The event stream: where it is, and who listens.
    listener: Option<(String, Task)>,
    /// What is to be said again after a suspension.
    before: State,
    /// Whether a hint began this pass, and nothing else asked for it.
    hinted: bool,
}

/// What to do next.
enum Step {
    Stop,
    Suspend,
    /// A pass: who waits for it, and what the network's policy holds back of it.
    Run(Vec<Waiter>, Metered),
    /// Nothing is due before this; no time at all where only news will do.
    Wait(Option<Duration>),
}

/// What an error means for the loop.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// No server: try again soon.
    Away,
    /// The server, or its answer, is not well: try again soon.
    Unwell,
    /// Not before something changes.
    Halt(Halt),
    /// A quick retry does not mend it.
    Broken,
    /// The engine was taken away.
    Gone,
}

impl Cycle {
    pub(super) fn new(pass: Pass, spawner: Spawner) -> Self {
        let config = &pass.config;
        let schedule =
            Schedule::new(config.sync_interval, config.push_debounce, config.max_retries);
        Self { pass, spawner, schedule, listener: None, before: State::Idle, hinted: false }
    }

    pub(super) async fn run(mut self) {
        // Known before there is a network.
        if let Ok(told) = self.pass.exchange.look().await {
            self.pass.shared.board.set_first_sync(told.first_sync);
        }
        loop {
            match self.step() {
                Step::Stop => return self.rest(State::Stopped, || Error::Shutdown),
                Step::Suspend => {
                    self.rest(State::Suspended, || Error::Suspended);
                    self.pass.shared.bell.notified().await;
                }
                Step::Wait(until) => self.wait(until).await,
                Step::Run(waiting, held) => self.run_one(waiting, held).await,
            }
        }
    }

    /// Decides; a pass that begins takes all wishes with it.
    fn step(&mut self) -> Step {
        let shared = &self.pass.shared;
        let mut inbox = shared.lock();
        if inbox.stopped {
            return Step::Stop;
        }
        if inbox.suspended {
            return Step::Suspend;
        }
        // Under the lock: whoever suspends from here on must not take the old word for the new one.
        if shared.board.now().state == State::Suspended {
            shared.board.set(self.before.clone());
        }
        let held = self.policy(inbox.network);
        if held != Metered::Allow || !inbox.network.online {
            self.listener = None;
        }
        let is_explicit = inbox.wishes.explicit;
        if !is_explicit && !inbox.network.online {
            let why = "the device has no network".to_owned();
            shared.board.set(State::Offline { retry_at: None, why });
            return Step::Wait(None);
        }
        if !is_explicit && held == Metered::Never {
            shared.board.set(State::Metered);
            return Step::Wait(None);
        }
        let due = self.schedule.due(&inbox.wishes);
        if due > shared.now() {
            return Step::Wait(Some(due));
        }
        let wishes = std::mem::take(&mut inbox.wishes);
        self.hinted = (wishes.eager || wishes.woken) && !is_explicit && wishes.wrote.is_none();
        let waiting = std::mem::take(&mut inbox.waiting);
        Step::Run(waiting, if is_explicit { Metered::Allow } else { held })
    }

    /// What the network holds back.
    fn policy(&self, network: Network) -> Metered {
        if network.metered { self.pass.config.metered } else { Metered::Allow }
    }

    /// Lets go of everything, and says so.
    fn rest(&mut self, state: State, why: impl Fn() -> Error) {
        let waiting = std::mem::take(&mut self.pass.shared.lock().waiting);
        for waiter in waiting {
            // Whoever asked may have gone.
            let _ = waiter.send(Err(why()));
        }
        let before = self.pass.shared.board.now().state;
        if before == state {
            return; // Nothing has run since; something was wished for.
        }
        self.before = match before {
            State::Connecting | State::Pushing | State::Applying(_) => State::Idle,
            settled => settled,
        };
        self.listener = None;
        self.pass.transport.disconnect();
        self.pass.exchange.renew();
        self.pass.shared.board.set(state);
    }

    async fn wait(&self, until: Option<Duration>) {
        let shared = &self.pass.shared;
        let due = async {
            match until {
                Some(until) => tokio::time::sleep_until(shared.started + until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.bell.notified() => {}
            () = due => {}
        }
    }

    async fn run_one(&mut self, waiting: Vec<Waiter>, held: Metered) {
        let mut known = Known::default();
        let outcome = tokio::select! {
            biased;
            error = self.interrupted() => Err(error),
            outcome = self.pass.run(held, &mut known) => outcome,
        };
        self.settle(&outcome, &known);
        for waiter in waiting {
            // Whoever asked may have gone.
            let _ = waiter.send(match &outcome {
                Ok(Ending::Finished(report)) => Ok(Report::from(*report)),
                Ok(Ending::HeldBack) => {
                    Err(Error::Offline("held back by the metered policy".into()))
                }
                Err(error) => Err(told(error)),
            });
        }
    }

    /// Resolves when the pass has to end where it stands.
    async fn interrupted(&self) -> Error {
        loop {
            {
                let inbox = self.pass.shared.lock();
                if inbox.stopped {
                    return Error::Shutdown;
                }
                if inbox.suspended {
                    return Error::Suspended;
                }
            }
            self.pass.shared.bell.notified().await;
        }
    }

    /// What follows from how a pass ended.
    fn settle(&mut self, outcome: &Result<Ending>, known: &Known) {
        let now = self.pass.shared.now();
        let moved = matches!(outcome, Ok(Ending::Finished(report)) if report.has_moved());
        if moved {
            self.schedule.moved();
        } else if self.hinted {
            self.schedule.idled(now, random(&*self.pass.host));
        }
        let state = match outcome {
            // What was written meanwhile goes soon, unless all that was sent came to nothing.
            Ok(Ending::Finished(report))
                if report.still_pending > 0 && (!self.has_written() || known.pushed && !moved) =>
            {
                // The server asked for some to be sent again; those must not wait for the interval.
                let at = self.schedule.failed(now, random(&*self.pass.host), known.asked);
                let why = format!("{} mutations wait to be sent again", report.still_pending);
                State::WaitingUntil { at: self.wall(at), why }
            }
            Ok(Ending::Finished(_)) => {
                self.schedule.succeeded(now);
                State::UpToDate { since: self.pass.host.now_micros() }
            }
            Ok(Ending::HeldBack) => {
                self.schedule.succeeded(now);
                State::Metered
            }
            Err(error) => match self.failed(error, known, now) {
                Some(state) => state,
                None => return,
            },
        };
        self.pass.shared.board.set(state);
        if outcome.is_ok() {
            self.listen(known.told.events.as_deref());
        }
    }

    fn failed(&mut self, error: &Error, known: &Known, now: Duration) -> Option<State> {
        let why = error.to_string();
        Some(match course(error) {
            Course::Away => {
                let at = self.schedule.failed(now, random(&*self.pass.host), None);
                State::Offline { retry_at: Some(self.wall(at)), why }
            }
            Course::Unwell => {
                let at = self.schedule.failed(now, random(&*self.pass.host), known.asked);
                let at = self.wall(at);
                if self.schedule.is_tired() {
                    State::Failed { why, retry_at: at }
                } else {
                    State::WaitingUntil { at, why }
                }
            }
            Course::Halt(halt) => {
                self.listener = None;
                self.schedule.halt(now, halt);
                match halt {
                    Halt::Auth => State::NeedsAuth,
                    Halt::Upgrade => State::UpgradeRequired { message: message_of(error) },
                }
            }
            Course::Broken => {
                let at = self.schedule.broke(now);
                State::Failed { why, retry_at: self.wall(at) }
            }
            Course::Gone => {
                // Usually the loop is about to be told so itself; if not, it looks again.
                self.schedule.broke(now);
                return None;
            }
        })
    }

    /// Keeps the event stream open where there is one, and the network is not metered against it.
    fn listen(&mut self, path: Option<&str>) {
        let network = self.pass.shared.lock().network;
        let is_wanted = network.online && self.policy(network) == Metered::Allow;
        let Some(path) = path.filter(|_| is_wanted) else {
            self.listener = None;
            return;
        };
        // One that has ended has learned that there is no stream for us; it is not asked again before a change.
        if self.listener.as_ref().is_some_and(|(at, _)| at == path) {
            return;
        }
        let task = self.spawner.spawn(listen::listen(self.pass.clone(), path.to_owned()));
        self.listener = Some((path.to_owned(), task));
    }

    fn has_written(&self) -> bool {
        self.pass.shared.lock().wishes.wrote.is_some()
    }

    /// A time of the loop's clock, as people read it.
    fn wall(&self, at: Duration) -> i64 {
        let ahead = at.saturating_sub(self.pass.shared.now());
        let ahead = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX);
        self.pass.host.now_micros().saturating_add(ahead)
    }
}

fn course(error: &Error) -> Course {
    match error {
        Error::Offline(_) => Course::Away,
        Error::Server { retryable: true, .. } | Error::Protocol(_) => Course::Unwell,
        Error::NeedsAuth => Course::Halt(Halt::Auth),
        Error::UpgradeRequired(_) => Course::Halt(Halt::Upgrade),
        Error::Suspended | Error::Shutdown => Course::Gone,
        _ => Course::Broken,
    }
}

fn message_of(error: &Error) -> String {
    match error {
        Error::UpgradeRequired(message) => message.clone(),
        other => other.to_string(),
    }
}

/// The same error once more, for each who waits: errors keep their sources, which cannot be copied.
fn told(error: &Error) -> Error {
    match error {
        // A server that cannot just now is as good as none to who waits; the loop goes on.
        Error::Server { status: 500.., .. } => Error::Offline(error.to_string()),
        Error::Offline(why) => Error::Offline(why.clone()),
        Error::Server { status, code, message, retryable } => Error::Server {
            status: *status,
            code: code.clone(),
            message: message.clone(),
            retryable: *retryable,
        },
        Error::Protocol(why) => Error::Protocol(why.clone()),
        Error::NeedsAuth => Error::NeedsAuth,
        Error::UpgradeRequired(message) => Error::UpgradeRequired(message.clone()),
        Error::Suspended => Error::Suspended,
        Error::Shutdown => Error::Shutdown,
        Error::Full => Error::Full,
        Error::Locked { path } => Error::Locked { path: path.clone() },
        Error::WrongUser { pending } => Error::WrongUser { pending: *pending },
        Error::Refused { what, why } => Error::Refused { what: what.clone(), why: why.clone() },
        Error::SchemaRefused { table, why } => {
            Error::SchemaRefused { table: table.clone(), why: why.clone() }
        }
        Error::Corrupt(why) => Error::Corrupt(why.clone()),
        Error::ReadOnly(why) => Error::ReadOnly(why.clone()),
        Error::Io(why) => Error::Io(why.clone()),
        other => Error::Internal(other.to_string()),
    }
}
