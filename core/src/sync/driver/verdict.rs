//! Waits for the server's verdict on a mutation.
//!
//! *Accepted* means that the server has it and the base in this file shows it, after a commit.
//! While the device is offline, only the timeout ends the wait; the mutation stays in the queue.

use std::time::Duration;

use tokio::sync::watch;

use super::Driver;
use crate::engine::Engine;
use crate::engine::entries::list;
use crate::engine::queue::detail::VerdictDetail;
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::error::{Error, Result};
use crate::ids::MutationId;
use crate::writer::{Task, Writer};

/// The result of a mutation.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The server has it, and the base shows it.
    Accepted,
    /// It was not accepted; it is kept with its reason, without blocking others.
    Parked {
        /// Why it is parked.
        reason: Option<ParkReason>,
        /// The server's message, and both rows of a conflict.
        detail: Option<Box<VerdictDetail>>,
    },
    /// It is neither in the queue nor in the history: discarded, or never written here.
    Unknown,
}

impl Driver {
    /// Waits until the mutation has its verdict. Does not request a sync: a local write does.
    ///
    /// # Errors
    /// [`SyncFault::Offline`](crate::SyncFault::Offline) after `timeout`; [`Error::Suspended`], [`Error::Closed`]. The mutation
    /// stays in the queue.
    pub fn verdict(
        &self,
        writer: &Writer,
        id: MutationId,
        timeout: Option<Duration>,
    ) -> Task<Verdict> {
        let wait = wait(writer.clone(), self.answers(), id);
        self.within(timeout.unwrap_or(Duration::MAX), wait)
    }
}

async fn wait(
    writer: Writer,
    mut answers: watch::Receiver<u64>,
    id: MutationId,
) -> Result<Verdict> {
    loop {
        // Before the check: a response that is applied meanwhile triggers another check.
        answers.borrow_and_update();
        if let Some(verdict) = writer.call(move |engine| look(engine, id)).await? {
            return Ok(verdict);
        }
        answers.changed().await.map_err(|_| Error::Closed)?;
    }
}

/// The verdict, if there is one.
fn look(engine: &Engine, id: MutationId) -> Result<Option<Verdict>> {
    match engine.mutation(id)? {
        Some(mutation) if mutation.state == MutationState::Parked => {
            let decode = |text: String| Box::new(VerdictDetail::decode(&text, engine.schema()));
            Ok(Some(Verdict::Parked {
                reason: mutation.reason,
                detail: mutation.detail.map(decode),
            }))
        }
        Some(_) => Ok(None),
        None if engine.was_accepted(id)? => Ok(Some(Verdict::Accepted)),
        None => {
            let is_held = list::find(engine, id)?.is_some();
            Ok(Some(if is_held { Verdict::Accepted } else { Verdict::Unknown }))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rejoin_protocol::wire::push::Ending;

    use super::{ParkReason, Verdict, wait};
    use crate::engine::rebase::decide;
    use crate::engine::rebase::{Batch, ServerVerdict};
    use crate::engine::tests::{engine, table};
    use crate::error::Error;
    use crate::ids::MutationId;
    use crate::writer::Writer;

    #[tokio::test]
    async fn verdict_ends_only_its_own_wait() {
        let (_folder, mut engine) = engine(vec![table("notes", &[("id", "string")], Vec::new())]);
        for key in ["a", "b", "c"] {
            engine.execute("INSERT INTO notes (id) VALUES (?1)", &[key.into()]).unwrap();
        }
        let ids: Vec<MutationId> = engine.pending().unwrap().iter().map(|one| one.id).collect();
        let mut engine = Some(engine);
        let writer = Writer::start(move || engine.take().ok_or(Error::Closed)).await.unwrap();
        let answers = tokio::sync::watch::Sender::new(0_u64);
        let begin = |id| Box::pin(wait(writer.clone(), answers.subscribe(), id));
        let mut waits = [begin(ids[0]), begin(ids[1]), begin(ids[2])];

        let accepted = answer(&writer, ids[0], Ending::Accepted);
        accepted.await.unwrap();
        answers.send_modify(|count| *count += 1);
        assert_eq!(waits[0].as_mut().await.unwrap(), Verdict::Accepted);
        answer(&writer, ids[1], Ending::Rejected).await.unwrap();
        answers.send_modify(|count| *count += 1);
        let parked = Verdict::Parked { reason: Some(ParkReason::Rejected), detail: None };
        assert_eq!(waits[1].as_mut().await.unwrap(), parked);
        assert!((&mut waits[2]).now_or_never().is_none(), "another wait ended");
        let id = ids[2];
        writer.call(move |engine| decide::discard(engine, id)).await.unwrap();
        answers.send_modify(|count| *count += 1);
        assert_eq!(waits[2].as_mut().await.unwrap(), Verdict::Unknown);
        let mut last = begin(ids[0]);
        assert_eq!(
            last.as_mut().await.unwrap(),
            Verdict::Accepted,
            "the last wait has another verdict"
        );
    }

    /// Marks the mutation as sent and applies this verdict.
    fn answer(writer: &Writer, id: MutationId, ending: Ending) -> crate::writer::Task<()> {
        writer.call(move |engine| {
            let seq = engine.mutation(id)?.expect("in the queue").seq;
            let attempt = engine.mark_sent(&[seq], 1)?[0].mutation.attempt;
            let verdict = ServerVerdict { id, attempt, ending, code: None, detail: None };
            engine.apply(Batch { verdicts: vec![verdict], ..Batch::default() }).map(drop)
        })
    }
}
