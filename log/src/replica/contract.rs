//! Contract tests for every [`ReplicaStore`], one test per clause. A store includes them with one
//! line.

use std::collections::BTreeSet;

use super::super::clock::Clock;
use super::super::effect::Effect;
use super::super::entry::{Content, Revision};
use super::super::fixture::{author, buckets, entry, image, intent, plain, row};
use super::super::ids::{Epoch, Name};
use super::super::key::Key;
use super::super::message::{Cursor, EpochStamp, FullEntry, Held};
use super::store::{Authority, AuthorityEntry, Facts, OwnEntry, Record, ReplicaStore, Shown};

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
        succeeded: false,
        tables: BTreeSet::from([Name::from("r")]),
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
    facts.buckets = Some(buckets("a b"));
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
    let held = Held { revision: Revision(1), write_set: buckets("a"), refereed: true };
    let content =
        Content { revision: Revision(1), effects: effects.clone(), write_set: buckets("b") };
    let whole = FullEntry { time: 3, intent: None, content, version: 4 };
    let mut record = Record::new(key(1));
    record.item = Some(Shown { effects: effects.clone(), held: Some(held) });
    record.own = Some(own());
    record.authority = Some(AuthorityEntry { whole, effects, tables: BTreeSet::new() });
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
    let mut record = Record { own: Some(own()), ..Record::new(key(1)) };
    store.put_record(entry(1), &record).unwrap();
    record.key = key(5);
    store.put_record(entry(1), &record).unwrap();
    assert_eq!(store.ids(&key(4)).unwrap(), []);
    assert_eq!(store.ids(&Key::LAST).unwrap(), [entry(1)]);
    assert_eq!(store.own_ids().unwrap(), [entry(1)]);
}

pub fn own_records_are_listed_alone(store: &mut dyn ReplicaStore) {
    for number in [3, 1, 2] {
        let own = (number != 1).then(own);
        store
            .put_record(entry(number.into()), &Record { own, ..Record::new(key(number)) })
            .unwrap();
    }
    assert_eq!(store.own_ids().unwrap(), [entry(2), entry(3)]);
    store.put_record(entry(2), &Record::new(key(2))).unwrap();
    assert_eq!(store.own_ids().unwrap(), [entry(3)], "it is not an own entry any more");
}
