//! Tests of the table of subscriptions, on real files.

use std::sync::Arc;
use std::time::Duration;

use rejoin_protocol::limits;
use rejoin_protocol::wire::subscription::{RefusalCode, Subscription, SubscriptionState, header};
use tempfile::TempDir;

use super::{
    StreamKey, StreamRequest, of_request, record, refuse, release, remove_ended, subscribe, table,
};
use crate::engine::reset::{Keep, reset};
use crate::engine::tests::table as synced;
use crate::engine::{Engine, OpenOptions};
use crate::error::{Error, InputFault};
use crate::host::TestHost;

const DAY: Duration = Duration::from_hours(24);

fn opened() -> (TempDir, Engine, Arc<TestHost>) {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(1));
    let manifest =
        rejoin_protocol::Manifest::new(1, vec![synced("notes", &[("id", "string")], vec![])]);
    let options = OpenOptions { path: folder.path().join("app.db"), manifest: Some(manifest) };
    let engine = Engine::open(&options, Arc::clone(&host) as _).unwrap();
    (folder, engine, host)
}

fn wanted(project: &str, priority: u8, ttl: Duration) -> StreamRequest {
    let key = StreamKey { stream: "project".to_owned(), parameters: [("id", project)].into() };
    StreamRequest { key, priority, ttl }
}

/// The parameters and priorities of the next request.
fn sent(engine: &mut Engine) -> Vec<(String, u8)> {
    let all = of_request(engine).unwrap().into_iter();
    all.map(|one| (one.parameters["id"].clone(), one.priority)).collect()
}

fn states(engine: &Engine) -> Vec<Option<SubscriptionState>> {
    table::all(engine.db.conn()).unwrap().into_iter().map(|one| one.state).collect()
}

#[test]
fn second_subscription_has_longer_ttl_and_lower_priority() {
    let (_folder, mut engine, host) = opened();
    assert!(subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap(), "a new one needs a pull");
    subscribe(&mut engine, &wanted("b", 2, DAY)).unwrap();
    assert!(subscribe(&mut engine, &wanted("a", 1, DAY / 2)).unwrap());
    subscribe(&mut engine, &wanted("b", 9, 2 * DAY)).unwrap();
    assert_eq!(sent(&mut engine), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    host.advance(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(sent(&mut engine).len(), 2);
    host.advance(Duration::from_secs(2));
    assert_eq!(sent(&mut engine), [("b".to_owned(), 2)]);
    host.advance(DAY);
    assert!(sent(&mut engine).is_empty());
    remove_ended(&mut engine, &[]).unwrap();
    assert!(table::all(engine.db.conn()).unwrap().is_empty());
}

/// Its rows are on the device until a pull without it is applied.
#[test]
fn edit_beside_the_pull_that_ends_a_subscription_is_sent_with_it() {
    let (_folder, mut engine, host) = opened();
    subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap();
    let asked = of_request(&mut engine).unwrap();
    record(&mut engine, &asked, &[SubscriptionState::Current], true).unwrap();
    host.advance(2 * DAY);
    let pull = of_request(&mut engine).unwrap();
    assert!(pull.is_empty());
    assert_eq!(states(&engine), [None], "its rows may leave");
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    remove_ended(&mut engine, &pull).unwrap();
    assert_eq!(of_request(&mut engine).unwrap(), asked);
    let waiting = engine.pending().unwrap()[0].id;
    crate::engine::rebase::decide::discard(&mut engine, waiting).unwrap();
    record(&mut engine, &asked, &[SubscriptionState::Current], true).unwrap();
    remove_ended(&mut engine, &asked).unwrap();
    assert_eq!(states(&engine).len(), 1, "the pull had it");
    let pull = of_request(&mut engine).unwrap();
    remove_ended(&mut engine, &pull).unwrap();
    assert!(states(&engine).is_empty());
}

/// Found by the simulation: the cursor never had the bucket, so a row that came by the push stayed on the device.
#[test]
fn subscription_that_a_push_had_stays_until_a_pull_has_its_rows() {
    let (_folder, mut engine, _) = opened();
    subscribe(&mut engine, &wanted("a", 3, Duration::ZERO)).unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    let asked = of_request(&mut engine).unwrap();
    let waiting = engine.pending().unwrap()[0].id;
    crate::engine::rebase::decide::discard(&mut engine, waiting).unwrap();
    for (state, is_applied) in [
        (SubscriptionState::Loading, true),
        (SubscriptionState::Current, false),
        (SubscriptionState::Current, true),
    ] {
        assert!(!remove_ended(&mut engine, &asked).unwrap());
        assert_eq!(of_request(&mut engine).unwrap(), asked);
        record(&mut engine, &asked, &[state], is_applied).unwrap();
    }
    assert!(remove_ended(&mut engine, &asked).unwrap(), "one more pull, without it");
    assert!(sent(&mut engine).is_empty());
    assert!(!remove_ended(&mut engine, &[]).unwrap());
    assert!(states(&engine).is_empty());
}

/// A right may come and go between the pulls.
#[test]
fn refused_subscription_that_a_push_had_stays_until_the_next_pull() {
    let (_folder, mut engine, _) = opened();
    subscribe(&mut engine, &wanted("a", 3, Duration::ZERO)).unwrap();
    refuse(&mut engine, "no streams").unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    assert_eq!(sent(&mut engine).len(), 1);
    let waiting = engine.pending().unwrap()[0].id;
    crate::engine::rebase::decide::discard(&mut engine, waiting).unwrap();
    assert_eq!(sent(&mut engine).len(), 1);
    refuse(&mut engine, "no streams").unwrap();
    assert!(sent(&mut engine).is_empty());
}

#[test]
fn expired_subscription_is_sent_while_mutations_wait() {
    let (_folder, mut engine, host) = opened();
    subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap();
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    host.advance(2 * DAY);
    assert_eq!(sent(&mut engine).len(), 1);
    // It begins again with the new values.
    subscribe(&mut engine, &wanted("a", 7, DAY / 2)).unwrap();
    assert_eq!(sent(&mut engine), [("a".to_owned(), 7)]);
    host.advance(DAY);
    let waiting = engine.pending().unwrap()[0].id;
    crate::engine::rebase::decide::discard(&mut engine, waiting).unwrap();
    let asked = of_request(&mut engine).unwrap();
    record(&mut engine, &asked, &[SubscriptionState::Current], true).unwrap();
    assert!(sent(&mut engine).is_empty());
}

#[test]
fn ttl_begins_at_the_release() {
    let (_folder, mut engine, host) = opened();
    subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap();
    host.advance(DAY / 2);
    release(&mut engine, &wanted("a", 3, DAY).key).unwrap();
    host.advance(DAY * 3 / 4);
    assert_eq!(sent(&mut engine).len(), 1);
    host.advance(DAY);
    assert!(sent(&mut engine).is_empty());
}

#[test]
fn too_many_subscriptions_are_refused() {
    let (_folder, mut engine, _) = opened();
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    let mut number = 0;
    let refused = loop {
        number += 1;
        let name = format!("{number}{}", "x".repeat(100));
        if let Err(error) = subscribe(&mut engine, &wanted(&name, 3, DAY)) {
            break error;
        }
    };
    let limit = limits::SUBSCRIPTIONS;
    assert!(
        matches!(refused, Error::InvalidInput(InputFault::TooManySubscriptions { limit: named })
            if named == limit),
        "{refused}"
    );
    assert_eq!(sent(&mut engine).len(), number - 1, "it was stored");
    assert!(number > 30);
}

/// Opening many screens on one day: the default time to live is a day.
#[test]
fn subscription_that_the_app_released_first_makes_room() {
    let (_folder, mut engine, host) = opened();
    for number in 0..100 {
        let name = format!("{number}{}", "x".repeat(100));
        subscribe(&mut engine, &wanted(&name, 3, DAY)).unwrap();
        host.advance(Duration::from_secs(1));
    }
    let named = sent(&mut engine);
    assert!(named.len() > 10);
    let oldest = 100 - named.len();
    assert!(
        named
            .iter()
            .all(|(name, _)| { name.trim_end_matches('x').parse::<usize>().unwrap() >= oldest })
    );
}

/// Offline no pull removes them; all are sent while an edit waits.
#[test]
fn ended_subscriptions_never_exceed_the_header() {
    let (_folder, mut engine, _) = opened();
    for number in 0..100 {
        let name = format!("{number}{}", "x".repeat(100));
        subscribe(&mut engine, &wanted(&name, 3, Duration::ZERO)).unwrap();
    }
    engine.execute("INSERT INTO notes (id) VALUES ('n')", &[]).unwrap();
    let asked = of_request(&mut engine).unwrap();
    assert!(asked.len() > 10 && header(&asked).is_some(), "{}", asked.len());
}

#[test]
fn subscription_without_a_name_is_refused() {
    let (_folder, mut engine, _) = opened();
    let nameless = |stream: &str, parameter: &str| {
        let key = StreamKey { stream: stream.to_owned(), parameters: [(parameter, 1)].into() };
        StreamRequest { key, priority: 3, ttl: DAY }
    };
    for request in [nameless("", "id"), nameless("project", "")] {
        let refused = subscribe(&mut engine, &request);
        let refused = matches!(refused, Err(Error::InvalidInput(InputFault::Refused { .. })));
        assert!(refused, "{request:?}");
    }
}

#[test]
fn state_is_current_only_when_the_rows_are_applied() {
    let (_folder, mut engine, _) = opened();
    subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap();
    let asked = of_request(&mut engine).unwrap();
    let mut check = |state: SubscriptionState, is_applied, expected: SubscriptionState| {
        record(&mut engine, &asked, &[state], is_applied).unwrap();
        assert_eq!(states(&engine), [Some(expected)]);
    };
    let refused = SubscriptionState::Refused {
        code: RefusalCode::Forbidden,
        message: "no member".to_owned(),
    };
    check(SubscriptionState::Current, false, SubscriptionState::Loading);
    check(SubscriptionState::Current, true, SubscriptionState::Current);
    check(SubscriptionState::Current, false, SubscriptionState::Current);
    check(SubscriptionState::Loading, false, SubscriptionState::Loading);
    check(refused.clone(), false, refused);
    // States of unknown subscriptions are ignored.
    let other = Subscription { stream: "other".to_owned(), ..asked[0].clone() };
    record(&mut engine, &[other], &[SubscriptionState::Current], true).unwrap();
    assert!(subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap(), "it is decided again");
    assert_eq!(states(&engine), [None]);
    record(&mut engine, &asked, &[SubscriptionState::Current], true).unwrap();
    assert!(!subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap(), "nothing has changed");
    refuse(&mut engine, "no streams").unwrap();
    assert!(matches!(states(&engine)[..], [Some(SubscriptionState::Refused { .. })]));
}

#[test]
fn reset_keeps_subscriptions_of_the_same_user_only() {
    let (_folder, mut engine, _) = opened();
    for (keep, kept) in [(Keep::Pending, 1), (Keep::Local, 0), (Keep::Nothing, 0)] {
        subscribe(&mut engine, &wanted("a", 3, DAY)).unwrap();
        let asked = of_request(&mut engine).unwrap();
        record(&mut engine, &asked, &[SubscriptionState::Current], true).unwrap();
        reset(&mut engine, keep, &[]).unwrap();
        assert_eq!(states(&engine), vec![None; kept], "{keep:?}");
    }
}
