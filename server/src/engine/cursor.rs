//! Cursors: opaque to the device, signed, at most 4 KiB (B10).
//!
//! A cursor says how far a device has read, in which epoch, with which buckets; and the random tag of its position, by
//! which a restored file is found out although it has its old epoch (O14); and the same of where the log ended when the rows
//! were read, which may be further on; and a mutation that was accepted, whose verdict outlives compactions. The signature is the file's own secret, so that
//! nobody can make the server believe that it was restored.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rejoin_protocol::wire::push::Ending;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::verdict::word;
use crate::error::Fault;
use crate::model::LogState;
use crate::store::Reading;
use rejoin_protocol::mutant::{self, Mutant};

/// How far a device has read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The epoch.
    #[serde(rename = "e")]
    pub(super) epoch: String,
    /// The last position that it has seen.
    #[serde(rename = "p")]
    pub(super) position: i64,
    /// That position's tag.
    #[serde(rename = "t")]
    pub(super) tag: i64,
    /// Where the log ended when the rows were read that came with it: they are as they stood there, further on than the
    /// entries which named them. 0 in a cursor that was given before this was kept.
    #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
    pub(super) seen: i64,
    /// The tag of that end.
    #[serde(rename = "k", default, skip_serializing_if = "is_zero")]
    pub(super) seen_tag: i64,
    /// The buckets that it held.
    #[serde(rename = "h")]
    pub(super) held: Vec<String>,
    /// Buckets that it held before, whose entries are still to be read up to `until`.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) extra: Vec<String>,
    /// Where `extra` ends.
    #[serde(rename = "u", default)]
    pub(super) until: i64,
    /// What this server had accepted of the device when the cursor was given.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<Accepted>,
    /// A walk through the rows of buckets that came or went, if one is under way.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(super) walk: Option<Walk>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // So serde asks.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The last mutation of a device that was accepted. A backup holds its verdict and all earlier ones, or it does not hold it: so a
/// restore is found also after a compaction has removed the position of the cursor and its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    /// The user.
    #[serde(rename = "u")]
    pub(super) user: String,
    /// The device.
    #[serde(rename = "c")]
    pub(super) client_id: String,
    /// The mutation.
    #[serde(rename = "m")]
    pub(super) mutation: String,
    /// Its number in the device's queue.
    #[serde(rename = "n")]
    pub(super) seq: i64,
}

impl Accepted {
    /// Whether its verdict is not here, and was not forgotten by housekeeping either.
    fn is_lost(&self, reading: &dyn Reading) -> Result<bool, Fault> {
        let verdict = reading.verdict(&self.user, &self.mutation)?;
        if verdict.is_some_and(|verdict| verdict.ending == word(Ending::Accepted)) {
            return Ok(false);
        }
        let client = reading.client(&self.user, &self.client_id)?;
        Ok(client.is_none_or(|client| self.seq >= client.purged_below))
    }
}

/// A walk through rows whose access changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// The buckets whose rows are named.
    #[serde(rename = "b")]
    pub(super) buckets: Vec<String>,
    /// The buckets held when it began.
    #[serde(rename = "g")]
    pub(super) target: Vec<String>,
    /// The table by name; the walk goes on in it or behind it.
    #[serde(rename = "t")]
    pub(super) table: String,
    /// The last key of it.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
}

/// The longest cursor that is given away.
const LONGEST: usize = 4_096;

impl Cursor {
    /// The cursor as the device gets it. Many buckets are kept by their hash only; `None` if it is too long all the same.
    pub(super) fn seal(&self, key: &str) -> Result<Option<String>, Fault> {
        let whole = seal(self, key)?;
        if whole.len() <= LONGEST {
            return Ok(Some(whole));
        }
        let short = Self { held: vec![hashed(&self.held)], ..self.clone() };
        Ok(Some(seal(&short, key)?).filter(|short| short.len() <= LONGEST))
    }

    /// The cursor with the buckets that it was given for, or `None` if only their hash is kept and it is not `held`'s.
    pub(super) fn opened(self, held: &[String]) -> Option<Self> {
        if !self.is_hashed() {
            return Some(self);
        }
        (self.held == [hashed(held)]).then(|| Self { held: held.to_vec(), ..self })
    }

    /// Notes where the log ends now: rows are read as they stand there. Whoever has read to the end costs no further look.
    pub(super) fn read_now(&mut self, reading: &dyn Reading) -> Result<(), Fault> {
        (self.seen, self.seen_tag) = match reading.log_state()?.head {
            head if head == self.position => (head, self.tag),
            _ => end_of_log(reading)?,
        };
        Ok(())
    }

    /// Takes over what a witness of the same epoch says was accepted: that is later.
    pub(super) fn carry(&mut self, witness: &str, key: &str) {
        let witness = open::<Self>(witness, key).filter(|witness| witness.epoch == self.epoch);
        if let Some(accepted) = witness.and_then(|witness| witness.accepted) {
            self.accepted = Some(accepted);
        }
    }

    /// Whether only a hash of its buckets is kept.
    pub(super) fn is_hashed(&self) -> bool {
        matches!(self.held.as_slice(), [one] if one.starts_with('#'))
    }
}

/// Stands for a list of buckets; no bucket's name begins so.
fn hashed(buckets: &[String]) -> String {
    let mut sorted = buckets.to_vec();
    sorted.sort();
    let hash = Sha256::digest(sorted.join("\n"));
    hash.iter().take(16).fold(String::from("#"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a cursor is worth.
#[derive(Debug)]
pub(super) enum Standing {
    /// It can be served.
    Good(Box<Cursor>),
    /// The log no longer goes back so far (C3).
    Behind,
    /// It is of another epoch or another server.
    Foreign,
    /// Its epoch is ours and its position is not: the file was restored, a new epoch must begin.
    Restored,
}

/// What the cursor of this user is worth against this snapshot. Another user's is worth nothing: a walk through the
/// buckets that it holds would tell the names of his rows (I10).
pub(super) fn check_of(user: &str, reading: &dyn Reading, text: &str) -> Result<Standing, Fault> {
    match open::<Cursor>(text, &reading.log_state()?.key) {
        Some(cursor) => stand_of(user, reading, cursor),
        None => Ok(Standing::Foreign),
    }
}

/// The same for a cursor whose seal was good.
pub(super) fn stand_of(
    user: &str,
    reading: &dyn Reading,
    cursor: Cursor,
) -> Result<Standing, Fault> {
    let own = super::own_bucket(user);
    Ok(match stand(reading, cursor)? {
        // A hash is compared with what this very user holds, when the cursor is opened.
        Standing::Good(cursor) if !cursor.is_hashed() && !cursor.held.contains(&own) => {
            Standing::Foreign
        }
        other => other,
    })
}

/// What a position is worth, whoever held it.
fn stand(reading: &dyn Reading, cursor: Cursor) -> Result<Standing, Fault> {
    let log = reading.log_state()?;
    if cursor.epoch != log.epoch {
        return Ok(Standing::Foreign);
    }
    if mutant::on(Mutant::OtherLifeUnnoticed) {
        return Ok(Standing::Good(Box::new(cursor)));
    }
    if cursor.position > log.head {
        return Ok(Standing::Restored);
    }
    if cursor.position < log.watermark {
        let is_lost = cursor.accepted.as_ref().map(|accepted| accepted.is_lost(reading));
        return Ok(match is_lost.transpose()? {
            Some(true) => Standing::Restored,
            _ if mutant::on(Mutant::WatermarkIgnored) => Standing::Good(Box::new(cursor)),
            _ => Standing::Behind,
        });
    }
    if reading.tag(cursor.position)? != Some(cursor.tag) {
        return Ok(Standing::Restored);
    }
    // What stands behind the watermark is not forgotten, and `seen`, where it is kept, is not before the position.
    let knows_more = cursor.seen > log.head
        || cursor.seen > cursor.position && reading.tag(cursor.seen)? != Some(cursor.seen_tag);
    if knows_more {
        return Ok(Standing::Restored);
    }
    Ok(Standing::Good(Box::new(cursor)))
}

/// Whether this server has sealed it.
pub(super) fn is_ours(text: &str, key: &str) -> bool {
    open::<Cursor>(text, key).is_some()
}

/// Whether the position shows that this file was restored to before it was given.
pub(super) fn shows_restore(reading: &dyn Reading, text: &str) -> Result<bool, Fault> {
    let witness = if text.is_empty() { None } else { open(text, &reading.log_state()?.key) };
    let standing = witness.map(|witness| stand(reading, witness)).transpose()?;
    Ok(matches!(standing, Some(Standing::Restored)))
}

/// The last position of the log, and its tag.
pub(super) fn end_of_log(reading: &dyn Reading) -> Result<(i64, i64), Fault> {
    let head = reading.log_state()?.head;
    Ok((head, reading.tag(head)?.unwrap_or_default()))
}

/// The cursor at the log's end, for somebody who holds these buckets.
pub(super) fn at_head(reading: &dyn Reading, held: &[String]) -> Result<Cursor, Fault> {
    let (position, tag) = end_of_log(reading)?;
    Ok(Cursor {
        tag,
        epoch: reading.log_state()?.epoch,
        position,
        seen: position,
        seen_tag: tag,
        held: held.to_vec(),
        ..Cursor::default()
    })
}

/// The log tip after this response, as a sealed cursor without buckets. `accepted`: the last mutation that this response accepts;
/// `None` keeps the one of `before`, the log tip of the request.
pub(super) fn witness(
    (position, tag): (i64, i64),
    log: &LogState,
    accepted: Option<Accepted>,
    before: &str,
) -> Result<String, Fault> {
    let epoch = log.epoch.clone();
    let mut end =
        Cursor { tag, epoch, position, seen: position, seen_tag: tag, ..Cursor::default() };
    end.carry(before, &log.key);
    end.accepted = accepted.or(end.accepted);
    seal(&end, &log.key)
}

/// Seals a value: its JSON and a signature, in letters that survive any re-encoding.
pub(super) fn seal<T: Serialize>(value: &T, key: &str) -> Result<String, Fault> {
    let json = serde_json::to_vec(value)?;
    let mut sealed = URL_SAFE_NO_PAD.encode(&json);
    let _ = write!(sealed, ".{}", signature(&json, key));
    Ok(sealed)
}

/// Opens what [`seal`] made; `None` if it was not made with this key.
pub(super) fn open<T: DeserializeOwned>(sealed: &str, key: &str) -> Option<T> {
    let (body, signed) = sealed.split_once('.')?;
    let json = URL_SAFE_NO_PAD.decode(body).ok()?;
    (signature(&json, key) == signed).then(|| serde_json::from_slice(&json).ok())?
}

/// HMAC-SHA-256, the first 16 bytes in hexadecimal.
fn signature(message: &[u8], key: &str) -> String {
    let mut inner = [0x36_u8; 64];
    let mut outer = [0x5c_u8; 64];
    // The key is 64 hexadecimal digits: exactly one block.
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
    fn a_cursor_comes_back_as_it_was() {
        let cursor =
            Cursor { position: 7, held: vec![String::from("user:A")], ..Cursor::default() };
        let sealed = seal(&cursor, KEY).unwrap();
        assert_eq!(open::<Cursor>(&sealed, KEY), Some(cursor));
    }

    #[test]
    fn a_cursor_that_was_touched_or_signed_elsewhere_is_no_cursor() {
        let sealed = seal(&Cursor::default(), KEY).unwrap();
        let other = seal(&Cursor { position: 9, ..Cursor::default() }, KEY).unwrap();
        let mixed =
            format!("{}.{}", other.split_once('.').unwrap().0, sealed.split_once('.').unwrap().1);
        assert_eq!(open::<Cursor>(&mixed, KEY), None);
        assert_eq!(open::<Cursor>(&sealed, &KEY.replace('0', "1")), None);
        assert_eq!(open::<Cursor>("", KEY), None);
    }
}
