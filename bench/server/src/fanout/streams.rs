//! Open event streams of many users, in this process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Longest wait for all streams, or for a change at all of them.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Streams of the users `user0`, `user1` and so on.
pub(super) struct Streams {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    _runtime: Runtime,
}

struct Shared {
    began: Instant,
    /// Nanoseconds from the beginning to the last change that each stream reported.
    last: Vec<AtomicU64>,
    open: AtomicUsize,
    failures: Mutex<Vec<String>>,
    /// Where the numbers of streams that report a change are sent.
    changed: Mutex<Option<Sender<usize>>>,
}

impl Streams {
    /// Opens all at once; returns when the last has sent `hello`, and fails if one ends.
    pub(super) fn open(address: &str, count: usize) -> Result<(Self, Duration)> {
        let runtime = Runtime::new()?;
        let shared = Arc::new(Shared {
            began: Instant::now(),
            last: (0..count).map(|_| AtomicU64::new(0)).collect(),
            open: AtomicUsize::new(0),
            failures: Mutex::default(),
            changed: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (shared, address) = (Arc::clone(&shared), address.to_owned());
            let follow = async move {
                let Err(error) = shared.follow(&address, number).await;
                let text = format!("user{number}: {error:#}");
                shared.failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            };
            tasks.spawn_on(follow, runtime.handle());
        }
        let streams = Self { shared, _tasks: tasks, _runtime: runtime };
        streams.wait("streams open", || streams.shared.open.load(Ordering::Acquire) == count)?;
        let took = streams.shared.began.elapsed();
        Ok((streams, took))
    }

    /// Milliseconds from `since` to the first change that each of the first `count` streams reports
    /// after it.
    pub(super) fn reached(&self, since: Instant, count: usize) -> Result<Vec<f64>> {
        let since = nanos(since - self.shared.began);
        let last = &self.shared.last[..count];
        self.wait("streams reached", || {
            last.iter().all(|last| last.load(Ordering::Acquire) > since)
        })?;
        let after = |last: &AtomicU64| (last.load(Ordering::Acquire) - since) as f64 / 1e6;
        Ok(last.iter().map(after).collect())
    }

    /// From now on, the number of each stream that reports a change.
    pub(super) fn changed(&self) -> Receiver<usize> {
        let (sender, receiver) = channel();
        *self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    fn wait(&self, what: &str, is_done: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !is_done() {
            let failures = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(first) = failures.first() {
                bail!("{} streams failed, the first: {first}", failures.len());
            }
            drop(failures);
            ensure!(began.elapsed() < PATIENCE, "not all {what} after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Shared {
    /// Reads a stream to its end, which is an error.
    async fn follow(&self, address: &str, number: usize) -> Result<std::convert::Infallible> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        let mut stream = BufReader::with_capacity(512, stream);
        let request = format!(
            "GET /sync/events?ping=480 HTTP/1.1\r\nHost: bench\r\nX-User-ID: user{number}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        ensure!(line.contains(" 200 "), "{}", line.trim_end());
        loop {
            line.clear();
            let read = stream.read_line(&mut line).await?;
            ensure!(read > 0, "the stream ended");
            match line.trim_end() {
                "event: hello" => _ = self.open.fetch_add(1, Ordering::AcqRel),
                "event: changed" => {
                    self.last[number].store(nanos(self.began.elapsed()), Ordering::Release);
                    if let Some(changed) =
                        &*self.changed.lock().unwrap_or_else(PoisonError::into_inner)
                    {
                        // Without a receiver, the pulls have ended.
                        let _ = changed.send(number);
                    }
                }
                "event: bye" => bail!("the server ended the stream"),
                _ => {}
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
