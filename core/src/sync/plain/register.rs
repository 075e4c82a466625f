//! Register with a plain server: the file's user, and whether rows and position are still valid.
//!
//! A file remembers that it met a plain server, because its frozen records use that protocol.

use rejoin_protocol::wire::register::RegisterResponse;

use super::{pull, push};
use crate::engine::Engine;
use crate::error::{Error, InputFault, Result};
use crate::sync::request::SessionConfig;
use crate::sync::rows::fact::{self, Fact, RefetchReason, SnapshotProgress};
use crate::sync::rows::register;
use crate::sync::subject::{self, Signer};

/// Whether the last sync was with a plain server.
pub(crate) fn is_known(engine: &Engine) -> Result<bool> {
    Ok(engine.meta(fact::PEER)?.as_deref() == Some(fact::PLAIN))
}

/// Whether to start or continue in the plain protocol. A server that now supports Rejoin gets the
/// frozen records in the plain protocol first: as a group, a record that was already applied would
/// conflict with itself.
pub(crate) fn speaks_plain(engine: &Engine, answer: &RegisterResponse) -> Result<bool> {
    Ok(answer.rejoin.is_none() || is_known(engine)? && push::frozen(engine))
}

/// Accepts the response: refuses another user, and records whether a snapshot is needed.
pub(crate) fn accept(
    engine: &mut Engine,
    config: &SessionConfig,
    answer: &RegisterResponse,
    who: &Signer,
) -> Result<()> {
    same_token(engine, who)?;
    let mut facts: Vec<Fact> = subject(engine, config)?.into_iter().collect();
    facts.extend(register::token(engine, who)?);
    if is_known(engine)? {
        let position = pull::checkpoint(engine)?;
        let under_way = SnapshotProgress::load(engine)?.is_some() || fact::due(engine)?.is_some();
        // The server stores our position: if it reports a lower one, it was restored or forgot this
        // device.
        if position.is_some_and(|position| position > answer.checkpoint) && !under_way {
            facts.extend(fact::snapshot_due(RefetchReason::Retention));
        }
    } else {
        facts.push(fact::fact(fact::PEER, fact::PLAIN));
        facts.extend(reset_position(engine)?);
        facts.extend(
            [fact::EPOCH, fact::CURSOR, fact::HELD, fact::RECHECK, fact::WITNESS, fact::RECALL]
                .map(fact::forget),
        );
    }
    if facts.is_empty() { Ok(()) } else { fact::write(engine, &facts) }
}

/// What a file forgets when its plain server is replaced by a Rejoin server.
pub(crate) fn forget(engine: &Engine) -> Result<Vec<Fact>> {
    if !is_known(engine)? {
        return Ok(Vec::new());
    }
    let mut facts = reset_position(engine)?;
    facts.extend([fact::PEER, fact::CHECKPOINT, fact::LAST_PULL, fact::BUCKETS].map(fact::forget));
    Ok(facts)
}

/// Cursors are specific to the server kind: the rows are fetched again, pending mutations are kept.
fn reset_position(engine: &Engine) -> Result<Vec<Fact>> {
    Ok(match engine.meta(fact::FIRST_SYNC)? {
        Some(_) => fact::snapshot_due(RefetchReason::Epoch),
        None => vec![fact::forget(fact::SNAPSHOT)],
    })
}

/// Whether these credentials may sign requests; a Rejoin server decides that itself.
pub(crate) fn check(engine: &Engine, who: &Signer) -> Result<()> {
    if is_known(engine)? { same_token(engine, who) } else { Ok(()) }
}

/// Refuses a token of another user than at the last register, and a token of an unknown user.
fn same_token(engine: &Engine, who: &Signer) -> Result<()> {
    let now = match who {
        Signer::Unsigned => return Ok(()),
        Signer::User(now) => now,
        Signer::Unknown => return Err(unknown_user()),
    };
    match engine.meta(fact::TOKEN)? {
        Some(stored) if !subject::same(&stored, now) => Err(wrong_user(engine)),
        _ => Ok(()),
    }
}

fn unknown_user() -> Error {
    let why = "it is no JWT with a `sub`, and a plain Synchro server does not say whose it is; \
               name its user in the token provider's `subject`";
    Error::InvalidInput(InputFault::Refused {
        what: "the token".to_owned(),
        reason: why.to_owned(),
    })
}

fn wrong_user(engine: &Engine) -> Error {
    let counts = engine.queue.counts();
    Error::WrongUser { pending: counts.pending + counts.sent + counts.uncertain }
}

/// Stores the app's user and refuses another one before anything is sent. A plain server ignores
/// the case of user names.
fn subject(engine: &Engine, config: &SessionConfig) -> Result<Option<Fact>> {
    let Some(now) = config.user_id.as_ref().filter(|user| !user.is_empty()) else {
        return Ok(None);
    };
    match engine.meta(fact::SUBJECT)? {
        Some(stored) if !subject::same(&stored, now) => Err(wrong_user(engine)),
        Some(_) => Ok(None),
        None => Ok(Some(fact::fact(fact::SUBJECT, now.clone()))),
    }
}
