//! Each message survives JSON exactly, ignores unknown members, and names wrong ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use rejoin_protocol::Value;
use rejoin_protocol::limits::{LOG_EFFECTS, LOG_ENTRY, LOG_OFFERS, LOG_PAGE, NAME, ROW_ID};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::super::write_set::WriteSet;
use super::bounds::{CheckBounds, OutOfBounds, check_offer};
use super::rows::{NamedRows, RowsAnswer, RowsRequest};
use super::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition, SnapshotRequest,
};
use super::{
    Correct, Correction, Cursor, EntryVerdict, EpochStamp, Fetch, Fetched, FullEntry, Held, Item,
    Outcome, Page, Publish, Published, Request, Verdict, ViewedEntry, read,
};
use crate::effect::{Effect, Effects};
use crate::entry::{Content, Intent, Offer, Revision};
use crate::fixture::{author, columns, entry, plain};
use crate::ids::{AuthorId, Buckets, EntryId, Epoch, Name};
use crate::key::Key;
use crate::row::{Columns, LogRow, RowName};

/// Random messages.
struct Random(Rng);

impl Random {
    fn number(&mut self) -> u64 {
        [0, 1, self.0.u64(..1 << 40), self.0.u64(..), u64::MAX][self.0.usize(..5)]
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.0.u128(..))
    }

    fn text(&mut self) -> String {
        (0..self.0.usize(..4))
            .map(|_| ['a', '"', '\\', '\n', '\u{1f600}', 'Z'][self.0.usize(..6)])
            .collect()
    }

    fn name(&mut self) -> Name {
        Name::from(self.text())
    }

    fn value(&mut self) -> Value {
        match self.0.u8(..6) {
            0 => Value::Null,
            1 => Value::Integer(self.0.i64(..)),
            2 => Value::Real(
                [-0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 3.0][self.0.usize(..5)],
            ),
            3 => Some(f64::from_bits(self.0.u64(..))).filter(|real| !real.is_nan()).into(),
            4 => self.text().into(),
            _ => Value::Blob((0..self.0.usize(..4)).map(|_| self.0.u8(..)).collect()),
        }
    }

    fn many<T, C: FromIterator<T>>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> C {
        (0..self.0.usize(..4)).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| one(self))
    }

    fn columns(&mut self) -> Columns {
        self.many(|random| (random.name(), random.value()))
    }

    fn row(&mut self) -> RowName {
        RowName { table: self.name(), id: self.name() }
    }

    fn effects(&mut self) -> Effects {
        self.many(|random| {
            let effect = match random.0.u8(..3) {
                0 => Effect::Insert(random.columns().into()),
                1 => Effect::Update(random.columns()),
                _ => Effect::Delete,
            };
            (random.row(), effect)
        })
    }

    fn key(&mut self) -> Key {
        let (author, id) = (AuthorId(self.uuid()), EntryId(self.uuid()));
        Key { millis: self.number(), counter: self.number(), author, id }
    }

    fn stamp(&mut self) -> EpochStamp {
        EpochStamp { epoch: Epoch(self.uuid()), membership: self.number() }
    }

    fn write_set(&mut self) -> WriteSet {
        let (read, write_only): (Buckets, Buckets) = (self.many(Self::name), self.many(Self::name));
        WriteSet::new(&read, &write_only)
    }

    fn intent(&mut self) -> Intent {
        let arguments = Arc::new(self.columns().into_iter().collect());
        Intent { action: self.name(), version: self.0.u32(..), arguments }
    }

    fn revision(&mut self) -> Revision {
        Revision(self.0.u32(..))
    }

    fn offer(&mut self) -> Offer {
        let (key, time, intent) = (self.key(), self.number(), self.maybe(Self::intent));
        Offer { key, time, intent, revision: self.revision(), effects: self.effects() }
    }

    fn whole(&mut self) -> FullEntry {
        let (revision, effects) = (self.revision(), self.effects());
        let content = Content { revision, effects, write_set: self.write_set() };
        let (time, version) = (self.number(), self.number());
        FullEntry { time, intent: self.maybe(Self::intent), content, version }
    }

    fn item(&mut self) -> Item {
        if self.0.bool() {
            return Item::Gone(EntryId(self.uuid()));
        }
        Item::Entry(Box::new(self.viewed()))
    }

    fn viewed(&mut self) -> ViewedEntry {
        let own = self.maybe(|random| Held {
            revision: random.revision(),
            write_set: random.write_set(),
            by_authority: random.0.bool(),
            is_hidden: random.0.bool(),
        });
        let (key, effects, whole) = (self.key(), self.effects(), self.maybe(Self::whole));
        ViewedEntry { key, effects, own, whole }
    }

    fn verdict(&mut self) -> Verdict {
        let (revision, key) = (self.revision(), self.key());
        match self.0.u8(..9) {
            0 => Verdict::Held { revision, key },
            1 => Verdict::ByAuthority { revision, key },
            2 => Verdict::Frozen { revision, key },
            3 => Verdict::Final,
            4 => Verdict::Denied,
            5 => Verdict::TooFarAhead { now: self.number() },
            6 => Verdict::CounterTooHigh { highest: self.number() },
            7 => Verdict::TooOld { horizon: key },
            _ => Verdict::Foreign,
        }
    }

    fn fetched(&mut self) -> Fetched {
        if self.0.u8(..4) == 0 {
            return Fetched::Resync;
        }
        let (stamp, from, next) = (self.stamp(), Cursor(self.number()), Cursor(self.number()));
        let (items, more, horizon) = (self.many(Self::item), self.0.bool(), self.maybe(Self::key));
        Fetched::Page(Page { stamp, from, items, next, more, horizon })
    }

    fn published(&mut self) -> Published {
        let outcome = match self.0.u8(..3) {
            0 => Outcome::Resync,
            1 => Outcome::Stale { last: self.number() },
            _ => Outcome::Verdicts {
                verdicts: self.many(|random| EntryVerdict {
                    id: EntryId(random.uuid()),
                    verdict: random.verdict(),
                }),
            },
        };
        Published { number: self.number(), outcome }
    }

    fn position(&mut self) -> SnapshotPosition {
        let at = if self.0.bool() {
            SnapshotPlace::Row(self.row())
        } else {
            SnapshotPlace::Cursor(Cursor(self.number()))
        };
        SnapshotPosition { stamp: self.stamp(), horizon: self.key(), at }
    }

    fn snapshot(&mut self) -> SnapshotAnswer {
        if self.0.u8(..4) == 0 {
            return SnapshotAnswer::Restart;
        }
        let base: BTreeMap<RowName, LogRow> =
            self.many(|random| (random.row(), random.columns().into()));
        let next = if self.0.bool() {
            SnapshotNext::Next(self.position())
        } else {
            SnapshotNext::Cursor(Cursor(self.number()))
        };
        SnapshotAnswer::Page(Box::new(SnapshotPage {
            stamp: self.stamp(),
            after: self.maybe(Self::position),
            buckets: self.write_set(),
            horizon: self.key(),
            base: base.into_iter().collect(),
            items: self.many(Self::item),
            next,
        }))
    }

    fn named_rows(&mut self) -> RowsAnswer {
        if self.0.u8(..4) == 0 {
            return RowsAnswer::Resync;
        }
        let base: BTreeMap<RowName, LogRow> =
            self.many(|random| (random.row(), random.columns().into()));
        RowsAnswer::Rows(NamedRows {
            base: base.into_iter().collect(),
            items: self.many(Self::viewed),
        })
    }

    fn correct(&mut self) -> Correct {
        let corrections = self.many(|random| {
            let (id, version) = (EntryId(random.uuid()), random.number());
            Correction { id, version, effects: random.effects() }
        });
        Correct { stamp: self.stamp(), corrections }
    }
}

fn survives<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &M) {
    let mut json = serde_json::to_value(message).unwrap();
    let text = serde_json::to_string(message).unwrap();
    let back: M = read(text.as_bytes()).unwrap();
    // Debug shows the sign of a zero, which `==` does not.
    assert_eq!(format!("{back:?}"), format!("{message:?}"), "{text}");
    json["tomorrow"] = serde_json::json!({ "of": "a newer peer" });
    assert_eq!(&read::<M>(json.to_string().as_bytes()).unwrap(), message, "{json}");
}

#[test]
fn every_message_survives_json_exactly_and_with_unknown_members() {
    let mut random = Random(Rng::with_seed(26));
    for _ in 0..1_000 {
        let (stamp, number) = (random.stamp(), random.number());
        let limit = random.0.usize(..);
        survives(&Fetch { stamp, cursor: Cursor(random.number()), limit });
        let log = Publish { stamp, number, offers: random.many(Random::offer) };
        let client_id = AuthorId(random.uuid());
        survives(&Request { client_id, log });
        survives(&SnapshotRequest { after: random.maybe(Random::position), limit });
        survives(&random.correct());
        let rows = random.many(Random::row);
        survives(&RowsRequest { stamp, horizon: random.key(), rows });
        survives(&random.named_rows());
        survives(&random.fetched());
        survives(&random.published());
        survives(&random.snapshot());
    }
}

fn fault<M: DeserializeOwned>(json: &str) -> String {
    read::<M>(json.as_bytes()).err().unwrap().to_string()
}

#[test]
fn missing_or_wrong_member_is_named() {
    let stamp = r#""stamp":{"epoch":"5d0c9a52-4f7e-4c19-9a63-58a3f1f0a001","membership":1}"#;
    let error = fault::<Fetch>(&format!(r#"{{{stamp},"limit":5}}"#));
    assert!(error.contains("missing field `cursor`"), "{error}");
    let error = fault::<Fetch>(&format!(r#"{{{stamp},"limit":-5,"cursor":1}}"#));
    assert!(error.starts_with("limit is not as"), "{error}");
    let error = fault::<Fetch>(r#"{"stamp":{"epoch":"x","membership":1},"limit":5,"cursor":1}"#);
    assert!(error.starts_with("stamp.epoch is not as"), "{error}");
    let error = fault::<Publish>(&format!(
        r#"{{{stamp},"number":1,"offers":[{{"key":{{"millis":"1"}}}}]}}"#
    ));
    assert!(error.starts_with("offers[0].key.millis is not as"), "{error}");
    let error = fault::<Fetch>(&format!(r#"{{{stamp},"limit":5,"cursor":1}} {{}}"#));
    assert!(error.contains("trailing characters"), "{error}");
}

fn offered(effects: Effects, intent: Option<Intent>) -> Offer {
    let key = Key { millis: 1, counter: 1, author: author(1), id: entry(1) };
    Offer { key, time: 1, intent, revision: Revision(0), effects }
}

fn named(table: &str, id: &str, column: &str) -> Effects {
    let effect = Effect::Update(columns(column, 1));
    [(RowName::new(table, id), effect)].into_iter().collect()
}

#[test]
fn content_of_an_entry_is_bounded() {
    let rows = |count: usize| -> Effects {
        (0..count).map(|at| (RowName::new("t", at.to_string()), Effect::Delete)).collect()
    };
    let sized = |bytes: usize| plain("r0", Effect::Update(columns("c", "x".repeat(bytes))));
    let most = LOG_ENTRY - "rr0c".len();
    let long = |bytes: usize| "n".repeat(bytes);
    let action = |action: &str, name: &str| {
        let arguments = Arc::new(columns(name, 1).into_iter().collect());
        offered(
            Effects::default(),
            Some(Intent { action: Name::from(action), version: 1, arguments }),
        )
    };
    // within its bounds, and just beyond
    let table = [
        (offered(rows(LOG_EFFECTS), None), offered(rows(LOG_EFFECTS + 1), None)),
        (offered(sized(most), None), offered(sized(most + 1), None)),
        (
            offered(named(&long(NAME), "i", "c"), None),
            offered(named(&long(NAME + 1), "i", "c"), None),
        ),
        (
            offered(named("t", &long(ROW_ID), "c"), None),
            offered(named("t", &long(ROW_ID + 1), "c"), None),
        ),
        (
            offered(named("t", "i", &long(NAME)), None),
            offered(named("t", "i", &long(NAME + 1)), None),
        ),
        (offered(named("t", "", "c"), None), offered(named("t", "\0", "c"), None)),
        (offered(named("t", "i", "c"), None), offered(named("", "i", "c"), None)),
        (offered(named("t", "i", "c"), None), offered(named("t", "i", ""), None)),
        (offered(named("t", "i", "c"), None), offered(named("t\0", "i", "c"), None)),
        (action(&long(NAME), &long(NAME)), action(&long(NAME + 1), "n")),
        (action("a", "n"), action("a", &long(NAME + 1))),
    ];
    for (number, (within, beyond)) in table.into_iter().enumerate() {
        assert_eq!(check_offer(&within), Ok(()), "{number}");
        assert!(check_offer(&beyond).is_err(), "{number}");
    }
    let late = Offer { time: u64::MAX, ..offered(rows(1), None) };
    assert!(check_offer(&late).unwrap_err().to_string().contains("time is 18446744073709551615"));
}

#[test]
fn requests_are_bounded() {
    let stamp = EpochStamp { epoch: Epoch(Uuid::nil()), membership: 0 };
    let offers = |count| vec![offered(Effects::default(), None); count];
    let publish = |number, offers| Publish { stamp, number, offers };
    assert_eq!(publish(i64::MAX as u64, offers(LOG_OFFERS)).check_bounds(), Ok(()));
    let error = publish(1, offers(LOG_OFFERS + 1)).check_bounds();
    assert!(matches!(error, Err(OutOfBounds::TooMany { member: "log.offers", count: 1_001, .. })));
    let error = publish(u64::MAX, offers(1)).check_bounds();
    assert!(matches!(error, Err(OutOfBounds::TooHigh { member: "log.number", .. })));
    let correct = |count, effects: Effects| {
        let correction = Correction { id: entry(1), version: 1, effects };
        Correct { stamp, corrections: vec![correction; count] }
    };
    assert_eq!(correct(LOG_OFFERS, Effects::default()).check_bounds(), Ok(()));
    assert!(correct(LOG_OFFERS + 1, Effects::default()).check_bounds().is_err());
    assert!(correct(1, named("", "i", "c")).check_bounds().is_err());
    let after = |id: &str| {
        let at = SnapshotPlace::Row(RowName::new("t", id));
        let after = Some(SnapshotPosition { stamp, horizon: Key::FIRST, at });
        SnapshotRequest { after, limit: 1 }
    };
    let rows = |count, id: &str| {
        let rows = vec![RowName::new("t", id); count];
        RowsRequest { stamp, horizon: Key::FIRST, rows }
    };
    assert_eq!(rows(LOG_PAGE, "i").check_bounds(), Ok(()));
    assert!(rows(LOG_PAGE + 1, "i").check_bounds().is_err());
    assert!(rows(1, "\0").check_bounds().is_err());
    assert_eq!(after("i").check_bounds(), Ok(()));
    assert!(after("\0").check_bounds().is_err());
}
