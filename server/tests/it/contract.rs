//! The contract of a store that requests do not show: pages of the log, compaction in pieces, lists, and queries of the operator.

use macro_rules_attribute::apply;
use rejoin_protocol::Value;
use rejoin_server::store::{Client, Room, StoredVerdict, Touched, read, write};

use stores::{Fresh, anna, buckets, put};

mod stores;

const NOW: &str = "2026-11-20T08:00:00.000000Z";

#[apply(stores!)]
fn every_write_is_an_entry_behind_the_last_one_with_a_tag_of_its_own(fresh: Fresh) {
    let store = &*fresh.store;
    let before = read(store, |reading| reading.life()).unwrap();
    put(store, "c1", "x");
    put(store, "c2", "y");
    let after = read(store, |reading| reading.life()).unwrap();
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
fn a_page_of_entries_ends_where_a_transaction_ends(fresh: Fresh) {
    let store = &*fresh.store;
    let before = read(store, |reading| reading.life()).unwrap();
    write(store, NOW, |writing| {
        let schema = writing.schema().clone();
        let table = schema.table("places").unwrap();
        let at = |name: &str| table.column(name).unwrap();
        for number in 0..5 {
            let cells = [
                (at("id"), Value::from(format!("t{number}"))),
                (at("owner_id"), Value::from("anna")),
                (at("name"), Value::from("x")),
            ];
            assert!(writing.insert(table, &cells).is_ok());
        }
        Ok(())
    })
    .unwrap();
    put(store, "t9", "x");
    let page = read(store, |reading| reading.entries(before.head, &buckets(), 2)).unwrap();
    assert_eq!(page.len(), 5);
}

#[apply(stores!)]
fn a_page_ends_early_when_its_rows_are_heavy(fresh: Fresh) {
    let store = &*fresh.store;
    for number in 0..5 {
        put(store, &format!("h{number}"), &"x".repeat(1_000));
    }
    read(store, |reading| {
        let schema = reading.schema().clone();
        let table = schema.table("places").unwrap();
        let page = reading.page(table, None, Room { rows: 100, bytes: 1_500 }, &anna())?;
        assert_eq!((page.rows.len(), page.ends), (2, false));
        let page = reading.page(table, None, Room { rows: 100, bytes: 0 }, &anna())?;
        assert_eq!((page.rows.len(), page.ends), (1, false), "one row always goes");
        let keys: Vec<Option<Value>> =
            (0..5).map(|number| Some(Value::from(format!("h{number}")))).collect();
        for most in [2, 5] {
            let mut handed = Vec::new();
            reading.images(table, &keys, &anna(), &mut |image| {
                handed.push(image.map(|row| row.id(table)));
                handed.len() < most
            })?;
            let expected: Vec<Option<String>> =
                (0..most).map(|number| Some(format!("h{number}"))).collect();
            assert_eq!(handed, expected);
        }
        Ok(())
    })
    .unwrap();
}

#[apply(stores!)]
fn a_query_of_the_operators_gives_truth_or_not_and_only_reads(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "q1", "x");
    let table = [
        ("SELECT count(*) FROM places WHERE id = :id", true),
        ("SELECT count(*) FROM places WHERE id = :other", false),
        ("SELECT 0.5", true),
        ("SELECT 0.0", false),
        ("SELECT 'yes'", false),
        ("SELECT NULL", false),
        ("SELECT 1 FROM places WHERE id = 'nobody'", false),
    ];
    for (sql, expected) in table {
        let values = [("id", Value::from("q1")), ("other", Value::Null), ("unused", Value::Null)];
        let held = write(store, NOW, |writing| writing.holds(sql, &values)).unwrap();
        assert_eq!(held, expected, "{sql}");
    }
    let parameters = |sql: &str| {
        let mut found = Ok(Vec::new());
        store
            .read(&mut |reading| {
                found = reading.parameters_of(sql);
                Ok(())
            })
            .unwrap();
        found
    };
    assert_eq!(parameters("SELECT :b, :a, :b").unwrap(), ["b", "a"]);
    for sql in ["DELETE FROM places RETURNING 1", "SELECT ?", "SELECT 1; SELECT 2", "SELEC", ""] {
        assert!(parameters(sql).is_err(), "{sql}");
    }
    let wrote = write(store, NOW, |writing| writing.holds("DELETE FROM places RETURNING 1", &[]));
    assert!(wrote.is_err());
    assert!(
        write(store, NOW, |writing| writing.holds(table[0].0, &[("id", "q1".into())])).unwrap()
    );
}

#[apply(stores!)]
fn positions_are_never_given_again_and_the_entry_at_the_watermark_stays(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "w1", "x");
    let head = read(store, |reading| reading.life()).unwrap().head;
    let tag = read(store, |reading| reading.tag(head)).unwrap();
    write(store, NOW, |writing| writing.forget_entries(head, 1_000)).unwrap();
    let life = read(store, |reading| reading.life()).unwrap();
    assert_eq!((life.watermark, life.head), (head, head));
    assert_eq!(read(store, |reading| reading.tag(head)).unwrap(), tag);
    put(store, "w2", "x");
    assert!(read(store, |reading| reading.life()).unwrap().head > head);
}

#[apply(stores!)]
fn what_is_forgotten_goes_in_pieces_of_the_size_that_is_asked(fresh: Fresh) {
    let store = &*fresh.store;
    for number in 0..5 {
        put(store, &format!("f{number}"), "x");
    }
    let head = read(store, |reading| reading.life()).unwrap().head;
    let verdict = |seq| StoredVerdict {
        attempt: 1,
        hash: String::new(),
        ending: String::from("accepted"),
        client_id: String::from("old"),
        seq,
        verdict: String::from("{}"),
        displaced: None,
        at: String::from(NOW),
    };
    let old = Client { acked_below: 4, seen_at: String::from("2020"), ..Client::default() };
    write(store, NOW, |writing| {
        assert!(writing.compacts_alone()?);
        let schema = writing.schema().clone();
        let table = schema.table("places").unwrap();
        for seq in 1..=5 {
            writing.put_verdict("anna", &format!("m{seq}"), &verdict(seq))?;
            writing.put_written_at(table, &format!("gone{seq}"), "v1", 7)?;
        }
        writing.put_client("anna", "old", &old)
    })
    .unwrap();
    let entries = |most| write(store, NOW, |writing| writing.forget_entries(head, most)).unwrap();
    let went = entries(2);
    assert_eq!((went, read(store, |reading| reading.life()).unwrap().watermark), (2, head));
    let left = |position| read(store, |reading| reading.behind(position, &buckets())).unwrap();
    assert_eq!(left(0), 4, "one of the two was nobody's: it began the log");
    assert!(entries(100) >= 2);
    assert_eq!((entries(100), left(0)), (0, 1), "the one at the watermark stays");
    let verdicts = || write(store, NOW, |writing| writing.forget_verdicts("2021", 2)).unwrap();
    assert_eq!((verdicts(), verdicts(), verdicts()), (2, 1, 0), "those that have reached it");
    let purged = read(store, |reading| reading.client("anna", "old")).unwrap().unwrap();
    assert_eq!(purged.purged_below, 4);
    let times = || write(store, NOW, |writing| writing.forget_written(2)).unwrap();
    assert_eq!((times(), times(), times()), (2, 2, 1));
}

#[apply(stores!)]
fn devices_and_schemas_are_listed_in_order(fresh: Fresh) {
    let store = &*fresh.store;
    let names = [("Zoe", "b"), ("anna", "\0"), ("anna", "a"), ("anna", "\u{10ffff}")];
    for (user, client_id) in names {
        let client = Client { platform: format!("{user} {client_id}"), ..Client::default() };
        write(store, NOW, |writing| writing.put_client(user, client_id, &client)).unwrap();
    }
    let page = |after: Option<(&str, &str)>, most| {
        let known = read(store, |reading| reading.clients(after, most)).unwrap();
        known.into_iter().map(|k| (k.user, k.client_id, k.client.platform)).collect::<Vec<_>>()
    };
    let all = page(None, 10);
    assert_eq!(all.len(), 4);
    assert_eq!(all[0], (String::from("Zoe"), String::from("b"), String::from("Zoe b")));
    assert!(all.iter().all(|(user, client, platform)| *platform == format!("{user} {client}")));
    let mut walked = page(None, 1);
    while let Some((user, client_id, _)) = walked.last().cloned() {
        let next = page(Some((&user, &client_id)), 1);
        if next.is_empty() {
            break;
        }
        walked.extend(next);
    }
    assert_eq!(walked, all, "page by page they are the same");
    let versions = read(store, |reading| reading.manifests(10)).unwrap();
    let schema = read(store, |reading| Ok(reading.schema().manifest.schema_hash.clone())).unwrap();
    assert_eq!((versions.len(), &versions[0].hash), (1, &schema));
    assert_eq!(read(store, |reading| reading.manifests(0)).unwrap(), []);
}

#[apply(stores!)]
fn a_watermark_only_rises(fresh: Fresh) {
    let store = &*fresh.store;
    for number in 0..9 {
        put(store, &format!("r{number}"), "x");
    }
    let head = read(store, |reading| reading.life()).unwrap().head;
    let forget = |watermark| write(store, NOW, |writing| writing.forget_entries(watermark, 100));
    forget(head - 2).unwrap();
    // Another server that compacts had read an earlier one: what it does now comes too late.
    forget(head - 6).unwrap();
    assert_eq!(read(store, |reading| reading.life()).unwrap().watermark, head - 2);
}

/// A store that cannot tell says so; one that tells leaves nothing out.
#[apply(stores!)]
fn what_a_span_of_the_log_touches_is_told_whole_or_not_at_all(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, "t0", "x");
    let before = store.pulse().unwrap();
    put(store, "t1", "x");
    put(store, "t2", "x");
    let rows = store.pulse().unwrap();
    write(store, NOW, |writing| writing.subscribe("ben", "team")).unwrap();
    let grant = store.pulse().unwrap();
    let touched = |bucket: &str, is_grant| Touched { bucket: bucket.into(), is_grant };
    let (anna, ben) = (touched("user:anna", false), touched("user:ben", true));
    for (after, upto, expected) in [
        (before, rows, vec![&anna]),
        (rows, grant, vec![&ben]),
        (before, grant, vec![&anna, &ben]),
        (grant, grant, vec![]),
    ] {
        let mut told = store.touched(after, upto).unwrap().unwrap();
        told.sort_by(|left, right| left.bucket.cmp(&right.bucket));
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "{after} to {upto}");
    }
    write(store, NOW, |writing| writing.forget_entries(rows, 100)).unwrap();
    assert_eq!(store.touched(before, grant).unwrap(), None, "some of it is forgotten");
    assert_eq!(store.touched(rows, grant).unwrap(), Some(vec![ben]));
    assert_eq!(store.touched(rows, grant + 1).unwrap(), None, "some of it is not there yet");
}

#[apply(stores!)]
fn a_bucket_may_be_called_anything(fresh: Fresh) {
    let store = &*fresh.store;
    let held = || read(store, |reading| reading.granted("anna")).unwrap();
    let (before, name) = (held(), "team:\u{10ffff}0 and\0more");
    let change = |gives: bool| {
        write(store, NOW, |writing| {
            if gives { writing.subscribe("anna", name) } else { writing.unsubscribe("anna", name) }
        })
    };
    assert_eq!((change(true).unwrap(), change(true).unwrap()), (true, false));
    assert!(held().iter().any(|bucket| bucket == name), "{:?}", held());
    assert_eq!((change(false).unwrap(), change(false).unwrap()), (true, false));
    assert_eq!(held(), before);
}
