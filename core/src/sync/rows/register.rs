//! Register: who the device is, whose file this is, and which life of the server's log it meets (D10, D13).

use rejoin_protocol::wire::register::{Hello, RegisterRequest, RegisterResponse, Welcome};
use rejoin_protocol::{Manifest, PROTOCOL, capability};
use serde_json::to_vec;

use super::fact::{self, Due, Fact, Snapshot};
use crate::engine::Engine;
use crate::engine::queue::cancel::SERVER_CANCELS;
use crate::engine::queue::mutation::State;
use crate::error::{Error, Result};
use crate::ids::Seq;
use crate::sync::request::SessionConfig;
use crate::sync::subject::Signer;
use crate::sync::{plain, subject};

/// What the client cannot do without; a server that has less is not this release's to talk to.
const NEEDED: &[&str] = &[
    capability::GROUPS,
    capability::ROWS,
    capability::ERRORS,
    capability::EPOCH,
    capability::CURSOR,
    capability::ARRAYS,
];

/// Stands for the request of another copy, whose number this one does not know; its own begin above.
const NO_REQUEST: i64 = 0;

/// One more opening of this file is told to the server: a number that it has passed already, or one that it knows under
/// another name, comes from a copy (D10). The name, which is never written down: a copy must not have it.
pub(crate) fn opened(engine: &mut Engine) -> Result<String> {
    let next = incarnation(engine)? + 1;
    engine.set_meta(fact::INCARNATION, Some(&next.to_string()))?;
    Ok(engine.host.uuid4().to_string())
}

/// The body of the request; gives the device its id if it has none.
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

/// The device's id; made at the first contact.
pub(crate) fn client_id(engine: &mut Engine) -> Result<String> {
    if let Some(id) = engine.meta(fact::CLIENT_ID)? {
        return Ok(id);
    }
    let id = engine.host.uuid4().to_string();
    fact::write(engine, &[fact::fact(fact::CLIENT_ID, id.clone())])?;
    Ok(id)
}

fn incarnation(engine: &Engine) -> Result<i64> {
    Ok(engine.meta(fact::INCARNATION)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// A copied or restored file (D10): it gets an id of its own, and keeps what is pending, under the names that it has: those
/// of its mutations that another copy has sent are known by them (O15). Which these are only the server knows, so all are
/// uncertain until it has spoken (R7): an action would run again on what the other copy has made of it.
pub(crate) fn replaced(engine: &mut Engine) -> Result<()> {
    let open = engine.queue.entries().filter(|entry| entry.state == State::Pending);
    let open: Vec<Seq> = open.map(|entry| entry.seq).collect();
    engine.mark_sent(&open, NO_REQUEST)?;
    engine.mark_uncertain(NO_REQUEST)?;
    let old = client_id(engine)?;
    let id = engine.host.uuid4().to_string();
    fact::write(engine, &[fact::fact(fact::CLIENT_ID, id), fact::fact(fact::REPLACES, old)])
}

/// Takes the answer of a server of ours: refuses another user, notes the epoch, and whether a snapshot is due.
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
        return Err(Error::Refused {
            what: "the server".to_owned(),
            why: format!("it lacks {}; a newer rejoin-server has it", missing.join(", ")),
        });
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

/// Whether the server withdraws what was sent, if that is news: the app may ask for it offline.
fn cancels(engine: &Engine, welcome: &Welcome) -> Result<Option<Fact>> {
    let now = welcome.capabilities.iter().any(|name| name == capability::CANCEL);
    let known = engine.meta(SERVER_CANCELS)?.is_some();
    Ok((now != known).then(|| (SERVER_CANCELS.to_owned(), now.then(|| "yes".to_owned()))))
}

/// Whether the rules beside the plain schema are those that the server has now; a change of them alone leaves version and
/// hash of the schema as they were. A server that names none is taken at its word.
pub(crate) fn same_rules(ours: &Manifest, answer: &RegisterResponse) -> bool {
    let theirs = answer.rejoin.as_ref().map_or("", |welcome| welcome.rules_hash.as_str());
    let known = ours.rejoin.as_ref().map_or("", |extension| extension.rules_hash.as_str());
    theirs.is_empty() || theirs == known
}

/// The file remembers its user, and refuses another before anything of it is sent (D10).
fn subject(engine: &Engine, config: &SessionConfig, welcome: &Welcome) -> Result<Vec<Fact>> {
    let user = config.user_id.as_ref().unwrap_or(&welcome.subject);
    let mut facts = Vec::new();
    // To the plain server that it was in step with until now, names that differ in case were one.
    let was_plain = plain::register::is_known(engine)?;
    let is_same = |known: &str, now: &str| known == now || was_plain && subject::same(known, now);
    for (key, now) in [(fact::SUBJECT, user), (fact::CREDENTIALS, &welcome.subject)] {
        match engine.meta(key)? {
            Some(known) if !is_same(&known, now) => {
                let counts = engine.queue.counts();
                let pending = counts.pending + counts.sent + counts.uncertain;
                return Err(Error::WrongUser { pending });
            }
            Some(known) if known == *now => {}
            None if now.is_empty() => {}
            Some(_) | None => facts.push(fact::fact(key, now.clone())),
        }
    }
    Ok(facts)
}

/// Whom the credentials name, if that is another word than the one that is noted.
pub(crate) fn token(engine: &Engine, who: &Signer) -> Result<Option<Fact>> {
    let Signer::User(who) = who else { return Ok(None) };
    let known = engine.meta(fact::TOKEN)?;
    Ok((known.as_ref() != Some(who)).then(|| fact::fact(fact::TOKEN, who.clone())))
}

/// Another epoch, or a cursor that no longer holds: the rows come whole again, what is pending is kept (D13, O14).
fn epoch(engine: &Engine, welcome: &Welcome) -> Result<Vec<Fact>> {
    let known = engine.meta(fact::EPOCH)?;
    let cursor = engine.meta(fact::CURSOR)?;
    let mut facts = Vec::new();
    match known {
        Some(known) if known == welcome.epoch => {
            // A snapshot on its way is what an old cursor leads to; whether its pages still hold, the next one tells.
            let under_way = Snapshot::load(engine)?.is_some() || fact::due(engine)?.is_some();
            if cursor.is_some() && !welcome.cursor_valid && !under_way {
                facts.extend(fact::snapshot_due(Due::Retention));
                // It still says what the server had accepted when it gave it: a restored one is found by that.
                if engine.meta(fact::WITNESS)?.is_none() {
                    facts.push((fact::WITNESS.to_owned(), cursor));
                }
                facts.push(fact::forget(fact::CURSOR));
            }
        }
        Some(known) => {
            facts.extend(other_server(engine, welcome, known)?);
            facts.push(fact::fact(fact::EPOCH, welcome.epoch.clone()));
            facts.extend(fact::snapshot_due(Due::Epoch));
            facts.push(fact::fact(fact::RECALL, "due"));
            facts
                .extend([fact::CURSOR, fact::HELD, fact::RECHECK, fact::WITNESS].map(fact::forget));
        }
        None => facts.push(fact::fact(fact::EPOCH, welcome.epoch.clone())),
    }
    Ok(facts)
}

/// Whether another server than the one that the rows are of answers under its URL, or that one again.
fn other_server(engine: &Engine, welcome: &Welcome, known: String) -> Result<Option<Fact>> {
    Ok(match engine.meta(fact::OTHER_SERVER)? {
        Some(epoch) if epoch == welcome.epoch => Some(fact::forget(fact::OTHER_SERVER)),
        None if welcome.other_server => Some(fact::fact(fact::OTHER_SERVER, known)),
        _ => None,
    })
}
