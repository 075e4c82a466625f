//! Tests of observers that use the client that calls them.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use rejoin_core::block_on;
use rejoin_ffi::{Change, ChangeObserver, RejoinClient, RejoinError};

use crate::home::{Home, next};

/// Reports each call, queries its client and shuts it down.
struct Calls {
    client: Arc<RejoinClient>,
    reply: Mutex<Sender<()>>,
}

impl ChangeObserver for Calls {
    fn on_change(&self, _: Change) -> Result<(), RejoinError> {
        // The test may have ended.
        let _ = self.reply.lock().unwrap().send(());
        let count = "SELECT count(*) FROM note".to_owned();
        block_on(self.client.query(count, vec![])).and_then(|_| block_on(self.client.shutdown()))
    }
}

#[test]
fn observer_may_call_and_shut_down_its_client() {
    let home = Home::new();
    let client: Arc<RejoinClient> = Arc::clone(&home.client);
    let (sender, receiver) = mpsc::channel();
    let observer = Arc::new(Calls { client, reply: Mutex::new(sender) });
    let _subscription = home.client.on_change(vec![], observer);
    home.runs("INSERT INTO note VALUES ('a', 'x')");
    next(&receiver);
    // The shutdown is asynchronous; afterwards the file can be opened again.
    let config = crate::home::config(&home.client.path());
    let (again, status) = loop {
        let again = block_on(RejoinClient::open(config.clone(), None, None, None)).unwrap();
        if !Arc::ptr_eq(&again, &home.client)
            && let Ok(rows) = block_on(again.query("SELECT id FROM note".to_owned(), vec![]))
            && matches!(block_on(home.client.pending()), Err(RejoinError::Closed { .. }))
        {
            break (again, rows);
        }
    };
    assert_eq!(crate::home::column(status), ["a"]);
    block_on(again.shutdown()).unwrap();
}
