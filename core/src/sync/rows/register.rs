//! Register: the device's identity, the file's user, and the epoch of the server's log.

use rejoin_protocol::wire::register::{Hello, RegisterRequest, RegisterResponse, Welcome};
use rejoin_protocol::{Manifest, PROTOCOL, capability};
use serde_json::to_vec;

use super::fact::{self, Fact, RefetchReason, SnapshotProgress};
use crate::engine::Engine;
use crate::engine::entries;
use crate::engine::meta::LOG_OTHER_SERVER;
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::MutationState;
use crate::error::{Error, InputFault, Result};
use crate::ids::Seq;
use crate::sync::request::SessionConfig;
use crate::sync::subject::Signer;
use crate::sync::{plain, subject};

/// Required capabilities; a server without them is not supported.
const NEEDED: &[&str] = &[
    capability::GROUPS,
    capability::ROWS,
    capability::ERRORS,
    capability::EPOCH,
    capability::CURSOR,
    capability::ARRAYS,
];

/// The request number of another copy, which is unknown; own numbers are higher.
const NO_REQUEST: i64 = 0;

/// Counts an opening of this file. The server detects a copy by a number that it has already seen,
/// or that has another name. The name is never stored, so that a copy does not have it.
pub(crate) fn opened(engine: &mut Engine) -> Result<String> {
    let next = incarnation(engine)? + 1;
    engine.set_meta(fact::INCARNATION, Some(&next.to_string()))?;
    Ok(engine.host.uuid4().to_string())
}

/// The request body; creates the device's id if it has none.
pub(crate) fn request(
    engine: &mut Engine,
    config: &SessionConfig,
    opening: &str,
) -> Result<Vec<u8>> {
    let manifest = engine.schema.manifest.as_ref();
    let (schema_version, schema_hash) =
        manifest.map_or((0, String::new()), |ours| (ours.schema_version, ours.schema_hash.clone()));
    let request = RegisterRequest {
        client_id: client_id(engine)?,
        client_name: config.device_name.clone(),
        platform: config.platform.clone(),
        app_version: config.app_version.clone(),
        schema_version,
        schema_hash,
        rejoin: Some(Hello {
            protocol: PROTOCOL,
            capabilities: capability::ALL.iter().map(|&name| name.to_owned()).collect(),
            incarnation: incarnation(engine)?,
            opening: opening.to_owned(),
            replaces: engine.meta(fact::REPLACES)?,
            cursor: engine.meta(fact::CURSOR)?,
            witness: engine.meta(fact::WITNESS)?,
        }),
    };
    to_vec(&request).map_err(|error| Error::Internal(error.to_string()))
}

/// The device's id, created at the first contact.
pub(crate) fn client_id(engine: &mut Engine) -> Result<String> {
    if let Some(id) = engine.meta(fact::CLIENT_ID)? {
        return Ok(id);
    }
    Ok(entries::author(engine)?.to_string())
}

fn incarnation(engine: &Engine) -> Result<i64> {
    Ok(engine.meta(fact::INCARNATION)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Handles a copied or restored file: it gets a new id and keeps its pending mutations under their
/// ids, because the other copy may have sent some of them. Only the server can tell which, so all
/// are uncertain until their verdict: otherwise an action could run again on its own result.
pub(crate) fn replaced(engine: &mut Engine) -> Result<()> {
    let open = engine.queue.entries().filter(|entry| entry.state == MutationState::Pending);
    let open: Vec<Seq> = open.map(|entry| entry.seq).collect();
    engine.mark_sent(&open, NO_REQUEST)?;
    engine.mark_uncertain(NO_REQUEST)?;
    let old = client_id(engine)?;
    let id = engine.host.uuid4().to_string();
    fact::write(engine, &[fact::fact(fact::CLIENT_ID, id), fact::fact(fact::REPLACES, old)])
}

/// Accepts the response of a Rejoin server: refuses another user, stores the epoch, and makes a
/// snapshot due if needed.
pub(crate) fn accept(
    engine: &mut Engine,
    config: &SessionConfig,
    welcome: Welcome,
    who: &Signer,
) -> Result<Welcome> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .copied()
        .filter(|&needed| !welcome.capabilities.iter().any(|name| name == needed))
        .collect();
    if !missing.is_empty() || welcome.epoch.is_empty() {
        return Err(InputFault::Refused {
            what: "the server".to_owned(),
            reason: format!("it lacks {}; a newer rejoin-server has it", missing.join(", ")),
        }
        .into());
    }
    let mut facts = subject(engine, config, &welcome)?;
    facts.extend(token(engine, who)?);
    facts.extend(plain::register::forget(engine)?);
    facts.extend(epoch(engine, &welcome)?);
    facts.extend(cancels(engine, &welcome)?);
    if engine.meta(fact::REPLACES)?.is_some() {
        facts.push(fact::forget(fact::REPLACES));
    }
    if !facts.is_empty() {
        fact::write(engine, &facts)?;
    }
    Ok(welcome)
}

/// Whether the server can cancel sent mutations, if that is new: the app may cancel offline.
fn cancels(engine: &Engine, welcome: &Welcome) -> Result<Option<Fact>> {
    let now = welcome.capabilities.iter().any(|name| name == capability::CANCEL);
    let stored = engine.meta(SERVER_CANCELS)?.is_some();
    Ok((now != stored).then(|| (SERVER_CANCELS.to_owned(), now.then(|| "yes".to_owned()))))
}

/// Whether the rules in the manifest are current; a change of rules alone does not change version
/// and hash of the schema. If the server sends no hash, they are assumed to be.
pub(crate) fn same_rules(ours: &Manifest, answer: &RegisterResponse) -> bool {
    let theirs = answer.rejoin.as_ref().map_or("", |welcome| welcome.rules_hash.as_str());
    let stored = ours.rejoin.as_ref().map_or("", |extension| extension.rules_hash.as_str());
    theirs.is_empty() || theirs == stored
}

/// Stores the file's user and refuses another one before anything is sent.
fn subject(engine: &Engine, config: &SessionConfig, welcome: &Welcome) -> Result<Vec<Fact>> {
    let user = config.user_id.as_ref().unwrap_or(&welcome.subject);
    let mut facts = Vec::new();
    // Names that differ in case were equal for the previous plain server.
    let was_plain = plain::register::is_known(engine)?;
    let is_same =
        |stored: &str, now: &str| stored == now || was_plain && subject::same(stored, now);
    for (key, now) in [(fact::SUBJECT, user), (fact::CREDENTIALS, &welcome.subject)] {
        match engine.meta(key)? {
            Some(stored) if !is_same(&stored, now) => {
                let counts = engine.counts()?;
                let pending = counts.pending + counts.sent + counts.uncertain;
                return Err(Error::WrongUser { pending });
            }
            Some(stored) if stored == *now => {}
            None if now.is_empty() => {}
            Some(_) | None => facts.push(fact::fact(key, now.clone())),
        }
    }
    Ok(facts)
}

/// The user of the credentials, if it differs from the stored one.
pub(crate) fn token(engine: &Engine, who: &Signer) -> Result<Option<Fact>> {
    let Signer::User(who) = who else { return Ok(None) };
    let stored = engine.meta(fact::TOKEN)?;
    Ok((stored.as_ref() != Some(who)).then(|| fact::fact(fact::TOKEN, who.clone())))
}

/// Another epoch or an invalid cursor: all rows are fetched again, pending mutations are kept.
fn epoch(engine: &Engine, welcome: &Welcome) -> Result<Vec<Fact>> {
    let stored = engine.meta(fact::EPOCH)?;
    let cursor = engine.meta(fact::CURSOR)?;
    let mut facts = Vec::new();
    match stored {
        Some(stored) if stored == welcome.epoch => {
            // An invalid cursor has already started a snapshot; the next page reports whether it is
            // valid.
            let under_way =
                SnapshotProgress::load(engine)?.is_some() || fact::due(engine)?.is_some();
            if cursor.is_some() && !welcome.cursor_valid && !under_way {
                facts.extend(fact::snapshot_due(RefetchReason::Retention));
                // The cursor still shows what the server had accepted, which detects a restored
                // server.
                if engine.meta(fact::WITNESS)?.is_none() {
                    facts.push((fact::WITNESS.to_owned(), cursor));
                }
                facts.push(fact::forget(fact::CURSOR));
            }
        }
        Some(stored) => {
            facts.extend(other_server(engine, welcome, stored)?);
            facts.push(fact::fact(fact::EPOCH, welcome.epoch.clone()));
            facts.extend(fact::snapshot_due(RefetchReason::Epoch));
            facts.push(fact::fact(fact::RECALL, "due"));
            facts
                .extend([fact::CURSOR, fact::HELD, fact::RECHECK, fact::WITNESS].map(fact::forget));
        }
        None => facts.push(fact::fact(fact::EPOCH, welcome.epoch.clone())),
    }
    Ok(facts)
}

/// Whether another server answers under the URL of the server of the rows, or that one again.
fn other_server(engine: &Engine, welcome: &Welcome, stored: String) -> Result<Vec<Fact>> {
    Ok(match engine.meta(fact::OTHER_SERVER)? {
        Some(epoch) if epoch == welcome.epoch => {
            [fact::OTHER_SERVER, LOG_OTHER_SERVER].map(fact::forget).into()
        }
        None if welcome.other_server => {
            vec![fact::fact(LOG_OTHER_SERVER, "due"), fact::fact(fact::OTHER_SERVER, stored)]
        }
        _ => Vec::new(),
    })
}
