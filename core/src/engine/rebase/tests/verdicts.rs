//! Tests of verdicts: a response is one transaction, and counts once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rejoin_protocol::wire::push::Ending;

use super::super::{Batch, ServerVerdict};
use super::support::*;
use crate::client::pending_of;
use crate::engine::change::{Change, Origin};
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::offer::Offer;
use crate::engine::rebase::decide;
use crate::engine::{Engine, OpenOptions};
use crate::host::TestHost;
use crate::ids::Seq;
use crate::value::Value;

#[test]
fn accepted_mutation_is_in_history_and_its_image_in_base() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = send(&mut engine, 1).remove(0);
    assert_eq!(sent.mutation.state, MutationState::Sent);
    let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
    let into = Arc::clone(&changes);
    engine.on_commit(Box::new(move |change| into.lock().unwrap().push(change.clone())));
    let batch = Batch {
        verdicts: vec![verdict(&sent.mutation, Ending::Accepted)],
        detect_conflicts: true,
        meta: vec![(String::from("cursor"), Some(String::from("5")))],
        ..images(&engine, &[("a", Some("MINE"), 1)])
    };
    let applied = engine.apply(batch).unwrap();
    assert_eq!(applied.accepted, [sent.mutation.id]);
    assert_eq!(shown(&engine), "a MINE 1", "as the server stored it");
    assert_eq!(engine.mutation(sent.mutation.id).unwrap(), None);
    assert_eq!(engine.meta("cursor").unwrap().as_deref(), Some("5"));
    let kept: i64 = engine
        .db
        .conn()
        .query_row("SELECT count(*) FROM rejoin_history WHERE attempt = 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1);
    let changes = changes.lock().unwrap();
    assert_eq!(changes.len(), 1, "one response, one commit, one notification");
    assert_eq!(changes[0].origin, Origin::Remote);
    assert!(changes[0].queue);
    assert_eq!(changes[0].tables["notes"], Some(vec![Value::from("a")]));
}

#[test]
fn repeated_or_outdated_response_changes_nothing() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = send(&mut engine, 1).remove(0);
    let blocked = || Batch {
        verdicts: vec![verdict(&sent.mutation, Ending::Blocked)],
        detect_conflicts: true,
        ..Batch::default()
    };
    engine.apply(blocked()).unwrap();
    engine.apply(blocked()).unwrap();
    let mutation = engine.mutation(sent.mutation.id).unwrap().unwrap();
    assert_eq!((mutation.state, mutation.attempt), (MutationState::Pending, 2), "counted once");
    let again = send(&mut engine, 2).remove(0);
    assert_eq!(again.mutation.attempt, 2);
    let late =
        Batch { verdicts: vec![verdict(&sent.mutation, Ending::Rejected)], ..Batch::default() };
    engine.apply(late).unwrap();
    assert_eq!(engine.mutation(sent.mutation.id).unwrap().unwrap().state, MutationState::Sent);
    assert_eq!(shown(&engine), "a mine 1");
}

#[test]
fn undecided_mutation_is_uncertain_and_sent_unchanged() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = send(&mut engine, 1).remove(0);
    let batch =
        Batch { verdicts: vec![verdict(&sent.mutation, Ending::Retry)], ..Batch::default() };
    engine.apply(batch).unwrap();
    assert_eq!(engine.queue.counts().uncertain, 1);
    assert!(matches!(
        decide::discard(&mut engine, sent.mutation.id),
        Err(crate::Error::Queue(crate::QueueFault::Uncertain(id))) if id == sent.mutation.id
    ));
    let again = send(&mut engine, 2).remove(0);
    assert_eq!((again.hash, again.rows, again.after), (sent.hash, sent.rows, sent.after));
    assert_eq!(again.mutation.request, Some(2));
}

#[test]
fn server_fault_is_reported_and_parked_after_its_limit() {
    let verdict = |sent: &Offer, ending, code: &str| {
        let (code, detail) = (Some(code.to_owned()), Some(String::from("42501, log_id 7")));
        let verdict = ServerVerdict { code, detail, ..verdict(&sent.mutation, ending) };
        Batch { verdicts: vec![verdict], detect_conflicts: true, ..Batch::default() }
    };
    let hour: u64 = 3_600;
    // The limit of failures, the time between two, and which try is the last: by number; by time;
    // none yet.
    for (attempts, step, last) in [(3, 0, 4), (50, hour, 2), (50, 1, 0)] {
        let (_folder, mut engine) = notes();
        let host = Arc::new(TestHost::new(1));
        engine.host = Arc::clone(&host) as _;
        engine.set_fault_limit(attempts, Duration::from_secs(hour));
        engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
        engine.execute("UPDATE notes SET n = 2", &[]).unwrap();
        engine.execute("INSERT INTO notes VALUES ('b', 'alone', 1)", &[]).unwrap();
        let ids: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
        for round in 1..=6 {
            let seqs = [engine.pending().unwrap()[0].seq];
            let sent = engine.mark_sent(&seqs, round).unwrap().remove(0);
            assert_eq!(sent.last_try, round == last, "{attempts} {step} {round}");
            if sent.last_try {
                engine.apply(verdict(&sent, Ending::Refused, "server_fault")).unwrap();
                break;
            }
            // A later decision by the host is no failure of the server.
            engine.apply(verdict(&sent, Ending::Retry, "hook.later")).unwrap();
            engine.apply(verdict(&sent, Ending::Retry, "transient")).unwrap();
            let blocked = pending_of(&engine).unwrap().into_iter().map(|one| one.blocked_by);
            assert_eq!(blocked.collect::<Vec<_>>(), [None, Some(ids[0]), None]);
            host.advance(Duration::from_secs(step));
        }
        let reasons: Vec<_> = engine.pending().unwrap().iter().map(|one| one.reason).collect();
        if last == 0 {
            assert_eq!(reasons, [None; 3], "within both bounds");
            continue;
        }
        assert_eq!(reasons, [Some(ParkReason::ServerFault), Some(ParkReason::Depends), None]);
        let detail = engine.pending().unwrap()[0].detail.clone().unwrap();
        assert!(detail.contains("log_id 7"), "{detail}");
        assert_eq!(shown(&engine), "b alone 1");
        assert_eq!(decide::retry_chain(&mut engine, ids[0]).unwrap(), ids[..2]);
        assert_eq!(shown(&engine), "a mine 2; b alone 1");
    }
}

#[test]
fn chain_is_requeued_after_its_retried_cause() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    engine.execute("UPDATE notes SET n = 2", &[]).unwrap();
    let ids: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
    for round in 1..=2 {
        let create = engine.pending().unwrap().into_iter().find(|one| one.id == ids[0]).unwrap();
        let sent = engine.mark_sent(&[create.seq], round).unwrap().remove(0);
        let verdicts = vec![verdict(&sent.mutation, Ending::Rejected)];
        engine.apply(Batch { verdicts, ..Batch::default() }).unwrap();
        if round == 1 {
            decide::retry(&mut engine, ids[0]).unwrap();
        }
    }
    assert_eq!(decide::retry_chain(&mut engine, ids[0]).unwrap(), ids);
    let order: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
    assert_eq!(order, ids, "the create is first");
    assert_eq!(shown(&engine), "a mine 2");
}

#[test]
fn queue_numbers_are_never_reused() {
    let (folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let first = engine.pending().unwrap().remove(0);
    decide::discard(&mut engine, first.id).unwrap();
    drop(engine);
    let options = OpenOptions { path: folder.path().join("app.db"), manifest: None };
    let mut engine = Engine::open(&options, Arc::new(TestHost::new(2))).unwrap();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let second = engine.pending().unwrap().remove(0);
    assert_eq!((first.seq, second.seq), (Seq(1), Seq(2)));
    assert!((second.time_ms, second.counter) > (first.time_ms, first.counter));
}

#[test]
fn failing_response_changes_nothing_and_the_next_works() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'mine', 1)", &[]).unwrap();
    let sent = send(&mut engine, 1).remove(0);
    let answer = |engine: &Engine, rows: &str| Batch {
        verdicts: vec![verdict(&sent.mutation, Ending::Accepted)],
        sets: vec![set("notes", &["id", "n"], rows)],
        ..images(engine, &[("a", Some("mine"), 1)])
    };
    let broken = answer(&engine, r#"[["z",1],["y","no number"]]"#);
    assert!(engine.apply(broken).is_err());
    assert_eq!(shown(&engine), "a mine 1");
    assert_eq!(engine.queue.counts().sent, 1);
    let whole = answer(&engine, r#"[["y",2],["z",1]]"#);
    engine.apply(whole).unwrap();
    assert_eq!(shown(&engine), "a mine 1; y . 2; z . 1");
    assert!(engine.queue.is_empty());
}

#[test]
fn history_is_bounded() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes VALUES ('a', 'x', 0)", &[]).unwrap();
    for n in 0..1_100 {
        engine.execute("UPDATE notes SET n = ?1", &[Value::from(n + 1)]).unwrap();
    }
    let seqs: Vec<Seq> =
        engine.queue_view().sendable(2_000).unwrap().iter().map(|m| m.seq).collect();
    let sent = engine.mark_sent(&seqs, 1).unwrap();
    let verdicts = sent.iter().map(|offer| verdict(&offer.mutation, Ending::Accepted)).collect();
    let batch = Batch { verdicts, ..images(&engine, &[("a", Some("x"), 1_100)]) };
    engine.apply(batch).unwrap();
    let kept = column(&engine, "SELECT count(*) || ' ' || min(seq) FROM rejoin_history");
    assert_eq!(kept, ["1000 102"]);
}
