//! Watched queries, pulled.

use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;

use rejoin_core::block_on;

use crate::home::{Home, column, next};

/// Asks a future once; whether it has nothing to say yet.
fn is_waiting<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

const ALL: &str = "SELECT id FROM note ORDER BY id";

/// Tells which thread wakes it.
struct Woken(mpsc::Sender<ThreadId>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.send(std::thread::current().id()).unwrap();
    }
}

// JavaScript hung for ever: its thread, cancelling, waited for the lock of the very call whose news another thread, with that
// lock, was waiting to tell it.
#[test]
fn cancelling_wakes_nobody_on_the_thread_of_the_caller() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(Woken(tell)));
    let mut waiting = pin!(watch.next());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    Arc::clone(&watch).cancel();

    assert_ne!(next(&told), std::thread::current().id());
    assert_eq!(block_on(waiting), Ok(None));
}

#[test]
fn a_second_pull_waits_for_the_first() {
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
