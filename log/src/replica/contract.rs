//! Contract tests for every [`ReplicaStore`], one test per clause. A store includes them with one
//! line.

use std::collections::BTreeSet;

use super::super::clock::Clock;
use super::super::effect::Effect;
use super::super::entry::{Content, Revision};
use super::super::fixture::{author, buckets, entry, image, intent, plain, row};
use super::super::ids::{Epoch, Name};
use super::super::key::Key;
use super::super::message::snapshot::{
    SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition,
};
use super::super::message::{Cursor, EpochStamp, FullEntry, Held};
use super::super::rebase::Footprint;
use super::super::row::RowName;
use super::super::write_set::WriteSet;
use super::store::{
    Authority, AuthorityEntry, Facts, OwnEntry, Record, ReplicaStore, Shown, Waiting,
};

/// Defines the tests for a store: `replica_store_contract!(MemoryReplica::default());`
#[macro_export]
macro_rules! replica_store_contract {
    ($new:expr) => {
        $crate::replica_store_contract! {
            $new;
            facts_are_there_once_set,
            rows_are_written_read_and_listed,
            a_table_is_only_itself,
            a_record_is_kept_whole,
            records_are_listed_by_key,
            a_record_with_another_key_is_listed_there,
            own_records_are_listed_alone,
            waiting_records_are_listed_by_what_they_wait_for,
            pages_are_kept_in_order_until_they_are_cleared,
            names_are_listed_by_range,
            steps_are_found_by_key,
            steps_are_found_by_row_and_by_table,
            a_step_that_changes_or_goes_is_found_there_no_more,
        }
    };
    ($new:expr; $($clause:ident),+ $(,)?) => {
        $(#[test]
        fn $clause() {
            $crate::replica::contract::$clause(&mut $new);
        })+
    };
}
fn key(number: u64) -> Key {
    Key { millis: number, counter: 0, author: author(1), id: entry(number.into()) }
}

fn own() -> OwnEntry {
    OwnEntry {
        time: 5,
        intent: Some(intent("append r0 x")),
        effects: plain("r0", Effect::Delete),
        revision: Revision(2),
        acknowledged: Some(Revision(1)),
        authority: Authority::Parked,
        refusal: Some(String::from("sold")),
        tables: BTreeSet::from([Name::from("r")]),
        undoes: Some(entry(9)),
        given_up: true,
    }
}

pub fn facts_are_there_once_set(store: &mut dyn ReplicaStore) {
    assert_eq!(store.facts().unwrap(), None);
    let mut clock = Clock::default();
    clock.stamp(77, author(1), entry(1));
    let epoch = Epoch(uuid::Uuid::from_u128(3));
    let mut facts = Facts { clock, ..Facts::new(author(1)) };
    store.set_facts(&facts).unwrap();
    assert_eq!(store.facts().unwrap().as_ref(), Some(&facts));
    facts.stamp = Some(EpochStamp { epoch, membership: 2 });
    let at = SnapshotPlace::Row(row("r1"));
    let stamp = EpochStamp { epoch, membership: 2 };
    facts.loading = Some(SnapshotPosition { stamp, horizon: key(4), at });
    facts.buckets = Some(buckets("a b").into());
    (facts.cursor, facts.horizon, facts.number) = (Cursor(9), key(4), 6);
    (facts.needs_snapshot, facts.copied) = (false, true);
    store.set_facts(&facts).unwrap();
    assert_eq!(store.facts().unwrap(), Some(facts));
}

pub fn rows_are_written_read_and_listed(store: &mut dyn ReplicaStore) {
    store.put_row(&row("r1"), Some(&image("a", "x"))).unwrap();
    store.put_row(&row("k0"), Some(&image("a", ""))).unwrap();
    store.put_row(&row("r0"), Some(&image("a", ""))).unwrap();
    store.put_row(&row("r1"), Some(&image("b", "y"))).unwrap();
    store.put_row(&row("r0"), None).unwrap();
    store.put_row(&row("r0"), None).unwrap();
    assert_eq!(store.row(&row("r1")).unwrap(), Some(image("b", "y")));
    assert_eq!(store.row(&row("r0")).unwrap(), None);
    let rows = vec![(row("k0"), image("a", "")), (row("r1"), image("b", "y"))];
    assert_eq!(store.all_rows().unwrap(), rows, "by table, then by key");
}

pub fn a_table_is_only_itself(store: &mut dyn ReplicaStore) {
    for id in ["r1", "s0", "q9", "r0"] {
        store.put_row(&row(id), Some(&image("a", ""))).unwrap();
    }
    let names = |table: &str| {
        let rows = store.table(&Name::from(table)).unwrap();
        rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>()
    };
    assert_eq!(names("r"), [row("r0"), row("r1")]);
    assert_eq!(names("t"), []);
}

pub fn a_record_is_kept_whole(store: &mut dyn ReplicaStore) {
    let effects = plain("r0", Effect::Insert(image("a", "")));
    let held = Held {
        revision: Revision(1),
        write_set: buckets("a").into(),
        by_authority: true,
        is_hidden: true,
    };
    let content = Content {
        revision: Revision(1),
        effects: effects.clone(),
        write_set: WriteSet::new(&buckets("b"), &buckets("c")),
    };
    let whole = FullEntry { time: 3, intent: None, content, version: 4 };
    let mut record = Record::new(key(1));
    record.item = Some(Shown { effects: effects.clone(), held: Some(held) });
    record.own = Some(Box::new(own()));
    let authority = AuthorityEntry { whole, effects, tables: BTreeSet::new() };
    record.authority = Some(Box::new(authority));
    record.undo = vec![(row("r0"), None), (row("r1"), Some(image("a", "x")))];
    store.put_record(entry(1), &Record::new(key(1))).unwrap();
    store.put_record(entry(1), &record).unwrap();
    assert_eq!(store.record(entry(1)).unwrap(), Some(record));
    assert_eq!(store.record(entry(2)).unwrap(), None);
}

pub fn records_are_listed_by_key(store: &mut dyn ReplicaStore) {
    for number in [3, 1, 2] {
        store.put_record(entry(number.into()), &Record::new(key(number))).unwrap();
    }
    assert_eq!(store.ids(&key(2)).unwrap(), [entry(1), entry(2)], "the bound is included");
    store.remove_record(entry(1)).unwrap();
    store.remove_record(entry(1)).unwrap();
    assert_eq!(store.ids(&Key::LAST).unwrap(), [entry(2), entry(3)]);
}

pub fn a_record_with_another_key_is_listed_there(store: &mut dyn ReplicaStore) {
    let mut record = Record { own: Some(Box::new(own())), ..Record::new(key(1)) };
    store.put_record(entry(1), &record).unwrap();
    record.key = key(5);
    store.put_record(entry(1), &record).unwrap();
    assert_eq!(store.ids(&key(4)).unwrap(), []);
    assert_eq!(store.ids(&Key::LAST).unwrap(), [entry(1)]);
    assert_eq!(store.own_ids().unwrap(), [entry(1)]);
}

pub fn own_records_are_listed_alone(store: &mut dyn ReplicaStore) {
    for number in [3, 1, 2] {
        let own = (number != 1).then(|| Box::new(own()));
        store
            .put_record(entry(number.into()), &Record { own, ..Record::new(key(number)) })
            .unwrap();
    }
    assert_eq!(store.own_ids().unwrap(), [entry(2), entry(3)]);
    store.put_record(entry(2), &Record::new(key(2))).unwrap();
    assert_eq!(store.own_ids().unwrap(), [entry(3)], "it is not an own entry any more");
}

pub fn waiting_records_are_listed_by_what_they_wait_for(store: &mut dyn ReplicaStore) {
    let authorities = [Authority::Parked, Authority::Mine, Authority::Frozen, Authority::Mine];
    for (number, authority) in (1..).zip(authorities) {
        let own = Some(Box::new(OwnEntry { authority, ..own() }));
        store
            .put_record(entry(number.into()), &Record { own, ..Record::new(key(number)) })
            .unwrap();
    }
    let waiting = |store: &dyn ReplicaStore, what, limit| store.waiting_ids(what, limit).unwrap();
    assert_eq!(waiting(store, Waiting::Server, usize::MAX), [entry(2), entry(4)]);
    assert_eq!(waiting(store, Waiting::Server, 1), [entry(2)]);
    assert_eq!(waiting(store, Waiting::User, 9), [entry(1)]);
    let sent = OwnEntry { acknowledged: Some(Revision(2)), authority: Authority::Mine, ..own() };
    let sent = Record { own: Some(Box::new(sent)), ..Record::new(key(2)) };
    store.put_record(entry(2), &sent).unwrap();
    assert_eq!(waiting(store, Waiting::Server, 9), [entry(4)], "2 is acknowledged");
    assert_eq!(store.own_ids().unwrap().len(), 4);
}

fn page(id: &str) -> SnapshotPage {
    let stamp = EpochStamp { epoch: Epoch(uuid::Uuid::from_u128(3)), membership: 2 };
    let (horizon, buckets) = (key(1), buckets("a").into());
    let base = vec![(row(id), image("a", "x"))];
    let next = SnapshotNext::Cursor(Cursor(7));
    SnapshotPage { stamp, after: None, buckets, horizon, base, items: Vec::new(), next }
}

pub fn pages_are_kept_in_order_until_they_are_cleared(store: &mut dyn ReplicaStore) {
    store.clear_pages().unwrap();
    for _ in 0..2 {
        assert_eq!(store.page_after(0).unwrap(), None);
        for id in ["r0", "r1"] {
            store.put_page(&page(id)).unwrap();
        }
        assert_eq!(store.page_after(0).unwrap(), Some((1, page("r0"))));
        assert_eq!(store.page_after(1).unwrap(), Some((2, page("r1"))));
        assert_eq!(store.page_after(2).unwrap(), None);
        store.clear_pages().unwrap();
    }
}

pub fn names_are_listed_by_range(store: &mut dyn ReplicaStore) {
    let names = ["k0", "k1", "r0", "rB", "ra", "r\u{e9}", "s0"].map(row);
    for name in &names {
        store.put_row(name, Some(&image("a", "x"))).unwrap();
    }
    let ends = || std::iter::once(None).chain(names.iter().map(Some));
    for (after, through) in ends().flat_map(|after| ends().map(move |end| (after, end))) {
        let mut listed = store.names_between(after, through).unwrap();
        listed.sort_unstable();
        let within = |name: &&RowName| {
            after.is_none_or(|after| after < *name) && through.is_none_or(|end| *name <= end)
        };
        let expected: Vec<RowName> = names.iter().filter(within).cloned().collect();
        assert_eq!(listed, expected, "{after:?} {through:?}");
    }
    let beyond = [RowName::new("a", "z"), RowName::new("z", "a")];
    assert_eq!(store.names_between(Some(&beyond[0]), Some(&beyond[1])).unwrap().len(), names.len());
}

fn footprint(rows: &[&str], tables: &[&str]) -> Footprint {
    let tables = tables.iter().map(|table| Name::from(*table)).collect();
    Footprint { rows: rows.iter().map(|id| row(id)).collect(), tables }
}

/// Steps 1 to 4: rows r0 and s0; row r0; row r1, read from table s; nothing.
fn put_steps(store: &mut dyn ReplicaStore) {
    let steps: [(u64, &[&str], &[&str]); 4] =
        [(3, &["r1"], &["s"]), (4, &[], &[]), (1, &["r0", "s0"], &[]), (2, &["r0"], &[])];
    for (number, rows, tables) in steps {
        store.steps_mut().put(&key(number), &footprint(rows, tables)).unwrap();
    }
}

pub fn steps_are_found_by_key(store: &mut dyn ReplicaStore) {
    assert_eq!(store.steps().last().unwrap(), None);
    put_steps(store);
    let steps = store.steps();
    assert_eq!(steps.keys().unwrap(), [key(1), key(2), key(3), key(4)]);
    assert_eq!(steps.last().unwrap(), Some(key(4)));
    assert_eq!(steps.get(&key(3)).unwrap(), Some(footprint(&["r1"], &["s"])));
    assert_eq!(steps.get(&key(4)).unwrap(), Some(Footprint::default()));
    assert_eq!(steps.get(&key(5)).unwrap(), None);
}

pub fn steps_are_found_by_row_and_by_table(store: &mut dyn ReplicaStore) {
    put_steps(store);
    let (steps, r, s) = (store.steps(), Name::from("r"), Name::from("s"));
    assert_eq!(steps.naming(&row("r0"), &Key::FIRST).unwrap(), [key(1), key(2)]);
    assert_eq!(steps.naming(&row("r0"), &key(1)).unwrap(), [key(2)], "the bound is left out");
    assert_eq!(steps.naming(&row("r9"), &Key::FIRST).unwrap(), []);
    assert_eq!(steps.writing(&r, &Key::FIRST).unwrap(), [key(1), key(2), key(3)]);
    assert_eq!(steps.writing(&r, &key(2)).unwrap(), [key(3)]);
    assert_eq!(steps.writing(&s, &Key::FIRST).unwrap(), [key(1)], "3 only reads it");
    assert_eq!(steps.reading(&s, &key(2)).unwrap(), [key(3)]);
    assert_eq!(steps.reading(&s, &key(3)).unwrap(), []);
    assert_eq!(steps.reading(&r, &Key::FIRST).unwrap(), [], "no replay read it");
}

pub fn a_step_that_changes_or_goes_is_found_there_no_more(store: &mut dyn ReplicaStore) {
    put_steps(store);
    let steps = store.steps_mut();
    steps.put(&key(1), &footprint(&["r0", "q0"], &["q"])).unwrap();
    steps.put(&key(2), &footprint(&["r0"], &[])).unwrap();
    steps.remove(&key(3)).unwrap();
    steps.remove(&key(3)).unwrap();
    let names = ["q", "r", "s"].map(Name::from);
    let writing = names.each_ref().map(|table| steps.writing(table, &Key::FIRST).unwrap());
    assert_eq!(writing, [vec![key(1)], vec![key(1), key(2)], vec![]]);
    let reading = names.each_ref().map(|table| steps.reading(table, &Key::FIRST).unwrap());
    assert_eq!(reading, [vec![key(1)], vec![], vec![]]);
    assert_eq!(steps.naming(&row("s0"), &Key::FIRST).unwrap(), []);
    assert_eq!(steps.naming(&row("r0"), &Key::FIRST).unwrap(), [key(1), key(2)]);
    assert_eq!(steps.keys().unwrap(), [key(1), key(2), key(4)]);
}
