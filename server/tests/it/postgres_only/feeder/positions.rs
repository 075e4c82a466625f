//! Positions of what is fed (C1): whoever writes and whoever pulls meanwhile, every puller gets everything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{fed, give, take, world};
use crate::world::{Backend, World, named};
use rejoin_postgres::Session;

fn writer(session: &Session, number: usize, writing: &AtomicBool, commits: &AtomicUsize) {
    let mut random = fastrand::Rng::with_seed(number as u64);
    while writing.load(Ordering::Relaxed) {
        let rows: Vec<String> = (0..random.usize(1..4))
            .map(|_| {
                let reader = if random.u8(0..4) == 0 { "y" } else { "x" };
                let document = random.u32(0..40);
                format!(
                    "INSERT INTO documents(id, owner, readers) VALUES(lpad(to_hex({document}), 32, '0')::uuid, 'anna', '{reader}')
                     ON CONFLICT(id) DO UPDATE SET readers = excluded.readers;
                     INSERT INTO notes(id, document) VALUES(nextval('note_ids'), lpad(to_hex({document}), 32, '0')::uuid);
                     SELECT pg_sleep({})",
                    random.f64() / 50.0
                )
            })
            .collect();
        let end = if random.u8(0..8) == 0 { "ROLLBACK" } else { "COMMIT" };
        // Two that meet crosswise are told so by the database, as any program is.
        if session.attempt(&format!("BEGIN; {}; {end}", rows.join("; "))).is_err() {
            session.run("ROLLBACK");
        }
        commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a device of x has in the end, and what a fresh one gets.
fn puller(
    world: &World,
    number: usize,
    pulling: &AtomicBool,
    done: &AtomicBool,
) -> [BTreeSet<String>; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut device = world.device("x", &format!("puller {number}")).await;
        let mut base: BTreeSet<String> = device.snapshot(1_000).await.into_iter().collect();
        let mut is_last = false;
        loop {
            let page = device.pull_page(if is_last { 1_000 } else { 7 }).await;
            take(&mut base, named(&page));
            if is_last && !page.has_more {
                break;
            }
            if !pulling.load(Ordering::Relaxed) && !is_last {
                while !done.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                is_last = true;
            }
        }
        let fresh = device.snapshot(1_000).await.into_iter().collect();
        [base, fresh]
    })
}

#[test]
fn nothing_that_is_fed_appears_behind_a_cursor() {
    let (world, _) = world(Backend::Postgres);
    give(&world, &["x"]);
    world.write("CREATE SEQUENCE note_ids");
    let (running, done, commits) =
        (AtomicBool::new(true), AtomicBool::new(false), AtomicUsize::new(0));
    let database = world.database.as_ref().unwrap();
    let found: Vec<[BTreeSet<String>; 2]> = std::thread::scope(|scope| {
        let pullers: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn({
                    let (world, running, done) = (&world, &running, &done);
                    move || puller(world, n, running, done)
                })
            })
            .collect();
        let writers: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let (running, commits) = (&running, &commits);
                    move || writer(&database.session(), n, running, commits)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(4));
        running.store(false, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        fed(&world.server);
        done.store(true, Ordering::Relaxed);
        pullers.into_iter().map(|puller| puller.join().unwrap()).collect()
    });
    for (number, [base, fresh]) in found.iter().enumerate() {
        assert!(fresh.len() > 20, "{} rows", fresh.len());
        let lacks: Vec<_> = fresh.difference(base).take(5).collect();
        let keeps: Vec<_> = base.difference(fresh).take(5).collect();
        assert!(
            lacks.is_empty() && keeps.is_empty(),
            "{number} lacks {lacks:?} and keeps {keeps:?}"
        );
    }
    assert!(commits.load(Ordering::Relaxed) > 40, "{commits:?}");
}
