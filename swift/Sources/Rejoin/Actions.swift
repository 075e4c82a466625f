// The app's actions and the rules that belong to them, registered before the file is opened. This type only collects;
// opening the file reports all problems.

import Foundation

/// The actions of an app: named changes that can run again on newer rows.
///
/// ```swift
/// var actions = Actions()
/// actions.handler("raise", as: Raise.self, parameters: [.init("id", .text), .init("by", .integer)]) { context, raise in
///     try await context.execute("UPDATE task SET rank = rank + ? WHERE id = ?", [raise.by, raise.id])
/// }
/// configuration.actions = actions
/// ```
///
/// Prefer declared actions (``declare(_:)``): they are the same in all languages. `docs/actions.md` describes what an
/// action may do and when it runs again. ``RejoinClient/open(_:)`` reports all problems together as
/// ``RejoinError/configuration(_:)``.
public struct Actions: Sendable {
    private(set) var entries: [Entry] = []

    /// Creates an empty registry.
    public init() {}

    /// Adds a declared action.
    ///
    /// - Parameter json: one object; `docs/actions.md` lists its members.
    public mutating func declare(_ json: String) { entries.append(.declared(json)) }

    /// Adds an action in code. Several versions of one name may be registered; the newest is performed.
    ///
    /// The code runs when the action is performed, and again whenever its rows change before the server has accepted
    /// it. It must depend only on its context and its arguments, and wait only for the context: all writers wait for
    /// it. It runs on no actor.
    ///
    /// If the code throws, the action is rolled back. ``ActionContext/refuse(_:)`` refuses with the app's message,
    /// errors of the context are thrown unchanged, and any other error becomes ``RejoinError/callback(_:)``. If that
    /// happens when the action runs again, the mutation is parked as ``ParkReason/unreplayable``.
    ///
    /// The task is cancelled after ``RejoinConfig/transactionIdle`` without a call on its context
    /// (``ActionFault/timedOut``), and by ``SyncHandle/suspend()`` and ``RejoinClient/shutdown()``; later calls on the
    /// context throw. Client calls inside follow the rules of a transaction. Do not capture the client strongly: it
    /// retains the code while the file is open.
    ///
    /// - Parameter name: the action's name.
    /// - Parameter type: the type of the arguments, with a property per parameter; ``NoArguments`` for none.
    /// - Parameter version: increase it when the behaviour or the parameters change. From 1.
    /// - Parameter parameters: the parameters; arguments are checked before the code runs.
    /// - Parameter upgrades: the older versions whose arguments can be converted.
    /// - Parameter run: the code; its result is the action's value, as JSON.
    public mutating func handler<Arguments: Decodable & Sendable, Value: Encodable & Sendable>(
        _ name: String, as type: Arguments.Type = Arguments.self, version: Int = 1, parameters: [ActionParameter] = [],
        upgrades: [ActionUpgrade] = [], _ run: @escaping @Sendable (ActionContext, Arguments) async throws -> Value
    ) {
        let definition = Definition(name: name, version: version, parameters: parameters, upgrades: upgrades)
        entries.append(
            .handler(definition) { context, json in
                try JSONText(await run(context, JSONText(json).decode(type))).text
            })
    }

    /// Adds an action in code without a result; otherwise as the variant with a value.
    public mutating func handler<Arguments: Decodable & Sendable>(
        _ name: String, as type: Arguments.Type = Arguments.self, version: Int = 1, parameters: [ActionParameter] = [],
        upgrades: [ActionUpgrade] = [], _ run: @escaping @Sendable (ActionContext, Arguments) async throws -> Void
    ) {
        let definition = Definition(name: name, version: version, parameters: parameters, upgrades: upgrades)
        entries.append(
            .handler(definition) { context, json in
                try await run(context, JSONText(json).decode(type))
                return ""
            })
    }

    /// Sets the identity columns of a table: ``ActionContext/rowID(of:_:)`` derives the ids of rows that an action
    /// creates from them.
    public mutating func identity(of table: String, columns: [String]) { entries.append(.identity(table, columns)) }

    /// As ``identity(of:columns:)``, with a function: the result of `project` for the row passed to
    /// ``ActionContext/rowID(of:_:)`` is its identity. It must be a pure function; `rowID` throws what it throws.
    /// Declared actions use their own `ids`.
    ///
    /// ```swift
    /// actions.projection(of: "line") { row in ["day": String((row["at"] as? String ?? "").prefix(10))] }
    /// ```
    public mutating func projection(of table: String, _ project: @escaping Projection) { entries.append(.projection(table, project)) }

    /// Maps a row to its identity.
    public typealias Projection = @Sendable (_ row: ActionArguments) throws -> ActionArguments

    /// Makes a table writable by actions only: any other local write throws ``RejoinError/invalidInput(_:)``. Remote
    /// rows are applied as usual.
    public mutating func onlyByActions(_ table: String) { entries.append(.onlyByActions(table)) }
}

/// The type of an action's parameter.
public enum ActionParameterType: Sendable, Hashable {
    /// Text without NUL.
    case text
    /// A 64-bit integer.
    case integer
    /// A number, integers included.
    case real
    /// `true` or `false`; 1 or 0 in SQL.
    case boolean
    /// An instant: a `Date`, or RFC 3339 text.
    case time
    /// Bytes: `Data`, or base64 text.
    case blob
    /// Any JSON, from any `Encodable`; its text in SQL.
    case json
}

/// A parameter of an action.
public struct ActionParameter: Sendable, Hashable {
    /// The name: letters, digits and `_`.
    public let name: String
    /// The type of the value.
    public let type: ActionParameterType
    /// Whether the argument may be omitted or null.
    public let isOptional: Bool

    /// - Parameter name: letters, digits and `_`.
    /// - Parameter type: the type of the value.
    /// - Parameter optional: whether the argument may be omitted or null. Default: false.
    public init(_ name: String, _ type: ActionParameterType, optional: Bool = false) {
        self.name = name
        self.type = type
        isOptional = optional
    }
}

/// Converts arguments of an older action version to the current one, for mutations that were performed with the older
/// version and run again.
public struct ActionUpgrade: Sendable {
    let version: Int
    let rename: [String: String]
    let set: ActionArguments
    let drop: [String]

    /// - Parameter version: the older version.
    /// - Parameter rename: old parameter names and their new names.
    /// - Parameter set: values for missing arguments.
    /// - Parameter drop: arguments to remove, before renaming.
    public init(from version: Int, rename: [String: String] = [:], set: ActionArguments = [:], drop: [String] = []) {
        self.version = version
        self.rename = rename
        self.set = set
        self.drop = drop
    }
}

/// The arguments of an action without parameters.
public struct NoArguments: Codable, Sendable, Hashable {
    public init() {}
}
