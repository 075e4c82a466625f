//! Positions are in the order of commits: no cursor passes an entry that is committed later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use macro_rules_attribute::apply;
use rejoin_log::message::{Cursor, Item, Outcome, Verdict};
use rejoin_log::server::store::LogStore as _;
use rejoin_server::store::{Store, read};

use super::fixture::{create, fetch, fresh, insert, publish, publish_then, request};
use crate::world::Backend;

/// The head, and each entry's position in order.
fn positions(store: &dyn Store) -> (u64, Vec<u64>) {
    read(store, |reading| {
        let log = reading.log();
        let head = log.facts().unwrap().unwrap().head;
        let ids = log.by_position(0, usize::MAX).unwrap();
        let position = |id| log.entry(id).unwrap().unwrap().position;
        Ok((head, ids.into_iter().map(position).collect()))
    })
    .unwrap()
}

#[apply(stores!)]
fn a_publish_that_commits_last_is_not_passed_by_a_cursor(backend: Backend) {
    let fresh = fresh(backend);
    create(&*fresh.store, 2);
    let (first, second) = (fresh.node(), fresh.node());
    let ((done, is_done), (go_on, waits)) = (channel(), channel::<()>());
    let (early, late) =
        (request(1, vec![insert(1, 1, "r1")]), request(1, vec![insert(2, 2, "r2")]));
    let between = thread::scope(|scope| {
        let slow = scope.spawn(move || {
            publish_then(&*first, 1, &early, || {
                done.send(()).unwrap();
                waits.recv().unwrap();
            })
        });
        is_done.recv().unwrap();
        let quick = scope.spawn(move || publish_then(&*second, 2, &late, || ()));
        if let Some(database) = &fresh.database {
            let waiting = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                           WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted";
            let session = database.session();
            while session.one(waiting) == "0" && !quick.is_finished() {}
        }
        let between = fetch(&*fresh.store, Cursor(0));
        go_on.send(()).unwrap();
        assert!(slow.join().unwrap().is_ok() && quick.join().unwrap().is_ok());
        between
    });
    assert_eq!((between.items.len(), between.next), (0, Cursor(0)), "neither is committed");
    let ids: Vec<_> = fetch(&*fresh.store, between.next).items.iter().map(Item::id).collect();
    assert_eq!(
        ids,
        [insert(1, 1, "r1").key.id, insert(2, 2, "r2").key.id],
        "both follow, in order of commit"
    );
    assert_eq!(positions(&*fresh.store), (2, vec![1, 2]));
}

#[apply(stores!)]
fn two_to_eight_publishers_lose_nothing(backend: Backend) {
    const REQUESTS: u64 = 6;
    for publishers in [2_u64, 8] {
        let fresh = fresh(backend);
        create(&*fresh.store, publishers.into());
        let is_over = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let writers: Vec<_> = (1..=publishers)
                .map(|by| {
                    let node = fresh.node();
                    scope.spawn(move || publish_all(&*node, by, REQUESTS))
                })
                .collect();
            let reader = scope.spawn(|| follow(&fresh.store, &is_over));
            for writer in writers {
                writer.join().unwrap();
            }
            is_over.store(true, Ordering::Release);
            reader.join().unwrap()
        });
        let all = publishers * REQUESTS * 2;
        assert_eq!(seen.len() as u64, all, "the reader's cursor passed no entry");
        assert_eq!(positions(&*fresh.store), (all, (1..=all).collect()));
        assert_eq!(fresh.rows(&["r"]).len() as u64, all);
    }
}

fn publish_all(store: &dyn Store, by: u64, requests: u64) {
    for number in 1..=requests {
        let offers = [2 * number - 1, 2 * number];
        let offers = offers.map(|at| insert(by.into(), at, &format!("r{by}-{at}"))).to_vec();
        let published = publish(store, by.into(), number, offers).unwrap();
        let Outcome::Verdicts { verdicts } = published.outcome else { panic!("{published:?}") };
        let is_held = |verdict: &Verdict| matches!(verdict, Verdict::Held { .. });
        assert!(verdicts.len() == 2 && verdicts.iter().all(|one| is_held(&one.verdict)));
    }
}

/// Reads on from its own cursor until the writers are over.
fn follow(store: &Arc<dyn Store>, is_over: &AtomicBool) -> BTreeSet<rejoin_log::ids::EntryId> {
    let (mut seen, mut cursor) = (BTreeSet::new(), Cursor(0));
    loop {
        let last = is_over.load(Ordering::Acquire);
        let page = fetch(&**store, cursor);
        let advanced = page.next.0 - cursor.0;
        assert_eq!(page.items.len() as u64, advanced, "no gap below a position that is visible");
        seen.extend(page.items.iter().map(Item::id));
        cursor = page.next;
        if last && !page.more {
            return seen;
        }
    }
}
