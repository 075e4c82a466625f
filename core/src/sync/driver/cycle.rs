//! The driver's loop: waits until a pass is due, runs it, and decides what follows.
//!
//! Suspending and stopping take effect at the next poll. Each waiter gets the result of the pass
//! that began after its request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::exchange::EventsRequest;
use super::listen;
use super::pass::{PassContext, PassFacts, PassResult};
use super::schedule::{Halt, Schedule};
use super::shared::{Inbox, Network, SyncReport, Waiter, random};
use crate::config::Metered;
use crate::error::{Error, InputFault, Result, StorageFault, SyncFault};
use crate::runtime::{SpawnedTask, Spawner};
use crate::sync::status::SyncState;

/// The running loop.
#[derive(Debug)]
pub(super) struct Cycle {
    pass: PassContext,
    spawner: Spawner,
    schedule: Schedule,
    /// The event stream: its request and the task that reads it.
    listener: Option<(EventsRequest, SpawnedTask)>,
    /// The status after a suspension, until the next pass.
    before: SyncState,
    /// Whether only a hint caused this pass.
    hinted: bool,
    /// Whether only the interval caused this pass, while an event stream was open.
    rests: bool,
}

/// The next step of the loop.
enum Step {
    Stop,
    Suspend,
    /// Run a pass, with its waiters and the metered policy that applies.
    Run(Vec<Waiter>, Metered),
    /// Nothing is due before this time; `None` if only an event can make something due.
    Wait(Option<Duration>),
}

/// The effect of an error on the loop.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// No server: retry soon.
    Away,
    /// The server or its response failed: retry soon.
    Unwell,
    /// No retry before something changes.
    Halt(Halt),
    /// A quick retry does not resolve it.
    Broken,
    /// The engine was closed.
    Gone,
}

impl Cycle {
    pub(super) fn new(pass: PassContext, spawner: Spawner) -> Self {
        let config = &pass.config;
        let schedule =
            Schedule::new(config.sync_interval, config.push_debounce, config.max_retries);
        let before = SyncState::Idle;
        Self { pass, spawner, schedule, listener: None, before, hinted: false, rests: false }
    }

    pub(super) async fn run(mut self) {
        // The stored state is shown before there is a network.
        if let Ok(stored) = self.pass.exchange.look().await {
            self.pass.shared.board.set_stored(stored.first_sync, &stored.left_out);
        }
        loop {
            match self.step() {
                Step::Stop => return self.rest(SyncState::Stopped, || Error::Closed),
                Step::Suspend => {
                    self.rest(SyncState::Suspended, || Error::Suspended);
                    if self.pass.shared.lock().suspended {
                        self.pass.shared.wake.notified().await;
                    }
                }
                Step::Wait(until) => self.wait(until).await,
                Step::Run(waiting, held) => self.run_one(waiting, held).await,
            }
        }
    }

    /// Decides on the next step; a pass takes all requests with it.
    fn step(&mut self) -> Step {
        let shared = &self.pass.shared;
        let mut inbox = shared.lock();
        if inbox.stopped {
            return Step::Stop;
        }
        if inbox.suspended || inbox.ended.is_some() {
            return Step::Suspend;
        }
        // Under the lock: a concurrent suspension must not read the old status as the new one.
        if shared.board.now().state == SyncState::Suspended {
            shared.board.set(self.before.clone());
        }
        if std::mem::take(&mut inbox.is_network_new) {
            shared.forget_listen_limit();
            shared.set_calm(0);
            self.schedule.keep_awake();
            if let Some((request, _)) = self.listener.take() {
                self.listener = Some(self.listener_at(request));
            }
        }
        let held = self.policy(inbox.network);
        if held != Metered::Allow || !inbox.network.online {
            self.listener = None;
        }
        let is_explicit = inbox.requests.explicit;
        if !is_explicit && !inbox.network.online {
            let why = "the device has no network".to_owned();
            shared.board.set(SyncState::Offline { retry_at_ms: None, reason: why });
            return Step::Wait(None);
        }
        if !is_explicit && held == Metered::Never {
            shared.board.set(SyncState::Metered);
            return Step::Wait(None);
        }
        Self::take_stream_end(&mut self.schedule, &self.pass, &mut inbox);
        let listens = shared.listens();
        let due = self.schedule.due(&inbox.requests, listens);
        if due > shared.now() {
            return Step::Wait(Some(due));
        }
        let requests = std::mem::take(&mut inbox.requests);
        self.hinted =
            (requests.eager || requests.woken) && !is_explicit && requests.wrote.is_none();
        self.rests = listens && requests.is_empty();
        if requests.wrote.is_some() {
            self.schedule.push_started(shared.now());
        }
        if is_explicit || requests.eager {
            self.schedule.keep_awake();
        }
        if requests.eager && shared.level.load(Ordering::Acquire) > 0 {
            // After a long sleep the stream may be dead, and with few pings this is noticed late.
            self.listener = None;
        }
        let waiting = std::mem::take(&mut inbox.waiting);
        Step::Run(waiting, if is_explicit { Metered::Allow } else { held })
    }

    /// Takes a message of the listener.
    fn take_stream_end(schedule: &mut Schedule, pass: &PassContext, inbox: &mut Inbox) {
        if let Some(ended) = inbox.stream_ended.take() {
            schedule.stream_ended(pass.shared.now(), random(&*pass.host), ended);
            pass.shared.set_calm(schedule.calm());
        }
    }

    /// The metered policy that applies to this network.
    fn policy(&self, network: Network) -> Metered {
        if network.metered { self.pass.config.metered } else { Metered::Allow }
    }

    /// Ends everything, with this status.
    fn rest(&mut self, state: SyncState, why: impl Fn() -> Error) {
        let ended = self.pass.shared.lock().ended.take();
        for waiter in ended.into_iter().flatten() {
            // The waiter may be gone.
            let _ = waiter.send(Err(why()));
        }
        let before = self.pass.shared.board.now().state;
        if before == state {
            return; // Nothing has run since; only a request arrived.
        }
        self.before = match before {
            // The server may have changed meanwhile: only a pass after the resume is current.
            SyncState::Idle
            | SyncState::Pushing
            | SyncState::Applying(_)
            | SyncState::UpToDate { .. } => SyncState::Connecting,
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
            () = shared.wake.notified() => {}
            () = due => {}
        }
    }

    async fn run_one(&mut self, waiting: Vec<Waiter>, held: Metered) {
        let mut known = PassFacts::default();
        let outcome = tokio::select! {
            biased;
            error = self.interrupted() => Err(error),
            outcome = self.pass.run(held, !waiting.is_empty(), &mut known) => outcome,
        };
        self.settle(&outcome, &known);
        for waiter in waiting {
            // The waiter may be gone.
            let _ = waiter.send(match &outcome {
                Ok(PassResult::Finished(report)) => Ok(SyncReport::from(*report)),
                Ok(PassResult::HeldBack) => {
                    Err(Error::Sync(SyncFault::Offline("held back by the metered policy".into())))
                }
                Err(error) => Err(duplicate(error)),
            });
        }
    }

    /// Completes when the pass must end immediately.
    async fn interrupted(&self) -> Error {
        loop {
            {
                let inbox = self.pass.shared.lock();
                if inbox.stopped {
                    return Error::Closed;
                }
                if inbox.ended.is_some() {
                    return Error::Suspended;
                }
            }
            self.pass.shared.wake.notified().await;
        }
    }

    /// Updates schedule and status after a pass.
    fn settle(&mut self, outcome: &Result<PassResult>, known: &PassFacts) {
        let now = self.pass.shared.now();
        Self::take_stream_end(&mut self.schedule, &self.pass, &mut self.pass.shared.lock());
        let moved = matches!(outcome, Ok(PassResult::Finished(report)) if report.has_moved());
        if moved {
            self.schedule.moved();
        } else if self.hinted {
            self.schedule.idled(now, random(&*self.pass.host));
        } else if self.rests
            && matches!(outcome, Ok(PassResult::Finished(report)) if report.still_pending == 0)
        {
            self.schedule.rested();
        }
        let state = match outcome {
            // Later writes are pushed soon, unless nothing of this push succeeded.
            Ok(PassResult::Finished(report))
                if report.still_pending > 0 && (!self.has_written() || known.pushed && !moved) =>
            {
                // The server asked to retry some mutations; they must not wait for the interval.
                let at = self.schedule.failed(now, random(&*self.pass.host), known.asked);
                let why = format!("{} mutations wait to be sent again", report.still_pending);
                SyncState::WaitingUntil { at_ms: self.wall_ms(at), reason: why }
            }
            Ok(PassResult::Finished(_)) => {
                self.schedule.succeeded(now);
                SyncState::UpToDate { since_ms: self.pass.host.now_micros() / 1_000 }
            }
            Ok(PassResult::HeldBack) => {
                self.schedule.succeeded(now);
                SyncState::Metered
            }
            Err(error) => match self.failed(error, known, now) {
                Some(state) => state,
                None => return,
            },
        };
        self.pass.shared.board.set(state);
        self.pass.shared.set_calm(self.schedule.calm());
        if outcome.is_ok() {
            self.listen(known.session.events.as_ref());
        }
    }

    fn failed(&mut self, error: &Error, known: &PassFacts, now: Duration) -> Option<SyncState> {
        let why = error.to_string();
        Some(match course(error) {
            Course::Away => {
                let at = self.schedule.failed(now, random(&*self.pass.host), None);
                SyncState::Offline { retry_at_ms: Some(self.wall_ms(at)), reason: why }
            }
            Course::Unwell => {
                let at = self.schedule.failed(now, random(&*self.pass.host), known.asked);
                let at_ms = self.wall_ms(at);
                if self.schedule.is_tired() {
                    SyncState::Failed { reason: why, retry_at_ms: at_ms }
                } else {
                    SyncState::WaitingUntil { at_ms, reason: why }
                }
            }
            Course::Halt(halt) => {
                self.listener = None;
                self.schedule.halt(now, halt);
                match halt {
                    Halt::Auth => SyncState::NeedsAuth,
                    Halt::Upgrade => SyncState::UpgradeRequired { reason: message_of(error) },
                }
            }
            Course::Broken => {
                let at = self.schedule.broke(now);
                SyncState::Failed { reason: why, retry_at_ms: self.wall_ms(at) }
            }
            Course::Gone => {
                // The loop is usually about to be stopped or suspended; otherwise it retries.
                if self.pass.shared.lock().ended.is_none() {
                    self.schedule.broke(now);
                }
                return None;
            }
        })
    }

    /// Keeps the event stream open if the server has one and the metered policy allows it.
    fn listen(&mut self, request: Option<&EventsRequest>) {
        let network = self.pass.shared.lock().network;
        let is_wanted = network.online && self.policy(network) == Metered::Allow;
        let Some(request) = request.filter(|_| is_wanted) else {
            self.listener = None;
            return;
        };
        // A listener that has ended found no stream; it is not restarted before a change.
        if self.listener.as_ref().is_some_and(|(open, _)| open == request) {
            return;
        }
        self.listener = Some(self.listener_at(request.clone()));
    }

    fn listener_at(&self, request: EventsRequest) -> (EventsRequest, SpawnedTask) {
        let task = self.spawner.spawn(listen::listen(self.pass.clone(), request.clone()));
        (request, task)
    }

    fn has_written(&self) -> bool {
        self.pass.shared.lock().requests.wrote.is_some()
    }

    /// A time of the loop's clock as wall-clock time: milliseconds since 1970.
    fn wall_ms(&self, at: Duration) -> i64 {
        let ahead = at.saturating_sub(self.pass.shared.now());
        let ahead = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX);
        self.pass.host.now_micros().saturating_add(ahead) / 1_000
    }
}

fn course(error: &Error) -> Course {
    match error {
        Error::Sync(SyncFault::Offline(_)) => Course::Away,
        Error::Sync(SyncFault::Server { retryable: true, .. } | SyncFault::Protocol(_)) => {
            Course::Unwell
        }
        Error::Sync(SyncFault::Unauthorized) => Course::Halt(Halt::Auth),
        Error::Sync(SyncFault::UpgradeRequired(_)) => Course::Halt(Halt::Upgrade),
        Error::Suspended | Error::Closed => Course::Gone,
        _ => Course::Broken,
    }
}

fn message_of(error: &Error) -> String {
    match error {
        Error::Sync(SyncFault::UpgradeRequired(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// Copies an error for each waiter: error sources cannot be cloned.
fn duplicate(error: &Error) -> Error {
    match error {
        // For a waiter, a failing server is the same as none; the loop continues.
        Error::Sync(SyncFault::Server { status: 500.., .. }) => {
            Error::Sync(SyncFault::Offline(error.to_string()))
        }
        Error::Sync(SyncFault::Offline(why)) => Error::Sync(SyncFault::Offline(why.clone())),
        Error::Sync(SyncFault::Server { status, code, message, retryable }) => {
            Error::Sync(SyncFault::Server {
                status: *status,
                code: code.clone(),
                message: message.clone(),
                retryable: *retryable,
            })
        }
        Error::Sync(SyncFault::Protocol(why)) => Error::Sync(SyncFault::Protocol(why.clone())),
        Error::Sync(SyncFault::Unauthorized) => Error::Sync(SyncFault::Unauthorized),
        Error::Sync(SyncFault::UpgradeRequired(message)) => {
            Error::Sync(SyncFault::UpgradeRequired(message.clone()))
        }
        Error::Suspended => Error::Suspended,
        Error::Closed => Error::Closed,
        Error::Storage(StorageFault::Full) => Error::Storage(StorageFault::Full),
        Error::Storage(StorageFault::Locked { path }) => {
            Error::Storage(StorageFault::Locked { path: path.clone() })
        }
        Error::WrongUser { pending } => Error::WrongUser { pending: *pending },
        Error::InvalidInput(InputFault::Refused { what, reason: why }) => {
            Error::InvalidInput(InputFault::Refused { what: what.clone(), reason: why.clone() })
        }
        Error::InvalidInput(InputFault::SchemaRefused { table, reason: why }) => {
            Error::InvalidInput(InputFault::SchemaRefused {
                table: table.clone(),
                reason: why.clone(),
            })
        }
        Error::Storage(StorageFault::Corrupt(why)) => {
            Error::Storage(StorageFault::Corrupt(why.clone()))
        }
        Error::Storage(StorageFault::ReadOnly(why)) => {
            Error::Storage(StorageFault::ReadOnly(why.clone()))
        }
        Error::Storage(StorageFault::Io(why)) => Error::Storage(StorageFault::Io(why.clone())),
        other => Error::Internal(other.to_string()),
    }
}
