//! Tests of a device on which nothing happens: it polls and pings less.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rejoin_protocol::wire::event::{Event, HelloEvent, PING};
use tokio::time::{Instant, sleep};

use super::peer::Peer;
use super::{RealSession, Rig, config, events};
use crate::sync::token::Credentials;
use crate::transport::{
    EventStream, HttpRequest, HttpResponse, MemoryTransport, Transport, TransportError,
};

/// What the streams have used.
#[derive(Debug)]
struct Radio {
    start: Instant,
    /// The seconds between two pings of each opened stream.
    opened: Mutex<Vec<u64>>,
    /// The second of each ping.
    pings: Mutex<Vec<u64>>,
}

/// Event streams with pings, which a proxy closes after a silence.
#[derive(Debug)]
struct Pinged {
    inner: MemoryTransport,
    radio: Arc<Radio>,
    closes_after: Duration,
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
        let (radio, closes_after) = (Arc::clone(&self.radio), self.closes_after);
        let inner = self.inner.events(request);
        async move {
            drop(inner.await?); // The faults that a test has queued.
            radio.opened.lock().unwrap().push(ping);
            let ping = Duration::from_secs(ping);
            let pings = stream::unfold(radio, move |radio| async move {
                sleep(ping.min(closes_after)).await;
                if ping > closes_after {
                    return None;
                }
                let at = radio.start.elapsed().as_secs();
                radio.pings.lock().unwrap().push(at);
                Some((Ok(Bytes::from(PING)), radio))
            });
            let hello = Event::Hello(HelloEvent::default()).to_text();
            Ok(EventStream::new(stream::iter([Ok(Bytes::from(hello))]).chain(pings).boxed()))
        }
        .boxed()
    }
}

fn rig(closes_after: Duration) -> (Rig, Arc<Radio>) {
    let start = Instant::now();
    let radio = Arc::new(Radio { start, opened: Mutex::default(), pings: Mutex::default() });
    let pinged = Arc::clone(&radio);
    let quiet = Peer { is_empty: true, ..events() };
    let rig = Rig::behind(RealSession::new(false), config(), Credentials::Absent, quiet, |inner| {
        Arc::new(Pinged { inner, radio: pinged, closes_after })
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
    let (rig, radio) = rig(NEVER);
    rig.run_until(HOUR - 1).await;
    let first = polls(&rig);
    assert_eq!(first, [0, 30, 150, 630, 2_430]);
    assert_eq!(*radio.opened.lock().unwrap(), [20, 60, 240, 480]);
    let first = bursts(first, &radio);
    assert!(first <= 15, "{first} in the first hour");
    rig.run_until(2 * HOUR - 1).await;
    let second = bursts(polls(&rig), &radio);
    assert!(second <= 10, "{second} in the second hour");
    assert_eq!(radio.opened.lock().unwrap().len(), 4, "the last stream stays open");
}

#[tokio::test(start_paused = true)]
async fn write_or_request_of_the_app_shortens_the_interval_again() {
    let (rig, radio) = rig(NEVER);
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
        [20, 60, 240, 480],
        "a stream is not opened for more pings"
    );
}

#[tokio::test(start_paused = true)]
async fn proxy_that_closes_silent_streams_is_pinged_more_often() {
    let (rig, radio) = rig(Duration::from_secs(100));
    rig.run_until(2 * HOUR).await;
    let opened = radio.opened.lock().unwrap().clone();
    assert_eq!(opened, [20, 60, 240, 60], "the stream with a ping a minute stays open");
    assert_eq!(rig.take("snapshot"), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn device_that_loses_its_stream_polls_at_the_interval() {
    let (rig, _) = rig(NEVER);
    rig.run_until(HOUR).await;
    // The network changes without notice: nothing reaches the old stream, and no new one opens.
    rig.online(false);
    rig.run_until(HOUR + 1_000).await;
    polls(&rig);
    for _ in 0..100 {
        rig.transport.fault_on("events", crate::transport::Fault::Html);
    }
    rig.online(true);
    rig.run_until(HOUR + 65_000).await;
    assert_eq!(polls(&rig), [3_601, 3_631, 3_661]);
}
