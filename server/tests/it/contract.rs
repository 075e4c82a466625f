//! The store contract beyond what requests exercise: log pages, batched compaction, lists, action
//! checks.

use macro_rules_attribute::apply;
use rejoin_protocol::Value;
use rejoin_server::model::{Grant, Touched};
use rejoin_server::store::{read, write};

use stores::{Fresh, buckets, put};

mod stores;

const NOW: &str = "2026-11-20T08:00:00.000000Z";

#[apply(stores!)]
fn every_write_appends_an_entry_with_its_own_tag(fresh: Fresh) {
    let store = &*fresh.store;
    let before = read(store, |reading| reading.log_state()).unwrap();
    put(store, "c1", "x");
    put(store, "c2", "y");
    let after = read(store, |reading| reading.log_state()).unwrap();
    let entries = read(store, |reading| reading.entries(before.head, &buckets(), 100)).unwrap();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["c1", "c2"]);
    assert_eq!(entries.last().unwrap().position, after.head);
    assert!(entries.is_sorted_by_key(|entry| entry.position));
    let tag = |position| read(store, |reading| reading.tag(position)).unwrap();
    assert!(tag(entries[0].position).is_some() && tag(0).is_some());
    assert_ne!(tag(entries[0].position), tag(entries[1].position));
    assert_eq!(tag(after.head + 1), None);
    let strangers = vec![String::from("user:ben")];
    assert!(read(store, |reading| reading.entries(before.head, &strangers, 9)).unwrap().is_empty());
    assert_eq!(read(store, |reading| reading.behind(before.head, &buckets())).unwrap(), 2);
}

#[apply(stores!)]
fn check_query_is_boolean_and_read_only(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "q1", "x");
    let table = [
        ("SELECT count(*) FROM places WHERE id = :id", true),
        ("SELECT count(*) FROM places WHERE id = :other", false),
        ("SELECT 0.5", true),
        ("SELECT 0.0", false),
        ("SELECT 'yes'", false),
        ("SELECT NULL", false),
        ("SELECT 1 FROM places WHERE id = 'missing'", false),
    ];
    for (sql, expected) in table {
        let values = [("id", Value::from("q1")), ("other", Value::Null), ("unused", Value::Null)];
        let held = write(store, NOW, |writing| writing.holds(sql, &values)).unwrap();
        assert_eq!(held, expected, "{sql}");
    }
    let wrote = write(store, NOW, |writing| writing.holds("DELETE FROM places RETURNING 1", &[]));
    assert!(wrote.is_err());
    assert!(
        write(store, NOW, |writing| writing.holds(table[0].0, &[("id", "q1".into())])).unwrap()
    );
}

#[apply(stores!)]
fn positions_are_unique_and_the_watermark_entry_stays(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "w1", "x");
    let head = read(store, |reading| reading.log_state()).unwrap().head;
    let tag = read(store, |reading| reading.tag(head)).unwrap();
    write(store, NOW, |writing| writing.forget_entries(head, 1_000)).unwrap();
    let log = read(store, |reading| reading.log_state()).unwrap();
    assert_eq!((log.watermark, log.head), (head, head));
    assert_eq!(read(store, |reading| reading.tag(head)).unwrap(), tag);
    put(store, "w2", "x");
    assert!(read(store, |reading| reading.log_state()).unwrap().head > head);
}

#[apply(stores!)]
fn watermark_only_rises(fresh: Fresh) {
    let store = &*fresh.store;
    for number in 0..9 {
        put(store, &format!("r{number}"), "x");
    }
    let head = read(store, |reading| reading.log_state()).unwrap().head;
    let forget = |watermark| write(store, NOW, |writing| writing.forget_entries(watermark, 100));
    forget(head - 2).unwrap();
    // A server with an older position compacts later.
    forget(head - 6).unwrap();
    assert_eq!(read(store, |reading| reading.log_state()).unwrap().watermark, head - 2);
}

/// `touched` is either unknown or complete.
#[apply(stores!)]
fn touched_buckets_are_complete_or_unknown(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "t0", "x");
    let before = store.pulse().unwrap();
    put(store, "t1", "x");
    put(store, "t2", "x");
    let rows = store.pulse().unwrap();
    write(store, NOW, |writing| writing.put_grant("ben", &grant("team"))).unwrap();
    let grant = store.pulse().unwrap();
    let touched = |bucket: &str, is_grant| Touched { bucket: bucket.into(), is_grant };
    let (anna, ben) = (touched("user:anna", false), touched("user:ben", true));
    for (after, upto, expected) in [
        (before, rows, vec![&anna]),
        (rows, grant, vec![&ben]),
        (before, grant, vec![&anna, &ben]),
        (grant, grant, vec![]),
    ] {
        let mut found = store.touched(after, upto).unwrap().unwrap();
        found.sort_by(|left, right| left.bucket.cmp(&right.bucket));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{after} to {upto}");
    }
    write(store, NOW, |writing| writing.forget_entries(rows, 100)).unwrap();
    assert_eq!(store.touched(before, grant).unwrap(), None, "some of it is forgotten");
    assert_eq!(store.touched(rows, grant).unwrap(), Some(vec![ben]));
    assert_eq!(store.touched(rows, grant + 1).unwrap(), None, "some of it is not there yet");
}

fn grant(bucket: &str) -> Grant {
    Grant { bucket: bucket.to_owned(), reads: true, writes: true }
}

#[apply(stores!)]
fn bucket_name_may_contain_any_text(fresh: Fresh) {
    let store = &*fresh.store;
    let held = || read(store, |reading| reading.grants("anna")).unwrap();
    let (before, name) = (held(), "team:\u{10ffff}0 and\0more");
    let change = |gives: bool| {
        write(store, NOW, |writing| {
            if gives {
                writing.put_grant("anna", &grant(name))
            } else {
                writing.remove_grant("anna", name)
            }
        })
    };
    assert_eq!((change(true).unwrap(), change(true).unwrap()), (true, false));
    assert!(held().contains(&grant(name)), "{:?}", held());
    assert_eq!((change(false).unwrap(), change(false).unwrap()), (true, false));
    assert_eq!(held(), before);
}
