//! Tests of the results of passes: offline, refusals, credentials, foreign responses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Fault, Peer, RealSession, Rig, config};
use crate::error::{Error, StorageFault, SyncFault};
use crate::sync::driver::DriverConfig;
use crate::sync::status::{SyncState, SyncedRows};
use crate::sync::subject::Signer;
use crate::sync::token::Credentials;
use crate::sync::token::tests::Script as Tokens;

/// How a sync server refuses credentials.
const DENIED: &str = r#"{"error":"invalid token"}"#;

/// A response that is not from a sync server.
const PAGE: &str = "<html>Please sign in</html>";

fn signed(tokens: &Arc<Tokens>) -> Rig {
    Rig::with(config(), Credentials::Tokens(tokens.clone()), Peer::default())
}

fn sent_tokens(rig: &Rig) -> Vec<String> {
    let arrivals = rig.take_arrivals();
    arrivals
        .iter()
        .map(|one| one.request.header("authorization").unwrap_or("").to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn token_is_renewed_once_after_a_401() {
    let tokens = Tokens::new("old", vec![Ok(Some("new".into()))]);
    let rig = signed(&tokens);
    rig.server.answers(401, DENIED, None);
    rig.run_until(0).await;
    assert_eq!(sent_tokens(&rig), ["Bearer old", "Bearer new", "Bearer new"]);
    assert_eq!(*tokens.asked.lock().unwrap(), [false, true]);
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_wait_for_new_ones_without_requests() {
    let tokens = Tokens::new("old", vec![Ok(Some("worse".into()))]);
    let credentials = Credentials::Tokens(tokens.clone());
    let rig = Rig::over(RealSession::new(true), config(), credentials, Peer::default());
    rig.server.answers(401, DENIED, None);
    rig.server.answers(401, DENIED, None);
    rig.run_until(0).await;
    assert_eq!(sent_tokens(&rig), ["Bearer old", "Bearer worse"]);
    assert_eq!(rig.state(), SyncState::NeedsAuth);
    rig.write(1);
    rig.run_until(100_000).await;
    assert!(matches!(
        rig.driver.sync_and_wait(None).await,
        Err(Error::Sync(SyncFault::Unauthorized))
    ));
    assert!(matches!(
        rig.driver.wait_for_first_sync(None).await,
        Err(Error::Sync(SyncFault::Unauthorized))
    ));
    assert_eq!(sent_tokens(&rig), [""; 0]);
    let refreshes = || tokens.asked.lock().unwrap().iter().filter(|asked| **asked).count();
    assert_eq!(refreshes(), 1);
    assert_eq!(rig.driver.transitions().len(), 2, "{:?}", rig.driver.transitions());

    *tokens.current.lock().unwrap() = Some("good".into());
    rig.driver.credentials_changed();
    rig.driver.wait_for_first_sync(None).await.unwrap();
    rig.run_until(101_000).await;
    let sent = sent_tokens(&rig);
    assert!(sent.len() >= 3 && sent.iter().all(|one| one == "Bearer good"), "{sent:?}");
    assert_eq!(rig.pending(), 0);
    assert_eq!(refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_found_at_the_interval() {
    let tokens = Tokens::new("old", vec![Ok(None)]);
    let rig = signed(&tokens);
    rig.server.answers(401, DENIED, None);
    rig.run_until(10_000).await;
    assert_eq!(rig.state(), SyncState::NeedsAuth);
    *tokens.current.lock().unwrap() = Some("good".into());
    rig.run_until(30_000).await;
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

#[tokio::test(start_paused = true)]
async fn outdated_app_retries_once_an_hour() {
    let rig = Rig::settled().await;
    rig.server.answers(426, r#"{"error":"2.0.0"}"#, None);
    rig.run_until(30_000).await;
    assert_eq!(rig.state(), SyncState::UpgradeRequired { reason: "2.0.0".into() });
    rig.server.answers(426, r#"{"error":"2.0.0"}"#, None);
    let outcome = rig.driver.sync_and_wait(None).await;
    assert!(
        matches!(outcome, Err(Error::Sync(SyncFault::UpgradeRequired(message))) if message == "2.0.0")
    );
    rig.write(1);
    rig.run_until(3_629_000).await;
    assert_eq!(rig.take_pulls(), [30_000, 30_000]);
    rig.run_until(3_631_000).await;
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn offline_is_returned_after_one_attempt_and_loop_continues() {
    let rig = Rig::settled().await;
    rig.transport.set_offline(true);
    rig.inside().write(2, 1);
    let before = rig.passes();
    assert!(matches!(
        rig.driver.sync_and_wait(None).await,
        Err(Error::Sync(SyncFault::Offline(_)))
    ));
    assert_eq!(rig.passes(), before + 1);
    rig.transport.set_offline(false);
    rig.run_until(1000).await;
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn failure_sets_its_state_and_error() {
    // Status and body of the response, the resulting state, and the start of the error.
    let ours = r#"{"error":"e"}"#;
    let table = [
        (500, ours, "waiting_until", "server unreachable"),
        (503, ours, "waiting_until", "server unreachable"),
        (429, ours, "waiting_until", "server answered 429"),
        (404, ours, "failed", "server answered 404"),
        (400, ours, "failed", "server answered 400"),
        (302, ours, "offline", "server unreachable"),
        (500, PAGE, "offline", "server unreachable"),
        (404, PAGE, "offline", "server unreachable"),
        (426, "", "offline", "server unreachable"),
        (413, PAGE, "offline", "server unreachable"),
    ];
    for (status, body, state, prefix) in table {
        let rig = Rig::settled().await;
        rig.server.answers(status, body, None);
        let error = rig.driver.sync_and_wait(None).await.unwrap_err().to_string();
        assert!(error.starts_with(prefix), "{status}: {error}");
        let json = serde_json::to_value(rig.state()).unwrap();
        assert_eq!(json["state"], state, "{status}");
        rig.run_until(30_000).await;
        assert!(matches!(rig.state(), SyncState::UpToDate { .. }), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_keeps_failing_is_reported_as_failed() {
    let rig = Rig::with(
        DriverConfig { max_retries: 2, ..config() },
        Credentials::Absent,
        Peer::default(),
    );
    (0..3).for_each(|_| rig.server.answers(500, r#"{"error":"e"}"#, None));
    rig.run_until(10_000).await;
    assert!(matches!(rig.state(), SyncState::Failed { .. }), "{:?}", rig.state());
    rig.run_until(40_000).await;
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

#[tokio::test(start_paused = true)]
async fn captive_portal_page_is_not_passed_to_the_session() {
    let rig = Rig::settled().await;
    rig.transport.fault_on("push", Fault::Html);
    rig.inside().write(1, 1);
    let error = rig.driver.sync_and_wait(None).await.unwrap_err().to_string();
    assert!(error.contains("sign in to this network"), "{error}");
    assert_eq!(rig.lost(), 1);
}

#[tokio::test(start_paused = true)]
async fn truncated_response_is_retried_with_backoff() {
    let rig = Rig::settled().await;
    rig.transport.fault_on("push", Fault::CutBody);
    rig.write(1);
    rig.run_until(500).await;
    assert!(matches!(rig.state(), SyncState::Offline { .. }));
    rig.run_until(1500).await;
    assert_eq!(rig.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn cached_response_is_ignored() {
    let rig = Rig::settled().await;
    rig.server.is_cached.store(true, Ordering::SeqCst);
    rig.write(1);
    rig.run_until(500).await;
    assert!(matches!(rig.state(), SyncState::Offline { .. }), "{:?}", rig.state());
    assert_eq!(rig.lost(), 1);
    let sent = rig.take_arrivals();
    assert_eq!(sent[0].request.header("cache-control"), Some("no-cache, no-store"));
    rig.server.is_cached.store(false, Ordering::SeqCst);
    rig.run_until(2000).await;
    assert_eq!(rig.pending(), 0);
}

/// If a portal's 401 counted, a token that never changes would not be used again.
#[tokio::test(start_paused = true)]
async fn captive_portals_401_does_not_refuse_the_token() {
    let tokens = Tokens::new("fixed", vec![Ok(Some("fixed".into())), Ok(Some("fixed".into()))]);
    let rig = signed(&tokens);
    (0..2).for_each(|_| rig.server.answers(401, PAGE, None));
    rig.run_until(10_000).await;
    let states = rig.driver.transitions();
    assert!(!states.iter().any(|one| one.state == SyncState::NeedsAuth), "{states:?}");
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }), "{:?}", rig.state());
}

#[tokio::test(start_paused = true)]
async fn report_counts_the_results_of_the_pass() {
    let rig = Rig::settled().await;
    rig.inside().write(3, 1);
    let report = rig.driver.sync_and_wait(None).await.unwrap();
    assert_eq!(
        (report.accepted, report.parked, report.pulled, report.still_pending),
        (3, 0, 100, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn wait_with_a_timeout_returns_in_time() {
    let rig = Rig::settled().await;
    rig.server.takes(Duration::from_secs(5));
    let wait = rig.driver.sync_and_wait(Some(Duration::from_secs(2)));
    let start = tokio::time::Instant::now();
    let error = wait.await.unwrap_err().to_string();
    assert!(error.contains("goes on in the background"), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    rig.run_until(20_000).await;
    assert!(matches!(rig.state(), SyncState::UpToDate { .. }));
}

#[tokio::test(start_paused = true)]
async fn wait_for_first_sync_waits_for_a_network() {
    let fresh = RealSession::new(true);
    let rig = Rig::over(fresh, config(), Credentials::Absent, Peer::default());
    rig.transport.set_offline(true);
    let second = Duration::from_secs(1);
    let late = rig.driver.wait_for_first_sync(Some(5 * second)).await;
    assert!(matches!(late, Err(Error::Sync(SyncFault::Offline(_)))));
    let wait = rig.driver.wait_for_first_sync(None);
    rig.transport.set_offline(false);
    wait.await.unwrap();
    rig.transport.set_offline(true);
    rig.driver.wait_for_first_sync(Some(second)).await.unwrap();

    // After an earlier first sync, no network is needed.
    let rig = Rig::new();
    rig.transport.set_offline(true);
    rig.driver.wait_for_first_sync(Some(second)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn first_sync_returns_an_error_of_the_file() {
    let fresh = RealSession::new(true);
    fresh.inside().engine.db.conn().execute_batch("PRAGMA query_only = ON").unwrap();
    let rig = Rig::over(fresh, config(), Credentials::Absent, Peer::default());
    let outcome = rig.driver.wait_for_first_sync(Some(Duration::from_secs(5))).await;
    assert!(matches!(outcome, Err(Error::Storage(StorageFault::ReadOnly(_)))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn first_sync_returns_an_error_of_a_later_pass() {
    let rig = Rig::over(RealSession::new(true), config(), Credentials::Absent, Peer::default());
    rig.transport.set_offline(true);
    let wait = rig.driver.wait_for_first_sync(Some(Duration::from_mins(1)));
    rig.run_until(500).await;
    assert!(rig.passes() >= 1 && matches!(rig.state(), SyncState::Offline { .. }));
    rig.inside().engine.db.conn().execute_batch("PRAGMA query_only = ON").unwrap();
    rig.transport.set_offline(false);
    let outcome = wait.await;
    assert!(matches!(outcome, Err(Error::Storage(StorageFault::ReadOnly(_)))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn progress_reports_rows_and_rows_per_second() {
    let rig = Rig::with(config(), Credentials::Absent, Peer { more: 2, ..Peer::default() });
    rig.server.takes(Duration::from_secs(2));
    let mut states = Vec::new();
    for second in [1, 3, 5, 7, 9] {
        rig.run_until(second * 1000).await;
        states.push(rig.state());
    }
    let applying = |done, total, rows_per_second| {
        SyncState::Applying(SyncedRows { done, total, rows_per_second })
    };
    assert_eq!(states[0], SyncState::Connecting);
    assert_eq!(
        states[1..4],
        [applying(0, None, 0), applying(100, Some(300), 50), applying(200, Some(300), 50)]
    );
    assert_eq!(states[4], SyncState::UpToDate { since_ms: super::NEW_YEAR / 1_000 + 8_000 });
}

#[tokio::test(start_paused = true)]
async fn large_requests_are_compressed_if_the_server_supports_it() {
    for can in [false, true] {
        let capabilities = if can { vec!["gzip"] } else { Vec::new() };
        let peer = Peer { capabilities, ..Peer::default() };
        let rig = Rig::with(config(), Credentials::Absent, peer);
        rig.inside().write(1, 5_000);
        rig.run_until(0).await;
        let arrivals = rig.take_arrivals();
        let gzipped: Vec<bool> = arrivals
            .iter()
            .map(|one| one.request.header("content-encoding") == Some("gzip"))
            .collect();
        // Register is first, before the server's capabilities are known.
        assert_eq!(gzipped, [false, can, false]);
        assert!(arrivals.iter().all(|one| one.request.header("rejoin-protocol") == Some("1")));
        assert!(arrivals.iter().all(|one| one.request.header("x-app-version") == Some("0.0.0")));
    }
}

#[tokio::test(start_paused = true)]
async fn renewed_token_of_another_user_ends_the_pass_unsent() {
    // {"sub":"ana"}, {"sub":"bob"} and {"sub":"ana","n":1}
    let [ana, bob, later] =
        ["eyJzdWIiOiJhbmEifQ", "eyJzdWIiOiJib2IifQ", "eyJzdWIiOiJhbmEiLCJuIjoxfQ"]
            .map(|claims| format!("e30.{claims}.c2ln"));
    let tokens = Tokens::new(&ana, vec![Ok(Some(later.clone())), Ok(Some(bob.clone()))]);
    let rig = signed(&tokens);
    rig.server.answers(401, DENIED, None);
    rig.run_until(0).await;
    let sent = |tokens: &[&String]| -> Vec<String> {
        tokens.iter().map(|token| format!("Bearer {token}")).collect()
    };
    let named = |user: &str| Signer::User(user.to_owned());
    let signed = || std::mem::take(&mut rig.inside().signed);
    assert_eq!(sent_tokens(&rig), sent(&[&ana, &later, &later]));
    assert_eq!(signed(), [named("ana")], "a newer token of the same user ended the pass");

    rig.server.answers(401, DENIED, None);
    rig.driver.sync_now();
    rig.run_until(1).await;
    assert_eq!(sent_tokens(&rig), sent(&[&later]));
    assert_eq!(signed(), [named("ana"), named("bob")]);
    assert!(matches!(rig.state(), SyncState::Offline { .. }), "{:?}", rig.state());
    rig.run_until(100_000).await;
    assert_eq!(signed()[0], named("bob"), "the next pass has another user");
    assert_eq!(sent_tokens(&rig)[0], sent(&[&bob])[0]);
}
