//! Waiting for the server's verdict on a mutation: the second of the two moments that an app can await (D16).
//!
//! Promise: *accepted* means that the server has it and the base shows it, in this file, after a commit. Where the verdict
//! never comes because the device stays offline, the wait ends by its timeout only, and the mutation stays in the queue.

use std::time::Duration;

use tokio::sync::watch;

use super::Driver;
use crate::engine::Engine;
use crate::engine::queue::mutation::{Mutation, State};
use crate::error::{Error, Result};
use crate::ids::MutationId;
use crate::writer::{Answer, Writer};

/// How a mutation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The server has it, and the base shows it.
    Accepted,
    /// It was not accepted; it is kept with its reason, and blocks nothing.
    Parked(Box<Mutation>),
    /// It is neither in the queue nor in the history: discarded, or never written here.
    Unknown,
}

impl Driver {
    /// Waits until the mutation has its verdict; at once if it has. Asks for no sync by itself: a local write does.
    ///
    /// # Errors
    /// [`Error::Offline`] after `timeout`; [`Error::Suspended`] and [`Error::Shutdown`] as they say. The mutation stays where
    /// it is.
    pub fn verdict(
        &self,
        writer: &Writer,
        id: MutationId,
        timeout: Option<Duration>,
    ) -> Answer<Verdict> {
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
        // Before looking: an answer that is applied meanwhile makes it look again.
        answers.borrow_and_update();
        if let Some(verdict) = writer.call(move |engine| look(engine, id)).await? {
            return Ok(verdict);
        }
        answers.changed().await.map_err(|_| Error::Shutdown)?;
    }
}

/// The verdict, if there is one yet.
fn look(engine: &Engine, id: MutationId) -> Result<Option<Verdict>> {
    match engine.mutation(id)? {
        Some(mutation) if mutation.state == State::Parked => {
            Ok(Some(Verdict::Parked(Box::new(mutation))))
        }
        Some(_) => Ok(None),
        None if engine.was_accepted(id)? => Ok(Some(Verdict::Accepted)),
        None => Ok(Some(Verdict::Unknown)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rejoin_protocol::wire::push::Ending;

    use super::{Verdict, wait};
    use crate::engine::rebase::{Batch, ServerVerdict};
    use crate::engine::tests::{engine, table};
    use crate::error::Error;
    use crate::ids::MutationId;
    use crate::writer::Writer;

    #[tokio::test]
    async fn each_verdict_ends_its_wait_and_no_other() {
        let (_folder, mut engine) = engine(vec![table("notes", &[("id", "string")], Vec::new())]);
        for key in ["a", "b", "c"] {
            engine.execute("INSERT INTO notes (id) VALUES (?1)", &[key.into()]).unwrap();
        }
        let ids: Vec<MutationId> = engine.pending().unwrap().iter().map(|one| one.id).collect();
        let mut engine = Some(engine);
        let writer = Writer::start(move || engine.take().ok_or(Error::Shutdown)).await.unwrap();
        let answers = tokio::sync::watch::Sender::new(0_u64);
        let begin = |id| Box::pin(wait(writer.clone(), answers.subscribe(), id));
        let mut waits = [begin(ids[0]), begin(ids[1]), begin(ids[2])];

        let accepted = answer(&writer, ids[0], Ending::Accepted);
        accepted.await.unwrap();
        answers.send_modify(|count| *count += 1);
        assert_eq!(waits[0].as_mut().await.unwrap(), Verdict::Accepted);
        answer(&writer, ids[1], Ending::Rejected).await.unwrap();
        answers.send_modify(|count| *count += 1);
        let Verdict::Parked(parked) = waits[1].as_mut().await.unwrap() else {
            panic!("not parked")
        };
        assert_eq!(parked.id, ids[1]);
        assert!((&mut waits[2]).now_or_never().is_none(), "the others go on waiting");
        let id = ids[2];
        writer.call(move |engine| engine.discard(id)).await.unwrap();
        answers.send_modify(|count| *count += 1);
        assert_eq!(waits[2].as_mut().await.unwrap(), Verdict::Unknown);
        let mut last = begin(ids[0]);
        assert_eq!(last.as_mut().await.unwrap(), Verdict::Accepted, "long after");
    }

    /// The mutation is sent, and this is what comes back.
    fn answer(writer: &Writer, id: MutationId, ending: Ending) -> crate::writer::Answer<()> {
        writer.call(move |engine| {
            let seq = engine.mutation(id)?.expect("in the queue").seq;
            let attempt = engine.mark_sent(&[seq], 1)?[0].mutation.attempt;
            let verdict = ServerVerdict { id, attempt, ending, code: None, detail: None };
            engine.apply(Batch { verdicts: vec![verdict], ..Batch::default() }).map(drop)
        })
    }
}
