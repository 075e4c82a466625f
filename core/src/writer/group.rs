//! Writes that wait at the same time share a transaction: for a small write the commit is the
//! largest part of the cost, and with full durability almost all of it.
//!
//! Each write is kept as a whole or not at all, in the order of the calls, and its caller gets the
//! result after the commit. One that fails takes no other with it: the transaction is rolled back,
//! the writes before it run again together, and it begins the next transaction. If the commit fails,
//! each gets its own.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{bug, caught, panic_text};
use crate::error::{Error, Result};

/// The most writes of one transaction.
pub(super) const MOST: usize = 128;

/// After this time no further write joins a transaction, so that the caller of the first does not
/// wait for many others. It waits for the one that runs then.
const LONGEST: Duration = Duration::from_millis(2);

/// What a writer owns: it runs several writes in one transaction.
pub trait Transact {
    /// Runs `body` in a transaction, which an error or a panic rolls back.
    ///
    /// # Errors
    /// Those of `body` and of the commit.
    fn transact<R>(&mut self, body: impl FnOnce(&mut Self) -> Result<R>) -> Result<R>;

    /// A monotonic clock.
    fn elapsed(&self) -> Duration;
}

/// A write that waits for its transaction.
pub(super) trait Write<T>: Send {
    /// Whether its transaction may hold others; asked in the transaction, before it runs.
    fn shares(&mut self, engine: &mut T) -> bool;

    /// Runs it in the open transaction.
    fn run(&mut self, engine: &mut T) -> Result<()>;

    /// Sends its result after the commit, or the error.
    fn answer(self: Box<Self>, ended: Result<()>);
}

/// A [`Write`] made of closures.
pub(super) struct OneWrite<S, F, R> {
    shares: S,
    body: F,
    written: Option<R>,
    reply: oneshot::Sender<Result<R>>,
}

impl<S, F, R> OneWrite<S, F, R> {
    pub(super) fn new(shares: S, body: F, reply: oneshot::Sender<Result<R>>) -> Self {
        Self { shares, body, written: None, reply }
    }
}

impl<T, S, F, R> Write<T> for OneWrite<S, F, R>
where
    S: FnMut(&mut T) -> bool + Send,
    F: FnMut(&mut T) -> Result<R> + Send,
    R: Send,
{
    fn shares(&mut self, engine: &mut T) -> bool {
        (self.shares)(engine)
    }

    fn run(&mut self, engine: &mut T) -> Result<()> {
        self.written = Some((self.body)(engine)?);
        Ok(())
    }

    fn answer(self: Box<Self>, ended: Result<()>) {
        let Self { written, reply, .. } = *self;
        // The caller may have dropped its future.
        let _ = reply.send(ended.and_then(|()| written.ok_or(Error::Closed)));
    }
}

/// The writes that wait, in the order of the calls.
pub(super) struct Writes<T> {
    waiting: VecDeque<Box<dyn Write<T>>>,
    /// The most that run in the next transaction.
    most: usize,
    /// So many get a transaction each, because a commit has failed: which of them a full disk has no
    /// room for is not known.
    alone: usize,
}

/// How a transaction ended.
enum Ended {
    /// With the first writes, as many as this.
    Committed(usize),
    /// The write at this place failed.
    Failed(usize, Error),
    /// The commit of as many writes failed.
    NotCommitted(usize, Error),
    /// After as many writes there was a panic, perhaps after the commit.
    Unknown(usize, String),
}

impl<T> Default for Writes<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), most: MOST, alone: 0 }
    }
}

impl<T: Transact> Writes<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    pub(super) fn push(&mut self, write: Box<dyn Write<T>>) {
        self.waiting.push_back(write);
    }

    /// Runs one transaction, and answers the writes that have ended. `ended` receives their number
    /// before.
    pub(super) fn run(&mut self, engine: Result<&mut T>, ended: impl FnOnce(usize)) {
        let Ok(engine) = engine else {
            return self.answer(self.waiting.len(), ended, || Err(Error::Suspended));
        };
        let most = if self.alone > 0 { 1 } else { std::mem::replace(&mut self.most, MOST) };
        match transaction(engine, &mut self.waiting, most) {
            Ended::Committed(count) => self.answer(count, ended, || Ok(())),
            Ended::Failed(0, error) | Ended::NotCommitted(1, error) => {
                let mut error = Some(error);
                self.answer(1, ended, || error.take().map_or(Ok(()), Err));
            }
            Ended::Failed(place, _) => self.most = place,
            Ended::NotCommitted(count, _) => self.alone = count,
            Ended::Unknown(count, why) => {
                self.answer(count, ended, || Err(Error::Internal(why.clone())));
            }
        }
    }

    fn answer(
        &mut self,
        count: usize,
        ended: impl FnOnce(usize),
        mut result: impl FnMut() -> Result<()>,
    ) {
        ended(count);
        self.alone = self.alone.saturating_sub(count);
        self.waiting.drain(..count).for_each(|write| write.answer(result()));
    }
}

/// Runs the first of these writes in one transaction, and further ones while there is time.
fn transaction<T: Transact>(
    engine: &mut T,
    writes: &mut VecDeque<Box<dyn Write<T>>>,
    most: usize,
) -> Ended {
    let (mut ran, mut is_running) = (0, false);
    let body = |engine: &mut T| {
        let began = engine.elapsed();
        for write in writes.iter_mut().take(most) {
            let is_late = engine.elapsed().saturating_sub(began) >= LONGEST;
            let shares = write.shares(engine);
            if ran > 0 && (is_late || !shares) {
                break;
            }
            is_running = true;
            write.run(engine)?;
            is_running = false;
            ran += 1;
            if !shares {
                break;
            }
        }
        Ok(())
    };
    match caught(|| engine.transact(body)) {
        Ok(Ok(())) => Ended::Committed(ran),
        // Without a first write the transaction did not begin.
        Ok(Err(error)) if is_running || ran == 0 => Ended::Failed(ran, error),
        Ok(Err(error)) => Ended::NotCommitted(ran, error),
        Err(panic) if is_running || ran == 0 => Ended::Failed(ran, bug(&*panic)),
        Err(panic) => Ended::Unknown(ran, panic_text(&*panic).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Sender};
    use std::time::Duration;

    use super::Transact;
    use crate::error::{Error, InputFault, Result};
    use crate::writer::{Task, Writer};

    /// A list with transactions; 99 takes long, and 77 panics after the commit.
    #[derive(Clone, Default)]
    struct List {
        numbers: Vec<usize>,
        commits: Arc<AtomicUsize>,
        /// The most numbers that have room.
        room: Option<usize>,
    }

    impl Transact for List {
        fn transact<R>(&mut self, body: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
            let mut copy = self.clone();
            let result = body(&mut copy)?;
            if copy.room.is_some_and(|room| copy.numbers.len() > room) {
                return Err(Error::Internal("full".into()));
            }
            copy.commits.fetch_add(1, Ordering::Relaxed);
            *self = copy;
            assert!(self.numbers.last() != Some(&77), "planted after the commit");
            Ok(result)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(if self.numbers.contains(&99) { 5 } else { 0 })
        }
    }

    /// A writer that is busy until the sender is dropped.
    fn busy(room: Option<usize>) -> (Writer<List>, Sender<()>, Task<()>) {
        let writer = Writer::start(move || Ok(List { room, ..List::default() })).wait().unwrap();
        let (go_on, signal) = mpsc::channel();
        let blocked = writer.call(move |_| {
            let _ = signal.recv();
            Ok(())
        });
        (writer, go_on, blocked)
    }

    fn push(writer: &Writer<List>, number: usize) -> Task<usize> {
        writer.write(
            |_| true,
            move |list| {
                list.numbers.push(number);
                Ok(list.numbers.len())
            },
        )
    }

    fn state(writer: &Writer<List>) -> (Vec<usize>, usize) {
        let read =
            |list: &mut List| Ok((list.numbers.clone(), list.commits.load(Ordering::Relaxed)));
        writer.call(read).wait().unwrap()
    }

    #[test]
    fn waiting_writes_share_a_commit_and_get_their_own_results() {
        let (writer, go_on, _blocked) = busy(None);
        let tasks: Vec<_> = (0..100).map(|number| push(&writer, number)).collect();
        drop(go_on);
        for (place, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.wait().unwrap(), place + 1);
        }
        let (numbers, commits) = state(&writer);
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        assert_eq!(commits, 1);
    }

    #[test]
    fn failed_and_panicking_writes_take_no_other_with_them() {
        let (writer, go_on, _blocked) = busy(None);
        let mut tasks = Vec::new();
        for number in 0..9 {
            tasks.push(writer.write(
                |_| true,
                move |list| {
                    list.numbers.push(number);
                    match number {
                        2 | 3 => Err(Error::InvalidInput(InputFault::Reentrant)),
                        5 => panic!("planted"),
                        _ => Ok(()),
                    }
                },
            ));
        }
        drop(go_on);
        let ends = tasks.into_iter().enumerate();
        let failed = ends.filter_map(|(at, task)| task.wait().is_err().then_some(at));
        let failed: Vec<usize> = failed.collect();
        assert_eq!(failed, [2, 3, 5]);
        assert_eq!(state(&writer).0, [0, 1, 4, 6, 7, 8]);
    }

    #[test]
    fn failed_commit_keeps_what_there_is_room_for() {
        let (writer, go_on, _blocked) = busy(Some(3));
        let tasks: Vec<_> = (0..5).map(|number| push(&writer, number)).collect();
        drop(go_on);
        let ends: Vec<_> = tasks.into_iter().map(|task| task.wait().is_ok()).collect();
        assert_eq!(ends, [true, true, true, false, false]);
        assert_eq!(state(&writer).0, [0, 1, 2]);
    }

    #[test]
    fn other_tasks_keep_their_place_between_writes() {
        let (writer, go_on, _blocked) = busy(None);
        let first = push(&writer, 1);
        let alone = writer.call(|list| Ok(list.numbers.clone()));
        let last = push(&writer, 2);
        drop(go_on);
        assert_eq!(alone.wait().unwrap(), [1]);
        assert_eq!((first.wait().unwrap(), last.wait().unwrap()), (1, 2));
    }

    #[test]
    fn write_that_does_not_share_has_its_own_transaction() {
        let (writer, go_on, _blocked) = busy(None);
        let count = |list: &mut List| Ok(list.commits.load(Ordering::Relaxed));
        let tasks = [
            writer.write(|_| true, count),
            writer.write(|_| false, count),
            writer.write(|_| true, count),
        ];
        drop(go_on);
        assert_eq!(tasks.map(|task| task.wait().unwrap()), [0, 1, 2]);
    }

    #[test]
    fn late_write_waits_for_the_next_transaction() {
        let (writer, go_on, _blocked) = busy(None);
        // The clock jumps with the second.
        let tasks = [1, 99, 3].map(|number| push(&writer, number));
        drop(go_on);
        assert!(tasks.into_iter().all(|task| task.wait().is_ok()));
        assert_eq!(state(&writer), (vec![1, 99, 3], 2));
    }

    #[test]
    fn panic_after_the_commit_runs_no_write_again() {
        let (writer, go_on, _blocked) = busy(None);
        let tasks = [1, 77].map(|number| push(&writer, number));
        drop(go_on);
        assert!(tasks.into_iter().all(|task| task.wait().is_err()));
        assert_eq!(state(&writer).0, [1, 77]);
    }
}
