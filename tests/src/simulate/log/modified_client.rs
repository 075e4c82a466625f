//! Modified clients: each has the credentials of a user, knows all keys of rows, and publishes what no
//! app would, with times of its choice.

use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::value::Value;
use rejoin_log::effect::{Effect, Effects};
use rejoin_log::entry::{Intent, Offer, Revision};
use rejoin_log::ids::Name;
use rejoin_log::key::Key;
use rejoin_log::message::{EpochStamp, Outcome, Publish, Verdict};
use rejoin_log::row::RowName;

use super::actions::{ITEM, fresh};
use super::ids;
use super::oracle::ServerEntry;
use super::run::{LogRun, user_id};
use crate::simulate::Checked;

impl LogRun<'_> {
    /// The modified client of a user publishes an entry, or a revision of an earlier one.
    pub(super) fn publish_forged(&mut self, user: usize, rng: &mut Rng) -> Checked {
        self.inexact = Some("a modified client has published");
        let author = ids::forger(user);
        self.server.register(author, &user_id(user))?;
        self.forged += 1;
        let own: Vec<&ServerEntry> =
            self.expected.entries.iter().filter(|entry| entry.key.author == author).collect();
        let earlier = (!own.is_empty() && rng.u8(..3) == 0).then(|| own[rng.usize(..own.len())]);
        let (key, revision) = match earlier {
            Some(entry) => (entry.key, Revision(entry.revision + 1)),
            None => (self.forged_key(user, rng), Revision(0)),
        };
        let effects = self.forged_effects(user, rng);
        let intent = (rng.u8(..3) == 0).then(|| self.forged_intent(user, rng));
        let (is_bare, is_new) = (intent.is_some() && rng.bool(), earlier.is_none());
        let effects = if is_bare { Effects::default() } else { effects };
        self.report.trace(|| format!("u{user} forges at {key:?}: {intent:?} {effects:?}"));
        let offers = vec![Offer { key, time: key.millis, intent, revision, effects }];
        let membership = self.membership(user).version;
        let stamp = EpochStamp { epoch: self.server.facts()?.epoch, membership };
        let answer = self.receive(author, &Publish { stamp, number: self.forged, offers })?;
        let Outcome::Verdicts { verdicts } = answer.outcome else { return Ok(()) };
        for evaluated in verdicts {
            self.report.count(match evaluated.verdict {
                Verdict::Held { .. } if is_new => "a forged entry is accepted",
                Verdict::Denied => "a forged entry is denied",
                Verdict::Frozen { .. } => "a forged revision is frozen",
                _ => "another forged request is answered",
            });
        }
        Ok(())
    }

    /// A key next to that of another entry, or at any time above the horizon.
    fn forged_key(&self, user: usize, rng: &mut Rng) -> Key {
        let entries = &self.expected.entries;
        let first = entries.first().map_or(self.now, |entry| entry.key.millis);
        let millis = if entries.is_empty() || rng.u8(..4) == 0 {
            rng.u64(first.min(self.now).saturating_sub(9)..=self.now)
        } else {
            (entries[rng.usize(..entries.len())].key.millis + rng.u64(..3)).saturating_sub(1)
        };
        let (author, id) = (ids::forger(user), ids::forged_id(user, self.forged));
        Key { millis, counter: rng.u64(..3), author, id }
    }

    /// Any row that was ever there.
    fn forged_row(&self, rng: &mut Rng) -> RowName {
        let named = self.expected.entries.iter().flat_map(|entry| entry.effects.rows());
        let mut rows: Vec<RowName> = self.expected.rows.keys().cloned().chain(named).collect();
        rows.extend(["k0", "k1"].map(|id| RowName::new(ITEM, id)));
        rows.swap_remove(rng.usize(..rows.len()))
    }

    /// A bucket that the user may write, or any.
    fn forged_bucket(&self, user: usize, rng: &mut Rng) -> String {
        let set = self.membership(user).write_set();
        let own: Vec<&Name> = set.buckets().iter().collect();
        if own.is_empty() || rng.u8(..8) == 0 {
            return self.setting.buckets[rng.usize(..self.setting.buckets.len())].to_owned();
        }
        own[rng.usize(..own.len())].to_string()
    }

    fn forged_effects(&self, user: usize, rng: &mut Rng) -> Effects {
        let one = |rng: &mut Rng| {
            let (row, bucket) = (self.forged_row(rng), self.forged_bucket(user, rng));
            let set =
                |column: &str, value: Value| Effect::Update([(Name::from(column), value)].into());
            let effect = match rng.u8(..8) {
                0 | 1 => Effect::Delete,
                2..=4 => Effect::Insert(fresh(&bucket, "forged", 7).into()),
                5 => set("v", "forged".into()),
                6 => set("b", bucket.into()),
                _ => set("also", bucket.into()),
            };
            (row, effect)
        };
        let count = [1, 1, 2][rng.usize(..3)];
        (0..count).map(|_| one(rng)).collect()
    }

    /// An action that writes a row at its key without reading much.
    fn forged_intent(&self, user: usize, rng: &mut Rng) -> Intent {
        let action = ["plant", "plant", "upsert", "delete", "move"][rng.usize(..5)];
        let row = self.forged_row(rng);
        let arguments = [
            ("row", Value::from(row.id.to_string())),
            ("to", self.forged_bucket(user, rng).into()),
            ("text", Value::from("forged")),
        ];
        let arguments = arguments.map(|(name, value)| (Name::from(name), value)).into();
        Intent { action: Name::from(action), version: 1, arguments: Arc::new(arguments) }
    }
}
