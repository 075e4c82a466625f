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
fn a_result_comes_at_once_and_then_after_each_change_with_its_difference() {
    let home = Home::new();
    let watch = home.client.watch("SELECT id, body FROM note".into(), vec![], vec!["id".into()]);
    let pull = || block_on(watch.next()).unwrap().unwrap();
    assert!(column(pull().rows).is_empty());
    home.runs("INSERT INTO note VALUES ('a', 'x'), ('b', 'x')");
    assert_eq!(pull().difference.unwrap().added, [0, 1]);
    home.runs("UPDATE note SET body = 'y' WHERE id = 'b'");
    assert_eq!(pull().difference.unwrap().changed, [1]);
    home.runs("DELETE FROM note WHERE id = 'a'");
    let last = pull();
    assert_eq!(
        (column(last.rows), last.difference.unwrap().removed),
        (vec!["b".to_owned()], vec![0])
    );
}

#[test]
fn who_is_slow_gets_the_latest_and_nothing_twice() {
    let home = Home::new();
    let watch = home.client.watch(ALL.into(), vec![], vec![]);
    assert!(column(block_on(watch.next()).unwrap().unwrap().rows).is_empty());
    for number in 0..100 {
        home.runs(&format!("INSERT INTO note VALUES ('{number:03}', 'x')"));
    }
    // It may still be a moment behind, but it never stays there, and it never gives the same twice.
    let mut seen = 0;
    while seen < 100 {
        let update = block_on(watch.next()).unwrap().unwrap();
        let now = column(update.rows).len();
        assert!(now > seen && update.difference.is_none());
        seen = now;
    }
    assert!(is_waiting(pin!(watch.next())));
}

#[test]
fn what_is_wrong_with_a_query_is_thrown_by_the_first_pull_and_it_ends() {
    let home = Home::new();
    for (sql, key) in [("SELECT nonsense", vec![]), (ALL, vec!["body".to_owned()])] {
        let watch = home.client.watch(sql.to_owned(), vec![], key);
        assert!(matches!(block_on(watch.next()), Err(RejoinError::InvalidInput { .. })));
        assert_eq!(block_on(watch.next()), Ok(None));
    }
}

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
