//! Tests of subscriptions to streams.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use rejoin_core::block_on;
use rejoin_ffi::{
    RefusalCode, RejoinError, StreamStatus, StreamSubscription, SubscribedStream,
    SubscriptionsObserver,
};

use crate::cloud::{Cloud, URL};
use crate::home::{Home, next};

struct Observer(Mutex<Sender<Vec<SubscribedStream>>>);

impl SubscriptionsObserver for Observer {
    fn on_subscriptions(&self, subscriptions: Vec<SubscribedStream>) -> Result<(), RejoinError> {
        drop(self.0.lock().unwrap().send(subscriptions));
        Ok(())
    }
}

fn project() -> HashMap<String, String> {
    HashMap::from([("project".to_owned(), "42".to_owned())])
}

fn subscribed(home: &Home) -> Arc<StreamSubscription> {
    block_on(home.client.subscribe("project".to_owned(), project(), Some(60_000), Some(1))).unwrap()
}

#[test]
fn subscription_is_listed_until_it_ends() {
    let home = Home::new();
    let (sender, lists) = mpsc::channel();
    let observer = home.client.on_subscriptions(Arc::new(Observer(Mutex::new(sender))));
    assert_eq!(next(&lists), []);
    let subscription = subscribed(&home);
    let expected = SubscribedStream {
        stream: "project".to_owned(),
        parameters: project(),
        priority: 1,
        ttl_ms: 60_000,
        ends_ms: None,
        status: StreamStatus::Waiting,
    };
    assert_eq!(home.client.subscriptions(), std::slice::from_ref(&expected));
    assert_eq!(next(&lists), [expected]);
    subscription.release();
    subscription.release();
    assert!(home.client.subscriptions()[0].ends_ms.is_some(), "its ttl has not begun");
    let waited = block_on(subscription.first_sync(Some(0))).unwrap_err();
    assert!(matches!(waited, RejoinError::InvalidInput { .. }), "{waited:?}");
    block_on(subscribed(&home).unsubscribe()).unwrap();
    assert_eq!(home.client.subscriptions(), []);
    observer.cancel();
}

#[test]
fn server_without_streams_refuses_a_subscription() {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server = Some(URL.to_owned());
    let home = Home::opened(url, Some(Cloud::new() as _));
    let subscription = subscribed(&home);
    let error = block_on(subscription.first_sync(Some(60_000))).unwrap_err();
    let RejoinError::SubscriptionRefused { stream, refusal, detail, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((&*stream, refusal), ("project", RefusalCode::UnknownStream));
    let expected = StreamStatus::Refused { code: refusal, message: detail };
    assert_eq!(subscription.status(), expected);
}
