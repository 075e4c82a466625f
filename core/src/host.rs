//! Clock and randomness, injected: the only place that reads either from the machine.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use uuid::Uuid;

/// Services of the machine that the engine uses.
pub trait Host: Send + Sync + Debug + 'static {
    /// Wall clock, microseconds since 1970. May jump.
    fn now_micros(&self) -> i64;
    /// A monotonic clock, for durations.
    fn elapsed(&self) -> Duration;
    /// Fills `bytes` with randomness.
    fn random(&self, bytes: &mut [u8]);

    /// Registers a waker to wake once when a manual clock is moved. A real clock ignores it:
    /// waiters on its time use a timeout.
    fn on_moved(&self, _waker: Waker) {}

    /// A random UUIDv4.
    fn uuid4(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.random(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A UUIDv7 of this host's clock; sorts by creation time.
    fn uuid7(&self) -> Uuid {
        let mut bytes = [0; 10];
        self.random(&mut bytes);
        let millis = u64::try_from(self.now_micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// The real machine.
#[derive(Debug)]
pub struct SystemHost {
    start: std::time::Instant,
}

impl Default for SystemHost {
    #[allow(clippy::disallowed_methods)] // The lint sends all other code to this place.
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Host for SystemHost {
    #[allow(clippy::disallowed_methods)]
    fn now_micros(&self) -> i64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(16) {
            chunk.copy_from_slice(&Uuid::new_v4().into_bytes()[..chunk.len()]);
        }
    }
}

/// A host for tests and simulations: a manual clock (plus one microsecond per reading) and a seed.
#[derive(Debug)]
pub struct TestHost {
    micros: AtomicI64,
    state: AtomicU64,
    moved: Mutex<Vec<Waker>>,
}

impl TestHost {
    /// A host at 2026-01-01T00:00:00Z with randomness derived from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            micros: AtomicI64::new(1_767_225_600_000_000),
            state: AtomicU64::new(seed),
            moved: Mutex::default(),
        }
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
        self.wake();
    }

    /// Sets the wall clock.
    pub fn set(&self, micros: i64) {
        self.micros.store(micros, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.moved());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn moved(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for TestHost {
    fn now_micros(&self) -> i64 {
        self.micros.fetch_add(1, Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros.load(Ordering::SeqCst)).unwrap_or(0))
    }

    fn on_moved(&self, waker: Waker) {
        let mut moved = self.moved();
        if !moved.iter().any(|other| other.will_wake(&waker)) {
            moved.push(waker);
        }
    }

    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // splitmix64: small, and the same everywhere.
            let mut z = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (z ^ (z >> 31)).to_le_bytes()[0];
        }
    }
}
