//! A relay before the server, which counts bytes and bursts, and can be as slow as a mobile network.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Silence after which traffic is another burst.
const SILENCE: Duration = Duration::from_secs(2);

/// The largest piece that is passed on at once: about ten packets.
const PIECE: usize = 16 * 1024;

/// Pieces on the way in one direction of a connection; more than a fast link with a long delay holds.
const PIECES: usize = 64;

/// A network link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Bytes a second in each direction, for all connections together.
    pub(super) rate: f64,
    /// From a request to the first byte of its response, without the server's time.
    pub(super) round_trip: Duration,
}

/// Traffic in both directions.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) bytes: f64,
    pub(super) bursts: f64,
    last: Option<Instant>,
}

/// One direction of a relay.
#[derive(Debug, Clone)]
struct Direction {
    link: Option<Link>,
    /// When the link has sent all that it has.
    free: Arc<Mutex<Instant>>,
    traffic: Arc<Mutex<Traffic>>,
}

/// A running relay.
pub(super) struct Relay {
    pub(super) url: String,
    traffic: Arc<Mutex<Traffic>>,
}

impl Relay {
    /// Without a link it adds no delay.
    pub(super) async fn before(server: SocketAddr, link: Option<Link>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let direction = |traffic| Direction {
            link,
            free: Arc::new(Mutex::new(Instant::now())),
            traffic: Arc::clone(traffic),
        };
        let (up, down) = (direction(&traffic), direction(&traffic));
        tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { return };
                // The end of a response must not wait for the acknowledgement of its beginning.
                if device.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
                    return;
                }
                let ((from_device, to_device), (from_server, to_server)) =
                    (device.into_split(), server.into_split());
                up.clone().connect(from_device, to_server);
                down.clone().connect(from_server, to_device);
            }
        });
        Ok(Self { url, traffic })
    }

    /// The traffic from now on, for this long.
    pub(super) fn count(&self, period: Duration) -> Traffic {
        self.take();
        std::thread::sleep(period);
        self.take()
    }

    /// The traffic since the last call.
    pub(super) fn take(&self) -> Traffic {
        std::mem::take(&mut *locked(&self.traffic))
    }
}

impl Direction {
    fn connect(self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::spawn(self.read(from, sender));
        tokio::spawn(write(receiver, to));
    }

    async fn read(self, mut from: OwnedReadHalf, sender: mpsc::Sender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = self.pass(read);
            if sender.send((due, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    }

    /// Counts bytes; returns when they arrive.
    fn pass(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let mut traffic = locked(&self.traffic);
        if traffic.last.is_none_or(|last| now - last > SILENCE) {
            traffic.bursts += 1.0;
        }
        traffic.last = Some(now);
        traffic.bytes += bytes as f64;
        drop(traffic);
        let Some(Link { rate, round_trip }) = self.link else { return now };
        let mut free = locked(&self.free);
        *free = now.max(*free) + Duration::from_secs_f64(bytes as f64 / rate);
        *free + round_trip / 2
    }
}

async fn write(mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, piece)) = receiver.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
