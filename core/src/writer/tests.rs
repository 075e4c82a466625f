//! Tests of the thread with a list in the engine's place.

use std::time::Duration;

use super::*;

impl<E: Clone> Transact for Vec<E> {
    fn transact<R>(&mut self, body: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let mut copy = self.clone();
        let result = body(&mut copy)?;
        *self = copy;
        Ok(result)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A list replaces the engine: the thread is generic over what it owns.
fn list() -> Writer<Vec<i32>> {
    Writer::start(|| Ok(Vec::new())).wait().unwrap()
}

#[test]
fn tasks_run_in_call_order() {
    let writer = list();
    let answers: Vec<_> = (0..100)
        .map(|number| {
            writer.call(move |list| {
                list.push(number);
                Ok(list.len())
            })
        })
        .collect();
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.wait().unwrap(), number + 1);
    }
    let list = writer.call_blocking(|list| Ok(list.clone())).unwrap();
    assert_eq!(list, (0..100).collect::<Vec<_>>());
}

#[test]
fn suspend_drops_engine_and_resume_reopens_it() {
    let mut opened = 0;
    let writer = Writer::start(move || {
        opened += 1;
        Ok(vec![opened])
    });
    let writer = writer.wait().unwrap();
    writer.suspend().wait().unwrap();
    assert!(matches!(writer.call_blocking(|_| Ok(())), Err(Error::Suspended)));
    writer.resume_with(|_| Ok(())).wait().unwrap();
    writer.resume_with(|_| Ok(())).wait().unwrap();
    assert_eq!(writer.call_blocking(|list| Ok(list.clone())).unwrap(), [2]);
}

#[test]
fn free_writer_runs_a_blocking_call_on_the_callers_thread() {
    let writer = list();
    let inner = writer.clone();
    let ran = writer.call_blocking(move |list| {
        list.push(1);
        let reentrant = inner.call_blocking(|_| Ok(()));
        Ok((std::thread::current().id(), inner.is_current(), reentrant))
    });
    let (thread, current, reentrant) = ran.unwrap();
    assert_eq!(thread, std::thread::current().id());
    assert!(current);
    assert!(matches!(reentrant, Err(Error::InvalidInput(InputFault::Reentrant))));
    assert!(!writer.is_current(), "only for the time of the call");
    assert_eq!(writer.call(|list| Ok(list.clone())).wait().unwrap(), [1]);
}

#[test]
fn writer_is_not_free_while_a_task_waits_or_runs() {
    let writer = list();
    let (go_on, signal) = mpsc::channel::<()>();
    let first = writer.call(move |list| {
        let _ = signal.recv();
        list.push(1);
        Ok(())
    });
    let refused = writer.call_if_free(|_| Ok(()));
    assert!(refused.is_err(), "the call comes back");
    go_on.send(()).unwrap();
    let second = writer.call_blocking(|list| {
        list.push(2);
        Ok(list.clone())
    });
    assert_eq!(second.unwrap(), [1, 2]);
    first.wait().unwrap();
}

#[test]
fn panic_and_suspension_meet_a_call_on_the_callers_thread_too() {
    let writer = list();
    let panicked = writer.call_blocking(|_| -> Result<()> { panic!("planted") });
    assert!(matches!(panicked, Err(Error::Internal(text)) if text.contains("planted")));
    assert!(!writer.is_current());
    writer.suspend().wait().unwrap();
    assert!(matches!(writer.call_blocking(|_| Ok(())), Err(Error::Suspended)));
    writer.shutdown().wait().unwrap();
    assert!(matches!(writer.call_blocking(|_| Ok(())), Err(Error::Closed)));
}

#[test]
fn call_between_shutdown_and_the_end_of_the_thread_fails_as_closed() {
    let writer = list();
    // As if the thread had not returned yet: it holds its state until then.
    let desk = writer.shared.desk.upgrade();
    writer.shutdown().wait().unwrap();
    drop(locked(desk.as_deref().unwrap()));
    assert!(matches!(writer.call_blocking(|_| Ok(())), Err(Error::Closed)));
}

#[test]
fn engine_is_dropped_with_the_last_clone() {
    struct NotifyOnDrop(Sender<()>);
    impl Drop for NotifyOnDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    impl Transact for NotifyOnDrop {
        fn transact<R>(&mut self, body: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
            body(self)
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }
    let (reply, receiver) = mpsc::channel();
    let writer = Writer::start(move || Ok(NotifyOnDrop(reply.clone()))).wait().unwrap();
    drop(writer.clone());
    drop(writer);
    receiver.recv().unwrap();
}
