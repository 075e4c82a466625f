// Performing the actions that were registered when the file was opened.

import Foundation
internal import RejoinFFI

/// What became of an action that was performed.
public struct Performed: Sendable, Hashable {
    /// The mutation that waits for the server; `nil` if the action wrote nothing to synced tables.
    public let id: PendingMutation.ID?
    /// What the action gave back, as JSON; `null` if that is nothing.
    public let json: String

    /// What the action gave back.
    ///
    /// - Parameter type: what it is decoded as; an optional type where it may be null.
    /// - Throws: `DecodingError` if it is something else. The action was performed all the same.
    public func value<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value { try JSONText(json).decode(type) }
}

extension RejoinClient {
    /// Performs an action: in one transaction, which becomes one mutation that knows its name and arguments. As long as no server has
    /// it, it runs again when remote changes come in under it.
    ///
    /// ```swift
    /// let taken = try await client.perform("take", ["id": "nails", "n": 2])
    /// print(try taken.value(as: Left.self).left)
    /// ```
    ///
    /// Works offline: when it returns, what it wrote is on disk and in the queue. Cancelling the task changes nothing: an action that
    /// was asked for is done or refused as a whole, and its caller hears of it.
    ///
    /// - Parameter name: its name, in ``RejoinConfiguration/actions``.
    /// - Parameter arguments: by the names of its parameters. `Date` is a `time`, `Data` a `blob`.
    /// - Throws: ``RejoinError/action(reason:action:fault:words:)`` if there is no such action, for arguments that it does not take, for
    ///   what its own rules refuse and where its code does not end; what its code throws, as ``RejoinError/callback(reason:)``
    ///   where that is no error of Rejoin's; `EncodingError` for arguments that JSON cannot hold; and as ``execute(_:_:)`` does.
    ///   Nothing of it is kept then.
    @discardableResult
    public func perform(_ name: String, _ arguments: ActionArguments = [:]) async throws -> Performed {
        try await perform(name, json: JSONText(arguments))
    }

    /// The same with arguments of one type: its properties are the parameters.
    @discardableResult
    public func perform<Arguments: Encodable & Sendable>(_ name: String, _ arguments: Arguments) async throws -> Performed {
        try await perform(name, json: JSONText(arguments))
    }

    private func perform(_ name: String, json: JSONText) async throws -> Performed {
        try outsideOfTransaction()
        let performed = try await translated { try await ffi.perform(name: name, argumentsJson: json.text) }
        return Performed(id: performed.id, json: performed.valueJson)
    }
}
