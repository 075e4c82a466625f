//! Register with a plain server: whose file this is, and whether rows and position of it still hold.
//!
//! A file remembers that it met a plain server, because what it sent and has no verdict on is said in that server's way.

use rejoin_protocol::wire::register::RegisterResponse;

use super::{pull, push};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::request::SessionConfig;
use crate::sync::rows::fact::{self, Due, Fact, Snapshot};
use crate::sync::rows::register;
use crate::sync::subject::{self, Signer};

/// Whether the file was last in step with a plain server.
pub(crate) fn is_known(engine: &Engine) -> Result<bool> {
    Ok(engine.meta(fact::PEER)?.as_deref() == Some(fact::PLAIN))
}

/// Whether this answer begins, or continues, an exchange in the plain way. A server that has learned our extensions is
/// spoken to as before until each record that was frozen for it has its verdict: offered as groups, a record that was
/// applied already would stand in its own way (P2, B1).
pub(crate) fn speaks_plain(engine: &Engine, answer: &RegisterResponse) -> Result<bool> {
    Ok(answer.rejoin.is_none() || is_known(engine)? && push::frozen(engine))
}

/// Takes the answer: refuses another user, and notes what a snapshot must fetch anew.
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
        let under_way = Snapshot::load(engine)?.is_some() || fact::due(engine)?.is_some();
        // What we have pulled, the server knows of: one that knows less was restored, or has forgotten this device.
        if position.is_some_and(|position| position > answer.checkpoint) && !under_way {
            facts.extend(fact::snapshot_due(Due::Retention));
        }
    } else {
        facts.push(fact::fact(fact::PEER, fact::PLAIN));
        facts.extend(anew(engine)?);
        facts.extend(
            [fact::EPOCH, fact::CURSOR, fact::HELD, fact::RECHECK, fact::WITNESS, fact::RECALL]
                .map(fact::forget),
        );
    }
    if facts.is_empty() { Ok(()) } else { fact::write(engine, &facts) }
}

/// What a file forgets that knew a plain server, and now meets one of ours.
pub(crate) fn forget(engine: &Engine) -> Result<Vec<Fact>> {
    if !is_known(engine)? {
        return Ok(Vec::new());
    }
    let mut facts = anew(engine)?;
    facts.extend([fact::PEER, fact::CHECKPOINT, fact::LAST_PULL, fact::BUCKETS].map(fact::forget));
    Ok(facts)
}

/// Positions of one kind of server mean nothing to the other: the rows come whole again, what is pending is kept.
fn anew(engine: &Engine) -> Result<Vec<Fact>> {
    Ok(match engine.meta(fact::FIRST_SYNC)? {
        Some(_) => fact::snapshot_due(Due::Epoch),
        None => vec![fact::forget(fact::SNAPSHOT)],
    })
}

/// Whether requests may be signed by whom these credentials name; a server of ours says so itself.
pub(crate) fn check(engine: &Engine, who: &Signer) -> Result<()> {
    if is_known(engine)? { same_token(engine, who) } else { Ok(()) }
}

/// A token that names another user than that of the last register is another user's (D10), and one that names none may be.
fn same_token(engine: &Engine, who: &Signer) -> Result<()> {
    let now = match who {
        Signer::Unsigned => return Ok(()),
        Signer::User(now) => now,
        Signer::Unknown => return Err(unknown_user()),
    };
    match engine.meta(fact::TOKEN)? {
        Some(known) if !subject::same(&known, now) => Err(wrong_user(engine)),
        _ => Ok(()),
    }
}

fn unknown_user() -> Error {
    let why = "it is no JWT with a `sub`, and a plain Synchro server does not say whose it is; \
               name its user in the token provider's `subject`";
    Error::Refused { what: "the token".to_owned(), why: why.to_owned() }
}

fn wrong_user(engine: &Engine) -> Error {
    let counts = engine.queue.counts();
    Error::WrongUser { pending: counts.pending + counts.sent + counts.uncertain }
}

/// The file remembers whom the app names, and refuses another before anything of it is sent (D10). To a plain server, names
/// that differ in case are one.
fn subject(engine: &Engine, config: &SessionConfig) -> Result<Option<Fact>> {
    let Some(now) = config.user_id.as_ref().filter(|user| !user.is_empty()) else {
        return Ok(None);
    };
    match engine.meta(fact::SUBJECT)? {
        Some(known) if !subject::same(&known, now) => Err(wrong_user(engine)),
        Some(_) => Ok(None),
        None => Ok(Some(fact::fact(fact::SUBJECT, now.clone()))),
    }
}
