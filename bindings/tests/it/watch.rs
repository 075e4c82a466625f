//! Tests of watched queries.

use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;

use rejoin_core::block_on;

use crate::home::{Home, column, next};

/// Polls a future once and returns whether it is pending.
fn is_waiting<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

const ALL: &str = "SELECT id FROM note ORDER BY id";

/// Reports the thread that wakes it.
struct Woken(mpsc::Sender<ThreadId>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.send(std::thread::current().id()).unwrap();
    }
}

// Regression test: cancelling on the JavaScript thread waited for a lock whose holder was waiting
// for that thread.
#[test]
fn cancel_does_not_wake_next_on_the_callers_thread() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let waker = Waker::from(Arc::new(Woken(sender)));
    let mut waiting = pin!(watch.next());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    Arc::clone(&watch).cancel();

    assert_ne!(next(&receiver), std::thread::current().id());
    assert_eq!(block_on(waiting), Ok(None));
}

#[test]
fn second_next_waits_for_the_first() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    block_on(async {
        let (mut first, mut second) = (pin!(watch.next()), pin!(watch.next()));
        assert!(is_waiting(first.as_mut()) && is_waiting(second.as_mut()));
        home.client.execute("INSERT INTO note VALUES ('a', 'x')".into(), vec![]).await.unwrap();
        assert_eq!(column(first.await.unwrap().unwrap().rows), ["a"]);
        home.client.execute("INSERT INTO note VALUES ('b', 'x')".into(), vec![]).await.unwrap();
        assert_eq!(column(second.await.unwrap().unwrap().rows), ["a", "b"]);
    });
}
