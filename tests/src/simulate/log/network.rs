//! Messages between devices and server, and their faults.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rejoin_log::effect::Effects;
use rejoin_log::entry::{Offer, Revision};
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::message::bounds::CheckBounds as _;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotNext};
use rejoin_log::message::{
    EntryVerdict, EpochStamp, Fetched, Outcome, Publish, Published, Verdict, read,
};
use rejoin_log::replica::{fetch, publish, snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ids;
use super::oracle::{ServerEntry, WriteBuckets};
use super::run::{LogRun, Message, MessageFault, unexpected, user_id};
use crate::simulate::{Checked, broken};

impl LogRun<'_> {
    /// The fault of the next message.
    pub(super) fn fault(&self, rng: &mut Rng) -> MessageFault {
        if rng.u64(..100) >= self.setting.faults {
            return MessageFault::None;
        }
        [
            MessageFault::Lost,
            MessageFault::AnswerLost,
            MessageFault::Late,
            MessageFault::Twice,
            MessageFault::AnswerLate,
            MessageFault::AnswerLate,
        ][rng.usize(..6)]
    }

    /// The fault of the next page. In slow runs only messages about own entries are delayed.
    pub(super) fn page_fault(&self, rng: &mut Rng) -> MessageFault {
        if self.setting.is_slow() { MessageFault::None } else { self.fault(rng) }
    }

    /// A device fetches a page, or a snapshot if it needs one.
    pub(super) fn fetch(&mut self, number: usize, fault: MessageFault, page: usize) -> Checked {
        let device = &mut self.devices[number];
        let (author, user) = (device.author, device.user);
        let viewer = self.buckets(user);
        let device = &mut self.devices[number];
        let message = if let Some(limit) = self.setting.bytes
            && snapshot::needs_snapshot(&device.replica)
        {
            self.snapshot_page(number, limit)?
        } else if snapshot::needs_snapshot(&device.replica) {
            let snapshot = self.server.snapshot(author)?;
            self.expected.check_snapshot(&snapshot, &viewer, author)?;
            Message::Snapshot(snapshot)
        } else {
            let Some(request) = fetch::fetch_request(&device.replica, page.max(1)) else {
                return Ok(());
            };
            let request = self.through_wire(request)?;
            let fetched = self.server.fetch(author, &request)?;
            let fetched = self.through_wire(fetched)?;
            if let Fetched::Page(page) = &fetched {
                self.expected.check_page(page, &viewer, author)?;
                self.report.add("an item is sent", page.items.len() as u64);
            }
            Message::Page(fetched)
        };
        match fault {
            MessageFault::Lost | MessageFault::AnswerLost => {
                self.report.count("a page is lost");
                Ok(())
            }
            MessageFault::Late | MessageFault::AnswerLate => {
                self.report.count("a page is late");
                self.in_transit.push((number, message));
                Ok(())
            }
            MessageFault::Twice => {
                self.report.count("a page comes twice");
                self.in_transit.push((number, message.clone()));
                self.devices[number].take(&message, self.now, self.report)
            }
            MessageFault::None => self.devices[number].take(&message, self.now, self.report),
        }
    }

    /// The server sends the next page of a snapshot, with the last page also the snapshot of this
    /// moment: a device that has taken the pages is compared with it.
    fn snapshot_page(&mut self, number: usize, limit: usize) -> Checked<Message> {
        let (author, user) = (self.devices[number].author, self.devices[number].user);
        let device = &self.devices[number];
        let request = snapshot::page_request(&device.replica, limit);
        let request = self.through_wire(request)?;
        request.check_bounds().map_err(unexpected)?;
        let answer = self.server.snapshot_page(author, &request)?;
        let answer = self.through_wire(answer)?;
        self.report.count(match answer {
            SnapshotAnswer::Restart => "a snapshot begins again",
            SnapshotAnswer::Page(_) => "a snapshot page is sent",
        });
        let SnapshotAnswer::Page(page) = &answer else {
            return Ok(Message::SnapshotPage(author, answer, None));
        };
        if !matches!(page.next, SnapshotNext::Cursor(_)) {
            return Ok(Message::SnapshotPage(author, answer, None));
        }
        let whole = self.server.snapshot(author)?;
        self.expected.check_snapshot(&whole, &self.buckets(user), author)?;
        Ok(Message::SnapshotPage(author, answer, Some(whole)))
    }

    /// A message on its way: in some runs it is written as bytes and read again.
    fn through_wire<M>(&self, message: M) -> Checked<M>
    where
        M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        if self.setting.bytes.is_none() {
            return Ok(message);
        }
        let bytes = serde_json::to_vec(&message).map_err(unexpected)?;
        let read: M = read(&bytes).map_err(unexpected)?;
        if read != message {
            return Err(unexpected(format!("{message:?} was read as {read:?}")));
        }
        Ok(read)
    }

    /// Fetches to the head, then publishes once.
    pub(super) fn publish_after_fetching(&mut self, number: usize, rng: &mut Rng) -> Checked {
        // It may have reached the head long ago.
        let pages = if self.devices[number].at_head() && rng.bool() { 0 } else { 9 };
        for _ in 0..pages {
            let fault = self.page_fault(rng);
            self.fetch(number, fault, self.setting.page)?;
            self.replace_copied_author(number)?;
            if fault != MessageFault::None || self.devices[number].at_head() {
                break;
            }
        }
        if self.authority.is_some() && rng.u8(..3) == 0 {
            // The authority may correct the very entries that are published next.
            self.run_authority(false)?;
        }
        let (fault, most) = (self.fault(rng), [1, 2, 100][rng.usize(..3)]);
        self.publish(number, fault, most)
    }

    /// A device publishes its entries; returns whether it had any.
    pub(super) fn publish(&mut self, number: usize, fault: MessageFault, most: usize) -> Checked {
        let author = self.devices[number].author;
        let Some(request) =
            publish::publish_request(&mut self.devices[number].replica, most, &BTreeSet::new())
                .map_err(unexpected)?
        else {
            return Ok(());
        };
        let offers = request
            .offers
            .iter()
            .map(|offer| ids::entry(offer.key.id))
            .collect::<Vec<_>>()
            .join(", ");
        self.report.trace(|| format!("c{number} publishes {offers} ({fault:?})"));
        let message = Message::Request(author, request.clone());
        match fault {
            MessageFault::Lost => {
                self.report.count("a request is lost");
                return Ok(());
            }
            MessageFault::Late => {
                self.report.count("a request is late");
                self.in_transit.push((number, message));
                return Ok(());
            }
            MessageFault::Twice => {
                self.report.count("a request comes twice");
                self.in_transit.push((number, message));
            }
            _ => {}
        }
        let answer = self.receive(author, &request)?;
        match fault {
            MessageFault::AnswerLost => {
                self.report.count("an answer is lost");
                Ok(())
            }
            MessageFault::AnswerLate => {
                self.report.count("an answer is late");
                self.in_transit.push((number, Message::Answer(answer)));
                Ok(())
            }
            _ => self.devices[number].take(&Message::Answer(answer), self.now, self.report),
        }
    }

    /// The server handles a request.
    pub(super) fn receive(&mut self, author: AuthorId, request: &Publish) -> Checked<Published> {
        let before = self.expected.entries.clone();
        let request = self.through_wire(request.clone())?;
        request.check_bounds().map_err(unexpected)?;
        let answer = self.server.publish(author, &request, self.now)?;
        let answer = self.through_wire(answer)?;
        self.update_expected()?;
        self.count_new_content(&before);
        self.expected.check_author(&before, &self.written_by(author).all)?;
        self.expected.check_write_access(&before)?;
        if let Outcome::Verdicts { verdicts } = &answer.outcome {
            for EntryVerdict { id, verdict } in verdicts {
                self.count_verdict(verdict);
                self.report.trace(|| format!("  {}: {verdict:?}", ids::entry(*id)));
            }
        } else {
            self.report.trace(|| format!("  {:?}", answer.outcome));
            self.report.count(match answer.outcome {
                Outcome::Resync => "a request is answered resync",
                _ => "a request is stale",
            });
        }
        Ok(answer)
    }

    /// A device with a forged database publishes entries that its author may no longer change: none
    /// is accepted. The server forgets them, so that the run does not depend on them.
    pub(super) fn publish_in_left_buckets(&mut self, author: AuthorId) -> Checked {
        let buckets = self.written_by(author).all;
        let left = |entry: &&ServerEntry| {
            entry.key.author == author && !entry.within.all.is_subset(&buckets)
        };
        let offers: Vec<Offer> =
            self.expected.entries.iter().filter(left).map(empty_revision).collect();
        let Some(known) = self.server.author(author)? else { return Ok(()) };
        let membership = self.server.membership(&known.user)?.version;
        let stamp = EpochStamp { epoch: self.server.facts()?.epoch, membership };
        let request = Publish { stamp, number: u64::MAX, offers };
        let answer = self.server.attempt_publish(author, &request, self.now)?;
        let Outcome::Verdicts { verdicts } = answer.outcome else {
            return Err(unexpected(format!("a request under the present membership: {answer:?}")));
        };
        for EntryVerdict { id, verdict } in verdicts {
            if !matches!(verdict, Verdict::Frozen { .. } | Verdict::ByAuthority { .. }) {
                return broken!(
                    "left-bucket-is-closed",
                    "{} was accepted in a bucket that was left: {verdict:?}",
                    ids::entry(id)
                );
            }
            self.count_verdict(&verdict);
        }
        Ok(())
    }

    /// Where an author writes, according to the server.
    pub(super) fn written_by(&self, author: AuthorId) -> WriteBuckets {
        let mut users = self.devices.iter().map(|device| (device.author, device.user));
        let user = users.find(|(of, _)| *of == author).map(|(_, user)| user);
        let user = user.or_else(|| ids::forged_user(author));
        user.map_or_else(WriteBuckets::default, |user| {
            WriteBuckets::of(&self.membership(user).write_set())
        })
    }

    pub(super) fn count_new_content(&mut self, before: &[ServerEntry]) {
        let highest = before.last().map(|entry| entry.key);
        let before: BTreeMap<EntryId, u32> =
            before.iter().map(|entry| (entry.id, entry.revision)).collect();
        for entry in &self.expected.entries {
            match before.get(&entry.id) {
                None => {
                    self.report.count("an entry is accepted");
                    if highest.is_some_and(|highest| entry.key < highest) {
                        self.report.count("an entry arrives late");
                    }
                }
                Some(revision) if *revision < entry.revision => {
                    self.report.count("a correction is accepted");
                    if entry.revision > 1 {
                        self.report.count("a second revision is accepted");
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub(super) fn count_verdict(&mut self, verdict: &Verdict) {
        if matches!(verdict, Verdict::Frozen { .. }) {
            self.inexact = Some("an author may not correct an entry");
        }
        let what = match verdict {
            Verdict::Held { .. } => return,
            Verdict::ByAuthority { .. } => "an author learns that an entry is the authority's",
            Verdict::Frozen { .. } => "an entry is frozen",
            Verdict::Final => "an entry is final",
            Verdict::Denied => "an entry is denied",
            Verdict::TooFarAhead { .. } => "a key is too far ahead",
            Verdict::CounterTooHigh { .. } => "a counter is too high",
            Verdict::TooOld { .. } => "a key is too old",
            Verdict::Foreign => "an id belongs to a copy",
        };
        self.report.count(what);
    }

    /// Delivers a delayed message.
    pub(super) fn deliver_delayed(&mut self, rng: &mut Rng) -> Checked {
        if self.in_transit.is_empty() {
            return Ok(());
        }
        let (number, message) = self.in_transit.swap_remove(rng.usize(..self.in_transit.len()));
        self.deliver(number, &message)
    }

    /// Delivers every delayed message, in some order.
    pub(super) fn deliver_all(&mut self) -> Checked {
        while let Some((number, message)) = self.in_transit.pop() {
            self.deliver(number, &message)?;
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, number: usize, message: &Message) -> Checked {
        match message {
            Message::Request(author, request) => {
                self.report.trace(|| format!("a late request of c{number} arrives"));
                self.receive(*author, request).map(drop)
            }
            _ if self.devices[number].has_left => Ok(()),
            _ => self.devices[number].take(message, self.now, self.report),
        }
    }

    /// A device that was found to be a copy takes a new client id.
    pub(super) fn replace_copied_author(&mut self, number: usize) -> Checked {
        if !self.devices[number].replica.needs_new_author() {
            return Ok(());
        }
        let device = &mut self.devices[number];
        device.take_new_author(self.now, self.report)?;
        let (author, user) = (device.author, device.user);
        self.server.register(author, &user_id(user))?;
        self.report.count("a copy is detected");
        self.inexact = Some("a database was copied");
        Ok(())
    }
}

/// The next revision of an entry, without any effect.
fn empty_revision(entry: &ServerEntry) -> Offer {
    let ServerEntry { key, time, intent, revision, .. } = entry.clone();
    let (revision, effects) = (Revision(revision + 1), Effects::default());
    Offer { key, time, intent, revision, effects }
}
