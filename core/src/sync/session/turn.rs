//! What an answer does to the session: taken whole, or abandoned for another step.

use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::{Ending, PushResponse};
use rejoin_protocol::wire::register::{RegisterResponse, Welcome};
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_protocol::wire::{ErrorBody, RowName, code};
use rejoin_protocol::{Manifest, capability};

use super::plain::Plain;
use super::{Flight, PATIENCE, Peer, Response, Session, Step, What};
use crate::engine::rebase::{Applied, Batch};
use crate::engine::{Engine, staging};
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq};
use crate::sync::plain;
use crate::sync::rows::answer::{self, Stamp, Turn};
use crate::sync::rows::push::Sent;
use crate::sync::rows::{fact, pull, push, register, schema, snapshot};
use rejoin_protocol::mutant::{self, Mutant};

/// Pulls that a pass makes: half a million rows and more.
const PULLS: u32 = 5_000;

impl Session {
    /// Takes the answer to the last request: applies the whole of it, or nothing.
    ///
    /// # Errors
    /// `NeedsAuth`, `UpgradeRequired`, `Server`, `Protocol`, `WrongUser`, `SchemaRefused`, `Refused` end the pass; so do
    /// those of the engine's file. Whatever a push carried is then uncertain and will be sent again as it is. An answer
    /// that nobody waits for is `Protocol`, and nothing of it is applied (O5); the same is `Offline` if the file was reset since
    /// it was asked for.
    #[allow(clippy::needless_pass_by_value)] // An answer is taken once.
    pub fn answered(&mut self, engine: &mut Engine, response: Response) -> Result<()> {
        self.same_file(engine)?;
        let Some(flight) = self.flight.take() else {
            return Err(Error::Protocol("an answer that nobody waits for".to_owned()));
        };
        let taken = match (&flight.what, response.status) {
            (_, 200) => self.take(engine, &flight, &response),
            (What::Plain(plain), _) => self.refused_plain(engine, plain, &response),
            _ => answer::refusal(&response),
        };
        let unread = matches!(taken, Ok(Turn::Smaller)) && answer::is_too_large(&response);
        if let (What::Push(sent), false) = (&flight.what, unread) {
            self.seen(sent);
        }
        match taken {
            Ok(Turn::Onward) => Ok(()),
            Ok(turn) => {
                self.settle(engine, &flight)?;
                self.turn(engine, &flight, turn, &response)
            }
            Err(error) => {
                // The answer's own failure tells more than one of this.
                let _ = self.settle(engine, &flight);
                let is_page = matches!(flight.what, What::Page(_) | What::Plain(Plain::Page(_)));
                let is_lasting = matches!(
                    error,
                    Error::Protocol(_) | Error::Server { status: 400 | 404 | 500, .. }
                );
                if is_page && is_lasting {
                    let _ = snapshot::failed(engine);
                }
                Err(error)
            }
        }
    }

    /// A request that may have been looked at carried these.
    pub(super) fn seen(&mut self, sent: &[Sent]) {
        for one in sent {
            self.unseen.remove(&one.seq);
        }
    }

    /// Takes an answer of 200.
    fn take(&mut self, engine: &mut Engine, flight: &Flight, response: &Response) -> Result<Turn> {
        let body = &response.body;
        match &flight.what {
            What::Register => {
                self.registered(engine, answer::read(body)?)?;
                Ok(Turn::Onward)
            }
            What::Schema => {
                let mut manifest: Manifest = answer::read(body)?;
                let fetched = (manifest.schema_version, &manifest.schema_hash);
                if self.named.as_ref().is_some_and(|(version, hash)| (*version, hash) != fetched) {
                    return Err(Error::Offline(
                        "the schema is not the one that the server named (an old one from a cache?)"
                            .to_owned(),
                    ));
                }
                if self.is_plain() {
                    manifest = plain::schema::completed(manifest, engine.schema.manifest.as_ref());
                }
                self.report.parked += schema::accept(engine, &manifest)? as u64;
                self.search = None;
                self.step = if self.peer.is_some() { Step::Push } else { Step::Register };
                Ok(Turn::Onward)
            }
            What::Push(sent) => self.take_push(engine, flight.number, sent, answer::read(body)?),
            What::Cancel(asked) => {
                self.take_cancel(engine, flight.number, asked, answer::read(body)?)
            }
            What::Pull(asked) => self.take_pull(engine, flight.number, asked, answer::read(body)?),
            What::Page(present) => {
                self.take_page(engine, flight.number, present, answer::read(body)?)
            }
            What::Tail(present, asked) => {
                self.take_tail(engine, flight.number, present, asked, answer::read(body)?)
            }
            What::Plain(plain) => self.take_plain(engine, plain, response),
        }
    }

    /// The device is registered: now it is known what the server speaks.
    fn registered(&mut self, engine: &mut Engine, mut answer: RegisterResponse) -> Result<()> {
        let same = |ours: &Manifest| {
            ours.schema_version == answer.schema_version && ours.schema_hash == answer.schema_hash
        };
        let ours = engine.schema.manifest.as_ref();
        let mut known = ours.is_some_and(same);
        let is_plain = plain::register::speaks_plain(engine, &answer)?;
        if is_plain {
            plain::register::accept(engine, &self.config, &answer, &self.who)?;
            self.plain.registered(engine, answer.rejoin.is_some());
            self.peer = Some(Peer::Plain);
        } else {
            known &= ours.is_some_and(|ours| register::same_rules(ours, &answer));
            let welcome = answer.rejoin.take().unwrap_or_default();
            let who = &self.who;
            self.peer = Some(Peer::Rejoin(register::accept(engine, &self.config, welcome, who)?));
        }
        self.step = if known { Step::Push } else { Step::Schema };
        self.named = Some((answer.schema_version, answer.schema_hash));
        Ok(())
    }

    fn take_push(
        &mut self,
        engine: &mut Engine,
        number: i64,
        sent: &[Sent],
        answer: PushResponse,
    ) -> Result<Turn> {
        let turn = check_push(engine, number, &answer)?;
        let server_ms = answer::server_ms(&answer);
        let Some(ours) = answer.rejoin.filter(|_| turn == Turn::Onward) else { return Ok(turn) };
        let batch = Batch { server_ms, ..push::batch(engine, sent, &ours)? };
        let undecided: Vec<_> = batch
            .verdicts
            .iter()
            .filter(|verdict| matches!(verdict.ending, Ending::Retry | Ending::Blocked))
            .map(|verdict| (verdict.id, verdict.ending))
            .collect();
        let applied = apply(engine, batch)?;
        let moved = !applied.accepted.is_empty() || !applied.parked.is_empty();
        // What got no verdict waits for the next pass; what was blocked may go again, if anything has moved.
        let waits = |group: &&Sent| {
            let ending = undecided.iter().find(|(id, _)| *id == group.id).map(|(_, ending)| ending);
            matches!((ending, moved), (Some(Ending::Retry), _) | (Some(Ending::Blocked), false))
        };
        self.aside.extend(sent.iter().filter(waits).map(|group| group.seq));
        self.report.accepted += applied.accepted.len() as u64;
        self.report.parked += applied.parked.len() as u64;
        self.progress.done += sent.len() as u64;
        Ok(Turn::Onward)
    }

    /// What is to be withdrawn, of a server that does so.
    pub(super) fn cancels(
        &self,
        engine: &mut Engine,
        number: i64,
    ) -> Result<Option<(Vec<u8>, push::cancel::Asked)>> {
        let does =
            |welcome: &Welcome| welcome.capabilities.iter().any(|name| name == capability::CANCEL);
        if self.welcome().is_some_and(does) {
            push::cancel::request(engine, number, &self.aside)
        } else {
            Ok(None)
        }
    }

    fn take_cancel(
        &mut self,
        engine: &mut Engine,
        number: i64,
        asked: &[(Seq, MutationId)],
        answer: PushResponse,
    ) -> Result<Turn> {
        let turn = check_push(engine, number, &answer)?;
        let Some(ours) = answer.rejoin.filter(|_| turn == Turn::Onward) else { return Ok(turn) };
        let (batch, undecided) = push::cancel::batch(engine, asked, &ours)?;
        let applied = engine.apply(batch)?;
        self.aside.extend(undecided);
        self.report.parked += applied.parked.len() as u64;
        Ok(Turn::Onward)
    }

    fn take_pull(
        &mut self,
        engine: &mut Engine,
        number: i64,
        asked: &[RowName],
        answer: PullResponse,
    ) -> Result<Turn> {
        let turn = check_pull(engine, number, &answer)?;
        if turn != Turn::Onward {
            return Ok(turn);
        }
        if answer.snapshot_required {
            // The pages that were kept come with the snapshot; a pull behind it must not take them for its own.
            self.gathered = pull::Gathered::default();
            fact::write(engine, &fact::snapshot_due(fact::Due::Retention))?;
            return self.patiently(Turn::Onward);
        }
        let remaining = answer.rejoin.as_ref().map_or(0, |ours| ours.remaining);
        let more = answer.has_more || answer.rejoin.as_ref().is_some_and(|ours| ours.partial);
        let before = match &self.gathered.cursor {
            Some(cursor) => cursor.clone(),
            None => engine.meta(fact::CURSOR)?.unwrap_or_default(),
        };
        pull::leads_on(more, &before, cursor_of(&answer))?;
        let taken = pull::apply(engine, answer, asked, &mut self.gathered)?;
        self.report.pulled += taken.applied;
        self.progress.done += taken.received;
        self.progress.total = Some(self.progress.done + u64::try_from(remaining).unwrap_or(0));
        if !more && fact::recheck(engine)?.is_empty() {
            self.step = Step::Done;
        }
        Ok(Turn::Onward)
    }

    fn take_page(
        &mut self,
        engine: &mut Engine,
        number: i64,
        present: &fact::Snapshot,
        mut answer: SnapshotResponse,
    ) -> Result<Turn> {
        let stamp = Stamp {
            schema_version: answer.schema_version,
            schema_hash: &answer.schema_hash,
            rejoin: answer.rejoin.as_ref().map(|ours| (ours.request, ours.epoch.as_str())),
        };
        let turn = answer::check(engine, number, &stamp)?;
        let Some(ours) = answer.rejoin.take().filter(|_| turn == Turn::Onward) else {
            return Ok(turn);
        };
        if ours.restart {
            snapshot::restart(engine)?;
            return self.patiently(Turn::Onward);
        }
        let now = snapshot::page(engine, present.clone(), answer, ours)?;
        if now.mode == fact::Mode::Straight {
            self.report.pulled += u64::try_from(now.rows - present.rows).unwrap_or(0);
        }
        self.progress.done = u64::try_from(now.rows).unwrap_or(0);
        self.progress.total = u64::try_from(now.total).ok();
        self.step = Step::Push; // What was written meanwhile goes first, then the next page.
        Ok(Turn::Onward)
    }

    fn take_tail(
        &mut self,
        engine: &mut Engine,
        number: i64,
        present: &fact::Snapshot,
        asked: &[RowName],
        answer: PullResponse,
    ) -> Result<Turn> {
        let turn = check_pull(engine, number, &answer)?;
        if turn != Turn::Onward {
            return Ok(turn);
        }
        if answer.snapshot_required {
            snapshot::restart(engine)?;
            return self.patiently(Turn::Onward);
        }
        let more = answer.has_more || answer.rejoin.as_ref().is_some_and(|ours| ours.partial);
        let before = present.pull_cursor.as_deref().unwrap_or_default();
        pull::leads_on(more, before, cursor_of(&answer))?;
        snapshot::tail(engine, present.clone(), answer, asked)?;
        if !more && fact::recheck(engine)?.is_empty() {
            self.search = Some(staging::Search::new(engine));
        }
        Ok(Turn::Onward)
    }

    /// Another step than the one that was planned; nothing of the answer was applied.
    fn turn(
        &mut self,
        engine: &mut Engine,
        flight: &Flight,
        turn: Turn,
        response: &Response,
    ) -> Result<()> {
        self.patiently(turn)?;
        self.gathered = pull::Gathered::default();
        self.plain.turned();
        match turn {
            Turn::Onward => {}
            Turn::Schema => {
                // The rebuild that may follow drops the cursor: the server is to see it first, for it may be an older copy of
                // itself, which has the epoch that it had then (O14).
                if !self.is_plain() {
                    self.peer = None;
                }
                self.named = answer::schema_named(response);
                self.step = Step::Schema;
            }
            Turn::Register => {
                let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
                if response.status != 200 && body.code.as_deref() == Some(code::CLIENT_REPLACED) {
                    register::replaced(engine)?;
                }
                self.peer = None;
                self.step = Step::Register;
            }
            Turn::Smaller => self.smaller(engine, flight, response)?,
        }
        Ok(())
    }

    /// A push is too large: half of it. A mutation that the server itself finds too large alone is parked, if no request carried
    /// it before; to a proxy it may be too large for now.
    fn smaller(&mut self, engine: &mut Engine, flight: &Flight, response: &Response) -> Result<()> {
        if let What::Cancel(asked) = &flight.what {
            self.aside.extend(asked.iter().map(|(seq, _)| *seq)); // It blocks nothing else.
            return Ok(());
        }
        let unread = answer::is_too_large(response);
        let What::Push(sent) = &flight.what else {
            if !unread {
                return Err(answer::foreign(response));
            }
            return Err(Error::Server {
                status: response.status,
                code: code::TOO_LARGE.to_owned(),
                message: "the server takes less than this device must send".to_owned(),
                retryable: false,
            });
        };
        self.patience = PATIENCE; // Halving ends by itself.
        match sent.as_slice() {
            [one] if one.fresh && unread => {
                self.unseen.remove(&one.seq);
                self.report.parked += push::park_too_large(engine, one)? as u64;
            }
            [one] => {
                // An earlier request may have been applied: only the server's word on it can end it. It blocks nothing.
                self.aside.insert(one.seq);
            }
            many => {
                self.batch = (many.len() / 2).max(1);
                let fresh = many.iter().filter(|one| one.fresh && unread);
                self.unseen.extend(fresh.map(|one| one.seq));
            }
        }
        Ok(())
    }

    /// Counts a pull, so that a log which leads in a circle, or has no end, does not keep a pass for ever. What the pages
    /// brought stays, and the next pass goes on behind it.
    pub(super) fn count_pull(&mut self) -> Result<()> {
        if self.pulls == PULLS {
            let why = format!("a log without an end: {PULLS} pages in one pass, and there is more");
            return Err(Error::Protocol(why));
        }
        self.pulls += 1;
        Ok(())
    }

    /// Counts a turn, so that two peers that never agree do not turn for ever.
    pub(super) fn patiently(&mut self, turn: Turn) -> Result<Turn> {
        match self.patience.checked_sub(1) {
            Some(rest) => {
                self.patience = rest;
                Ok(turn)
            }
            None => Err(Error::Protocol(format!(
                "server and device have turned {PATIENCE} times without agreeing; the last: {turn:?}"
            ))),
        }
    }
}

fn cursor_of(answer: &PullResponse) -> &str {
    answer.rejoin.as_ref().map_or("", |ours| ours.cursor.as_str())
}

fn check_push(engine: &Engine, number: i64, answer: &PushResponse) -> Result<Turn> {
    let stamp = Stamp {
        schema_version: answer.schema_version,
        schema_hash: &answer.schema_hash,
        rejoin: answer.rejoin.as_ref().map(|ours| (ours.request, ours.epoch.as_str())),
    };
    answer::check(engine, number, &stamp)
}

fn check_pull(engine: &Engine, number: i64, answer: &PullResponse) -> Result<Turn> {
    let stamp = Stamp {
        schema_version: answer.schema_version,
        schema_hash: &answer.schema_hash,
        rejoin: answer.rejoin.as_ref().map(|ours| (ours.request, ours.epoch.as_str())),
    };
    answer::check(engine, number, &stamp)
}

/// One transaction: all verdicts, then the rows, then policy and rebase (O5).
fn apply(engine: &mut Engine, batch: Batch) -> Result<Applied> {
    if !mutant::on(Mutant::AnswerByPieces) {
        return engine.apply(batch);
    }
    let mut whole = Applied::default();
    for verdict in batch.verdicts {
        let images = batch.images.clone();
        let server_ms = batch.server_ms;
        let piece =
            Batch { verdicts: vec![verdict], server_ms, images, judge: true, ..Batch::default() };
        let applied = engine.apply(piece)?;
        whole.accepted.extend(applied.accepted);
        whole.parked.extend(applied.parked);
    }
    Ok(whole)
}
