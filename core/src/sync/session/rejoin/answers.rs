//! Responses of a Rejoin server: each is applied completely or not at all.

use std::collections::HashMap;

use rejoin_protocol::capability;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::{Ending, PushResponse};
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_protocol::wire::stage::StageAnswer;
use rejoin_protocol::wire::subscription::SubscriptionState;
use rejoin_protocol::wire::{RowName, code};

use super::{Purpose, Rejoin, Running};
use crate::engine::rebase::{Applied, Batch, ServerVerdict};
use crate::engine::{Engine, staging, subscription};
use crate::error::Result;
use crate::ids::{MutationId, Seq};
use crate::sync::request::Response;
use crate::sync::rows::answer::{self, NextStep};
use crate::sync::rows::push::SentGroup;
use crate::sync::rows::{fact, pull, push, snapshot};
use crate::sync::session::page::PageSize;
use crate::sync::session::pass::{Pass, PassStep};
use rejoin_protocol::mutant::{self, Mutant};

impl Rejoin {
    /// Handles a 200 response.
    pub(super) fn take(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        running: &Running,
        response: &Response,
    ) -> Result<NextStep> {
        let (number, body) = (running.number, &response.body);
        match &running.purpose {
            Purpose::Push(sent) => self.take_push(engine, pass, number, sent, answer::read(body)?),
            Purpose::Cancel(running) => {
                self.take_cancel(engine, pass, number, running, answer::read(body)?)
            }
            Purpose::Pull(running) => {
                self.take_pull(engine, pass, number, running, answer::read(body)?)
            }
            Purpose::Page(present, rows) => {
                let was_shared = present.next_address().is_some();
                let (next, page) = take_page(engine, pass, number, present, answer::read(body)?)?;
                match page {
                    Some(page) if page.paged => self.page = PageSize::default(),
                    Some(page) if was_shared && page.next_address().is_none() => {
                        self.page.arrived_short(*rows, response.took);
                    }
                    Some(page) => {
                        self.leaves_shared = false;
                        let bounds = (self.page(pass), self.most_rows(pass));
                        let had = u32::try_from(page.rows - present.rows).unwrap_or(0);
                        let rows = if was_shared { had } else { *rows };
                        self.page.arrived(rows.max(1), bounds, response.took);
                    }
                    None => {}
                }
                Ok(next)
            }
            Purpose::Stage => {
                self.take_part(pass, answer::read(body)?);
                Ok(NextStep::Onward)
            }
            Purpose::Tail(present, running) => {
                take_tail(engine, pass, number, (present, running), answer::read(body)?)
            }
        }
    }

    fn take_push(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        number: i64,
        sent: &[SentGroup],
        answer: PushResponse,
    ) -> Result<NextStep> {
        let turn = answer::check(engine, number, &answer)?;
        let server_ms = answer::server_ms(&answer);
        let Some(ours) = answer.rejoin.filter(|_| turn == NextStep::Onward) else {
            return Ok(turn);
        };
        let batch = Batch { server_ms, ..push::batch(engine, sent, &ours)? };
        self.note_unstaged(pass, sent, &batch.verdicts);
        let undecided: HashMap<_, _> = batch
            .verdicts
            .iter()
            .filter(|verdict| matches!(verdict.ending, Ending::Retry | Ending::Blocked))
            .map(|verdict| {
                let is_unfinished =
                    matches!(verdict.code.as_deref(), Some(code::UNFINISHED | code::NOT_STAGED));
                let goes_on = verdict.ending == Ending::Blocked || is_unfinished;
                (verdict.id, (goes_on, is_unfinished))
            })
            .collect();
        let applied = apply(engine, batch)?;
        let moved = !applied.accepted.is_empty() || !applied.parked.is_empty();
        // Mutations without a verdict wait for the next pass. Blocked ones, and those for which the
        // request had no time, are sent again after any change.
        let waits = |group: &&SentGroup| {
            let found = undecided.get(&group.id);
            let is_staged_next = self.unstaged == Some(group.seq);
            found.is_some_and(|(goes_on, _)| !(*goes_on && moved || is_staged_next))
        };
        self.known.aside.extend(sent.iter().filter(waits).map(|group| group.seq));
        pass.report.count(&applied);
        let unfinished = undecided.values().filter(|(_, is_unfinished)| *is_unfinished).count();
        pass.progress.done += sent.len().saturating_sub(unfinished) as u64;
        Ok(NextStep::Onward)
    }

    /// Notes a mutation whose content the server does not have, unless this pass has staged it.
    fn note_unstaged(&mut self, pass: &mut Pass, sent: &[SentGroup], verdicts: &[ServerVerdict]) {
        let [one] = sent else { return };
        let is_unstaged =
            verdicts.iter().any(|verdict| verdict.code.as_deref() == Some(code::NOT_STAGED));
        let was_staged = self.end_upload(pass, |upload| upload.seq == one.seq);
        self.unstaged = (is_unstaged && !was_staged).then_some(one.seq);
    }

    /// Notes what the server has of the content that is being staged.
    fn take_part(&mut self, pass: &mut Pass, answer: StageAnswer) {
        let Some(upload) = &mut self.upload else { return };
        if upload.answered(answer) {
            pass.step = PassStep::Push;
        }
        if upload.is_done() {
            self.known.aside.remove(&upload.seq);
        }
    }

    fn take_cancel(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        number: i64,
        running: &[(Seq, MutationId)],
        answer: PushResponse,
    ) -> Result<NextStep> {
        let turn = answer::check(engine, number, &answer)?;
        let Some(ours) = answer.rejoin.filter(|_| turn == NextStep::Onward) else {
            return Ok(turn);
        };
        let (batch, undecided) = push::cancel::batch(engine, running, &ours)?;
        let applied = engine.apply(batch)?;
        self.known.aside.extend(undecided);
        pass.report.parked += applied.parked.len() as u64;
        Ok(NextStep::Onward)
    }

    fn take_pull(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        number: i64,
        running: &[RowName],
        answer: PullResponse,
    ) -> Result<NextStep> {
        let turn = answer::check(engine, number, &answer)?;
        if turn != NextStep::Onward {
            return Ok(turn);
        }
        if answer.snapshot_required {
            // The snapshot has the collected pages; the next pull must not apply them.
            self.gathered = pull::Gathered::default();
            fact::write(engine, &fact::snapshot_due(fact::RefetchReason::Retention))?;
            return pass.count_turn(NextStep::Onward);
        }
        let remaining = answer.rejoin.as_ref().map_or(0, |ours| ours.remaining);
        let more = has_more(&answer);
        let before = match &self.gathered.cursor {
            Some(cursor) => cursor.clone(),
            None => engine.meta(fact::CURSOR)?.unwrap_or_default(),
        };
        pull::leads_on(more, &before, cursor_of(&answer))?;
        let states = states_of(&answer);
        let taken = pull::apply(engine, answer, running, &mut self.gathered)?;
        subscription::record(engine, &pass.subscriptions, &states, taken.is_applied)?;
        let again =
            taken.is_applied && !more && subscription::remove_ended(engine, &pass.subscriptions)?;
        pass.report.pulled += taken.applied;
        pass.progress.done += taken.received;
        pass.progress.total = Some(pass.progress.done + u64::try_from(remaining).unwrap_or(0));
        if !more && !again && fact::recheck(engine)?.is_empty() {
            pass.step = PassStep::Log;
        }
        Ok(NextStep::Onward)
    }

    /// A push is too large: halves it. Parks a single mutation that the server itself finds too
    /// large, if no earlier request had it; a proxy's limit may be temporary.
    pub(super) fn push_less(
        &mut self,
        engine: &mut Engine,
        pass: &mut Pass,
        sent: &[SentGroup],
        response: &Response,
    ) -> Result<()> {
        pass.settle_unanswered(engine)?;
        pass.forgive_turns(); // Halving terminates.
        self.gathered = pull::Gathered::default();
        let unread = answer::is_too_large(response);
        match sent {
            [one] if self.can(capability::STAGE) && self.known.large.insert(one.seq) => {
                if one.fresh && unread {
                    self.known.unseen.insert(one.seq);
                }
            }
            [one] if one.fresh && unread => {
                self.known.unseen.remove(&one.seq);
                pass.report.parked += push::park_too_large(engine, one)? as u64;
            }
            [one] => {
                // An earlier request may have been applied: only a verdict can end it. It blocks
                // nothing.
                self.known.aside.insert(one.seq);
            }
            many => {
                self.batch = Some((many.len() / 2).max(1));
                let fresh = many.iter().filter(|one| one.fresh && unread);
                self.known.unseen.extend(fresh.map(|one| one.seq));
            }
        }
        Ok(())
    }
}

/// Takes a page; returns the snapshot after it, unless another step comes first.
fn take_page(
    engine: &mut Engine,
    pass: &mut Pass,
    number: i64,
    present: &fact::SnapshotProgress,
    mut answer: SnapshotResponse,
) -> Result<(NextStep, Option<fact::SnapshotProgress>)> {
    let turn = answer::check(engine, snapshot::echoed(present, number), &answer)?;
    let Some(ours) = answer.rejoin.take().filter(|_| turn == NextStep::Onward) else {
        return Ok((turn, None));
    };
    if ours.restart {
        snapshot::restart(engine)?;
        return Ok((pass.count_turn(NextStep::Onward)?, None));
    }
    let now = snapshot::page(engine, present.clone(), answer, ours)?;
    if now.mode == fact::SnapshotMode::Straight {
        pass.report.pulled += u64::try_from(now.rows - present.rows).unwrap_or(0);
    }
    pass.progress.done = u64::try_from(now.rows).unwrap_or(0);
    pass.progress.total = u64::try_from(now.total).ok();
    pass.step = PassStep::Push; // New local writes first, then the next page.
    Ok((NextStep::Onward, Some(now)))
}

fn take_tail(
    engine: &mut Engine,
    pass: &mut Pass,
    number: i64,
    (present, running): (&fact::SnapshotProgress, &[RowName]),
    answer: PullResponse,
) -> Result<NextStep> {
    let turn = answer::check(engine, number, &answer)?;
    if turn != NextStep::Onward {
        return Ok(turn);
    }
    if answer.snapshot_required {
        snapshot::restart(engine)?;
        return pass.count_turn(NextStep::Onward);
    }
    let more = has_more(&answer);
    let before = present.pull_cursor.as_deref().unwrap_or_default();
    pull::leads_on(more, before, cursor_of(&answer))?;
    let states = states_of(&answer);
    snapshot::tail(engine, present.clone(), answer, running)?;
    // The rows are current after the merge, which a pull follows.
    subscription::record(engine, &pass.subscriptions, &states, false)?;
    if !more && fact::recheck(engine)?.is_empty() {
        pass.search = Some(staging::Search::new(engine));
    }
    Ok(NextStep::Onward)
}

fn has_more(answer: &PullResponse) -> bool {
    answer.has_more || answer.rejoin.as_ref().is_some_and(|ours| ours.partial)
}

fn cursor_of(answer: &PullResponse) -> &str {
    answer.rejoin.as_ref().map_or("", |ours| ours.cursor.as_str())
}

fn states_of(answer: &PullResponse) -> Vec<SubscriptionState> {
    answer.rejoin.as_ref().map_or_else(Vec::new, |ours| ours.subscriptions.clone())
}

/// Applies verdicts, then rows, then policy and rebase, in one transaction.
fn apply(engine: &mut Engine, batch: Batch) -> Result<Applied> {
    if !mutant::on(Mutant::AnswerByPieces) {
        return engine.apply(batch);
    }
    let mut whole = Applied::default();
    for verdict in batch.verdicts {
        let images = batch.images.clone();
        let server_ms = batch.server_ms;
        let piece = Batch {
            verdicts: vec![verdict],
            server_ms,
            images,
            detect_conflicts: true,
            ..Batch::default()
        };
        let applied = engine.apply(piece)?;
        whole.accepted.extend(applied.accepted);
        whole.parked.extend(applied.parked);
    }
    Ok(whole)
}
