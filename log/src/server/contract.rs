//! Contract tests for every [`LogStore`], one test per clause. A store includes them with one line.

use fastrand::Rng;

use super::super::effect::{Effect, Effects};
use super::super::entry::{Content, Revision};
use super::super::fixture::{author, buckets, entry, image, plain, row};
use super::super::ids::{EntryId, Epoch, Name, UserId};
use super::super::key::Key;
use super::super::row::{LogRow, RowName};
use super::super::view::RowEffect;
use super::super::write_set::WriteSet;
use super::memory::MemoryLog;
use super::store::{AcceptedEntry, Author, Link, LogFacts, LogStore, Membership};

/// A clause of the contract.
pub type Clause = fn(&mut dyn LogStore);

/// Defines the tests for a store: `log_store_contract!(MemoryLog::default());`, or, with a function
/// that makes the store and calls a [`Clause`]: `log_store_contract!(run: in_transaction);`
#[macro_export]
macro_rules! log_store_contract {
    ($new:expr) => {
        $crate::log_store_contract! {
            run: |clause: $crate::server::contract::Clause| clause(&mut $new)
        }
    };
    (run: $run:expr) => {
        $crate::log_store_contract! {
            run: $run;
            facts_are_there_once_set,
            an_entry_is_found_by_id_key_and_position,
            lists_are_in_order_and_bounded,
            a_removed_entry_is_found_by_nothing,
            base_rows_are_set_and_removed,
            base_rows_are_read_in_parts,
            current_rows_are_apart_from_the_base,
            a_history_is_read_from_any_key,
            histories_of_rows_are_apart,
            records_are_read_together,
            final_ids_go_with_their_author,
            people_are_kept,
            random_calls_return_what_the_memory_store_returns,
        }
    };
    (run: $run:expr; $($clause:ident),+ $(,)?) => {
        $(#[test]
        fn $clause() {
            ($run)($crate::server::contract::$clause);
        })+
    };
}
fn key(number: u64) -> Key {
    Key { millis: number, counter: number, author: author(1), id: entry(number.into()) }
}

fn accepted(number: u64, position: u64) -> AcceptedEntry {
    let effects = plain("r0", Effect::Delete);
    let content = Content {
        revision: Revision(3),
        effects,
        write_set: WriteSet::new(&buckets("a"), &buckets("b")),
    };
    AcceptedEntry {
        id: entry(number.into()),
        key: key(number),
        time: number,
        intent: Some(super::super::fixture::intent("append r0 x")),
        content,
        version: 2,
        by_authority: true,
        position,
        moved_at: 7,
        touched: buckets("a"),
    }
}

fn link(text: &str) -> Link {
    let after = Some(image("a", text));
    Link { effect: Effect::Delete, write_set: buckets("a").into(), after, passage: None }
}

pub fn facts_are_there_once_set(store: &mut dyn LogStore) {
    assert_eq!(store.facts().unwrap(), None);
    let epoch = Epoch(uuid::Uuid::from_u128(5));
    let horizon = key(2);
    let tables = [Name::from("seats")].into();
    let (authority, counter) = (None, 8);
    let folded = Some(key(1));
    let mut facts =
        LogFacts { epoch, head: 3, horizon, folded, floor: 1, counter, authority, tables };
    store.set_facts(&facts).unwrap();
    facts.authority = Some(author(9));
    store.set_facts(&facts).unwrap();
    assert_eq!(store.facts().unwrap(), Some(facts));
}

pub fn an_entry_is_found_by_id_key_and_position(store: &mut dyn LogStore) {
    let mut one = accepted(1, 1);
    store.put_entry(&one).unwrap();
    (one.position, one.content.effects) = (4, Effects::default());
    store.put_entry(&one).unwrap();
    assert_eq!(
        store.entry(one.id).unwrap(),
        Some(one.clone()),
        "the later version, with every field"
    );
    assert_eq!(store.entry(entry(2)).unwrap(), None);
    assert_eq!(store.by_key(&Key::FIRST, 9).unwrap(), [one.id]);
    assert_eq!(store.by_position(0, 9).unwrap(), [one.id], "its old position is removed");
    assert_eq!(store.by_position(3, 9).unwrap(), [one.id]);
    assert_eq!(store.by_position(4, 9).unwrap(), []);
}

pub fn lists_are_in_order_and_bounded(store: &mut dyn LogStore) {
    for (number, position) in [(3, 1), (1, 3), (2, 2)] {
        store.put_entry(&accepted(number, position)).unwrap();
    }
    let ids = |numbers: &[u128]| numbers.iter().map(|number| entry(*number)).collect::<Vec<_>>();
    assert_eq!(store.by_key(&Key::FIRST, usize::MAX).unwrap(), ids(&[1, 2, 3]));
    assert_eq!(store.by_key(&key(1), 1).unwrap(), ids(&[2]));
    assert_eq!(store.by_position(0, 2).unwrap(), ids(&[3, 2]));
    assert_eq!(store.by_position(2, 2).unwrap(), ids(&[1]));
}

pub fn a_removed_entry_is_found_by_nothing(store: &mut dyn LogStore) {
    store.put_entry(&accepted(1, 1)).unwrap();
    store.remove_entry(entry(1)).unwrap();
    store.remove_entry(entry(1)).unwrap();
    assert_eq!(store.entry(entry(1)).unwrap(), None);
    assert_eq!(store.by_key(&Key::FIRST, 9).unwrap(), []);
    assert_eq!(store.by_position(0, 9).unwrap(), []);
}

pub fn base_rows_are_set_and_removed(store: &mut dyn LogStore) {
    for id in ["r1", "k0", "r0"] {
        store.put_base(&row(id), Some(&image("a", id))).unwrap();
    }
    store.put_base(&row("r1"), None).unwrap();
    store.put_base(&row("r1"), None).unwrap();
    store.put_base(&row("r0"), Some(&image("b", ""))).unwrap();
    assert_eq!(store.base(&row("r1")).unwrap(), None);
    let rows = vec![(row("k0"), image("a", "k0")), (row("r0"), image("b", ""))];
    assert_eq!(store.base_after(None, usize::MAX).unwrap(), rows, "by table, then by key");
}

pub fn base_rows_are_read_in_parts(store: &mut dyn LogStore) {
    // Table and key are compared one after the other, not as one text, and by bytes.
    let names = [("a", "z"), ("a", "\u{e9}"), ("a\u{1}", "b"), ("ab", "B"), ("ab", "a"), ("b", "")];
    let names = names.map(|(table, id)| RowName::new(table, id));
    for name in names.iter().rev() {
        store.put_base(name, Some(&image("a", name.id.as_str()))).unwrap();
    }
    for limit in 1..=names.len() {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let part = store.base_after(after.as_ref(), limit).unwrap();
            assert!(part.len() <= limit);
            let Some((last, _)) = part.last() else { break };
            after = Some(last.clone());
            read.extend(part.into_iter().map(|(name, _)| name));
        }
        assert_eq!(read, names, "{limit} at a time");
    }
    let beside = RowName::new("ab", "C");
    let after = store.base_after(Some(&beside), 1).unwrap().remove(0).0;
    assert_eq!(after, names[4], "a name that does not exist is a position as well");
}

pub fn current_rows_are_apart_from_the_base(store: &mut dyn LogStore) {
    store.put_base(&row("r0"), Some(&image("a", "base"))).unwrap();
    for id in ["r0", "k0", "r1"] {
        store.put_current(&row(id), Some(&image("a", id))).unwrap();
    }
    store.put_current(&row("r1"), None).unwrap();
    store.put_current(&row("r1"), None).unwrap();
    store.put_current(&row("r0"), Some(&image("b", ""))).unwrap();
    assert_eq!(store.current(&row("r0")).unwrap(), Some(image("b", "")));
    assert_eq!(store.current(&row("k0")).unwrap(), Some(image("a", "k0")));
    assert_eq!(store.current(&row("r1")).unwrap(), None);
    assert_eq!(store.base_after(None, 9).unwrap(), [(row("r0"), image("a", "base"))]);
    assert_eq!(store.linked_rows().unwrap(), []);
}

pub fn a_history_is_read_from_any_key(store: &mut dyn LogStore) {
    let r0 = row("r0");
    for number in [5, 1, 3] {
        store.put_link(&r0, &key(number), Some(&link("old"))).unwrap();
        store.put_link(&r0, &key(number), Some(&link(&number.to_string()))).unwrap();
    }
    assert_eq!(store.link(&r0, &key(3)).unwrap(), Some(link("3")));
    assert_eq!(store.link(&r0, &key(2)).unwrap(), None);
    // key, link before it, link after it
    let table = [
        (Key::FIRST, None, Some(1)),
        (key(1), None, Some(3)),
        (key(2), Some(1), Some(3)),
        (key(3), Some(1), Some(5)),
        (Key::LAST, Some(5), None),
    ];
    for (at, before, after) in table {
        let text = |number: u64| link(&number.to_string());
        assert_eq!(store.link_before(&r0, &at).unwrap(), before.map(text), "before {at:?}");
        let after = after.map(|number| (key(number), text(number)));
        assert_eq!(store.link_after(&r0, &at).unwrap(), after, "after {at:?}");
    }
}

pub fn histories_of_rows_are_apart(store: &mut dyn LogStore) {
    store.put_link(&row("r0"), &key(1), Some(&link("x"))).unwrap();
    store.put_link(&row("k0"), &key(2), Some(&link("y"))).unwrap();
    assert_eq!(store.linked_rows().unwrap(), [row("k0"), row("r0")]);
    assert_eq!(store.link_before(&row("k0"), &key(2)).unwrap(), None);
    store.put_link(&row("k0"), &key(2), None).unwrap();
    store.put_link(&row("k0"), &key(2), None).unwrap();
    assert_eq!(store.linked_rows().unwrap(), [row("r0")]);
}

pub fn final_ids_go_with_their_author(store: &mut dyn LogStore) {
    let user = UserId(Name::from("user"));
    for number in [1, 2] {
        store.put_author(author(number), &Author { user: user.clone(), last_number: 4 }).unwrap();
        store.put_final(entry(number), author(number)).unwrap();
    }
    store.put_entry(&accepted(3, 3)).unwrap();
    let among = |store: &dyn LogStore, ids: &[u128]| {
        let ids: Vec<EntryId> = ids.iter().map(|id| entry(*id)).collect();
        store.stored_among(&ids).unwrap().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(among(store, &[]), []);
    assert_eq!(among(store, &[4, 3, 2, 5, 2]), [entry(2), entry(3)]);
    assert_eq!(among(store, &(1..40).collect::<Vec<_>>()), [entry(1), entry(2), entry(3)]);
    store.remove_author(author(1)).unwrap();
    assert_eq!(store.author(author(1)).unwrap(), None);
    assert_eq!(store.final_author(entry(1)).unwrap(), None);
    assert_eq!(store.final_author(entry(2)).unwrap(), Some(author(2)));
}

pub fn people_are_kept(store: &mut dyn LogStore) {
    let user = UserId(Name::from("user"));
    assert_eq!(store.membership(&user).unwrap(), Membership::default());
    let membership = Membership { buckets: buckets("a b"), write_only: buckets("c"), version: 2 };
    store.put_membership(&user, &membership).unwrap();
    assert_eq!(store.membership(&user).unwrap(), membership);
    assert_eq!(store.author(author(1)).unwrap(), None);
    let mut known = Author { user, last_number: 1 };
    store.put_author(author(1), &known).unwrap();
    known.last_number = 2;
    store.put_author(author(1), &known).unwrap();
    assert_eq!(store.author(author(1)).unwrap(), Some(known));
}

pub fn random_calls_return_what_the_memory_store_returns(store: &mut dyn LogStore) {
    for seed in 0..4 {
        let mut calls = RandomCalls { rng: Rng::with_seed(seed), position: seed * 1_000 };
        let mut memory = if seed == 0 { MemoryLog::default() } else { copied(store) };
        for number in 0..100 {
            calls.write_both(store, &mut memory);
            calls.read_both(store, &memory, &format!("seed {seed}, call {number}"));
        }
    }
}

/// What the random calls wrote so far, in memory.
fn copied(store: &dyn LogStore) -> MemoryLog {
    let mut memory = MemoryLog::default();
    for (row, image) in store.base_after(None, usize::MAX).unwrap() {
        memory.put_base(&row, Some(&image)).unwrap();
    }
    for row in ROWS.map(row) {
        memory.put_current(&row, store.current(&row).unwrap().as_ref()).unwrap();
        let mut at = Key::FIRST;
        while let Some((key, link)) = store.link_after(&row, &at).unwrap() {
            memory.put_link(&row, &key, Some(&link)).unwrap();
            at = key;
        }
    }
    for id in store.by_key(&Key::FIRST, usize::MAX).unwrap() {
        memory.put_entry(&store.entry(id).unwrap().unwrap()).unwrap();
    }
    memory
}

const ROWS: [&str; 3] = ["k0", "r0", "r1"];

/// Calls with few rows and keys, so that they concern each other.
struct RandomCalls {
    rng: Rng,
    /// The last position that an entry got.
    position: u64,
}

pub fn records_are_read_together(store: &mut dyn LogStore) {
    let mut both = accepted(1, 7);
    both.content.effects =
        [(row("r0"), Effect::Delete), (row("k0"), Effect::Delete)].into_iter().collect();
    store.put_entry(&both).unwrap();
    store.put_entry(&accepted(2, 8)).unwrap();
    for (id, number) in [("r0", 1), ("k0", 1), ("r0", 2), ("k0", 3)] {
        store.put_link(&row(id), &key(number), Some(&passed(id, number))).unwrap();
    }
    let ids = [entry(2), entry(9), entry(1)];
    let found = store.with_passages(&ids).unwrap();
    let passages: Vec<_> = found.iter().map(|linked| linked.passages.clone()).collect();
    let [k1, r1, r2] = [("k0", 1), ("r0", 1), ("r0", 2)].map(|(id, at)| passed(id, at).passage);
    assert_eq!(passages, [vec![r2], vec![k1, r1.clone()]]);
    let entries: Vec<_> = found.into_iter().map(|linked| linked.entry).collect();
    assert_eq!(entries, [accepted(2, 8), both.clone()]);
    store.put_link(&row("k0"), &key(1), None).unwrap();
    assert_eq!(store.with_passages(&[entry(1)]).unwrap()[0].passages, [None, r1]);
    assert_eq!(store.with_passages(&[]).unwrap(), []);

    let (r0, k0, none) = (row("r0"), row("k0"), row("none"));
    let keys = |numbers: &[u64]| Some(numbers.iter().map(|number| key(*number)).collect());
    assert_eq!(store.links_of(&[&r0, &none, &k0], 3).unwrap(), keys(&[1, 2, 3]));
    assert_eq!(store.links_of(&[&r0, &k0], 2).unwrap(), None);
    assert_eq!(store.links_of(&[&none], 0).unwrap(), keys(&[]));

    store.put_base(&r0, Some(&image("a", "base"))).unwrap();
    assert_eq!(store.bases(&[&none, &r0, &k0]).unwrap(), [(r0, image("a", "base"))]);
    assert_eq!(store.bases(&[]).unwrap(), []);
}

/// A link that shows something.
fn passed(id: &str, number: u64) -> Link {
    let image = Some(image("a", &format!("{id} {number}")));
    let passage =
        RowEffect { effect: Effect::Delete, before: buckets("a"), after: buckets("b"), image };
    Link { passage: Some(passage), ..link("") }
}

impl RandomCalls {
    fn row(&mut self) -> RowName {
        row(ROWS[self.rng.usize(..ROWS.len())])
    }

    fn key(&mut self) -> Key {
        key(self.rng.u64(1..16))
    }

    fn image(&mut self) -> Option<LogRow> {
        (self.rng.u8(..4) > 0).then(|| image("a", &self.rng.u8(..).to_string()))
    }

    fn write_both(&mut self, store: &mut dyn LogStore, memory: &mut MemoryLog) {
        let (row, key, image) = (self.row(), self.key(), self.image());
        let stores: [&mut dyn LogStore; 2] = [store, memory];
        let number = key.counter;
        let call = self.rng.u8(..8);
        self.position += 1;
        for store in stores {
            match call {
                0 => store.put_base(&row, image.as_ref()),
                1 => store.put_current(&row, image.as_ref()),
                2 => store.put_entry(&accepted(number, self.position)),
                3 if image.is_none() => store.remove_entry(entry(number.into())),
                3 => store.expect(&[(&row, &key)]),
                _ => store.put_link(&row, &key, image.as_ref().map(linked).as_ref()),
            }
            .unwrap();
        }
    }

    fn read_both(&mut self, store: &dyn LogStore, memory: &MemoryLog, what: &str) {
        let (row, key) = (self.row(), self.key());
        let id = entry(key.counter.into());
        match self.rng.u8(..22) {
            0 => assert_eq!(store.current(&row), memory.current(&row), "{what}"),
            1 => assert_eq!(store.linked_rows(), memory.linked_rows(), "{what}"),
            2 => assert_eq!(store.by_key(&key, 3), memory.by_key(&key, 3), "{what}"),
            3 => assert_eq!(store.by_position(5, 9), memory.by_position(5, 9), "{what}"),
            4 => assert_eq!(store.base_after(None, 9), memory.base_after(None, 9), "{what}"),
            5 => assert_eq!(store.stored_among(&[id]), memory.stored_among(&[id]), "{what}"),
            6 | 7 => assert_eq!(store.entry(id), memory.entry(id), "{what}"),
            8 | 9 => assert_eq!(store.base(&row), memory.base(&row), "{what}"),
            10 | 11 => assert_eq!(store.link(&row, &key), memory.link(&row, &key), "{what}"),
            20 => assert_eq!(store.with_passages(&[id]), memory.with_passages(&[id]), "{what}"),
            21 => assert_eq!(store.links_of(&[&row], 4), memory.links_of(&[&row], 4), "{what}"),
            12..=15 => {
                let found = [store.link_before(&row, &key), memory.link_before(&row, &key)];
                assert_eq!(found[0], found[1], "{what}: before {key:?}");
            }
            _ => {
                let found = [store.link_after(&row, &key), memory.link_after(&row, &key)];
                assert_eq!(found[0], found[1], "{what}: after {key:?}");
            }
        }
    }
}

fn linked(after: &LogRow) -> Link {
    Link { after: Some(after.clone()), ..link("") }
}
