//! Requests of the log model. The first byte selects the message; the others are its body.

use rejoin_log::message::bounds::{CheckBounds, bytes_of, check_offer};
use rejoin_log::message::rows::RowsRequest;
use rejoin_log::message::snapshot::SnapshotRequest;
use rejoin_log::message::{Correct, Fetch, Publish, Request, read};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::again;

pub(crate) fn request(bytes: &[u8]) {
    let Some((which, body)) = bytes.split_first() else { return };
    match which % 5 {
        0 => {
            let Some(publish) = bounded::<Publish>(body) else { return };
            for offer in &publish.log.offers {
                let size = bytes_of(offer.intent.as_ref(), &offer.effects);
                assert!(check_offer(offer).is_err() || size <= 8 * body.len(), "{offer:?}");
            }
        }
        1 => drop(bounded::<Fetch>(body)),
        2 => drop(bounded::<SnapshotRequest>(body)),
        3 => drop(bounded::<RowsRequest>(body)),
        _ => drop(bounded::<Correct>(body)),
    }
}

/// Parses a message as the server does, and checks its bounds.
fn bounded<M>(body: &[u8]) -> Option<Request<M>>
where
    M: DeserializeOwned + Serialize + CheckBounds,
{
    let parsed = again::<Request<M>>(body);
    let named = read::<Request<M>>(body);
    assert_eq!(parsed.is_some(), named.is_ok(), "both readers accept the same");
    parsed.filter(|request| request.log.check_bounds().is_ok())
}
