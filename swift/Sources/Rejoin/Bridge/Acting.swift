// Actions at the FFI boundary: the registry, and the callbacks that run their code.

internal import RejoinFFI
import Foundation

extension Actions {
    typealias Code = @Sendable (ActionContext, String) async throws -> String

    /// A registered item.
    enum Entry: Sendable {
        case declared(String)
        case handler(Definition, Code)
        case identity(String, [String])
        case projection(String, Projection)
        case onlyByActions(String)
    }

    /// The definition of an action in code.
    struct Definition: Sendable {
        let name: String
        let version: Int
        let parameters: [ActionParameter]
        let upgrades: [ActionUpgrade]
    }

    /// The registry for the engine; `nil` if it is empty.
    ///
    /// - Parameter file: the file that the actions belong to; its full path is set once it is open.
    func registry(of file: Locked<URL>) throws -> ActionRegistry? {
        if entries.isEmpty { return nil }
        let registry = ActionRegistry()
        let projections = projections()
        for entry in entries {
            switch entry {
            case .declared(let json): registry.declare(json: json)
            case .handler(let definition, let code):
                registry.handler(definition: try definition.ffi(), handler: ActionBridge(definition.name, file, projections, code))
            case .identity(let table, let columns): registry.identity(table: table, columns: columns)
            case .projection(let table, _): registry.projection(table: table)
            case .onlyByActions(let table): registry.onlyByActions(table: table)
            }
        }
        return registry
    }

    /// The projections by table; the last one wins.
    private func projections() -> [String: Projection] {
        var projections: [String: Projection] = [:]
        for entry in entries {
            switch entry {
            case .projection(let table, let project): projections[table.lowercased()] = project
            case .identity(let table, _): projections[table.lowercased()] = nil
            case .declared, .handler, .onlyByActions: continue
            }
        }
        return projections
    }
}

/// Runs an action's code for the engine.
private final class ActionBridge: ActionHandler {
    private let name: String
    private let file: Locked<URL>
    private let projections: [String: Actions.Projection]
    private let code: Actions.Code

    init(_ name: String, _ file: Locked<URL>, _ projections: [String: Actions.Projection], _ code: @escaping Actions.Code) {
        self.name = name
        self.file = file
        self.projections = projections
        self.code = code
    }

    func run(context: RejoinFFI.ActionContext, argumentsJson: String) async throws -> String {
        let context = ActionContext(context, of: name, projections)
        defer { context.end() }
        let inside = Inside(.action, of: file.with { $0 }) { context.isOpen }
        do {
            return try await Inside.$current.withValue(inside) { try await code(context, argumentsJson) }
        } catch let error as RejoinError {
            throw RejoinFFI.RejoinError(error)
        } catch {
            throw RejoinFFI.RejoinError.Callback(reason: String(describing: error))
        }
    }
}

extension Actions.Definition {
    func ffi() throws -> ActionDefinition {
        ActionDefinition(
            name: name, version: Int64(version), parameters: parameters.map(\.ffi), upgrades: try upgrades.map { try $0.ffi(of: name) })
    }
}

extension ActionParameter {
    var ffi: RejoinFFI.ActionParameter { .init(name: name, kind: type.ffi, optional: isOptional) }
}

extension ActionParameterType {
    var ffi: RejoinFFI.ActionParameterType {
        switch self {
        case .text: .text
        case .integer: .integer
        case .real: .real
        case .boolean: .boolean
        case .time: .time
        case .blob: .blob
        case .json: .json
        }
    }
}

extension Performed {
    init(_ performed: RejoinFFI.Performed) { self.init(id: performed.id, json: performed.valueJson) }
}

extension ActionUpgrade {
    func ffi(of action: String) throws -> RejoinFFI.ActionUpgrade {
        do {
            return .init(version: Int64(version), rename: rename, setJson: try JSONText(set).text, drop: drop)
        } catch {
            throw RejoinError.configuration("action \(action): upgrade of version \(version): \(error)")
        }
    }
}
