//! Builds verdicts, and decides when a stored verdict answers a repeated mutation.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Ending, Group, Verdict};

use crate::error::Fault;
use crate::model::StoredVerdict;

/// The verdict that accepts a mutation.
pub(super) fn accepted(id: &str, attempt: i64) -> Verdict {
    Verdict::new(id.to_owned(), attempt, Ending::Accepted)
}

/// A verdict on a group with a code and a message.
pub(super) fn ended(group: &Group, ending: Ending, code: &str, message: &str) -> Verdict {
    Verdict {
        code: Some(code.to_owned()),
        message: Some(message.to_owned()),
        ..Verdict::new(group.id.clone(), group.attempt, ending)
    }
}

/// The answer to a group for which there was no time: the device sends it again at once.
pub(super) fn unfinished(group: &Group) -> Verdict {
    let message = "the time of this request was over: send the rest again";
    Verdict { retryable: true, ..ended(group, Ending::Retry, code::UNFINISHED, message) }
}

/// The stored verdict as the response to this group; `None` if the group is a new attempt that must
/// be evaluated.
pub(super) fn repeated(group: &Group, stored: &StoredVerdict) -> Result<Option<Verdict>, Fault> {
    if group.attempt == stored.attempt && group.hash != stored.hash {
        let message = "this attempt came before with other content: number it as the next attempt";
        return Ok(Some(ended(group, Ending::Refused, code::HASH_MISMATCH, message)));
    }
    if !is_final(stored) && group.attempt > stored.attempt {
        return Ok(None);
    }
    // With the attempt of the request; otherwise the device would wait forever for that attempt's
    // verdict.
    from_stored(stored, group.attempt).map(Some)
}

/// Whether a verdict holds for every attempt.
pub(super) fn is_final(stored: &StoredVerdict) -> bool {
    stored.ending == word(Ending::Accepted) || stored.ending == word(Ending::Cancelled)
}

/// A stored verdict with its before-images, as the response to this attempt.
pub(super) fn from_stored(stored: &StoredVerdict, attempt: i64) -> Result<Verdict, Fault> {
    let kept: Verdict = serde_json::from_str(&stored.verdict)?;
    // Earlier releases stored the members in arrays, which are still readable.
    let displaced = stored.displaced.as_deref().and_then(|text| serde_json::from_str(text).ok());
    Ok(Verdict { attempt, displaced: displaced.unwrap_or_default(), ..kept })
}

/// The name of an ending on the wire.
pub(crate) fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Accepted => "accepted",
        Ending::Rejected => "rejected",
        Ending::Conflict => "conflict",
        Ending::Refused => "refused",
        Ending::Blocked => "blocked",
        Ending::Cancelled => "cancelled",
        Ending::Retry => "retry",
    }
}
