// What an app registers before its file is opened: its actions, and the rules that belong to them. Border: only collects; the engine
// names what is wrong when the file is opened.

import Foundation

/// The actions of an app: changes that are kept with what was meant, so that they can run again on newer rows.
///
/// ```swift
/// var actions = Actions()
/// actions.handler("raise", as: Raise.self, parameters: [.init("id", .text), .init("by", .integer)]) { context, raise in
///     try await context.execute("UPDATE task SET rank = rank + ? WHERE id = ?", [raise.by, raise.id])
/// }
/// configuration.actions = actions
/// ```
///
/// An action that is data (``declare(_:)``) is the same for every language; prefer it. What an action may do, and when it runs again,
/// stands in `docs/actions.md`. What is wrong is told by ``RejoinClient/open(_:)``, all of it together, as
/// ``RejoinError/configuration(reason:)``.
public struct Actions: Sendable {
    private(set) var entries: [Entry] = []

    /// None yet.
    public init() {}

    /// Adds an action that is data.
    ///
    /// - Parameter json: one object; its members stand in `docs/actions.md`.
    public mutating func declare(_ json: String) { entries.append(.declared(json)) }

    /// Adds an action that is code of the app. Several versions of one name may stand side by side: the newest is performed.
    ///
    /// The code runs when the action is performed, and again, at any time, when rows change under it before the server has it. So it
    /// must depend on nothing but its context and its arguments, and wait for nothing but the context: the writer, and everybody who
    /// writes, waits for it. It runs on no actor.
    ///
    /// What it throws means that nothing of it is kept: ``ActionContext/refuse(_:)`` says no in the app's words, an error of the context
    /// goes on as it is, and anything else is ``RejoinError/callback(reason:)``. Where it runs again, the mutation is parked then, as
    /// ``ParkReason/unreplayable``. Without a call on its context for ``RejoinConfiguration/transactionIdle`` it is given up
    /// (``ActionFault/timedOut``), and so it is by ``RejoinClient/suspend()`` and ``RejoinClient/shutdown()``: its task is cancelled,
    /// and later calls on the context throw. Called inside, the client refuses as it does inside of a transaction; do not hold it here,
    /// as it holds the code for as long as its file is open.
    ///
    /// - Parameter name: the action's name.
    /// - Parameter type: what the arguments are decoded as: a property for each parameter, ``NoArguments`` for none.
    /// - Parameter version: rises when it does something else, or takes other arguments. From 1.
    /// - Parameter parameters: what it takes; checked before the code runs.
    /// - Parameter upgrades: the older versions whose arguments it takes over.
    /// - Parameter run: does it; what it returns is the action's value, as JSON.
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

    /// Adds an action that is code of the app and gives nothing back; otherwise as with a value.
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

    /// Says what tells the rows of a table apart that one action makes: ``ActionContext/rowID(of:_:)`` makes their ids of these columns.
    public mutating func identity(of table: String, columns: [String]) { entries.append(.identity(table, columns)) }

    /// ``identity(of:columns:)``, where a function says it: what `project` makes of the row that ``ActionContext/rowID(of:_:)`` is given
    /// is its identity. A pure function; what it throws is what `rowID` throws. The `ids` of declared actions have their own.
    ///
    /// ```swift
    /// actions.projection(of: "line") { row in ["day": String((row["at"] as? String ?? "").prefix(10))] }
    /// ```
    public mutating func projection(of table: String, _ project: @escaping Projection) { entries.append(.projection(table, project)) }

    /// What a row is to its identity.
    public typealias Projection = @Sendable (_ row: ActionArguments) throws -> ActionArguments

    /// Says that only actions write this table: any other local write is ``RejoinError/invalidInput(reason:)``. What the server sends
    /// is laid down as ever.
    public mutating func onlyByActions(_ table: String) { entries.append(.onlyByActions(table)) }
}

/// What a parameter of an action takes.
public enum ActionParameterType: Sendable, Hashable {
    /// Text without NUL.
    case text
    /// A whole number of 64 bits.
    case integer
    /// A number; whole ones too.
    case real
    /// `true` or `false`; 1 or 0 in SQL.
    case boolean
    /// An instant: a `Date`, or text of RFC 3339.
    case time
    /// Bytes: `Data`, or text in base64.
    case blob
    /// Any JSON, of whatever is `Encodable`; its text in SQL.
    case json
}

/// A parameter of an action.
public struct ActionParameter: Sendable, Hashable {
    /// Its name: letters, digits and `_`.
    public let name: String
    /// What it takes.
    public let type: ActionParameterType
    /// Whether it may be left out, or be null.
    public let isOptional: Bool

    /// - Parameter name: letters, digits and `_`.
    /// - Parameter type: what it takes.
    /// - Parameter optional: whether it may be left out, or be null. Default: no.
    public init(_ name: String, _ type: ActionParameterType, optional: Bool = false) {
        self.name = name
        self.type = type
        isOptional = optional
    }
}

/// How arguments of an older version of an action become those of the present one, for a mutation that was performed with the older
/// and has to run again.
public struct ActionUpgrade: Sendable {
    let version: Int
    let rename: [String: String]
    let set: ActionArguments
    let drop: [String]

    /// - Parameter version: the older version.
    /// - Parameter rename: old names, and the new ones.
    /// - Parameter set: what is set where it is not there.
    /// - Parameter drop: what is not taken any more; before the renaming.
    public init(from version: Int, rename: [String: String] = [:], set: ActionArguments = [:], drop: [String] = []) {
        self.version = version
        self.rename = rename
        self.set = set
        self.drop = drop
    }
}

/// The arguments of an action that takes none.
public struct NoArguments: Codable, Sendable, Hashable {
    public init() {}
}
