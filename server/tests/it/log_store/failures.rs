//! A publish that fails leaves nothing, wherever it fails.

use std::cell::Cell;

use macro_rules_attribute::apply;
use rejoin_log::effect::Effect;
use rejoin_log::fixture::{author, columns, row};
use rejoin_log::message::Outcome;
use rejoin_log::server::ServerError;
use rejoin_server::error::Fault;
use rejoin_server::store::{Store, write};

use super::fixture::{
    Fresh, NOW, TIME, create, fault, fresh, insert, offer, publish, publish_then, request, server,
};
use super::wrapped::{Counted, Wrapped};
use crate::world::Backend;
use rejoin_log::message::Publish;

/// Publishes, failing after this many calls of the store. Returns the number of calls.
fn publish_failing(
    store: &dyn Store,
    request: &Publish,
    fails_after: usize,
) -> Result<usize, Fault> {
    write(store, NOW, |writing| {
        let (log, calls) = (writing.log(), Cell::new(0));
        let counted = Wrapped(Counted { log, calls: &calls, fails_after });
        let opened = rejoin_log::server::Server::open(
            counted,
            std::sync::Arc::new(rejoin_log::fixture::Column),
            rejoin_log::server::Limits { drift: 1_000, retention: 1_000 },
        );
        let published = opened
            .map_err(ServerError::from)
            .and_then(|mut server| log.batched(|| server.publish(author(2), request, TIME)));
        published.map_err(|error| fault(log, error))?;
        Ok(calls.get())
    })
}

/// A log with two entries, and a request with a late one before them that changes them, an insert, a
/// move to another bucket and a delete.
fn prepared(fresh: &Fresh) -> Publish {
    create(&*fresh.store, 2);
    let set = |text: &str| Effect::Update(columns("text", text));
    let one = |id: &str, effect| [(row(id), effect)].into_iter().collect();
    let first = vec![insert(1, 50, "r0"), insert(1, 51, "r1"), offer(1, 60, one("r0", set("x")))];
    publish(&*fresh.store, 1, 1, first).unwrap();
    let to_b = Effect::Update(columns("buckets", "b"));
    request(
        1,
        vec![
            insert(2, 10, "r0"),
            insert(2, 20, "k0"),
            offer(2, 55, one("r0", to_b)),
            offer(2, 56, one("r1", Effect::Delete)),
        ],
    )
}

#[apply(stores!)]
fn a_publish_that_fails_at_any_call_leaves_nothing(backend: Backend) {
    let fresh = fresh(backend);
    let request = prepared(&fresh);
    let before = fresh.all();
    let mut failed = 0;
    let calls = loop {
        match publish_failing(&*fresh.store, &request, failed) {
            Ok(calls) => break calls,
            Err(fault) => assert!(fault.to_string().contains("injected"), "{fault}"),
        }
        assert_eq!(fresh.all(), before, "after call {failed}");
        failed += 1;
    };
    assert_eq!(calls, failed, "each call failed once");
    assert_ne!(fresh.all(), before);
    assert_eq!(fresh.rows(&["r"]).len(), 1, "r1 is deleted: {:?}", fresh.rows(&["r"]));
}

#[test]
fn a_connection_that_is_killed_on_postgres_leaves_nothing() {
    let fresh = fresh(Backend::Postgres);
    let request = prepared(&fresh);
    let before = fresh.all();
    let database = fresh.database.as_ref().unwrap();
    let kill = || {
        let holder = "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                      WHERE d.datname = current_database() AND l.classid = 1380600401 AND l.granted";
        assert_eq!(database.session().lines(holder), ["t"]);
    };
    let killed = publish_then(&*fresh.store, 2, &request, kill);
    assert!(matches!(killed, Err(Fault::Transient(_))), "{killed:?}");
    assert_eq!(fresh.all(), before);
    let again = publish_then(&*fresh.store, 2, &request, || ()).unwrap();
    let Outcome::Verdicts { verdicts } = again.outcome else { panic!("{again:?}") };
    assert_eq!(verdicts.len(), 4);
    let rows = write(&*fresh.store, NOW, |writing| Ok(server(writing.log()).rows().unwrap()));
    assert_eq!(rows.unwrap().len(), 2);
}
