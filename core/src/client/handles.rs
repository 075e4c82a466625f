//! The handles of a client: its queue, its synchronization, its schema. A handle borrows the client and costs nothing.

use super::Client;

/// The queue: pending and parked mutations, verdicts, and the history of accepted mutations. From [`Client::queue`].
#[derive(Debug, Clone, Copy)]
pub struct QueueHandle<'c>(pub(super) &'c Client);

/// Synchronization beyond [`Client::start`] and [`Client::stop`]. From [`Client::sync`].
#[derive(Debug, Clone, Copy)]
pub struct SyncHandle<'c>(pub(super) &'c Client);

/// The app's own tables and indexes. From [`Client::schema`].
#[derive(Debug, Clone, Copy)]
pub struct SchemaHandle<'c>(pub(super) &'c Client);

impl Client {
    /// The queue of this client.
    pub fn queue(&self) -> QueueHandle<'_> {
        QueueHandle(self)
    }

    /// Synchronization with the server.
    pub fn sync(&self) -> SyncHandle<'_> {
        SyncHandle(self)
    }

    /// The app's own tables and indexes.
    pub fn schema(&self) -> SchemaHandle<'_> {
        SchemaHandle(self)
    }
}
