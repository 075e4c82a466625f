// Performs registered actions, and replaces an action by performing it again.

import Foundation
internal import RejoinFFI

/// The result of an action.
public struct Performed: Sendable, Hashable {
    /// The mutation that waits for the server; `nil` if the action wrote nothing to synced tables.
    public let id: PendingMutation.ID?
    /// The value that the action returned, as JSON; `null` if there is none.
    public let json: String

    /// Decodes the action's value.
    ///
    /// - Parameter type: the type of the value; optional if the value may be null.
    /// - Throws: `DecodingError` if the value has another type. The action was performed nevertheless.
    public func value<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value { try JSONText(json).decode(type) }
}

extension RejoinClient {
    /// Performs an action in one transaction. The transaction becomes one mutation that stores the action's name and
    /// arguments. Until the server has accepted it, it runs again when remote changes affect it.
    ///
    /// ```swift
    /// let taken = try await client.perform("take", ["id": "nails", "n": 2])
    /// print(try taken.value(as: Left.self).left)
    /// ```
    ///
    /// Works offline: when it returns, the writes are on disk and in the queue. Cancelling the task has no effect: the
    /// action completes or is refused as a whole, and the caller gets the result.
    ///
    /// - Parameter name: the action's name, from ``RejoinConfiguration/actions``.
    /// - Parameter arguments: the arguments by parameter name. `Date` is a `time`, `Data` a `blob`.
    /// - Throws: ``RejoinError/action(reason:action:fault:words:)`` if the action is unknown, an argument is invalid, one
    ///   of its rules refuses, or its code times out. ``RejoinError/actionTooSlow(reason:action:most:)`` and
    ///   ``RejoinError/actionTooLarge(reason:action:mostBytes:)`` beyond the ``ActionBudget``. Errors of its code, as
    ///   ``RejoinError/callback(reason:)`` if they are not Rejoin's. `EncodingError` for arguments that JSON cannot
    ///   represent. Otherwise as ``execute(_:_:)``. In all cases the action was rolled back.
    @discardableResult
    public func perform(_ name: String, _ arguments: ActionArguments = [:]) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.perform(name: name, argumentsJson: json.text) }
    }

    /// As ``perform(_:_:)``, with arguments of one type: its properties are the parameters.
    @discardableResult
    public func perform<Arguments: Encodable & Sendable>(_ name: String, _ arguments: Arguments) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.perform(name: name, argumentsJson: json.text) }
    }

    /// Replaces a parked or waiting action: its writes are removed from the rows, and the newest version of the action is
    /// performed with these arguments on the current rows. The result is a new mutation at the end of the queue; there is
    /// none if nothing is written. The replacement is atomic, also across a crash.
    ///
    /// ```swift
    /// let replaced = try await client.performAgain(parked.id, ["id": "nails", "n": 1])
    /// if let id = replaced.id { try await client.retryChain(id) }
    /// ```
    ///
    /// Works offline. Mutations parked because of the old one now wait for the new one: pass its id to ``retryChain(_:)``
    /// to retry them. Cancelling the task has no effect, as in ``perform(_:_:)``.
    ///
    /// - Parameter id: the mutation's id, from ``pending()``.
    /// - Parameter arguments: all arguments of the action, as for ``perform(_:_:)``.
    /// - Throws: as ``perform(_:_:)``, and ``RejoinError/invalidInput(reason:)`` if there is no mutation with this id, it
    ///   is not an action, or the server cannot withdraw what was sent. Then nothing was changed.
    @discardableResult
    public func performAgain(_ id: PendingMutation.ID, _ arguments: ActionArguments = [:]) async throws -> Performed {
        let json = try JSONText(arguments)
        return try await performing { [ffi] in try await ffi.performAgain(id: id, argumentsJson: json.text) }
    }

    /// As ``performAgain(_:_:)``, with arguments of one type: its properties are the parameters.
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
