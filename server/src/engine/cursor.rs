//! Cursors: opaque to the device, signed, at most 64 KiB.
//!
//! A cursor holds the epoch, the position up to which a device has read, and its buckets. It also
//! detects a server that was restored from a backup but kept its epoch. For that it holds the
//! random tag of its position, the position and tag of the log's end when the rows were read, and
//! an accepted mutation, whose verdict outlives compaction. The signature uses the database's own
//! secret, so that a client cannot simulate a restore.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rejoin_protocol::limits;
use rejoin_protocol::wire::push::Ending;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::verdict::word;
use crate::error::Fault;
use crate::model::{LogState, own_bucket};
use crate::store::Reading;
use rejoin_protocol::mutant::{self, Mutant};

/// Buckets that a response names.
const SHOWN: usize = 16;

/// Longer values are compressed: a cursor with hundreds of buckets, some of which it may name twice.
const PLAIN: usize = 8 * 1024;

/// How far a device has read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The epoch.
    #[serde(rename = "e")]
    pub(super) epoch: String,
    /// The last position that the device has read.
    #[serde(rename = "p")]
    pub(super) position: i64,
    /// That position's tag.
    #[serde(rename = "t")]
    pub(super) tag: i64,
    /// The end of the log when the cursor's rows were read. The rows show the state at that point,
    /// which may be later than `position`. 0 in cursors of older servers.
    #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
    pub(super) seen: i64,
    /// The tag of that position.
    #[serde(rename = "k", default, skip_serializing_if = "is_zero")]
    pub(super) seen_tag: i64,
    /// Whether rows may show transactions that had no position then: only a read of the database
    /// is certain to have them in the log.
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_later_rows: bool,
    /// The buckets of the user.
    #[serde(rename = "h")]
    pub(super) held: Vec<String>,
    /// Former buckets, whose entries are still read up to `until`.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) extra: Vec<String>,
    /// The last position to read of `extra`.
    #[serde(rename = "u", default)]
    pub(super) until: i64,
    /// The last mutation of the device that this server had accepted when it issued the cursor.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<LastAccepted>,
    /// The walk through the rows of added or removed buckets, if one is in progress.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(super) walk: Option<AccessWalk>,
    /// Interrupted walks, the last one first to go on.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) paused: Vec<AccessWalk>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature that serde expects.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The last accepted mutation of a device. A backup either contains its verdict and all earlier
/// ones, or not. So a restore is detected even after compaction has removed the position of the
/// cursor and its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastAccepted {
    /// The user.
    #[serde(rename = "u")]
    pub(super) user: String,
    /// The device.
    #[serde(rename = "c")]
    pub(super) client_id: String,
    /// The mutation.
    #[serde(rename = "m")]
    pub(super) mutation: String,
    /// Its sequence number in the device's queue.
    #[serde(rename = "n")]
    pub(super) seq: i64,
}

impl LastAccepted {
    /// Whether its verdict is missing and was not removed by housekeeping.
    fn is_lost(&self, reading: &dyn Reading) -> Result<bool, Fault> {
        let verdict = reading.verdict(&self.user, &self.mutation)?;
        if verdict.is_some_and(|verdict| verdict.ending == word(Ending::Accepted)) {
            return Ok(false);
        }
        let client = reading.client(&self.user, &self.client_id)?;
        Ok(client.is_none_or(|client| self.seq >= client.purged_below))
    }
}

/// A walk through the rows whose access changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessWalk {
    /// The buckets whose rows are read.
    #[serde(rename = "b")]
    pub(super) buckets: Vec<String>,
    /// The buckets of the user when the walk began.
    #[serde(rename = "g")]
    pub(super) target: Vec<String>,
    /// The table by name; the walk continues in it, or in the next one.
    #[serde(rename = "t")]
    pub(super) table: String,
    /// The last key read in that table.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
}

impl Cursor {
    /// The sealed cursor for the device. A long list of buckets is replaced by its hash; `None` if
    /// the cursor is still too long.
    pub(super) fn seal(&self, key: &str) -> Result<Option<String>, Fault> {
        let whole = seal(self, key)?;
        if whole.len() <= limits::CURSOR {
            return Ok(Some(whole));
        }
        let short = Self { held: vec![hashed(&self.held)], ..self.clone() };
        Ok(Some(seal(&short, key)?).filter(|short| short.len() <= limits::CURSOR))
    }

    /// The cursor with its buckets; `None` if only their hash is stored and `held` does not match
    /// it.
    pub(super) fn opened(self, held: &[String]) -> Option<Self> {
        if !self.is_hashed() {
            return Some(self);
        }
        (self.held == [hashed(held)]).then(|| Self { held: held.to_vec(), ..self })
    }

    /// Records the current end of the log: rows are read in that state. Free if the cursor is at
    /// the end.
    pub(super) fn read_now(&mut self, reading: &dyn Reading) -> Result<(), Fault> {
        (self.seen, self.seen_tag) = match reading.log_state()?.head {
            head if head == self.position => (head, self.tag),
            _ => end_of_log(reading)?,
        };
        Ok(())
    }

    /// Takes the accepted mutation from a log tip of the same epoch, which is later.
    pub(super) fn carry(&mut self, witness: &str, key: &str) {
        let witness = open::<Self>(witness, key).filter(|witness| witness.epoch == self.epoch);
        if let Some(accepted) = witness.and_then(|witness| witness.accepted) {
            self.accepted = Some(accepted);
        }
    }

    /// Whether only the hash of its buckets is stored.
    pub(super) fn is_hashed(&self) -> bool {
        matches!(self.held.as_slice(), [one] if one.starts_with('#'))
    }
}

/// The buckets of a response, by which the device notices that they have changed: more than a few as
/// their hash.
pub(super) fn shown(held: &[String]) -> Vec<String> {
    if held.len() <= SHOWN { held.to_vec() } else { vec![hashed(held)] }
}

/// A placeholder for a list of buckets; no bucket name has this prefix.
fn hashed(buckets: &[String]) -> String {
    let mut sorted = buckets.to_vec();
    sorted.sort();
    let hash = Sha256::digest(sorted.join("\n"));
    hash.iter().take(16).fold(String::from("#"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The result of checking a cursor.
#[derive(Debug)]
pub(super) enum CursorCheck {
    /// The cursor can be served.
    Good(Box<Cursor>),
    /// The log was compacted beyond its position.
    Behind,
    /// It belongs to another epoch or another server.
    Foreign,
    /// Its epoch matches, its position does not: the database was restored, so a new epoch must
    /// begin.
    Restored,
}

/// Checks a user's cursor against this snapshot. Another user's cursor is refused: a walk through
/// its buckets would reveal the keys of that user's rows.
pub(super) fn check_of(
    user: &str,
    reading: &dyn Reading,
    text: &str,
) -> Result<CursorCheck, Fault> {
    match open::<Cursor>(text, &reading.log_state()?.key) {
        Some(cursor) => stand_of(user, reading, cursor),
        None => Ok(CursorCheck::Foreign),
    }
}

/// Like [`check_of`], for a cursor whose signature was already verified.
pub(super) fn stand_of(
    user: &str,
    reading: &dyn Reading,
    cursor: Cursor,
) -> Result<CursorCheck, Fault> {
    let own = own_bucket(user);
    Ok(match check_position(reading, cursor)? {
        // A hash is compared with this user's buckets when the cursor is opened.
        CursorCheck::Good(cursor) if !cursor.is_hashed() && !cursor.held.contains(&own) => {
            CursorCheck::Foreign
        }
        other => other,
    })
}

/// Checks a position, for any user.
pub(super) fn check_position(reading: &dyn Reading, cursor: Cursor) -> Result<CursorCheck, Fault> {
    let log = reading.log_state()?;
    if cursor.epoch != log.epoch {
        return Ok(CursorCheck::Foreign);
    }
    if mutant::on(Mutant::OtherLifeUnnoticed) {
        return Ok(CursorCheck::Good(Box::new(cursor)));
    }
    if cursor.position > log.head {
        return Ok(CursorCheck::Restored);
    }
    if cursor.position < log.watermark {
        let is_lost = cursor.accepted.as_ref().map(|accepted| accepted.is_lost(reading));
        return Ok(match is_lost.transpose()? {
            Some(true) => CursorCheck::Restored,
            _ if mutant::on(Mutant::WatermarkIgnored) => CursorCheck::Good(Box::new(cursor)),
            _ => CursorCheck::Behind,
        });
    }
    if reading.tag(cursor.position)? != Some(cursor.tag) {
        return Ok(CursorCheck::Restored);
    }
    // Entries after the watermark are still in the log, and `seen`, if present, is not before the
    // position.
    let knows_more = cursor.seen > log.head
        || cursor.seen > cursor.position && reading.tag(cursor.seen)? != Some(cursor.seen_tag);
    if knows_more {
        return Ok(CursorCheck::Restored);
    }
    Ok(CursorCheck::Good(Box::new(cursor)))
}

/// Whether this server sealed it.
pub(super) fn is_ours(text: &str, key: &str) -> bool {
    open::<Cursor>(text, key).is_some()
}

/// Whether the position proves that the database was restored to a state before the cursor.
pub(super) fn shows_restore(reading: &dyn Reading, text: &str) -> Result<bool, Fault> {
    let witness = if text.is_empty() { None } else { open(text, &reading.log_state()?.key) };
    let checked = witness.map(|witness| check_position(reading, witness)).transpose()?;
    Ok(matches!(checked, Some(CursorCheck::Restored)))
}

/// The last position of the log and its tag.
pub(super) fn end_of_log(reading: &dyn Reading) -> Result<(i64, i64), Fault> {
    let head = reading.log_state()?.head;
    Ok((head, reading.tag(head)?.unwrap_or_default()))
}

/// A cursor at the end of the log, for a user with these buckets.
pub(super) fn at_head(reading: &dyn Reading, held: &[String]) -> Result<Cursor, Fault> {
    let (position, tag) = end_of_log(reading)?;
    Ok(Cursor {
        tag,
        epoch: reading.log_state()?.epoch,
        position,
        seen: position,
        seen_tag: tag,
        has_later_rows: reading.log_state()?.unnumbered,
        held: held.to_vec(),
        ..Cursor::default()
    })
}

/// The sealed log tip after this response: a cursor without buckets. `accepted` is the last
/// mutation accepted by this response; `None` keeps the one of `before`, the log tip of the
/// request. `has_later_rows`: whether its rows may show transactions after this end.
pub(super) fn witness(
    (position, tag): (i64, i64),
    has_later_rows: bool,
    log: &LogState,
    accepted: Option<LastAccepted>,
    before: &str,
) -> Result<String, Fault> {
    let epoch = log.epoch.clone();
    let (seen, seen_tag) = (position, tag);
    let mut end =
        Cursor { epoch, position, tag, seen, seen_tag, has_later_rows, ..Cursor::default() };
    end.carry(before, &log.key);
    end.accepted = accepted.or(end.accepted);
    seal(&end, &log.key)
}

/// Seals a value: its JSON and a signature, in characters that survive any re-encoding.
pub(super) fn seal<T: Serialize>(value: &T, key: &str) -> Result<String, Fault> {
    let mut body = serde_json::to_vec(value)?;
    if body.len() > PLAIN
        && let Ok(packed) = zstd::encode_all(&*body, 1)
    {
        body = packed;
    }
    let mut sealed = URL_SAFE_NO_PAD.encode(&body);
    let _ = write!(sealed, ".{}", signature(&body, key));
    Ok(sealed)
}

/// Opens a sealed value; `None` if it was sealed with another key.
pub(super) fn open<T: DeserializeOwned>(sealed: &str, key: &str) -> Option<T> {
    let (body, signed) = sealed.split_once('.')?;
    let mut body = URL_SAFE_NO_PAD.decode(body).ok()?;
    if signature(&body, key) != signed {
        return None;
    }
    if !body.starts_with(b"{") {
        body = zstd::decode_all(&*body).ok()?;
    }
    serde_json::from_slice(&body).ok()
}

/// HMAC-SHA-256, the first 16 bytes in hexadecimal.
fn signature(message: &[u8], key: &str) -> String {
    let mut inner = [0x36_u8; 64];
    let mut outer = [0x5c_u8; 64];
    // The key is 64 hexadecimal digits: exactly one block of the hash.
    for (at, byte) in key.bytes().take(64).enumerate() {
        inner[at] ^= byte;
        outer[at] ^= byte;
    }
    let once = Sha256::new().chain_update(inner).chain_update(message).finalize();
    let twice = Sha256::new().chain_update(outer).chain_update(once).finalize();
    twice.iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Cursor, open, seal};

    const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn cursor_round_trips() {
        let cursor =
            Cursor { position: 7, held: vec![String::from("user:A")], ..Cursor::default() };
        let sealed = seal(&cursor, KEY).unwrap();
        assert_eq!(open::<Cursor>(&sealed, KEY), Some(cursor));
    }

    #[test]
    fn tampered_or_foreign_cursor_is_rejected() {
        let sealed = seal(&Cursor::default(), KEY).unwrap();
        let other = seal(&Cursor { position: 9, ..Cursor::default() }, KEY).unwrap();
        let mixed =
            format!("{}.{}", other.split_once('.').unwrap().0, sealed.split_once('.').unwrap().1);
        assert_eq!(open::<Cursor>(&mixed, KEY), None);
        assert_eq!(open::<Cursor>(&sealed, &KEY.replace('0', "1")), None);
        assert_eq!(open::<Cursor>("", KEY), None);
    }
}
