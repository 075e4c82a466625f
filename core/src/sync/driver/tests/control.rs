//! Tests of suspend and resume, stop, network state and metered networks.

use std::time::Duration;

use super::{NEW_YEAR, Peer, Rig, config, events, metered};
use crate::config::Metered;
use crate::error::Error;
use crate::sync::status::SyncState;
use crate::sync::token::Credentials;

#[tokio::test(start_paused = true)]
async fn suspend_aborts_a_request_and_resume_starts_a_new_pass() {
    let rig = Rig::with(config(), Credentials::Absent, events());
    rig.run_until(1000).await;
    assert_eq!(rig.transport.listeners(), 1);
    rig.server.takes(Duration::from_secs(5));
    rig.write(1);
    rig.run_until(3000).await;
    assert_eq!(rig.state(), SyncState::Pushing);
    let waits = rig.driver.sync_and_wait(None);
    let start = tokio::time::Instant::now();
    rig.driver.suspend().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(rig.state(), SyncState::Suspended);
    assert_eq!(rig.transport.listeners(), 0, "the event stream is still open");
    assert!(matches!(waits.await, Err(Error::Suspended)));
    assert!(matches!(rig.driver.sync_and_wait(None).await, Err(Error::Suspended)));

    rig.server.takes(Duration::ZERO);
    rig.take_arrivals();
    rig.write(1);
    rig.driver.sync_now();
    rig.driver.foreground();
    rig.run_until(500_000).await;
    assert_eq!(rig.take("").len(), 0, "sent while suspended");
    assert_eq!(rig.inside().renewed, 1);
    rig.driver.resume();
    rig.run_until(500_001).await;
    assert_eq!(rig.take("push"), [500_000]);
    assert_eq!(rig.pending(), 0, "a write is still pending");
    assert_eq!(rig.transport.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn suspend_right_after_resume_stops_everything() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    for yields in 0..10 {
        rig.driver.suspend().await;
        rig.driver.resume();
        let wait = rig.driver.sync_and_wait(None);
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        rig.driver.suspend().await;
        assert!(matches!(wait.await, Err(Error::Suspended)));
        assert_eq!(rig.state(), SyncState::Suspended);
        rig.take_arrivals();
        let now = rig.start.elapsed();
        rig.run_until(u64::try_from(now.as_millis()).unwrap() + 60_000).await;
        assert_eq!(rig.take("").len(), 0, "{yields}");
        rig.driver.resume();
    }
}

#[tokio::test(start_paused = true)]
async fn resume_changes_the_status_when_nothing_is_due() {
    let rig = Rig::settled().await;
    rig.server.answers(503, r#"{"error":"busy"}"#, Some(600));
    rig.driver.sync_now();
    rig.run_until(1000).await;
    let waiting = rig.state();
    assert!(matches!(waiting, SyncState::WaitingUntil { .. }));
    rig.driver.suspend().await;
    rig.driver.resume();
    rig.run_until(2000).await;
    assert_eq!(rig.state(), waiting);
    assert_eq!(rig.take_pulls(), [0], "a pass ran before Retry-After");
}

#[tokio::test(start_paused = true)]
async fn resume_reports_up_to_date_only_after_a_pull() {
    let peer = Peer { is_empty: true, ..Peer::default() };
    let rig = Rig::with(config(), Credentials::Absent, peer);
    rig.run_until(0).await;
    rig.take_arrivals();
    let mut pulls = Vec::new();
    for round in 0..5 {
        rig.driver.suspend().await;
        let earlier = rig.driver.transitions().len();
        rig.driver.resume();
        rig.run_until(0).await;
        assert_eq!(rig.driver.transitions()[earlier].state, SyncState::Connecting, "{round}");
        pulls.push(rig.take_pulls().len());
        let is_current = matches!(rig.state(), SyncState::UpToDate { .. });
        assert_eq!(is_current, pulls[round] > 0, "{round}: {:?}", rig.state());
    }
    assert_eq!(pulls, [1, 1, 1, 0, 0], "after three passes without a change the next one waits");
    rig.run_until(1000).await;
    assert_eq!(rig.take_pulls().len(), 1);
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

#[tokio::test(start_paused = true)]
async fn pass_ends_at_suspend_even_if_resume_follows_at_once() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let before = rig.driver.sync_and_wait(None);
    rig.run_until(1000).await;
    drop(rig.driver.suspend());
    rig.driver.resume();
    let after = rig.driver.sync_and_wait(None);
    assert!(matches!(before.await, Err(Error::Suspended)));
    after.await.unwrap();
    rig.run_until(20_000).await;
    assert_eq!(rig.take_pulls(), [0, 6000], "one pass after the resume: register, pull");
    assert_eq!(rig.state(), SyncState::UpToDate { since_ms: NEW_YEAR / 1_000 + 11_000 });
    let states = rig.driver.transitions();
    let is_end = |state: &SyncState| matches!(state, SyncState::UpToDate { .. });
    assert_eq!(states.iter().filter(|one| is_end(&one.state)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn explicit_pass_that_suspend_aborts_does_not_end_retry_after() {
    let rig = Rig::settled().await;
    rig.server.answers(503, r#"{"error":"busy"}"#, Some(600));
    rig.driver.sync_now();
    rig.run_until(1000).await;
    rig.server.takes(Duration::from_secs(5));
    rig.driver.sync_now();
    rig.run_until(2000).await;
    rig.driver.suspend().await;
    rig.server.takes(Duration::ZERO);
    rig.take_arrivals();
    rig.driver.resume();
    rig.run_until(500_000).await;
    assert_eq!(rig.take("").len(), 0, "a pass ran before Retry-After");
    rig.run_until(900_000).await;
    assert!(!rig.take_pulls().is_empty(), "no pass ran after it");
}

#[tokio::test(start_paused = true)]
async fn stop_is_permanent() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let waits = rig.driver.sync_and_wait(None);
    rig.run_until(1000).await;
    rig.driver.stop().await;
    assert_eq!(rig.state(), SyncState::Stopped);
    assert!(matches!(waits.await, Err(Error::Closed)));
    assert!(matches!(rig.driver.sync_and_wait(None).await, Err(Error::Closed)));
    rig.driver.suspend().await;
    rig.driver.resume();
    rig.driver.sync_now();
    rig.take_arrivals();
    rig.run_until(100_000).await;
    assert_eq!(rig.take("").len(), 0);
    assert_eq!(rig.state(), SyncState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn dropped_driver_sends_nothing_and_fails_its_waiters() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let waits = rig.driver.sync_and_wait(None);
    rig.run_until(1000).await;
    let Rig { driver, server, .. } = rig;
    drop(driver);
    assert!(matches!(waits.await, Err(Error::Closed)));
    server.arrivals.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(server.arrivals.lock().unwrap().is_empty());
}

/// A replica that is behind could lack what the server had at the call.
#[tokio::test(start_paused = true)]
async fn only_a_pass_that_an_app_waits_for_asks_for_the_present_state() {
    let rig = Rig::settled().await;
    let asked = |rig: &Rig| {
        let pulls = rig.take_arrivals().into_iter().filter(|one| one.request.path.contains("pull"));
        let bodies = pulls.map(|one| one.request.body.unwrap_or_default());
        bodies
            .map(|body| String::from_utf8_lossy(&body).contains("\"current\":true"))
            .collect::<Vec<_>>()
    };
    asked(&rig);
    rig.driver.sync_now();
    rig.run_until(1_000).await;
    assert_eq!(asked(&rig), [false]);
    rig.driver.sync_and_wait(None).await.unwrap();
    assert_eq!(asked(&rig), [true]);
}

#[tokio::test(start_paused = true)]
async fn offline_device_tries_only_explicit_syncs() {
    let rig = Rig::settled().await;
    rig.online(false);
    rig.write(1);
    rig.driver.foreground();
    rig.run_until(200_000).await;
    assert_eq!(rig.take("").len(), 0);
    assert!(matches!(rig.state(), SyncState::Offline { retry_at_ms: None, .. }));
    // The network state is only a hint.
    assert_eq!(rig.driver.sync_and_wait(None).await.unwrap().accepted, 1);
    rig.run_until(200_001).await;
    assert!(matches!(rig.state(), SyncState::Offline { retry_at_ms: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn metered_policy_limits_automatic_syncs() {
    // The policy, the automatic pushes and pulls, and the resulting state.
    let table = [
        (Metered::Allow, 1, 1, "up_to_date"),
        (Metered::PushOnly, 1, 0, "metered"),
        (Metered::Never, 0, 0, "metered"),
    ];
    for (policy, pushes, pulls, state) in table {
        let rig = Rig::with(metered(policy), Credentials::Absent, events());
        rig.run_until(1000).await;
        rig.metered(true);
        rig.run_until(2000).await;
        let listeners = usize::from(policy == Metered::Allow);
        assert_eq!(rig.transport.listeners(), listeners, "{policy:?}");
        rig.take_arrivals();
        rig.write(1);
        rig.run_until(3000).await;
        let paths: Vec<String> =
            rig.take_arrivals().into_iter().map(|one| one.request.path).collect();
        let count = |part: &str| paths.iter().filter(|path| path.contains(part)).count();
        assert_eq!((count("push"), count("pull")), (pushes, pulls), "{policy:?}");
        assert_eq!(serde_json::to_value(rig.state()).unwrap()["state"], state, "{policy:?}");
        assert_eq!(rig.lost(), u64::from(policy == Metered::PushOnly));

        rig.write(1);
        let report = rig.driver.sync_and_wait(None).await.unwrap();
        assert_eq!(report.pulled, 100, "{policy:?}: an explicit sync was limited");
        rig.run_until(4000).await;
        assert_eq!(rig.transport.listeners(), listeners, "{policy:?}");
        rig.take_arrivals();
        rig.metered(false);
        rig.run_until(5000).await;
        assert!(!rig.take_pulls().is_empty(), "{policy:?}: no pull on the unmetered network");
        assert_eq!(rig.transport.listeners(), 1, "{policy:?}");
    }
}
