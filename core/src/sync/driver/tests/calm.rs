//! Tests of a device on which nothing happens: it polls and pings less.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rejoin_protocol::wire::event::{Event, HelloEvent, PING};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::peer::Peer;
use super::{RealSession, Rig, config, events};
use crate::sync::token::Credentials;
use crate::transport::{
    EventStream, Fault, HttpRequest, HttpResponse, MemoryTransport, Transport, TransportError,
};

/// What the streams have used.
#[derive(Debug)]
struct Radio {
    start: Instant,
    /// The seconds between two pings of each opened stream.
    opened: Mutex<Vec<u64>>,
    /// The second of each ping.
    pings: Mutex<Vec<u64>>,
    /// Ends the open streams.
    breaks: Notify,
}

/// What happens to a stream after too long a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    Silence,
    /// It holds back the stream from the beginning.
    Hold,
}

/// Event streams with pings, on a way that ends silent ones.
#[derive(Debug)]
struct Pinged {
    inner: MemoryTransport,
    radio: Arc<Radio>,
    closes_after: Duration,
    then: Then,
}

impl Transport for Pinged {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        self.inner.send(request)
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        let (_, ping) = request.path.split_once("&ping=").unwrap();
        let ping: u64 = ping.parse().unwrap();
        let radio = Arc::clone(&self.radio);
        let (closes_after, then) = (self.closes_after, self.then);
        let inner = self.inner.events(request);
        async move {
            drop(inner.await?); // The faults that a test has queued.
            sleep(Duration::from_millis(10)).await;
            radio.opened.lock().unwrap().push(ping);
            let ping = Duration::from_secs(ping);
            let pings = stream::unfold(radio, move |radio| async move {
                tokio::select! {
                    () = sleep(ping.min(closes_after)) => {}
                    () = radio.breaks.notified() => return None,
                }
                if ping > closes_after && then == Then::Silence {
                    std::future::pending::<()>().await;
                }
                if ping > closes_after {
                    return None;
                }
                let at = radio.start.elapsed().as_secs();
                radio.pings.lock().unwrap().push(at);
                Some((Ok(Bytes::from(PING)), radio))
            });
            if then == Then::Hold {
                return Ok(EventStream::new(stream::pending().boxed()));
            }
            let hello = Event::Hello(HelloEvent::default()).to_text();
            Ok(EventStream::new(stream::iter([Ok(Bytes::from(hello))]).chain(pings).boxed()))
        }
        .boxed()
    }
}

fn rig(closes_after: Duration, then: Then) -> (Rig, Arc<Radio>) {
    let start = Instant::now();
    let radio = Arc::new(Radio {
        start,
        opened: Mutex::default(),
        pings: Mutex::default(),
        breaks: Notify::new(),
    });
    let pinged = Arc::clone(&radio);
    let quiet = Peer { is_empty: true, ..events() };
    let rig = Rig::behind(RealSession::new(false), config(), Credentials::Absent, quiet, |inner| {
        Arc::new(Pinged { inner, radio: pinged, closes_after, then })
    });
    (rig, radio)
}

const HOUR: u64 = 3_600_000;
const NEVER: Duration = Duration::from_hours(24);

/// The seconds in which pulls arrived.
fn polls(rig: &Rig) -> Vec<u64> {
    let polls = rig.take_pulls().into_iter().map(|at| u64::try_from(at / 1_000).unwrap());
    polls.collect::<BTreeSet<_>>().into_iter().collect()
}

/// How often the radio was used: a stream is opened with a poll.
fn bursts(polls: Vec<u64>, radio: &Radio) -> usize {
    let pings = std::mem::take(&mut *radio.pings.lock().unwrap());
    polls.into_iter().chain(pings).collect::<BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn idle_device_seldom_uses_its_radio() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(HOUR - 1).await;
    let first = polls(&rig);
    assert_eq!(first, [0, 30, 150, 630, 2_430]);
    assert_eq!(*radio.opened.lock().unwrap(), [20, 45, 240, 480]);
    let first = bursts(first, &radio);
    assert!(first <= 15, "{first} in the first hour");
    rig.run_until(2 * HOUR - 1).await;
    let second = bursts(polls(&rig), &radio);
    assert!(second <= 10, "{second} in the second hour");
    assert_eq!(radio.opened.lock().unwrap().len(), 4, "the last stream stays open");
}

#[tokio::test(start_paused = true)]
async fn write_or_request_of_the_app_shortens_the_interval_again() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(HOUR).await;
    rig.write(1);
    rig.run_until(HOUR + 10_000).await;
    polls(&rig);
    rig.run_until(HOUR + 40_000).await;
    assert_eq!(polls(&rig), [3_630]);
    rig.run_until(2 * HOUR).await;
    rig.driver.sync_now();
    rig.run_until(2 * HOUR + 10).await;
    polls(&rig);
    rig.run_until(2 * HOUR + 31_000).await;
    assert_eq!(polls(&rig), [7_230]);
    assert_eq!(
        *radio.opened.lock().unwrap(),
        [20, 45, 240, 480],
        "a stream is not opened for more pings"
    );
}

#[tokio::test(start_paused = true)]
async fn proxy_that_closes_silent_streams_is_pinged_more_often() {
    let (rig, radio) = rig(Duration::from_secs(100), Then::Close);
    rig.run_until(HOUR).await;
    let opened = radio.opened.lock().unwrap().clone();
    assert_eq!(opened, [20, 45, 240, 20, 45], "the stream with frequent pings stays open");
}

/// A network that drops silent connections without a sign: nothing arrives any more.
#[tokio::test(start_paused = true)]
async fn network_that_drops_silent_streams_is_pinged_more_often() {
    let (rig, radio) = rig(Duration::from_secs(100), Then::Silence);
    rig.run_until(HOUR).await;
    assert_eq!(*radio.opened.lock().unwrap(), [20, 45, 240, 20, 45]);
    rig.run_until(2 * HOUR).await;
    assert_eq!(radio.opened.lock().unwrap()[5..], [240, 20, 45], "tried again after an hour");
}

#[tokio::test(start_paused = true)]
async fn device_without_a_stream_polls_at_the_interval() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(HOUR).await;
    polls(&rig);
    for _ in 0..100 {
        rig.transport.fault_on("events", Fault::Html);
    }
    radio.breaks.notify_waiters();
    rig.run_until(HOUR + 95_000).await;
    let polls = polls(&rig);
    let all_within = |pair: &[u64]| pair[1] - pair[0] <= 30;
    assert!(polls[0] < 3_630 && polls.len() >= 3, "{polls:?}");
    assert!(polls.windows(2).all(all_within), "{polls:?}");
}

/// Many devices lose their streams at once when a server stops.
#[tokio::test(start_paused = true)]
async fn end_of_the_stream_starts_no_pass() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(HOUR).await;
    polls(&rig);
    radio.breaks.notify_waiters();
    rig.run_until(HOUR).await;
    assert_eq!(polls(&rig), [0; 0]);
    rig.run_until(HOUR + 30_000).await;
    assert_eq!(radio.opened.lock().unwrap().last(), Some(&20), "a lost stream ends the calm");
    assert!(!polls(&rig).is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_network_and_the_foreground_open_the_stream_again() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(HOUR).await;
    rig.metered(true);
    rig.run_until(HOUR + 1_000).await;
    assert_eq!(*radio.opened.lock().unwrap(), [20, 45, 240, 480, 20]);
    rig.run_until(2 * HOUR).await;
    rig.driver.foreground();
    rig.run_until(2 * HOUR + 1_000).await;
    assert_eq!(radio.opened.lock().unwrap().last(), Some(&20));
}

#[tokio::test(start_paused = true)]
async fn retries_are_no_rest() {
    let (rig, radio) = rig(NEVER, Then::Close);
    rig.run_until(10_000).await;
    for _ in 0..50 {
        rig.server.answers(200, "retry", None);
    }
    rig.write(1);
    rig.run_until(HOUR / 60).await;
    assert_eq!(*radio.opened.lock().unwrap(), [20]);
}

#[tokio::test(start_paused = true)]
async fn stream_that_a_proxy_holds_back_is_none() {
    let (rig, _) = rig(NEVER, Then::Hold);
    rig.run_until(HOUR).await;
    let polls = polls(&rig);
    assert!(polls.windows(2).all(|pair| pair[1] - pair[0] == 30), "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn network_changed_while_suspended_gets_few_pings_again() {
    let (rig, radio) = rig(Duration::from_secs(100), Then::Close);
    rig.run_until(600_000).await;
    rig.driver.suspend().await;
    rig.metered(true);
    let before = radio.opened.lock().unwrap().len();
    rig.driver.resume();
    rig.run_until(HOUR).await;
    assert_eq!(radio.opened.lock().unwrap()[before..], [20, 45, 240, 20, 45]);
}

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_does_not_postpone_a_retry() {
    for later in 0..20 {
        let (rig, radio) = rig(NEVER, Then::Close);
        rig.run_until(40_000 + later).await;
        for _ in 0..3 {
            rig.server.answers(503, r#"{"error":"busy"}"#, None);
        }
        rig.write(1);
        rig.run_until(42_000 + later).await;
        (0..100)
            .for_each(|_| rig.transport.fault_on("events", Fault::Unavailable { retry_after: 1 }));
        radio.breaks.notify_waiters();
        rig.run_until(52_000 + later).await;
        assert_eq!(rig.pending(), 0, "after {later} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn device_whose_new_network_refuses_the_stream_polls_at_the_interval() {
    let (rig, _) = rig(NEVER, Then::Close);
    rig.run_until(HOUR).await;
    polls(&rig);
    (0..100).for_each(|_| rig.transport.fault_on("events", Fault::Unavailable { retry_after: 1 }));
    rig.metered(true);
    rig.run_until(HOUR + 95_000).await;
    let polls = polls(&rig);
    assert!(polls.len() >= 3, "{polls:?}");
}
