//! Register: binds a device to a user, negotiates capabilities, and checks the device's cursor.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::register::{Hello, RegisterRequest, RegisterResponse, Welcome};
use rejoin_protocol::{PROTOCOL, capability};
use uuid::Uuid;

use super::{Caller, Engine, cursor, schema_gate, version};
use crate::error::{Fault, Refusal};
use crate::hooks::SnapshotReason;
use crate::model::Client;
use crate::store::{Writing, write};

impl Engine {
    /// Registers a device, or updates its registration.
    pub(crate) fn register(
        &self,
        caller: &Caller,
        request: &RegisterRequest,
    ) -> Result<RegisterResponse, Fault> {
        let now = self.now();
        let done = write(&*self.store, &now, |writing| {
            schema_gate(writing, request.schema_version, &request.schema_hash, true)?;
            self.check_app_version(&request.app_version)?;
            let client = self.upsert(writing, caller, request, &now)?;
            let manifest = &writing.schema().manifest;
            let (rejoin, reason) = match &request.rejoin {
                Some(hello) => {
                    let (welcome, reason) = self.welcome(writing, caller, hello)?;
                    (Some(welcome), reason)
                }
                None => (None, None),
            };
            let (position, required) = (client.position, reason);
            let last_sync_at = client.last_pull_at.clone().max(client.last_push_at.clone());
            let response = RegisterResponse {
                id: client.id,
                server_time: now.clone(),
                last_sync_at,
                checkpoint: client.position.unwrap_or(0),
                schema_version: manifest.schema_version,
                schema_hash: manifest.schema_hash.clone(),
                rejoin,
            };
            Ok((response, position, required))
        });
        let client_id = request.client_id.as_str();
        if let Err(fault) = &done {
            self.tell_incompatible(fault, &caller.user, Some(client_id), &request.app_version);
        }
        let (response, position, required) = done?;
        if let Some(reason) = required {
            self.tell_snapshot(caller, client_id, position, reason);
        }
        Ok(response)
    }

    /// Refuses an app version that is too old; an empty version is accepted.
    pub(crate) fn check_app_version(&self, app_version: &str) -> Result<(), Fault> {
        match &self.min_app_version {
            Some(least) if !app_version.is_empty() && !version::is_served(app_version, least) => {
                Err(Refusal::new(426, code::UPGRADE_REQUIRED, "client upgrade required").into())
            }
            _ => Ok(()),
        }
    }

    /// Builds the response, with the reason if the device must take a snapshot.
    fn welcome(
        &self,
        writing: &dyn Writing,
        caller: &Caller,
        hello: &Hello,
    ) -> Result<(Welcome, Option<SnapshotReason>), Fault> {
        let offered = |name: &&&str| {
            let asks = match **name {
                capability::CHECKS => !self.checks.is_empty(),
                capability::STREAMS => !self.streams.is_empty(),
                capability::LOG => !writing.log_tables().is_empty(),
                _ => true,
            };
            asks && hello.capabilities.iter().any(|offer| offer == **name)
        };
        let cursor = hello.cursor.as_deref().filter(|cursor| !cursor.is_empty());
        let checked =
            cursor.map(|cursor| cursor::check_of(&caller.user, writing, cursor)).transpose()?;
        let witness = hello.witness.as_deref().unwrap_or_default();
        let key = writing.log_state()?.key;
        let restored = matches!(checked, Some(cursor::CursorCheck::Restored))
            || cursor::shows_restore(writing, witness)?;
        let other_server = cursor.is_some_and(|cursor| !cursor::is_ours(cursor, &key))
            || !witness.is_empty() && !cursor::is_ours(witness, &key);
        let epoch = if restored { writing.new_epoch()? } else { writing.log_state()?.epoch };
        let reason = match &checked {
            _ if restored => Some(SnapshotReason::Epoch),
            None => Some(SnapshotReason::Initial),
            Some(cursor::CursorCheck::Good(_)) => None,
            Some(cursor::CursorCheck::Behind) => Some(SnapshotReason::Retention),
            Some(_) => Some(SnapshotReason::Epoch),
        };
        let welcome = Welcome {
            protocol: PROTOCOL,
            capabilities: capability::ALL
                .iter()
                .filter(offered)
                .map(|s| String::from(*s))
                .collect(),
            epoch,
            subject: caller.user.clone(),
            rules_hash: writing.schema().manifest.rules_hash(),
            cursor_valid: reason.is_none(),
            other_server,
            max_body: self.limits.body as u64,
            max_groups: u32::try_from(self.limits.groups).unwrap_or(u32::MAX),
            max_page: u32::try_from(self.limits.page).unwrap_or(u32::MAX),
        };
        Ok((welcome, reason))
    }

    /// Refuses a new device of a user who has reached the limit. Devices inactive for so long that
    /// their verdicts are deleted do not count.
    fn check_devices(&self, writing: &dyn Writing, user: &str) -> Result<(), Fault> {
        let count = writing.devices_since(user, &self.forgotten_before())?;
        if count < i64::from(self.limits.devices_per_user) {
            return Ok(());
        }
        if let Some(count) = self.refused_devices.count(()) {
            let why = "refused devices of users who have too many (limits.devices_per_user)";
            tracing::warn!(count, "{why}");
        }
        let message =
            "too many devices of this user are registered: ask the operator to allow more";
        Err(Refusal::new(403, code::TOO_MANY_DEVICES, message).into())
    }

    fn upsert(
        &self,
        writing: &dyn Writing,
        caller: &Caller,
        request: &RegisterRequest,
        now: &str,
    ) -> Result<Client, Fault> {
        let mut client = match writing.client(&caller.user, &request.client_id)? {
            Some(known) => {
                self.admit(caller, &request.client_id, &known)?;
                known
            }
            None => self
                .check_devices(writing, &caller.user)
                .and_then(|()| newcomer(writing, caller, request, now))?,
        };
        client.client_name.clone_from(&request.client_name);
        client.platform.clone_from(&request.platform);
        client.app_version.clone_from(&request.app_version);
        if let Some(hello) = &request.rejoin {
            if is_copy(&client, hello) {
                let message =
                    "another opening of this device's file has spoken already: take a new id";
                return Err(Refusal::new(409, code::CLIENT_REPLACED, message).into());
            }
            if hello.incarnation > 0 {
                client.incarnation = hello.incarnation;
                client.opening.clone_from(&hello.opening);
            }
        }
        now.clone_into(&mut client.seen_at);
        writing.put_client(&caller.user, &request.client_id, &client)?;
        Ok(client)
    }
}

/// Whether the device's file is a restored or copied one: its incarnation number is outdated, or is
/// used under another name. A number 0 or an empty name is not checked.
fn is_copy(known: &Client, hello: &Hello) -> bool {
    let is_other =
        !hello.opening.is_empty() && !known.opening.is_empty() && hello.opening != known.opening;
    match hello.incarnation {
        0 => false,
        number => number < known.incarnation || number == known.incarnation && is_other,
    }
}

/// Creates a device. A device that had to take a new id takes over the mutations of its old one:
/// deleted verdicts of those must not lead to a second application.
fn newcomer(
    writing: &dyn Writing,
    caller: &Caller,
    request: &RegisterRequest,
    now: &str,
) -> Result<Client, Fault> {
    let before = request.rejoin.as_ref().and_then(|hello| hello.replaces.as_deref());
    let before = before.map(|id| writing.client(&caller.user, id)).transpose()?.flatten();
    Ok(Client {
        id: Uuid::new_v4().to_string(),
        purged_below: before.map_or(0, |before| before.purged_below),
        created_at: now.to_owned(),
        ..Client::default()
    })
}
