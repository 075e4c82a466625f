//! Messages in both directions. The first byte selects the message; the others are its body.

use rejoin_protocol::manifest::ColumnManifest;
use rejoin_protocol::wire::pull::{PullRequest, PullResponse};
use rejoin_protocol::wire::push::{PushRequest, PushResponse};
use rejoin_protocol::wire::register::{RegisterRequest, RegisterResponse};
use rejoin_protocol::wire::snapshot::{SnapshotRequest, SnapshotResponse};
use rejoin_protocol::wire::tables::TablesResponse;
use rejoin_protocol::wire::{ErrorBody, RowSet};
use rejoin_protocol::{Manifest, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::rows::KINDS;

/// Requests of a device.
pub(crate) fn request(bytes: &[u8]) {
    let Some((which, body)) = bytes.split_first() else { return };
    match which % 4 {
        0 => drop(again::<RegisterRequest>(body)),
        1 => {
            let Some(push) = again::<PushRequest>(body) else { return };
            push.changes.iter().for_each(|change| members(change.data.as_deref()));
            for change in push.rejoin.iter().flat_map(|ours| &ours.groups).flat_map(|g| &g.changes)
            {
                members(change.data.as_deref());
                members(change.old.as_deref());
            }
        }
        2 => drop(again::<PullRequest>(body)),
        _ => drop(again::<SnapshotRequest>(body)),
    }
}

/// Responses of a server.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((which, body)) = bytes.split_first() else { return };
    match which % 7 {
        0 => drop(again::<RegisterResponse>(body)),
        1 => {
            let Some(manifest) = again::<Manifest>(body) else { return };
            let _ = (manifest.hash(), manifest.rules_hash(), manifest.plain());
            for table in manifest.synced() {
                let _ = table.key();
                let known = table.columns.iter().filter_map(ColumnManifest::kind);
                let _ = known.count();
            }
        }
        2 => {
            let Some(push) = again::<PushResponse>(body) else { return };
            for row in push.rejoin.iter().flat_map(|ours| &ours.rows) {
                members(row.data.as_deref());
            }
        }
        3 => {
            let Some(pull) = again::<PullResponse>(body) else { return };
            pull.rejoin.iter().flat_map(|ours| &ours.sets).for_each(set);
        }
        4 => {
            let Some(page) = again::<SnapshotResponse>(body) else { return };
            page.rejoin.iter().flat_map(|ours| &ours.sets).for_each(set);
        }
        5 => drop(again::<TablesResponse>(body)),
        _ => drop(again::<ErrorBody>(body)),
    }
}

/// Parses a message; the serialized result must parse to an equal value.
pub(crate) fn again<T: DeserializeOwned + Serialize>(body: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(body).ok()?;
    let text = serde_json::to_string(&read).expect("what was read can be written");
    let same: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&same).ok().as_ref(), Some(&text));
    Some(read)
}

fn members(object: Option<&RawValue>) {
    let Some(Ok(members)) = object.map(codec::members) else { return };
    for ((_, value), kind) in members.into_iter().zip(KINDS.iter().cycle()) {
        let _ = codec::decode(value.get(), *kind);
    }
}

fn set(set: &RowSet) {
    let kinds: Vec<_> = KINDS.iter().copied().cycle().take(set.columns.len()).collect();
    let _ = codec::each_row::<()>(&set.rows, &kinds, |_| Ok(()));
}
