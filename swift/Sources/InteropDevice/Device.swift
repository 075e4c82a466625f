// What a device does when it is told to, one order after the other. Border: speaks JSON outside and Rejoin inside; decides nothing.

import Foundation
import Rejoin

/// What is open, and what is held in it.
actor Device {
    private var client: RejoinClient?
    /// A transaction whose body does not end.
    private var held: Task<Void, any Error>?

    /// Carries out an order; what fails is an answer too.
    func answer(_ line: String) async throws -> (line: Data, isLast: Bool) {
        let order = (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any] ?? [:]
        let answer = await told(order)
        return (try JSONSerialization.data(withJSONObject: answer), order["do"] as? String == "quit")
    }

    private func told(_ order: [String: Any]) async -> [String: Any] {
        do {
            return try await carryOut(order)
        } catch let error as RejoinError {
            return ["error": error.kind, "reason": error.reason]
        } catch {
            return ["error": "Other", "reason": String(describing: error)]
        }
    }

    private func carryOut(_ order: [String: Any]) async throws -> [String: Any] {
        switch order["do"] as? String {
        case "open": try await open(order)
        case "exec": ["changes": try await opened().execute(try sql(order), try params(order))]
        case "batch": try await batch(statements(order))
        case "fail": try await fail(statements(order))
        case "hold": try await hold(statements(order))
        case "rows": try rows(try await opened().query(try sql(order), try params(order)))
        case "sync": report(try await opened().syncAndWait(timeout: .seconds(30)))
        case "pending": ["pending": try await opened().pending().map(\.json)]
        case "close", "quit": try await close()
        default: throw Malformed("no such order: \(order)")
        }
    }

    private func open(_ order: [String: Any]) async throws -> [String: Any] {
        guard let path = order["path"] as? String, let url = order["url"] as? String,
            let token = order["token"] as? String
        else { throw Malformed("open without path, url or token") }
        var configuration = RejoinConfiguration(path: URL(fileURLWithPath: path), serverURL: URL(string: url))
        configuration.userID = order["user"] as? String
        configuration.tokens = SameToken(value: token)
        configuration.syncInterval = .seconds(3600)
        configuration.pushDebounce = .zero
        if let schema = order["schema"], !(schema is NSNull) {
            configuration.schema = String(decoding: try JSONSerialization.data(withJSONObject: schema), as: UTF8.self)
        }
        client = try await RejoinClient.open(configuration)
        return ["ok": true]
    }

    private func opened() throws -> RejoinClient {
        guard let client else { throw Malformed("nothing is open") }
        return client
    }

    private func batch(_ statements: [Statement]) async throws -> [String: Any] {
        let changes = try await opened().transaction { tx in
            var changes: [Int] = []
            for statement in statements { changes.append(try await tx.execute(statement.sql, statement.params)) }
            return changes
        }
        return ["changes": changes]
    }

    private func fail(_ statements: [Statement]) async throws -> [String: Any] {
        do {
            try await opened().transaction { tx in
                for statement in statements { try await tx.execute(statement.sql, statement.params) }
                throw OfTheBodysOwn()
            }
        } catch is OfTheBodysOwn {
            return ["thrown": true]
        }
        return ["thrown": false]
    }

    /// Answers when the statements have run, and leaves the body waiting for good.
    private func hold(_ statements: [Statement]) async throws -> [String: Any] {
        let client = try opened()
        let (ran, hasRun) = AsyncThrowingStream.makeStream(of: Void.self)
        held = Task {
            do {
                try await client.transaction { tx in
                    for statement in statements { try await tx.execute(statement.sql, statement.params) }
                    hasRun.yield()
                    try await Task.sleep(for: .seconds(86_400))
                }
            } catch {
                hasRun.finish(throwing: error)
            }
        }
        for try await _ in ran { return ["held": true] }
        return ["held": false]
    }

    private func close() async throws -> [String: Any] {
        held?.cancel()
        held = nil
        try await client?.shutdown()
        client = nil
        return ["ok": true]
    }

    private func sql(_ order: [String: Any]) throws -> String {
        guard let sql = order["sql"] as? String else { throw Malformed("no sql") }
        return sql
    }

    private func params(_ order: [String: Any]) throws -> SQLParameters {
        try (order["params"] as? [Any] ?? []).map { try SQLValue(cell: $0) }
    }

    private func statements(_ order: [String: Any]) throws -> [Statement] {
        try (order["statements"] as? [[String: Any]] ?? []).map { Statement(try sql($0), try params($0)) }
    }

    private func rows(_ rows: RowBuffer) throws -> [String: Any] {
        let cells = try rows.map { row in
            try rows.columns.indices.map { try row.get($0, as: SQLValue.self).cell }
        }
        return ["columns": rows.columns, "rows": cells]
    }

    private func report(_ report: SyncReport) -> [String: Any] {
        [
            "accepted": report.accepted, "parked": report.parked, "pulled": report.pulled,
            "still_pending": report.stillPending,
        ]
    }
}

/// Answers the same token each time.
private struct SameToken: TokenProvider {
    let value: String
    func token(refresh _: Bool) async throws -> String? { value }
}

private struct OfTheBodysOwn: Error {}

/// An order that is none.
struct Malformed: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
