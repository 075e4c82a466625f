//! A known part of a row's history, without gaps.
//!
//! A read that the part does not answer is [`Unknown`]: the store must be read then.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use rejoin_log::key::Key;
use rejoin_log::row::LogRow;
use rejoin_log::server::store::Link;

/// The known part does not answer the read.
#[derive(Debug)]
pub(super) struct Unknown;

/// The row at the horizon, and all links of a range of keys, both ends included.
#[derive(Debug, Default)]
pub(super) struct Window {
    base: Option<LogRow>,
    /// `None` if no link is before the known ones.
    from: Option<Key>,
    /// `None` if no link is after the known ones.
    to: Option<Key>,
    links: BTreeMap<Key, Link>,
}

impl Window {
    /// Adds a link that was found around the key `at`: the last one before it, or one of the first
    /// from it on.
    pub(super) fn found(&mut self, at: &Key, key: Key, link: Link) {
        if key < *at {
            self.from = Some(key);
        }
        self.links.insert(key, link);
    }

    /// Ends the range at the last link if as many as `most` were found from `at` on.
    pub(super) fn found_all(&mut self, at: &Key, most: usize) {
        if self.links.range(at..).count() >= most {
            self.to = self.links.keys().next_back().copied();
        }
    }

    pub(super) fn base(&self) -> Option<&LogRow> {
        self.base.as_ref()
    }

    pub(super) fn set_base(&mut self, image: Option<LogRow>) {
        self.base = image;
    }

    pub(super) fn link(&self, key: &Key) -> Result<Option<Link>, Unknown> {
        let is_known = self.reaches_down_to(key) && self.reaches_up_to(key);
        if is_known { Ok(self.links.get(key).cloned()) } else { Err(Unknown) }
    }

    pub(super) fn before(&self, key: &Key) -> Result<Option<Link>, Unknown> {
        let last = self.links.range(..key).next_back().map(|(_, link)| link.clone());
        // Links before the first known one are of interest only if none of those is left.
        let is_known = self.reaches_up_to(key) && (last.is_some() || self.from.is_none());
        if is_known { Ok(last) } else { Err(Unknown) }
    }

    pub(super) fn after(&self, key: &Key) -> Result<Option<(Key, Link)>, Unknown> {
        let next = self.links.range((Excluded(key), Unbounded)).next();
        let next = next.map(|(key, link)| (*key, link.clone()));
        let is_known = self.reaches_down_to(key) && (next.is_some() || self.to.is_none());
        if is_known { Ok(next) } else { Err(Unknown) }
    }

    /// A link was written; outside of the range this changes nothing.
    pub(super) fn put(&mut self, key: &Key, link: Option<&Link>) {
        if !self.reaches_down_to(key) || !self.reaches_up_to(key) {
            return;
        }
        match link {
            Some(link) => self.links.insert(*key, link.clone()),
            None => self.links.remove(key),
        };
    }

    fn reaches_down_to(&self, key: &Key) -> bool {
        self.from.is_none_or(|from| from <= *key)
    }

    fn reaches_up_to(&self, key: &Key) -> bool {
        self.to.is_none_or(|to| *key <= to)
    }
}
