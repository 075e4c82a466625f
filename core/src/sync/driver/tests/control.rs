//! Steering: suspend and resume, stop, network hints, metered networks.

use std::time::Duration;

use super::{Rig, config, events, metered};
use crate::config::Metered;
use crate::error::Error;
use crate::sync::status::State;
use crate::sync::token::Credentials;

#[tokio::test(start_paused = true)]
async fn suspend_ends_a_request_under_way_at_once_and_resume_begins_anew() {
    let rig = Rig::with(config(), Credentials::Nobody, events());
    rig.run_until(1000).await;
    assert_eq!(rig.transport.listeners(), 1);
    rig.server.takes(Duration::from_secs(5));
    rig.write(1);
    rig.run_until(3000).await;
    assert_eq!(rig.state(), State::Pushing);
    let waits = rig.driver.sync_and_wait(None);
    let start = tokio::time::Instant::now();
    rig.driver.suspend().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(rig.state(), State::Suspended);
    assert_eq!(rig.transport.listeners(), 0, "the event stream is dropped");
    assert!(matches!(waits.await, Err(Error::Suspended)));
    assert!(matches!(rig.driver.sync_and_wait(None).await, Err(Error::Suspended)));

    rig.server.takes(Duration::ZERO);
    rig.take_arrivals();
    rig.write(1);
    rig.driver.sync_now();
    rig.driver.foreground();
    rig.run_until(500_000).await;
    assert_eq!(rig.take("").len(), 0, "nothing is sent while suspended");
    assert_eq!(rig.inside().renewed, 1);
    rig.driver.resume();
    rig.run_until(500_001).await;
    assert_eq!(rig.take("push"), [500_000]);
    assert_eq!(rig.pending(), 0, "both writes are accepted");
    assert_eq!(rig.transport.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn suspending_right_after_resuming_still_means_that_nothing_runs() {
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
        assert_eq!(rig.state(), State::Suspended);
        rig.take_arrivals();
        let now = rig.start.elapsed();
        rig.run_until(u64::try_from(now.as_millis()).unwrap() + 60_000).await;
        assert_eq!(rig.take("").len(), 0, "{yields}");
        rig.driver.resume();
    }
}

#[tokio::test(start_paused = true)]
async fn resumed_is_said_at_once_also_where_nothing_is_due() {
    let rig = Rig::settled().await;
    rig.server.answers(503, r#"{"error":"busy"}"#, Some(600));
    rig.driver.sync_now();
    rig.run_until(1000).await;
    let waiting = rig.state();
    assert!(matches!(waiting, State::WaitingUntil { .. }));
    rig.driver.suspend().await;
    rig.driver.resume();
    rig.run_until(2000).await;
    assert_eq!(rig.state(), waiting);
    assert_eq!(rig.take_pulls(), [0], "the server asked to be left alone");
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_everything_for_good() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let waits = rig.driver.sync_and_wait(None);
    rig.run_until(1000).await;
    rig.driver.stop().await;
    assert_eq!(rig.state(), State::Stopped);
    assert!(matches!(waits.await, Err(Error::Shutdown)));
    assert!(matches!(rig.driver.sync_and_wait(None).await, Err(Error::Shutdown)));
    rig.driver.suspend().await;
    rig.driver.resume();
    rig.driver.sync_now();
    rig.take_arrivals();
    rig.run_until(100_000).await;
    assert_eq!(rig.take("").len(), 0);
    assert_eq!(rig.state(), State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_sends_nothing_more_and_leaves_nobody_waiting() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let waits = rig.driver.sync_and_wait(None);
    rig.run_until(1000).await;
    let Rig { driver, server, .. } = rig;
    drop(driver);
    assert!(matches!(waits.await, Err(Error::Shutdown)));
    server.arrivals.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(server.arrivals.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_network_only_a_sync_by_name_is_tried() {
    let rig = Rig::settled().await;
    rig.online(false);
    rig.write(1);
    rig.driver.foreground();
    rig.run_until(200_000).await;
    assert_eq!(rig.take("").len(), 0);
    assert!(matches!(rig.state(), State::Offline { retry_at: None, .. }));
    // The hint may be wrong.
    assert_eq!(rig.driver.sync_and_wait(None).await.unwrap().accepted, 1);
    rig.run_until(200_001).await;
    assert!(matches!(rig.state(), State::Offline { retry_at: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_metered_network_carries_what_the_policy_allows() {
    // The policy, whether it pushes and pulls by itself, and the state afterwards.
    let table = [
        (Metered::Allow, 1, 1, "up_to_date"),
        (Metered::PushOnly, 1, 0, "metered"),
        (Metered::Never, 0, 0, "metered"),
    ];
    for (policy, pushes, pulls, state) in table {
        let rig = Rig::with(metered(policy), Credentials::Nobody, events());
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
        assert_eq!(report.pulled, 100, "{policy:?}: by name everything is exchanged");
        rig.run_until(4000).await;
        assert_eq!(rig.transport.listeners(), listeners, "{policy:?}");
        rig.take_arrivals();
        rig.metered(false);
        rig.run_until(5000).await;
        assert!(!rig.take_pulls().is_empty(), "{policy:?}: unmetered again");
        assert_eq!(rig.transport.listeners(), 1, "{policy:?}");
    }
}
