//! What a wrong or malicious device may publish: it gets a verdict, and no table and no other device
//! changes.

use macro_rules_attribute::apply;
use rejoin_log::effect::{Effect, Effects};
use rejoin_log::entry::{Offer, Revision};
use rejoin_log::message::{EntryVerdict, Outcome, Publish, Published, Verdict};
use rejoin_log::replica::publish;
use rejoin_log::row::{LogRow, RowName};
use rejoin_protocol::Value;
use std::collections::BTreeSet;

use super::Log;
use super::authority::{appointed, correct_all};
use super::device::{Device, columns, image, rows, seat, settle, table};

/// Publishes the device's next request after `change`, and returns the verdicts.
async fn forge(device: &mut Device<'_>, change: impl Fn(&mut Offer)) -> Vec<Verdict> {
    device.fetch().await;
    let request = publish::publish_request(&mut device.replica, 9, &BTreeSet::new()).unwrap();
    let mut request: Publish = request.unwrap();
    request.offers.iter_mut().for_each(change);
    let answer: Published = device.ask("/log/publish", request).await;
    let Outcome::Verdicts { verdicts } = answer.outcome else { panic!("{:?}", answer.outcome) };
    verdicts.into_iter().map(|EntryVerdict { verdict, .. }| verdict).collect()
}

/// Any client could write any table of the database through the seed's log.
#[apply(secured_stores!)]
async fn entry_that_names_another_table_is_denied(log: Log) {
    let world = &log.0;
    world.write("INSERT INTO places VALUES ('p1', 'ben', 'Hall', '2026-01-01T00:00:00.000Z')");
    let places = "SELECT id || owner_id || name FROM places";
    let before = world.one(places);
    let mut anna = Device::new(world, "anna", 1).await;
    let tables =
        ["places", "rejoin_log_entry", "rejoin.log_entry", "sqlite_schema", "pg_class", ""];
    for (number, name) in tables.into_iter().enumerate() {
        let id = format!("r{number}");
        anna.act("create", &id, "e1").unwrap();
        let effects = [
            Effect::Update(columns(&[("name", Value::from("taken")), ("owner_id", "anna".into())])),
            Effect::Insert(LogRow::from(columns(&[("name", Value::from("taken"))]))),
            Effect::Delete,
        ];
        for effect in effects {
            let verdicts = forge(&mut anna, |offer| {
                let row = (RowName::new(name, "p1"), effect.clone());
                let own = (seat(&id), Effect::Insert(image("e1")));
                offer.effects = Effects::from_iter([own, row]);
            })
            .await;
            assert!(matches!(verdicts[..], [Verdict::Denied]), "{name:?}: {verdicts:?}");
        }
        // The entry itself is good.
        assert!(matches!(anna.sync().await[..], [Verdict::Held { .. }]), "{name:?}");
    }
    assert_eq!(world.one(places), before);
    assert_eq!(table(world).split(' ').count(), tables.len());
}

#[apply(stores!)]
async fn forged_bucket_is_denied(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    anna.act("create", "r0", "e1").unwrap();
    for event in ["e2", "", "#1"] {
        let verdicts = forge(&mut anna, |offer| {
            offer.effects = Effects::from_iter([(seat("r0"), Effect::Insert(image(event)))]);
        })
        .await;
        assert!(matches!(verdicts[..], [Verdict::Denied]), "{event:?}: {verdicts:?}");
    }
    assert_eq!(table(world), "");
}

/// Any client could take over and delete any row whose key it knew, by a time before that of the row.
#[apply(secured_stores!)]
async fn backdated_insert_takes_no_row_of_another_bucket(log: Log) {
    let world = &log.0;
    world.server.grant("dora", "event:e2").unwrap();
    let mut anna = Device::new(world, "anna", 1).await;
    let mut dora = Device::new(world, "dora", 4).await;
    let start = anna.wall();
    anna.act("create", "r0", "e1").unwrap();
    anna.act("append", "r0", "diary").unwrap();
    anna.act("create", "r1", "e1").unwrap();
    anna.act("delete", "r1", "").unwrap();
    anna.act("create", "r1", "e1").unwrap();
    anna.sync().await;
    let before = table(world);
    dora.act("create", "r9", "e2").unwrap();
    // Before, between and after the entries of each row.
    for millis in [start, start + 15, start + 45, anna.wall() + 1] {
        for id in ["r0", "r1"] {
            let verdicts = forge(&mut dora, |offer| {
                offer.key.millis = millis;
                offer.intent = None;
                offer.effects = Effects::from_iter([(seat(id), Effect::Insert(image("e2")))]);
            })
            .await;
            assert!(matches!(verdicts[..], [Verdict::Denied]), "{id} at {millis}: {verdicts:?}");
        }
    }
    let verdicts = forge(&mut dora, |offer| {
        offer.key.millis = start;
        let attacks = ["r0", "r1"].map(|id| (seat(id), Effect::Delete));
        offer.effects = Effects::from_iter(attacks);
    })
    .await;
    assert!(matches!(verdicts[..], [Verdict::Held { .. }]), "void: {verdicts:?}");
    assert_eq!(table(world), before);
    anna.act("append", "r0", "!").unwrap();
    anna.sync().await;
    assert_eq!(table(world), "r0=e1,-,diary!,0 r1=e1,-,,0");
    assert_eq!(rows(&anna), table(world));
}

/// A former reader of a row could change and delete it by a time at which it was still visible.
#[apply(stores!)]
async fn backdated_entry_changes_no_row_that_left_the_bucket(log: Log) {
    let world = &log.0;
    world.server.grant("anna", "event:e2").unwrap();
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    let visible = anna.wall() + 1;
    anna.act("move", "r0", "e2").unwrap();
    anna.act("append", "r0", "private").unwrap();
    anna.sync().await;
    let note = || columns(&[("note", Value::from("defaced"))]);
    let over = image("e1").with(&note());
    ben.act("create", "r9", "e1").unwrap();
    for attack in [Effect::Delete, Effect::Update(note()), Effect::Insert(over)] {
        let verdicts = forge(&mut ben, |offer| {
            offer.key.millis = visible;
            offer.intent = None;
            offer.effects = Effects::from_iter([(seat("r0"), attack.clone())]);
        })
        .await;
        assert!(matches!(verdicts[..], [Verdict::Denied]), "{attack:?}: {verdicts:?}");
    }
    assert!(matches!(ben.sync().await[..], [Verdict::Held { .. }]), "the entry itself is good");
    assert_eq!(table(world), "r0=e2,-,private,0 r9=e1,-,,0");
}

/// The authority runs what an author asks for, and has no more rights than it.
#[apply(stores!)]
async fn authority_is_no_way_to_rows_of_others(log: Log) {
    let world = &log.0;
    world.server.grant("dora", "event:e2").unwrap();
    let mut anna = Device::new(world, "anna", 1).await;
    let mut dora = Device::new(world, "dora", 4).await;
    let start = anna.wall();
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    dora.act("create", "r0", "e2").unwrap();
    let verdicts = forge(&mut dora, |offer| {
        offer.key.millis = start;
        offer.effects = Effects::default();
    })
    .await;
    assert!(matches!(verdicts[..], [Verdict::Held { .. }]), "{verdicts:?}");
    let (appointed, mut authority) = appointed(world).await;
    assert_eq!(correct_all(&appointed, &mut authority).await, 0);
    assert_eq!(table(world), "r0=e1,-,,0");
    assert_eq!(authority.rows().unwrap().len(), 1, "its rows are the server's");
}

/// The forger's device then sees that the server has more than it sent, and takes a new id, like a copied file.
#[apply(stores!)]
async fn forged_revision_and_largest_counter_harm_no_other_device(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Device::new(world, "ben", 2).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    ben.sync().await;
    anna.act("append", "r0", "a").unwrap();
    let largest = forge(&mut anna, |offer| offer.key.counter = u64::MAX).await;
    assert!(matches!(largest[..], [Verdict::CounterTooHigh { .. }]), "{largest:?}");
    assert!(matches!(anna.sync().await[..], [Verdict::Held { .. }]), "the entry itself is good");
    anna.act("append", "r0", "b").unwrap();
    let last = forge(&mut anna, |offer| offer.revision = Revision(u32::MAX)).await;
    assert!(matches!(last[..], [Verdict::Held { .. }]), "{last:?}");
    anna.fetch().await;
    assert!(anna.replica.needs_new_author());
    ben.sync().await;
    ben.act("append", "r0", "c").unwrap();
    assert!(matches!(ben.sync().await[..], [Verdict::Held { .. }]));
    assert_eq!(table(world), "r0=e1,-,abc,0");
    assert_eq!(rows(&ben), table(world));
}

/// A new phone whose clock is at 1970, and one that is a year behind.
#[apply(stores!)]
async fn clock_far_behind_writes_after_what_it_has_seen(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    anna.act("create", "r0", "e1").unwrap();
    anna.act("append", "r0", "a").unwrap();
    anna.sync().await;
    let mut ben = Device::new(world, "ben", 2).await;
    let wall = i64::try_from(anna.wall()).unwrap();
    for (behind, text) in [(wall - 60_000, "b"), (31_536_000_000, "c")] {
        ben.ahead = -behind;
        ben.act("append", "r0", text).unwrap();
        assert!(matches!(ben.sync().await[..], [Verdict::Held { .. }]));
    }
    let mut devices = [anna, ben];
    settle(&mut devices).await;
    assert_eq!(table(world), "r0=e1,-,abc,0");
    assert_eq!(rows(&devices[0]), table(world));
}

#[apply(stores!)]
async fn snapshot_of_the_log_is_compressed(log: Log) {
    let world = &log.0;
    let mut anna = Device::new(world, "anna", 1).await;
    for number in 0..40 {
        anna.act("create", &format!("r{number}"), "e1").unwrap();
    }
    anna.sync().await;
    let body = serde_json::json!({"client_id": anna.author, "log": {"limit": 40}}).to_string();
    let mut lengths = Vec::new();
    for accepted in ["identity", "gzip", "zstd"] {
        let headers =
            [("x-user-id", "anna"), ("rejoin-protocol", "1"), ("accept-encoding", accepted)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (status, answered, bytes) =
            world.server.handle("POST", "/log/snapshot", &headers, body.clone()).await;
        assert_eq!(status, 200);
        let encoding = answered.into_iter().find(|(name, _)| name == "content-encoding");
        let encoding = encoding.map_or_else(|| String::from("identity"), |(_, value)| value);
        assert_eq!(encoding, accepted);
        lengths.push(bytes.len());
    }
    assert!(lengths[0] > 3 * lengths[1].max(lengths[2]), "{lengths:?}");
}
