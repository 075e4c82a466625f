//! Open event streams of many users, in this process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::reconnect::{Counts, DEADLINE, Ended, Failures, Reconnects};
use crate::served::Served;

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
    /// Nanoseconds from the beginning to the last `hello` of each stream.
    opened: Vec<AtomicU64>,
    /// Nanoseconds from the beginning to the last change that each stream reported.
    last: Vec<AtomicU64>,
    failures: Mutex<Vec<String>>,
    /// Where the numbers of streams that report a change are sent.
    changed: Mutex<Option<Sender<usize>>>,
    reconnects: Reconnects,
}

/// A restart of the server under open streams.
pub(super) struct Restart {
    /// From the stop until the server's process has ended.
    pub(super) stopped: Duration,
    /// From the stop until the server listened again.
    pub(super) down: Duration,
    /// Seconds from the stop until each stream was open again.
    pub(super) opened: Vec<f64>,
    pub(super) counts: Counts,
}

impl Streams {
    /// Opens all at once; returns when the last has sent `hello`, and fails if one ends.
    pub(super) fn open(address: &str, count: usize) -> Result<(Self, Duration)> {
        let runtime = Runtime::new()?;
        let never = || (0..count).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared {
            began: Instant::now(),
            opened: never(),
            last: never(),
            failures: Mutex::default(),
            changed: Mutex::default(),
            reconnects: Reconnects::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (shared, address) = (Arc::clone(&shared), address.to_owned());
            let keep = async move {
                let text = format!("user{number}: {}", shared.keep(&address, number).await);
                shared.failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            };
            tasks.spawn_on(keep, runtime.handle());
        }
        let streams = Self { shared, _tasks: tasks, _runtime: runtime };
        streams.wait_for("open", &streams.shared.opened, 0)?;
        let took = streams.shared.began.elapsed();
        Ok((streams, took))
    }

    /// Milliseconds from `since` to the first change that each of the first `count` streams reports
    /// after it.
    pub(super) fn reached(&self, since: Instant, count: usize) -> Result<Vec<f64>> {
        let since = nanos(since - self.shared.began);
        let last = &self.shared.last[..count];
        self.wait_for("reached", last, since)?;
        let after = |last: &AtomicU64| (last.load(Ordering::Acquire) - since) as f64 / 1e6;
        Ok(last.iter().map(after).collect())
    }

    /// Restarts the server; returns when every stream is open again.
    pub(super) fn over_restart(&self, server: &mut Served) -> Result<Restart> {
        let Shared { began, opened, reconnects, .. } = &*self.shared;
        let since = Instant::now();
        reconnects.begin();
        server.stop()?;
        let stopped = since.elapsed();
        server.start()?;
        reconnects.server_listens();
        let (down, before) = (since.elapsed(), since - *began);
        self.wait_for("open again", opened, nanos(before + stopped))?;
        let after = |at: &AtomicU64| {
            (Duration::from_nanos(at.load(Ordering::Acquire)).saturating_sub(before)).as_secs_f64()
        };
        let opened = opened.iter().map(after).collect();
        Ok(Restart { stopped, down, opened, counts: reconnects.end() })
    }

    /// From now on, the number of each stream that reports a change.
    pub(super) fn changed(&self) -> Receiver<usize> {
        let (sender, receiver) = channel();
        *self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Waits until each of these times is after `since`.
    fn wait_for(&self, what: &str, times: &[AtomicU64], since: u64) -> Result<()> {
        let began = Instant::now();
        while times.iter().any(|time| time.load(Ordering::Acquire) <= since) {
            let failures = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(first) = failures.first() {
                bail!("{} streams failed, the first: {first}", failures.len());
            }
            drop(failures);
            ensure!(began.elapsed() < PATIENCE, "not all streams {what} after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Shared {
    /// Keeps a stream open over a restart; returns its end at any other time.
    async fn keep(&self, address: &str, number: usize) -> Ended {
        let mut failures = Failures::default();
        loop {
            let (begun, was_down) = (Instant::now(), self.reconnects.is_down());
            let patience = if self.reconnects.is_on() { DEADLINE } else { PATIENCE };
            let ended = match timeout(patience, open(address, number)).await {
                Ok(Ok(stream)) => self.follow(stream, number).await,
                Ok(Err(ended)) => ended,
                Err(_) => Ended::Lost(format!("none within {patience:?}")),
            };
            if !self.reconnects.is_on() {
                return ended;
            }
            let retry_after = self.reconnects.record(&ended, was_down);
            sleep(failures.wait(begun.elapsed(), retry_after)).await;
            self.reconnects.count_attempt();
        }
    }

    /// Reads a stream to its end.
    async fn follow(&self, mut stream: BufReader<TcpStream>, number: usize) -> Ended {
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
                return Ended::Closed;
            }
            let now = || nanos(self.began.elapsed());
            match line.trim_end() {
                "event: hello" => self.opened[number].store(now(), Ordering::Release),
                "event: changed" => {
                    self.last[number].store(now(), Ordering::Release);
                    if let Some(changed) =
                        &*self.changed.lock().unwrap_or_else(PoisonError::into_inner)
                    {
                        // Without a receiver, the pulls have ended.
                        let _ = changed.send(number);
                    }
                }
                "event: bye" => return Ended::Closed,
                _ => {}
            }
        }
    }
}

/// Requests a stream, and reads the head of the response as far as needed.
async fn open(address: &str, number: usize) -> Result<BufReader<TcpStream>, Ended> {
    let lost = |error: std::io::Error| Ended::Lost(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(lost)?;
    let mut stream = BufReader::with_capacity(512, stream);
    let request = format!(
        "GET /sync/events?ping=480 HTTP/1.1\r\nHost: localhost\r\nX-User-ID: user{number}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(lost)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Err(Ended::Lost(format!("not a status: {line:?}")));
    };
    if status == 200 {
        return Ok(stream);
    }
    let mut retry_after = None;
    while !line.trim_end().is_empty() {
        line.clear();
        stream.read_line(&mut line).await.map_err(lost)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("retry-after")
        {
            retry_after = value.trim().parse().ok().map(Duration::from_secs);
        }
    }
    Err(Ended::Refused { status, retry_after })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
