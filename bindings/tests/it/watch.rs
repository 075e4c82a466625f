//! Watched queries, pulled.

use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;

use rejoin_core::block_on;
use rejoin_ffi::RejoinError;

use crate::home::{Home, column, next};

/// Asks a future once; whether it has nothing to say yet.
fn is_waiting<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

const ALL: &str = "SELECT id FROM note ORDER BY id";

#[test]
fn cancelling_wakes_whoever_waits_and_lets_the_query_go() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let waits = Arc::clone(&watch);
        scope.spawn(move || {
            let waiting = async {
                let mut pulled = pin!(waits.next());
                assert!(is_waiting(pulled.as_mut()));
                tell.send(None).unwrap();
                pulled.await
            };
            let last = block_on(waiting);
            tell.send(Some(last)).unwrap();
        });
        assert_eq!(next(&told), None, "it waits");
        Arc::clone(&watch).cancel();
        Arc::clone(&watch).cancel();
        assert_eq!(next(&told), Some(Ok(None)));
    });
    assert_eq!(block_on(watch.next()), Ok(None));
}

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
fn a_pull_that_was_given_up_while_it_waited_loses_nothing() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    assert!(is_waiting(pin!(watch.next())));
    home.runs("INSERT INTO note VALUES ('a', 'x')");
    assert_eq!(column(block_on(watch.next()).unwrap().unwrap().rows), ["a"]);
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

#[test]
fn a_watch_ends_with_its_client() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    block_on(watch.next()).unwrap();
    block_on(home.client.shutdown()).unwrap();
    assert_eq!(block_on(watch.next()), Ok(None));
    let late = home.client.watch(ALL.into(), vec![], vec![]);
    assert!(matches!(block_on(late.next()), Err(RejoinError::Ended { .. })));
}
