// A database with its client, which the models need for the queue.

import Rejoin

/// A database that syncs: a `RejoinClient`, or a ``RejoinStore``, which opens one.
///
/// Views and models take `any SyncedDatabase`, so that a test or a preview can pass a client of its own.
public protocol SyncedDatabase: RejoinDatabase, AnyObject {
    /// The open client; a store opens the file first.
    ///
    /// - Throws: as `RejoinClient.open`, if the file cannot be opened.
    var client: RejoinClient { get async throws }
}

extension RejoinClient: SyncedDatabase {
    /// This client.
    public var client: RejoinClient { self }
}
