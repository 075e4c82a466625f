//! Several things at once: nobody knows who comes first, but everybody is answered and nothing is half written.

use std::time::Duration;

use rejoin_core::{Answer, Client, HeldTransaction, RowBuffer};

use super::model::*;
use super::stage::{Stage, text};

/// What is begun before anything of it is answered.
enum Under {
    Begun(Answer<HeldTransaction>),
    Rows(Answer<usize>),
    Number(Answer<i64>),
    Read(Answer<RowBuffer>),
    Done(Answer<()>),
    Nothing,
}

impl Stage {
    /// A step whose answer nobody waits for yet.
    fn toss(&mut self, step: Step, number: usize) -> Under {
        let put = "INSERT INTO task (id, title) VALUES (?, 't'), (?, 't')";
        let keys = |who: &str| (format!("{who}-{number}-1"), format!("{who}-{number}-2"));
        let handle = |who: usize| self.handles[who].as_ref();
        match step {
            Begin(_) => Under::Begun(self.client.begin()),
            Statement(who) => handle(who).map_or(Under::Nothing, |handle| {
                Under::Rows(handle.execute(put, keys(&format!("holder {who}"))))
            }),
            Commit(who) => {
                handle(who).map_or(Under::Nothing, |handle| Under::Done(handle.commit()))
            }
            Rollback(who) => {
                handle(who).map_or(Under::Nothing, |handle| Under::Done(handle.rollback()))
            }
            Part(who) => {
                handle(who).map_or(Under::Nothing, |handle| Under::Number(handle.savepoint()))
            }
            Release(_) | Undo(_) | Cross(_) => unreachable!("each needs a number"),
            Abandon(who) => {
                self.handles[who] = None;
                Under::Nothing
            }
            Write => Under::Rows(self.client.execute(put, keys("writer"))),
            Query => Under::Read(self.client.query("SELECT id FROM task", ())),
            Suspend => Under::Done(self.client.suspend()),
            Resume => Under::Done(self.client.resume()),
            Shutdown => Under::Done(self.client.shutdown()),
            Silence => {
                self.host.advance(Duration::from_secs(6));
                Under::Nothing
            }
        }
    }

    /// Everybody is answered, somehow; a transaction that had begun ends by being dropped.
    fn settle(&self, under: Under) {
        match under {
            Under::Begun(answer) => drop(self.within(answer)),
            Under::Rows(answer) => drop(self.within(answer)),
            Under::Number(answer) => drop(self.within(answer)),
            Under::Read(answer) => drop(self.within(answer)),
            Under::Done(answer) => drop(self.within(answer)),
            Under::Nothing => {}
        }
    }
}

impl Stage {
    /// A transaction is held, with one statement done; another waits; then three things at once, and all is let go.
    pub(super) fn tossed(&mut self, order: [Step; 3]) {
        let handle = self.within(self.client.begin()).unwrap();
        self.handles[0] = Some(handle);
        let held = self.toss(Statement(0), 9);
        let waits = self.client.begin();
        let mut under = vec![held, Under::Begun(waits)];
        for (number, step) in order.into_iter().enumerate() {
            under.push(self.toss(step, number));
        }
        // Whoever holds lets go, or those behind it would wait for the silence.
        self.handles[0] = None;
        for under in under {
            self.settle(under);
        }
        if order.contains(&Shutdown) {
            self.client = self.within(Client::open(self.client.config().clone())).unwrap();
        } else {
            drop(self.within(self.client.resume()));
        }
        self.agree();
    }

    /// Rows and queue are of the same transactions, and each of those is whole; then both are emptied.
    fn agree(&self) {
        let rows = self.within(self.client.query("SELECT id FROM task", ())).unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        rows.sort();
        let queue = self.within(self.client.pending()).unwrap();
        let mut keys: Vec<String> =
            queue.iter().flat_map(|mutation| &mutation.rows).map(|row| text(&row.key)).collect();
        keys.sort();
        assert_eq!(rows, keys, "rows and queue");
        for mutation in queue {
            assert_eq!(mutation.rows.len() % 2, 0, "each statement wrote two rows");
            self.within(self.client.discard(mutation.id)).unwrap();
        }
    }
}
