//! When passes begin: triggers, debounce, single flight, backoff.

use std::time::Duration;

use super::{Fault, Peer, Rig, config};
use crate::sync::driver::DriverConfig;
use crate::sync::status::State;
use crate::sync::token::Credentials;

#[tokio::test(start_paused = true)]
async fn each_trigger_begins_a_pass_at_its_time() {
    let rig = Rig::settled().await;
    rig.run_until(30_000).await;
    assert_eq!(rig.take_pulls(), [30_000], "the interval, from the end of the last pass");
    rig.run_until(31_000).await;
    rig.write(1);
    rig.run_until(32_000).await;
    assert_eq!(rig.take("push"), [31_500], "a local write, after the debounce");
    rig.driver.sync_now();
    rig.run_until(33_000).await;
    assert_eq!(rig.take_pulls(), [32_000], "by name");
    rig.driver.foreground();
    rig.run_until(34_000).await;
    assert_eq!(rig.take_pulls(), [33_000], "foreground");
    rig.online(false);
    rig.run_until(35_000).await;
    rig.online(true);
    rig.run_until(36_000).await;
    assert_eq!(rig.take_pulls(), [35_000], "connectivity back");
    rig.online(true);
    rig.run_until(64_999).await;
    assert_eq!(rig.take_pulls(), [0_u128; 0], "no news is no trigger");
    rig.run_until(65_000).await;
    assert_eq!(rig.take_pulls(), [65_000]);
    assert_eq!(rig.passes(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_writes_is_one_push_half_a_second_after_its_first() {
    let rig = Rig::settled().await;
    for count in 0..20 {
        rig.run_until(1000 + count * 100).await;
        rig.write(1);
    }
    rig.run_until(10_000).await;
    // Somebody who writes without a pause is pushed all the same, and each write once.
    assert_eq!(rig.take("push"), [1500, 2000, 2500, 3000]);
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn wishes_while_a_pass_runs_are_exactly_one_more() {
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
        assert_eq!(
            wait.await.unwrap().pulled,
            100,
            "each hears of the pass that began after it asked"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_while_a_pass_runs_is_pushed_after_it() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(4));
    rig.write(1);
    rig.run_until(1000).await;
    rig.write(1);
    rig.server.takes(Duration::ZERO);
    rig.run_until(20_000).await;
    assert_eq!(rig.take("push"), [500, 4500], "its debounce was over when the pass ended");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_to_sixteen_seconds_then_fall_to_the_interval() {
    let rig = Rig::new();
    rig.transport.set_offline(true);
    let mut times = Vec::new();
    let mut passes = 0;
    for tenth in 0..3000 {
        rig.run_until(tenth * 100).await;
        if rig.passes() > passes {
            passes = rig.passes();
            times.push(tenth * 100);
            assert!(matches!(rig.state(), State::Offline { retry_at: Some(_), .. }));
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
async fn pending_work_is_tried_again_soon_after_the_server_is_back() {
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
            assert!(matches!(rig.state(), State::UpToDate { .. }));
            // At the slowest every interval, although nothing was written and nobody asked.
            assert!(rig.take("push").len() as u64 <= count + 1);
            assert!(rig.passes() >= 1_000_000 / 30_000, "{}", rig.passes());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_wants_again_is_sent_again_soon() {
    let rig = Rig::settled().await;
    for _ in 0..3 {
        rig.server.answers(200, "retry", None);
        rig.server.answers(200, "{}", None);
    }
    rig.write(2);
    rig.run_until(29_000).await;
    let pushes = rig.take("push");
    assert_eq!(pushes.len(), 4, "{pushes:?}");
    assert!(pushes[3] <= 500 + 1000 + 2000 + 4000, "{pushes:?}");
    assert!(matches!(rig.state(), State::UpToDate { .. }));
}

/// A server that decides nothing is asked at the pace of the backoff, however much the app writes meanwhile.
#[tokio::test(start_paused = true)]
async fn pass_that_changed_nothing_is_followed_by_backoff() {
    let rig = Rig::with(config(), Credentials::Nobody, Peer { is_empty: true, ..Peer::default() });
    rig.run_until(0).await;
    rig.take_arrivals();
    (0..600).for_each(|_| rig.server.answers(200, "retry", None));
    for tenth in 1..600 {
        rig.run_until(tenth * 100).await;
        rig.write(1);
    }
    // 1, 2, 4, 8, 16 seconds at most between two, and half of that on average.
    let mut passes = rig.take("push");
    passes.dedup(); // What one request cannot hold goes in several.
    assert!((4..=16).contains(&passes.len()), "{passes:?}");
}

/// Hints that come without end: an event stream that always has news, a network that comes and goes.
#[tokio::test(start_paused = true)]
async fn hints_without_news_are_followed_by_backoff() {
    type Hint = fn(&Rig);
    let table: [(&str, bool, Hint); 4] = [
        ("events", false, |rig| rig.driver.shared.wish(|inbox| inbox.wishes.woken = true)),
        ("foreground", false, |rig| rig.driver.foreground()),
        ("credentials, while there is no server", true, |rig| rig.driver.credentials_changed()),
        ("a network that flaps", true, |rig| {
            rig.online(false);
            rig.online(true);
        }),
    ];
    for (name, offline, hint) in table {
        let peer = Peer { is_empty: true, ..Peer::default() };
        let rig = Rig::with(config(), Credentials::Nobody, peer);
        rig.run_until(0).await;
        rig.transport.set_offline(offline);
        let before = rig.passes();
        for step in 1..6000 {
            rig.run_until(step * 10).await;
            hint(&rig);
        }
        let passes = rig.passes() - before;
        assert!((4..=24).contains(&passes), "{name}: {passes} passes in a minute");
        // One that is wanted by name is not held back.
        rig.transport.set_offline(false);
        rig.driver.sync_and_wait(None).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_wins_over_backoff_and_over_all_but_a_sync_by_name() {
    let rig = Rig::settled().await;
    rig.server.answers(503, r#"{"error":"busy"}"#, Some(60));
    rig.run_until(30_000).await;
    assert_eq!(rig.take_pulls(), [30_000]);
    let State::WaitingUntil { at, why } = rig.state() else { panic!("{:?}", rig.state()) };
    assert!(why.contains("503"), "{why}");
    assert_eq!(at, super::NEW_YEAR + 90_000_000);
    rig.driver.foreground();
    rig.write(1);
    rig.run_until(89_999).await;
    assert_eq!(rig.take_pulls(), [0_u128; 0]);
    rig.run_until(90_000).await;
    assert_eq!(rig.take_pulls(), [90_000]);

    rig.server.answers(503, r#"{"error":"busy"}"#, Some(60));
    rig.driver.sync_now();
    rig.run_until(95_000).await;
    rig.driver.sync_now();
    rig.run_until(96_000).await;
    assert_eq!(rig.take_pulls(), [90_000, 95_000]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_lost_at_its_deadline() {
    let rig = Rig::settled().await;
    rig.transport.fault_on("push", super::LATE);
    rig.write(1);
    rig.run_until(10_499).await;
    assert_eq!((rig.state(), rig.lost()), (State::Pushing, 0));
    rig.run_until(10_500).await;
    assert!(matches!(rig.state(), State::Offline { .. }));
    assert_eq!(rig.lost(), 1);
    rig.run_until(11_500).await;
    assert_eq!(rig.take("push").len(), 2, "and sent again");

    // A transport that does not watch its time is watched.
    rig.server.takes(Duration::from_hours(1));
    rig.write(1);
    rig.run_until(23_000).await;
    assert_eq!(rig.lost(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_paces_are_the_configurations() {
    let second = Duration::from_secs(1);
    let config = DriverConfig {
        sync_interval: 5 * second,
        push_debounce: 2 * second,
        ack_deadline: 3 * second,
        ..config()
    };
    let rig = Rig::with(config, Credentials::Nobody, Peer::default());
    rig.run_until(5000).await;
    assert_eq!(rig.take_pulls(), [0, 5000]);
    rig.write(1);
    rig.transport.fault_on("push", super::LATE);
    rig.run_until(9999).await;
    assert_eq!(rig.lost(), 0);
    rig.run_until(10_000).await;
    assert_eq!(rig.take("push"), [7000]);
    assert_eq!(rig.lost(), 1);
}
