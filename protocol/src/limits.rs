//! Limits of the protocol. Lengths are in bytes of UTF-8; `docs/protocol.md` lists them.
//!
//! Keys, values and names of tables and columns have no limit here: if the server's database refuses
//! one, the verdict reports it.

/// Names for machines: ids, hashes, epochs, versions, capabilities, times.
pub const NAME: usize = 255;

/// The display name of a device.
pub const CLIENT_NAME: usize = 1_024;

/// A cursor or a witness. A cursor names the buckets of the device: about two thousand with a UUID each.
pub const CURSOR: usize = 64 * 1024;

/// The address of a shared page.
pub const ADDRESS: usize = 4_096;

/// The header with the subscriptions: proxies limit headers to 8 KiB.
pub const SUBSCRIPTIONS: usize = 6 * 1024;

/// Changes of one mutation, and the rows that it read.
pub const GROUP_CHANGES: usize = 100_000;

/// Bytes of the content of one group as JSON. A device refuses a transaction with more than half as
/// many bytes of values.
pub const GROUP_BYTES: usize = 128 * 1024 * 1024;

/// Changes in one push, unless the server has another limit. A device stages a group with more.
pub const PUSH_CHANGES: usize = 10_000;

/// Slices into which a digest divides a table.
pub const DIGEST_SLICES: u32 = 4_096;

/// Rows of one slice that a digest lists.
pub const DIGEST_ROWS: usize = 50_000;

/// Entries in one publish request of the log, or corrections in one of the authority.
pub const LOG_OFFERS: usize = 1_000;

/// Items in one page of the log; a device that wants more gets this many.
pub const LOG_PAGE: usize = 1_000;

/// Base rows in one page of a snapshot of the log; a device that wants more gets this many.
pub const LOG_SNAPSHOT_PAGE: usize = 10_000;

/// Bytes of content after which a page of the log ends. One item may exceed it alone.
pub const LOG_PAGE_BYTES: usize = 1024 * 1024;

/// Entries that touch rows of the log that were requested by name. A device whose rows have more takes
/// a snapshot.
pub const LOG_ROWS_ENTRIES: usize = 2_000;

/// Bytes of content of rows of the log that were requested by name. A device whose rows have more
/// takes a snapshot.
pub const LOG_ROWS_BYTES: usize = 4 * 1024 * 1024;

/// Rows that one entry of the log names.
pub const LOG_EFFECTS: usize = 10_000;

/// Bytes of one entry of the log: names, keys and values of its effects and of its arguments.
pub const LOG_ENTRY: usize = 4 * 1024 * 1024;

/// The key of a row in the log: with its table it must fit into an index of PostgreSQL.
pub const ROW_ID: usize = 1_024;
