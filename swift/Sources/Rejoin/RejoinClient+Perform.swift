// Performing the actions that were registered when the file was opened, and mending one by performing it again.

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
    ///   what its own rules refuse and where its code does not end; ``RejoinError/actionTooSlow(reason:action:most:)`` and
    ///   ``RejoinError/actionTooLarge(reason:action:mostBytes:)`` beyond the ``ActionBudget``; what its code throws, as ``RejoinError/callback(reason:)``
    ///   where that is no error of Rejoin's; `EncodingError` for arguments that JSON cannot hold; and as ``execute(_:_:)`` does.
    ///   Nothing of it is kept then.
    @discardableResult
    public func perform(_ name: String, _ arguments: ActionArguments = [:]) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.perform(name: name, argumentsJson: json.text) }
    }

    /// The same with arguments of one type: its properties are the parameters.
    @discardableResult
    public func perform<Arguments: Encodable & Sendable>(_ name: String, _ arguments: Arguments) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.perform(name: name, argumentsJson: json.text) }
    }

    /// Mends an action that is parked or waits: what it wrote leaves the rows, and the newest version of it is performed with these
    /// arguments on what is there then. What comes out is a new mutation at the end of the queue, in the place of the old one; all
    /// of it or nothing, also across a crash. Where nothing is written this time, there is no new one.
    ///
    /// ```swift
    /// let mended = try await client.performAgain(parked.id, ["id": "nails", "n": 1])
    /// if let id = mended.id { try await client.retryChain(id) }
    /// ```
    ///
    /// Works offline. What was parked because of the old one now waits for the new one: ``retryChain(_:)`` with the new name offers
    /// that again. Cancelling the task changes nothing, as of ``perform(_:_:)``.
    ///
    /// - Parameter id: its name, from ``pending()``.
    /// - Parameter arguments: all that the action takes, as for ``perform(_:_:)``.
    /// - Throws: as ``perform(_:_:)`` does, and ``RejoinError/invalidInput(reason:)`` if there is no mutation of this name, it is no
    ///   action, or the server cannot withdraw one that was sent to it. Nothing was changed then.
    @discardableResult
    public func performAgain(_ id: PendingMutation.ID, _ arguments: ActionArguments = [:]) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.performAgain(id: id, argumentsJson: json.text) }
    }

    /// The same with arguments of one type: its properties are the parameters.
    @discardableResult
    public func performAgain<Arguments: Encodable & Sendable>(_ id: PendingMutation.ID, _ arguments: Arguments) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.performAgain(id: id, argumentsJson: json.text) }
    }

    private func performing(_ call: @Sendable () async throws -> RejoinFFI.Performed) async throws -> Performed {
        try outsideOfTransaction()
        let performed = try await translated(call)
        return Performed(id: performed.id, json: performed.valueJson)
    }
}
