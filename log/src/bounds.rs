//! Maximum lengths in requests. The server also limits their numbers of entries and effects, and
//! the size of their body.

use rejoin_protocol::limits::{self, Bounded, TooLong};

use super::message::{Correct, DeviceRequest, Fetch, Publish, SnapshotRequest};

fn check_device<R>(request: &DeviceRequest<R>) -> Result<(), TooLong> {
    limits::check("client_id", &request.client_id, limits::NAME)
}

impl Bounded for DeviceRequest<Publish> {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_device(self)?;
        let intents = self.request.offers.iter().filter_map(|offer| offer.intent.as_ref());
        intents
            .map(|intent| intent.action.as_str())
            .try_for_each(|action| limits::check("offers[].intent.action", action, limits::NAME))
    }
}

impl Bounded for DeviceRequest<Fetch> {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_device(self)
    }
}

impl Bounded for DeviceRequest<SnapshotRequest> {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_device(self)
    }
}

impl Bounded for DeviceRequest<Correct> {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_device(self)
    }
}
