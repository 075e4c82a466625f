//! Tests of the event stream.

use std::time::Duration;

use rejoin_protocol::wire::event::{Bye, Event};

use super::{DriverConfig, Fault, Rig, config, events};
use crate::sync::token::Credentials;
use crate::sync::token::tests::Script as Tokens;

/// A rig whose server has a stream, after its first passes.
async fn listening(credentials: Credentials) -> Rig {
    let rig = Rig::with(config(), credentials, events());
    rig.run_until(0).await;
    assert_eq!(rig.transport.listeners(), 1);
    // Opening the stream causes one more pass for changes since the pull.
    assert_eq!(rig.take_pulls(), [0, 0]);
    rig
}

#[tokio::test(start_paused = true)]
async fn event_starts_a_pass_at_once() {
    let rig = listening(Credentials::Absent).await;
    rig.run_until(5000).await;
    rig.transport.say(&Event::Changed);
    rig.run_until(6000).await;
    assert_eq!(rig.take_pulls(), [5000]);
    rig.server.takes(Duration::from_secs(2));
    rig.driver.sync_now();
    rig.run_until(7000).await;
    (0..10).for_each(|_| rig.transport.say(&Event::Changed));
    rig.run_until(20_000).await;
    assert_eq!(
        rig.take_pulls(),
        [6000, 8000],
        "several events during a pass did not cause one pass"
    );
}

/// The server notifies a device of its own pushes too: they must not push what is collected.
#[tokio::test(start_paused = true)]
async fn event_does_not_push_writes_that_are_collected() {
    for seconds in [0.5, 60.0] {
        let push_debounce = Duration::from_secs_f64(seconds);
        let config = DriverConfig { push_debounce, ..config() };
        let rig = Rig::with(config, Credentials::Absent, events());
        rig.run_until(1_000).await;
        rig.take_arrivals();
        for count in 0..40 {
            rig.run_until(1_000 + count * 10).await;
            rig.write(1);
            rig.transport.say(&Event::Changed);
        }
        // The event waits for at most half a second, whatever the debounce.
        rig.run_until(5_000).await;
        assert_eq!(rig.take("push"), [1_000, 1_500], "{seconds} s");
        assert_eq!(rig.pending(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn silent_stream_is_reopened() {
    let rig = listening(Credentials::Absent).await;
    rig.transport.take_seen();
    // The in-memory server sends no pings: after a minute the stream counts as dead.
    rig.run_until(59_999).await;
    let streams = |rig: &Rig| {
        rig.transport.take_seen().iter().filter(|request| request.path.contains("events")).count()
    };
    assert_eq!(streams(&rig), 0);
    rig.run_until(61_001).await;
    assert_eq!(streams(&rig), 1);
    assert_eq!(rig.transport.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn stream_that_cannot_be_opened_is_retried_with_backoff() {
    let rig = Rig::with(config(), Credentials::Absent, events());
    (0..5).for_each(|_| rig.transport.fault_on("events", Fault::InternalError));
    rig.run_until(31_000).await;
    assert!(rig.transport.is_calm());
    assert_eq!(rig.transport.listeners(), 1);
}

/// Thousands of devices whose streams a server refuses must not ask again every second.
#[tokio::test(start_paused = true)]
async fn stream_is_not_opened_before_the_time_that_the_server_asked_for() {
    let rig = Rig::with(config(), Credentials::Absent, events());
    rig.transport.fault_on("events", Fault::Unavailable { retry_after: 60 });
    rig.run_until(59_999).await;
    assert_eq!(rig.transport.listeners(), 0);
    rig.run_until(90_001).await;
    assert_eq!(rig.transport.listeners(), 1);
}

/// A proxy may ask for a retry at once.
#[tokio::test(start_paused = true)]
async fn stream_is_opened_with_backoff_although_the_server_asks_for_no_wait() {
    let rig = Rig::with(config(), Credentials::Absent, events());
    (0..200).for_each(|_| rig.transport.fault_on("events", Fault::Unavailable { retry_after: 0 }));
    rig.run_until(30_000).await;
    let requests = rig.transport.take_seen();
    let opened = requests.iter().filter(|request| request.path.contains("events")).count();
    assert!((4..20).contains(&opened), "{opened}");
}

/// A proxy's refusal does not mean that the server has no stream.
#[tokio::test(start_paused = true)]
async fn stream_refused_by_a_proxy_is_opened_later() {
    let rig = Rig::with(config(), Credentials::Absent, events());
    (0..3).for_each(|_| rig.transport.fault_on("events", Fault::Html));
    rig.run_until(5 * 30_000).await;
    assert!(rig.transport.is_calm());
    assert_eq!(rig.transport.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn stream_is_reopened_with_a_new_token_at_expiry() {
    let tokens = Tokens::new("old", vec![]);
    let rig = listening(Credentials::Tokens(tokens.clone())).await;
    *tokens.current.lock().unwrap() = Some("new".into());
    rig.transport.take_seen();
    rig.transport.say(&Event::Bye(Bye { reason: "token_expired".into() }));
    rig.run_until(2000).await;
    assert_eq!(rig.transport.listeners(), 1);
    let requests = rig.transport.take_seen();
    let stream = requests.iter().find(|request| request.path.contains("events")).unwrap();
    assert_eq!(stream.header("authorization"), Some("Bearer new"));
    assert_eq!(stream.header("accept"), Some("text/event-stream"));
    assert!(tokens.asked.lock().unwrap().iter().all(|refresh| !refresh));
}

#[tokio::test(start_paused = true)]
async fn server_without_events_is_polled() {
    let rig = Rig::settled().await;
    rig.run_until(60_000).await;
    assert_eq!(rig.take_pulls(), [30_000, 60_000]);
    let requests = rig.transport.take_seen();
    assert!(!requests.iter().any(|request| request.path.contains("events")));
}
