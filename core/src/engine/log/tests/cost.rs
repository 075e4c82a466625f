//! Costs that must not grow with the log: opening it, and writing to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rejoin_log::effect::Effect;
use rejoin_log::fixture::{Actions, Column, author, columns, entry, image, intent, plain};
use rejoin_log::replica::{Replica, publish};

use super::LogFile;
use super::failing::{Calls, CountedStore};
use crate::cases::cases;
use crate::engine::change::Origin;
use crate::engine::replica::write_log;

/// A log with this number of own actions, in steps of 10 ms, each on one of 50 rows.
fn log_of(entries: u64) -> LogFile {
    let mut file = LogFile::new();
    let filled = write_log(&mut file.engine, Origin::Local, |store| {
        let mut device = Replica::create(store, author(1), Arc::new(Actions), Arc::new(Column))?;
        for at in 0..50 {
            let insert = plain(&format!("r{at}"), Effect::Insert(image("a", "")));
            device.write(entry(1_000_000 + at), insert, 0)?;
        }
        for at in 0..entries {
            device.perform(entry(at.into()), intent(&format!("toggle r{}", at % 50)), at * 10)?;
        }
        Ok(())
    });
    filled.unwrap().unwrap();
    file
}

/// Calls of the store to open a log, to write to it, and to offer an entry.
fn calls_with(entries: u64) -> [u64; 4] {
    let mut file = log_of(entries);
    let calls = Calls::never_failing();
    let counted = write_log(&mut file.engine, Origin::Local, |store| {
        let store = CountedStore { store, calls: &calls };
        let mut device = Replica::open(store, Arc::new(Actions), Arc::new(Column))?;
        let open = calls.take();
        let new = u128::from(entries) + 1;
        device.perform(entry(new), intent("toggle r0"), entries * 10)?;
        let action = calls.take();
        let update = plain("r1", Effect::Update(columns("text", "x")));
        device.write(entry(new + 1), update, entries * 10 + 5)?;
        let plain = calls.take();
        publish::publish_request(&mut device, 10, &BTreeSet::new())?;
        Ok([open, action, plain, calls.take()])
    });
    counted.unwrap().unwrap()
}

#[test]
fn opening_and_writing_cost_the_same_in_a_longer_log() {
    let short = calls_with(100);
    assert_eq!(short[0], 1, "opening reads the facts alone");
    assert_eq!(calls_with(cases(1_500)), short);
}
