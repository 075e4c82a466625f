//! Tests of when passes start: triggers, debounce, single pass, backoff.

use std::time::Duration;

use super::{Fault, Peer, Rig, config};
use crate::sync::driver::DriverConfig;
use crate::sync::status::SyncState;
use crate::sync::token::Credentials;

#[tokio::test(start_paused = true)]
async fn trigger_starts_a_pass_at_its_time() {
    let rig = Rig::settled().await;
    rig.run_until(30_000).await;
    assert_eq!(rig.take_pulls(), [30_000], "interval after the last pass");
    rig.run_until(31_000).await;
    rig.write(1);
    rig.run_until(32_000).await;
    assert_eq!(rig.take("push"), [31_000], "local write after a pause");
    rig.driver.sync_now();
    rig.run_until(33_000).await;
    assert_eq!(rig.take_pulls(), [32_000], "explicit");
    rig.driver.foreground();
    rig.run_until(34_000).await;
    assert_eq!(rig.take_pulls(), [33_000], "foreground");
    rig.online(false);
    rig.run_until(35_000).await;
    rig.online(true);
    rig.run_until(36_000).await;
    assert_eq!(rig.take_pulls(), [35_000], "network back");
    rig.online(true);
    rig.run_until(64_999).await;
    assert_eq!(rig.take_pulls(), [0_u128; 0], "an unchanged network state started a pass");
    rig.run_until(65_000).await;
    assert_eq!(rig.take_pulls(), [65_000]);
    assert_eq!(rig.passes(), 7);
}

/// Each foreground finds nothing new, so the next ones are postponed by up to the interval.
#[tokio::test(start_paused = true)]
async fn hint_in_vain_does_not_postpone_a_write() {
    let quiet = Peer { is_empty: true, ..Peer::default() };
    let slow = DriverConfig { sync_interval: Duration::from_hours(1), ..config() };
    let rig = Rig::with(slow, Credentials::Absent, quiet);
    for minute in 1..20 {
        rig.driver.foreground();
        rig.run_until(minute * 60_000).await;
    }
    rig.driver.foreground();
    rig.write(1);
    rig.run_until(20 * 60_000).await;
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_write_after_a_pause_is_pushed_at_once() {
    let rig = Rig::settled().await;
    for second in [1, 2, 10, 3_600] {
        rig.run_until(second * 1_000).await;
        rig.take_arrivals();
        rig.write(1);
        rig.run_until(second * 1_000 + 1).await;
        assert_eq!(rig.take("push"), [u128::from(second) * 1_000]);
        assert_eq!(rig.pending(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn continuous_writes_are_one_push_in_each_debounce() {
    let rig = Rig::settled().await;
    for count in 0..20 {
        rig.run_until(1000 + count * 100).await;
        rig.write(1);
    }
    rig.run_until(10_000).await;
    // The first at once, then in intervals, each write once.
    assert_eq!(rig.take("push"), [1000, 1500, 2000, 2500, 3000]);
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn burst_of_100_writes_is_3_pushes_and_none_waits_longer() {
    let rig = Rig::settled().await;
    for count in 0..150 {
        rig.run_until(1000 + count * 10).await;
        // The writes of the last half second, one every 10 ms.
        assert!(rig.pending() <= 50, "{} wait after {count}", rig.pending());
        if count < 100 {
            rig.write(1);
        }
    }
    assert_eq!(rig.pending(), 0);
    assert_eq!(rig.take("push"), [1000, 1500, 2000]);
}

/// An app that writes faster than a push takes does not keep a pass pushing.
#[tokio::test(start_paused = true)]
async fn write_during_a_push_is_for_the_next_pass() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_millis(100));
    for count in 0..100 {
        rig.run_until(1000 + count * 10).await;
        rig.write(1);
    }
    rig.run_until(3000).await;
    assert_eq!(rig.take("push"), [1000, 1500, 2000]);
    assert_eq!(rig.pending(), 0);
}

/// The first write after a pause is pushed at once, but not to a server that fails.
#[tokio::test(start_paused = true)]
async fn writes_do_not_bypass_the_backoff() {
    for status in [500, 503] {
        let rig = Rig::settled().await;
        (0..600).for_each(|_| rig.server.answers(status, r#"{"error":"busy"}"#, None));
        for second in 1..60 {
            rig.run_until(second * 1_000).await;
            rig.write(1);
        }
        let requests = rig.take("").len();
        assert!((4..=16).contains(&requests), "{status}: {requests} in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_pass_cause_exactly_one_more() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(4));
    rig.driver.sync_now();
    rig.run_until(1000).await;
    for _ in 0..10 {
        rig.driver.sync_now();
        rig.driver.foreground();
    }
    let waits = [rig.driver.sync_and_wait(None), rig.driver.sync_and_wait(None)];
    rig.run_until(29_000).await;
    assert_eq!(rig.take_pulls(), [0, 4000]);
    for wait in waits {
        assert_eq!(wait.await.unwrap().pulled, 100, "a waiter got the result of another pass");
    }
}

#[tokio::test(start_paused = true)]
async fn write_during_a_pass_is_pushed_after_it() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(4));
    rig.write(1);
    rig.run_until(1000).await;
    rig.write(1);
    rig.server.takes(Duration::ZERO);
    rig.run_until(20_000).await;
    assert_eq!(rig.take("push"), [0, 4000], "the write was debounced again");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_to_sixteen_seconds_then_use_the_interval() {
    let rig = Rig::new();
    rig.transport.set_offline(true);
    let mut times = Vec::new();
    let mut passes = 0;
    for tenth in 0..3000 {
        rig.run_until(tenth * 100).await;
        if rig.passes() > passes {
            passes = rig.passes();
            times.push(tenth * 100);
            assert!(matches!(rig.state(), SyncState::Offline { retry_at_ms: Some(_), .. }));
        }
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let ceilings = [1000, 2000, 4000, 8000, 16_000].into_iter().chain(std::iter::repeat(30_000));
    let fits = gaps.iter().zip(ceilings).all(|(gap, ceiling)| *gap <= ceiling + 100);
    assert!(fits, "{gaps:?}");
    assert!(gaps.len() > 8, "{gaps:?}");
    assert!(gaps[5..].iter().any(|gap| *gap > 16_000), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn pending_mutations_are_retried_when_the_server_is_back() {
    let faults =
        [Fault::RequestLost, Fault::AnswerLost, Fault::InternalError, Fault::Html, Fault::CutBody];
    for fault in faults {
        for count in 1..12_u64 {
            let rig = Rig::settled().await;
            (0..count).for_each(|_| rig.transport.fault(fault.clone()));
            rig.write(3);
            rig.run_until(1_000_000).await;
            assert!(rig.transport.is_calm());
            assert_eq!(rig.pending(), 0, "{count} times {fault:?}");
            assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
            // At the latest every interval, without writes or requests.
            assert!(rig.take("push").len() as u64 <= count + 1);
            assert!(rig.passes() >= 1_000_000 / 30_000, "{}", rig.passes());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_verdict_is_sent_again_with_backoff() {
    let rig = Rig::settled().await;
    for _ in 0..3 {
        rig.server.answers(200, "retry", None);
        rig.server.answers(200, "{}", None);
    }
    rig.write(2);
    rig.run_until(29_000).await;
    let pushes = rig.take("push");
    assert_eq!(pushes.len(), 4, "{pushes:?}");
    assert!(pushes[3] <= 1000 + 2000 + 4000, "{pushes:?}");
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

/// A server that decides nothing is retried with backoff, regardless of new writes.
#[tokio::test(start_paused = true)]
async fn pass_without_changes_is_followed_by_backoff() {
    let rig = Rig::with(config(), Credentials::Absent, Peer { is_empty: true, ..Peer::default() });
    rig.run_until(0).await;
    rig.take_arrivals();
    (0..600).for_each(|_| rig.server.answers(200, "retry", None));
    for tenth in 1..600 {
        rig.run_until(tenth * 100).await;
        rig.write(1);
    }
    // Waits of at most 1, 2, 4, 8, 16 seconds, half of that on average.
    let mut passes = rig.take("push");
    passes.dedup(); // One pass may need several requests.
    assert!((4..=16).contains(&passes.len()), "{passes:?}");
}

/// Endless hints: an event stream with constant events, a network that keeps changing.
#[tokio::test(start_paused = true)]
async fn hints_without_changes_are_followed_by_backoff() {
    type Hint = fn(&Rig);
    let table: [(&str, bool, Hint); 4] = [
        ("events", false, |rig| rig.driver.shared.change(|inbox| inbox.requests.woken = true)),
        ("foreground", false, |rig| rig.driver.foreground()),
        ("credentials, while there is no server", true, |rig| rig.driver.credentials_changed()),
        ("a network that flaps", true, |rig| {
            rig.online(false);
            rig.online(true);
        }),
    ];
    for (name, offline, hint) in table {
        let peer = Peer { is_empty: true, ..Peer::default() };
        let rig = Rig::with(config(), Credentials::Absent, peer);
        rig.run_until(0).await;
        rig.transport.set_offline(offline);
        let before = rig.passes();
        for step in 1..6000 {
            rig.run_until(step * 10).await;
            hint(&rig);
        }
        let passes = rig.passes() - before;
        assert!((4..=24).contains(&passes), "{name}: {passes} passes in a minute");
        // An explicit sync is not delayed.
        rig.transport.set_offline(false);
        rig.driver.sync_and_wait(None).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_all_but_explicit_syncs() {
    let rig = Rig::settled().await;
    rig.server.answers(503, r#"{"error":"busy"}"#, Some(60));
    rig.run_until(30_000).await;
    assert_eq!(rig.take_pulls(), [30_000]);
    let SyncState::WaitingUntil { at_ms, reason: why } = rig.state() else {
        panic!("{:?}", rig.state())
    };
    assert!(why.contains("503"), "{why}");
    // Up to half longer than asked.
    let due = u64::try_from(at_ms - super::NEW_YEAR / 1_000).unwrap() + 1;
    assert!((90_000..=120_000).contains(&due), "{due}");
    rig.driver.foreground();
    rig.write(1);
    rig.run_until(due - 1).await;
    assert_eq!(rig.take_pulls(), [0_u128; 0]);
    rig.run_until(due).await;
    assert_eq!(rig.take_pulls(), [u128::from(due)]);

    rig.server.answers(503, r#"{"error":"busy"}"#, Some(60));
    rig.driver.sync_now();
    rig.run_until(due + 5_000).await;
    rig.driver.sync_now();
    rig.run_until(due + 6_000).await;
    assert_eq!(rig.take_pulls(), [u128::from(due), u128::from(due) + 5_000]);
}

#[tokio::test(start_paused = true)]
async fn request_without_a_response_is_lost_at_its_deadline() {
    let rig = Rig::settled().await;
    rig.transport.fault_on("push", super::LATE);
    rig.write(1);
    rig.run_until(9_999).await;
    assert_eq!((rig.state(), rig.lost()), (SyncState::Pushing, 0));
    rig.run_until(10_000).await;
    assert!(matches!(rig.state(), SyncState::Offline { .. }));
    assert_eq!(rig.lost(), 1);
    rig.run_until(11_000).await;
    assert_eq!(rig.take("push").len(), 2, "the push was not sent again");

    // A transport that ignores its timeout is aborted.
    rig.server.takes(Duration::from_hours(1));
    rig.write(1);
    rig.run_until(23_000).await;
    assert_eq!(rig.lost(), 2);
}

#[tokio::test(start_paused = true)]
async fn page_without_a_response_is_followed_by_half_of_it() {
    let fresh = super::RealSession::new(true);
    let rig = Rig::over(fresh, config(), Credentials::Absent, Peer::default());
    // The second is lost at once: nothing about its size follows from that.
    rig.transport.fault_on("snapshot", super::LATE);
    rig.transport.fault_on("snapshot", Fault::RequestLost);
    rig.run_until(30_000).await;
    let requests = rig.transport.take_seen();
    let pages = requests.iter().filter(|request| request.path.contains("snapshot"));
    let asked: Vec<u64> = pages
        .map(|page| {
            serde_json::from_slice::<serde_json::Value>(page.body.as_ref().unwrap()).unwrap()
        })
        .filter_map(|body| body["limit"].as_u64())
        .collect();
    assert_eq!(asked, [1_000, 500, 500]);
}

#[tokio::test(start_paused = true)]
async fn timing_follows_the_configuration() {
    let second = Duration::from_secs(1);
    let config = DriverConfig {
        sync_interval: 5 * second,
        push_debounce: 2 * second,
        ack_deadline: 3 * second,
        ..config()
    };
    let rig = Rig::with(config, Credentials::Absent, Peer::default());
    rig.run_until(5000).await;
    assert_eq!(rig.take_pulls(), [0, 5000]);
    rig.write(1);
    rig.run_until(6000).await;
    rig.write(1);
    rig.transport.fault_on("push", super::LATE);
    rig.run_until(9999).await;
    assert_eq!(rig.lost(), 0);
    rig.run_until(10_000).await;
    assert_eq!(rig.take("push"), [5000, 7000]);
    assert_eq!(rig.lost(), 1);
}
