//! Observers: called in order, whatever they throw, until they are cancelled.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use rejoin_core::block_on;
use rejoin_ffi::{
    Change, ChangeObserver, RejoinClient, RejoinError, StatusObserver, SyncState, SyncStatus,
};

use crate::home::{Home, next};

/// Passes on what it hears, and does what it is told about it.
struct Ears<T> {
    heard: Mutex<Sender<T>>,
    then: Box<dyn Fn(usize) -> Result<(), RejoinError> + Send + Sync>,
    count: Mutex<usize>,
}

impl<T> Ears<T> {
    fn new(
        then: impl Fn(usize) -> Result<(), RejoinError> + Send + Sync + 'static,
    ) -> (Arc<Self>, mpsc::Receiver<T>) {
        let (tell, told) = mpsc::channel();
        let ears = Self { heard: Mutex::new(tell), then: Box::new(then), count: Mutex::new(0) };
        (Arc::new(ears), told)
    }

    fn hear(&self, word: T) -> Result<(), RejoinError> {
        // Whoever listened may be gone.
        let _ = self.heard.lock().unwrap().send(word);
        let count = {
            let mut count = self.count.lock().unwrap();
            *count += 1;
            *count
        };
        (self.then)(count)
    }
}

impl ChangeObserver for Ears<Change> {
    fn on_change(&self, change: Change) -> Result<(), RejoinError> {
        self.hear(change)
    }
}

impl StatusObserver for Ears<SyncStatus> {
    fn on_status(&self, status: SyncStatus) -> Result<(), RejoinError> {
        self.hear(status)
    }
}

fn thrown() -> Result<(), RejoinError> {
    Err(RejoinError::Callback { reason: "IllegalStateException".to_owned() })
}

fn put(home: &Home, id: &str) {
    home.runs(&format!("INSERT INTO note VALUES ('{id}', 'x')"));
}

#[test]
fn an_observer_that_throws_or_panics_is_called_again() {
    let home = Home::new();
    let (ears, heard) = Ears::<Change>::new(|count| match count {
        1 => thrown(),
        2 => panic!("in the observer"),
        _ => Ok(()),
    });
    let _subscription = home.client.on_change(vec![], ears);
    for id in ["a", "b", "c"] {
        put(&home, id);
        next(&heard);
    }
    let (ears, heard) = Ears::<SyncStatus>::new(|_| thrown());
    let _second = home.client.on_status(ears);
    assert_eq!(next(&heard).state, SyncState::Idle, "and so is everybody else");
}

#[test]
fn after_cancel_or_when_nobody_holds_it_no_call_begins() {
    let home = Home::new();
    let (cancelled, first) = Ears::<Change>::new(|_| Ok(()));
    let (dropped, second) = Ears::<Change>::new(|_| Ok(()));
    let (witness, third) = Ears::<Change>::new(|_| Ok(()));
    let subscription = home.client.on_change(vec![], cancelled);
    drop(home.client.on_change(vec![], dropped));
    let _witness = home.client.on_change(vec![], witness);
    subscription.cancel();
    subscription.cancel();
    put(&home, "a");
    next(&third);
    assert!(first.try_recv().is_err() && second.try_recv().is_err());
}

#[test]
fn an_observer_may_call_the_client_and_shut_it_down() {
    let home = Home::new();
    let client: Arc<RejoinClient> = Arc::clone(&home.client);
    let (ears, heard) = Ears::<Change>::new(move |_| {
        let count = "SELECT count(*) FROM note".to_owned();
        block_on(client.query(count, vec![])).and_then(|_| block_on(client.shutdown()))
    });
    let _subscription = home.client.on_change(vec![], ears);
    put(&home, "a");
    next(&heard);
    // It ends the client in its own time; the file can then be opened anew.
    let config = crate::home::config(&home.client.path());
    let (again, status) = loop {
        let again = block_on(RejoinClient::open(config.clone(), None, None, None)).unwrap();
        if !Arc::ptr_eq(&again, &home.client)
            && let Ok(rows) = block_on(again.query("SELECT id FROM note".to_owned(), vec![]))
            && matches!(block_on(home.client.pending()), Err(RejoinError::Ended { .. }))
        {
            break (again, rows);
        }
    };
    assert_eq!(crate::home::column(status), ["a"]);
    block_on(again.shutdown()).unwrap();
}
