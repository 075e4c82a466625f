//! The handles of a client: its queue, its synchronization, its schema, its storage. A handle borrows the client and costs nothing.

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

/// The database file: checkpoint, reset, import, diagnosis. From [`Client::storage`].
#[derive(Debug, Clone, Copy)]
pub struct StorageHandle<'c>(pub(crate) &'c Client);
