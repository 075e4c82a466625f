//! Selects the watches that a commit affects, and runs them again on a thread.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::change::Listener;
use super::delivery::{Cancel as _, Dispatcher};
use super::slot::Slot;
use crate::engine::change::Change;
use crate::engine::{ReadSet, ReadStop, Reader};
use crate::error::{Error, InputFault, Result, StorageFault};
use crate::row_buffer::RowBuffer;
use crate::runtime;
use crate::value::Value;
use crate::writer::Task;

/// A watched query.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) params: Vec<Value>,
}

/// Receives commits and keeps the watches current.
pub(crate) struct Hub {
    inner: Mutex<HubState>,
    wake: Condvar,
    /// The number of watches and listeners; commits without any are skipped cheaply.
    followers: AtomicUsize,
    /// Interrupts running reads.
    stop: Arc<ReadStop>,
    pub(crate) dispatcher: Arc<Dispatcher>,
}

#[derive(Default)]
struct HubState {
    touched: Touched,
    arriving: Vec<Arriving>,
    listeners: Vec<Arc<Listener>>,
    /// A new connection for the thread.
    reader: Option<Reader>,
    state: State,
    leaving: Vec<oneshot::Sender<Result<()>>>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Suspended,
    Ended,
}

/// Tables changed since the thread's last run.
#[derive(Default)]
struct Touched {
    tables: BTreeSet<String>,
    queue: bool,
    /// All tables: the schema changed, or the tables are unknown.
    all: bool,
}

struct Arriving {
    query: Query,
    slot: Arc<Slot>,
    reply: oneshot::Sender<Result<()>>,
}

/// The key of [`Watches::by_table`] for queries that any commit may change.
const ANY: &str = "";

/// State of the thread.
#[derive(Default)]
struct Watches {
    running: HashMap<usize, Running>,
    by_table: HashMap<String, BTreeSet<usize>>,
    next: usize,
    /// Watches whose first run was interrupted by a suspension.
    cut: Vec<Arriving>,
}

struct Running {
    query: Query,
    reads: ReadSet,
    slot: Arc<Slot>,
}

impl Hub {
    /// Starts the thread with its own connection.
    pub(crate) fn start(reader: Reader, dispatcher: Arc<Dispatcher>) -> Result<Arc<Self>> {
        let hub = Arc::new(Self {
            inner: Mutex::default(),
            wake: Condvar::new(),
            followers: AtomicUsize::new(0),
            stop: Arc::default(),
            dispatcher,
        });
        hub.resume(reader)?;
        let thread = Arc::clone(&hub);
        runtime::thread("watch", move || thread.serve())?;
        Ok(hub)
    }

    /// Receives a commit on the writer's thread; only records it.
    pub(crate) fn committed(&self, change: &Change) {
        if self.followers.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut inner = self.inner();
        for table in change.tables.keys() {
            let table = table.to_ascii_lowercase();
            inner.touched.all |= table == "sqlite_schema";
            inner.touched.tables.insert(table);
        }
        inner.touched.queue |= change.queue;
        let wanting: Vec<_> =
            inner.listeners.iter().filter(|listener| listener.wants(change)).cloned().collect();
        drop(inner);
        self.wake.notify_all();
        if !wanting.is_empty() {
            let change = Arc::new(change.clone());
            for listener in wanting {
                listener.receive(&change);
            }
        }
    }

    /// Receives commits of another process, whose tables are not known.
    pub(crate) fn committed_elsewhere(&self) {
        if self.followers.load(Ordering::Acquire) > 0 {
            self.inner().touched.all = true;
            self.wake.notify_all();
        }
    }

    /// Creates a watch; completes when its first result is available. While suspended it waits for
    /// [`Hub::resume`], because UI code would not start the watch again by itself.
    pub(crate) fn watch(&self, query: Query, key: Vec<String>) -> (Arc<Slot>, Task<()>) {
        let slot = Slot::new(key, Arc::clone(&self.dispatcher));
        let (reply, receiver) = oneshot::channel();
        let mut inner = self.inner();
        if inner.state == State::Ended {
            return (slot, Task::ready(Err(Error::Closed)));
        }
        // Counted before its first run, so that no later commit is missed.
        self.followers.fetch_add(1, Ordering::AcqRel);
        inner.arriving.push(Arriving { query, slot: Arc::clone(&slot), reply });
        drop(inner);
        self.wake.notify_all();
        (slot, Task::coming(receiver))
    }

    /// Adds a listener for commits.
    pub(crate) fn listen(&self, listener: Arc<Listener>) {
        let mut inner = self.inner();
        if inner.state == State::Ended {
            drop(inner);
            return listener.cancel();
        }
        self.followers.fetch_add(1, Ordering::AcqRel);
        inner.listeners.push(listener);
    }

    /// Drops the app's callbacks after the last commit, which signals that no more calls follow.
    pub(crate) fn hang_up(&self) {
        let listeners = std::mem::take(&mut self.inner().listeners);
        self.followers.fetch_sub(listeners.len(), Ordering::AcqRel);
        for listener in listeners {
            listener.cancel();
        }
    }

    /// Removes a listener.
    pub(crate) fn forget(&self, listener: &Arc<Listener>) {
        let mut inner = self.inner();
        let before = inner.listeners.len();
        let gone: Vec<_> =
            inner.listeners.extract_if(.., |other| Arc::ptr_eq(other, listener)).collect();
        self.followers.fetch_sub(before - inner.listeners.len(), Ordering::AcqRel);
        drop(inner);
        drop(gone);
    }

    /// Closes the connection; watches stay, and run again after [`Hub::resume`].
    pub(crate) fn suspend(&self) -> Task<()> {
        self.leave(State::Suspended)
    }

    /// Ends all watches and the thread.
    pub(crate) fn shutdown(&self) -> Task<()> {
        self.leave(State::Ended)
    }

    /// Continues with a new connection; every watch and listener of the queue runs once to catch up.
    pub(crate) fn resume(&self, mut reader: Reader) -> Result<()> {
        let mut inner = self.inner();
        if inner.state == State::Ended {
            return Ok(());
        }
        self.stop.set_all(false);
        reader.stop_when(Arc::clone(&self.stop))?;
        inner.reader = Some(reader);
        inner.state = State::Open;
        inner.touched.all = true;
        let listeners = inner.listeners.clone();
        drop(inner);
        self.wake.notify_all();
        for listener in listeners {
            listener.catch_up();
        }
        Ok(())
    }

    fn leave(&self, state: State) -> Task<()> {
        let (reply, receiver) = oneshot::channel();
        let mut inner = self.inner();
        if inner.state != State::Ended {
            inner.state = state;
        } else if state == State::Ended {
            return Task::ready(Err(Error::Closed));
        }
        self.stop.set_all(true);
        inner.leaving.push(reply);
        drop(inner);
        self.wake.notify_all();
        Task::coming(receiver)
    }

    fn inner(&self) -> MutexGuard<'_, HubState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Main loop of the thread.
    fn serve(&self) {
        let mut watches = Watches::default();
        let mut reader: Option<Reader> = None;
        loop {
            let mut inner = self.inner();
            while inner.is_idle(reader.is_some()) {
                inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            let ended = inner.state == State::Ended;
            if inner.state != State::Open {
                let (leaving, spare) = (std::mem::take(&mut inner.leaving), inner.reader.take());
                let arriving = ended.then(|| std::mem::take(&mut inner.arriving));
                drop(inner);
                drop((reader.take(), spare, arriving));
                if ended {
                    for running in watches.running.values() {
                        running.slot.end();
                    }
                }
                for reply in leaving {
                    let _ = reply.send(Ok(()));
                }
                if ended {
                    return;
                }
                continue;
            }
            reader = inner.reader.take().or(reader);
            let (touched, arriving) =
                (std::mem::take(&mut inner.touched), std::mem::take(&mut inner.arriving));
            drop(inner);
            if let Some(reader) = &mut reader {
                let gone = watches.sweep() + watches.run(reader, &touched, arriving);
                self.followers.fetch_sub(gone, Ordering::AcqRel);
                self.inner().arriving.append(&mut watches.cut);
            }
        }
    }
}

impl HubState {
    /// Whether the thread has nothing to do, with or without a connection.
    fn is_idle(&self, connected: bool) -> bool {
        match self.state {
            State::Open => {
                self.reader.is_none()
                    && (!connected || self.touched.is_nothing() && self.arriving.is_empty())
            }
            State::Suspended => self.leaving.is_empty(),
            State::Ended => false,
        }
    }
}

impl Touched {
    fn is_nothing(&self) -> bool {
        self.tables.is_empty() && !self.queue && !self.all
    }
}

impl Watches {
    /// Runs affected and new watches in one read transaction; returns how many new ones failed.
    fn run(&mut self, reader: &mut Reader, touched: &Touched, arriving: Vec<Arriving>) -> usize {
        let due = self.due(touched);
        if due.is_empty() && arriving.is_empty() {
            return 0;
        }
        let mut arriving = Some(arriving);
        let ran = reader.snapshot(|reader| {
            if touched.all {
                reader.forget_footprints();
            }
            for number in &due {
                self.again(reader, *number, touched.all);
            }
            let arriving = arriving.take().into_iter().flatten();
            Ok(arriving.map(|arriving| usize::from(!self.admit(reader, arriving))).sum())
        });
        let Err(error) = ran else { return ran.unwrap_or_default() };
        let refused = arriving.take().unwrap_or_default();
        if matches!(error, Error::Suspended) {
            // All of it runs again afterwards.
            self.cut.extend(refused);
            return 0;
        }
        tracing::warn!(%error, "running the watched queries failed");
        let count = refused.len();
        for arriving in refused {
            let _ = arriving.reply.send(Err(Error::Storage(StorageFault::Io(format!(
                "no read transaction: {error}"
            )))));
        }
        count
    }

    fn due(&self, touched: &Touched) -> BTreeSet<usize> {
        if touched.all {
            return self.running.keys().copied().collect();
        }
        let tables = touched.tables.iter().filter_map(|table| self.by_table.get(table));
        let tables = tables.chain(self.by_table.get(ANY).filter(|_| !touched.is_nothing()));
        let mut due: BTreeSet<usize> = tables.flatten().copied().collect();
        if touched.queue {
            let state = self.running.iter().filter(|(_, running)| running.reads.row_state);
            due.extend(state.map(|(number, _)| *number));
        }
        due
    }

    /// Runs a watch again, and stores its result if it changed.
    fn again(&mut self, reader: &mut Reader, number: usize, schema: bool) {
        let Some(running) = self.running.get_mut(&number) else { return };
        if schema
            && let Ok(reads) = reader.tables_of(&running.query.sql)
            && reads != running.reads
        {
            unindex(&mut self.by_table, number, &running.reads);
            index(&mut self.by_table, number, &reads);
            running.reads = reads;
        }
        match reader.rows(&running.query.sql, &running.query.params) {
            Ok(rows) if running.slot.shows(&rows) => {}
            Ok(rows) => running.slot.put(Ok(rows)),
            // It runs again after the app resumes.
            Err(Error::Suspended) => {}
            Err(error) => running.slot.put(Err(error)),
        }
    }

    /// Runs a new watch for the first time, or defers it; returns whether it stays.
    fn admit(&mut self, reader: &mut Reader, arriving: Arriving) -> bool {
        let Arriving { query, slot, reply } = arriving;
        if slot.is_cancelled() {
            return false; // The caller no longer waits for the first result.
        }
        let first = reader.tables_of(&query.sql).and_then(|reads| {
            let rows = reader.rows(&query.sql, &query.params)?;
            check_key(slot.key(), &rows)?;
            Ok((reads, rows))
        });
        match first {
            Ok((reads, rows)) => {
                slot.put(Ok(rows));
                index(&mut self.by_table, self.next, &reads);
                self.running.insert(self.next, Running { query, reads, slot });
                self.next += 1;
                let _ = reply.send(Ok(()));
                true
            }
            Err(Error::Suspended) => {
                self.cut.push(Arriving { query, slot, reply });
                true
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                false
            }
        }
    }

    /// Removes cancelled watches; returns their number.
    fn sweep(&mut self) -> usize {
        let before = self.running.len();
        let by_table = &mut self.by_table;
        self.running.retain(|number, running| {
            let stays = !running.slot.is_cancelled();
            if !stays {
                unindex(by_table, *number, &running.reads);
            }
            stays
        });
        before - self.running.len()
    }
}

fn index(by_table: &mut HashMap<String, BTreeSet<usize>>, number: usize, reads: &ReadSet) {
    for table in keys(reads) {
        by_table.entry(table.to_owned()).or_default().insert(number);
    }
}

fn keys(reads: &ReadSet) -> impl Iterator<Item = &str> {
    reads.tables.iter().map(String::as_str).chain(reads.any.then_some(ANY))
}

fn unindex(by_table: &mut HashMap<String, BTreeSet<usize>>, number: usize, reads: &ReadSet) {
    for table in keys(reads) {
        if let Some(numbers) = by_table.get_mut(table) {
            numbers.remove(&number);
            if numbers.is_empty() {
                by_table.remove(table);
            }
        }
    }
}

fn check_key(key: &[String], rows: &RowBuffer) -> Result<()> {
    match key.iter().find(|column| !rows.columns().contains(column)) {
        None => Ok(()),
        Some(column) => Err(Error::InvalidInput(InputFault::Refused {
            what: format!("the key column {column}"),
            reason: format!("the query has the columns {}", rows.columns().join(", ")),
        })),
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Hub").finish_non_exhaustive()
    }
}
