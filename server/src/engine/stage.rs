//! Groups that are larger than one request: their content arrives in parts, and the push that names
//! it is evaluated as if it had the content.
//!
//! A device has at most one content, and a user a limited number of bytes, which a content takes when
//! it begins. A content is deleted when its group has a verdict, when it is wrong, when the device
//! stages another one, or after a day.

use std::sync::{MutexGuard, TryLockError};

use rejoin_protocol::limits::GROUP_BYTES;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Group, GroupContent, PushAsk, Staged, Verdict};
use rejoin_protocol::wire::stage::{StageAnswer, StageAsk};

use super::budget::check_size;
use super::verdict::ended;
use super::{Caller, Engine};
use crate::error::{Fault, Refusal};
use crate::model::StagedPart;
use crate::store::{read, write};

/// Bytes of a part, unless it is the last one or a request may not have so many: each is a row.
const LEAST: usize = 4 << 10;

/// Stores a part, if it begins where the stored ones end.
pub(crate) fn stage(
    engine: &Engine,
    caller: &Caller,
    ask: &StageAsk,
    part: &[u8],
) -> Result<StageAnswer, Fault> {
    let bytes = usize::try_from(ask.bytes).unwrap_or(usize::MAX);
    check_size(bytes, GROUP_BYTES, "bytes of a mutation")?;
    let at = engine.now();
    write(&*engine.store, &at, |writing| {
        engine.registered(writing, caller, &ask.client_id)?;
        let staged = writing.staged(&caller.user, &ask.client_id)?;
        let have = match &staged {
            Some(staged) if staged.content == ask.content => staged.bytes.unsigned_abs(),
            Some(_) => {
                writing.unstage(&caller.user, &ask.client_id)?;
                0
            }
            None => 0,
        };
        let end = have.saturating_add(part.len() as u64);
        if ask.offset != have || part.is_empty() || end > ask.bytes {
            return Ok(StageAnswer { have });
        }
        if part.len() < LEAST.min(engine.limits.body) && end < ask.bytes {
            let message = format!("a part has at least {LEAST} bytes, unless it is the last one");
            return Err(Refusal::invalid(message).into());
        }
        let begun = if have == 0 { writing.staged_by(&caller.user)?.unsigned_abs() } else { 0 };
        if have == 0 && begun.saturating_add(ask.bytes) > engine.limits.staged_per_user as u64 {
            let message = "the user's devices stage too much at once: send it later";
            let refusal = Refusal::new(429, code::TOO_MANY_REQUESTS, message);
            return Err(Refusal { retryable: true, ..refusal }.into());
        }
        let (content, at) = (ask.content.as_str(), at.as_str());
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (size, offset) = (number(ask.bytes), number(have));
        let part = StagedPart { content, size, offset, bytes: part, at };
        writing.stage(&caller.user, &ask.client_id, &part)?;
        Ok(StageAnswer { have: end })
    })
}

/// The turn to apply a staged group: one at a time, because the content, its rows and their images
/// are in memory together.
pub(super) fn turn(engine: &Engine) -> Result<MutexGuard<'_, ()>, Fault> {
    match engine.staged_turn.try_lock() {
        Ok(turn) => Ok(turn),
        Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
        Err(TryLockError::WouldBlock) => {
            let message = "another large mutation is being applied: send it later";
            let refusal = Refusal::new(503, code::UNAVAILABLE, message);
            Err(Refusal { retryable: true, ..refusal }.into())
        }
    }
}

/// The groups with the content of the staged one; `None` if not all of it is here.
pub(super) fn with_content(
    engine: &Engine,
    caller: &Caller,
    client_id: &str,
    (ask, staged): (&PushAsk, &Staged),
) -> Result<Option<PushAsk>, Fault> {
    let [group] = ask.groups.as_slice() else {
        return Err(Refusal::invalid("a staged group has a push of its own").into());
    };
    if !group.changes.is_empty() || !group.reads.is_empty() || group.action.is_some() {
        return Err(Refusal::invalid("a staged group has no other content").into());
    }
    let bytes = read(&*engine.store, |reading| {
        // An incomplete content is not read.
        match reading.staged(&caller.user, client_id)? {
            Some(found) if found.bytes.unsigned_abs() == staged.bytes => {
                reading.staged_bytes(&caller.user, client_id, &staged.content).map(Some)
            }
            _ => Ok(None),
        }
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    if Staged::of(&bytes) != *staged {
        forget(engine, caller, client_id)?;
        return Ok(None);
    }
    let content = match serde_json::from_slice::<GroupContent>(&bytes) {
        Ok(content) => content,
        Err(error) => {
            tracing::debug!(%error, "staged content refused");
            forget(engine, caller, client_id)?;
            return Err(Refusal::invalid("the staged content is no content of a group").into());
        }
    };
    let GroupContent { reads, action, changes } = content;
    let group = Group { reads, action, changes, staged: None, ..group.clone() };
    Ok(Some(PushAsk { groups: vec![group], ..ask.clone() }))
}

/// Deletes what the device has staged.
pub(super) fn forget(engine: &Engine, caller: &Caller, client_id: &str) -> Result<(), Fault> {
    write(&*engine.store, &engine.now(), |writing| writing.unstage(&caller.user, client_id))
}

/// The answer to a group whose content is not here: the device stages it, and sends the group again.
pub(super) fn not_staged(group: &Group) -> Verdict {
    let message = "the content of this group has not arrived: stage it and send the group again";
    Verdict { retryable: true, ..ended(group, Ending::Retry, code::NOT_STAGED, message) }
}
