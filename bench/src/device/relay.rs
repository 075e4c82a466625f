//! A relay before the server, which counts bytes and bursts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Silence after which traffic is another burst.
const SILENCE: Duration = Duration::from_secs(2);

/// Traffic in both directions.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) bytes: f64,
    pub(super) bursts: f64,
    last: Option<Instant>,
}

/// A running relay.
pub(super) struct Relay {
    pub(super) url: String,
    traffic: Arc<Mutex<Traffic>>,
}

impl Relay {
    pub(super) async fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let shared = Arc::clone(&traffic);
        tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { return };
                let ((from_device, to_device), (from_server, to_server)) =
                    (device.into_split(), server.into_split());
                tokio::spawn(pass(from_device, to_server, Arc::clone(&shared)));
                tokio::spawn(pass(from_server, to_device, Arc::clone(&shared)));
            }
        });
        Ok(Self { url, traffic })
    }

    /// The traffic from now on, for this long.
    pub(super) fn count(&self, period: Duration) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner) = Traffic::default();
        std::thread::sleep(period);
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    traffic: Arc<Mutex<Traffic>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if traffic.last.is_none_or(|last| now - last > SILENCE) {
                traffic.bursts += 1.0;
            }
            traffic.last = Some(now);
            traffic.bytes += read as f64;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
