//! Time and randomness, injected (I8): the only place that asks the machine for either.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use uuid::Uuid;

/// What the engine asks of the machine it runs on.
pub trait Host: Send + Sync + Debug + 'static {
    /// Wall clock, microseconds since 1970. May jump.
    fn now_micros(&self) -> i64;
    /// A clock that never goes back, for durations.
    fn elapsed(&self) -> Duration;
    /// Fills `bytes` with randomness.
    fn random(&self, bytes: &mut [u8]);

    /// Asks to be woken, once, when the clock is moved by hand. A clock that moves by itself has nothing to do here: who waits
    /// for one of its moments waits with a limit.
    fn on_moved(&self, _waker: Waker) {}

    /// A random UUIDv4.
    fn uuid4(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.random(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A UUIDv7 of this host's clock: sorts by time of making.
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
    #[allow(clippy::disallowed_methods)] // This is the place that the rule sends everybody to.
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

/// A machine of tests and simulations: a clock that moves when told (and one microsecond at each look), and a seed.
#[derive(Debug)]
pub struct TestHost {
    micros: AtomicI64,
    state: AtomicU64,
    moved: Mutex<Vec<Waker>>,
}

impl TestHost {
    /// A host at 2026-01-01T00:00:00Z whose randomness follows from `seed`.
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
