// A real server process (tests/story-server), controlled by lines of JSON. It exits when its input is closed.

import Foundation

/// A server for one test.
final class StoryServer: @unchecked Sendable {
    /// The address that it listens on.
    let url: URL
    private let process = Process()
    private let orders = Pipe()
    private let answers: LineReader
    private let lock = NSLock()

    /// Starts a server.
    ///
    /// - Parameters:
    ///   - tokens: whether users are identified by tokens instead of a header.
    ///   - log: whether it serves a table of the log.
    init(tokens: Bool = false, log: Bool = false) throws {
        guard let program = ProcessInfo.processInfo.environment["REJOIN_STORY_SERVER"] else {
            throw StoryError("REJOIN_STORY_SERVER does not say where rejoin-story-server is: run by `cargo xtask test`")
        }
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = (tokens ? ["--tokens"] : []) + (log ? ["--log"] : [])
        process.standardInput = orders
        process.standardOutput = output
        try process.run()
        answers = LineReader(output.fileHandleForReading)
        guard let address = try answers.object()["url"] as? String, let url = URL(string: address) else {
            throw StoryError("the server did not report its address")
        }
        self.url = url
    }

    deinit {
        try? orders.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Stops accepting connections.
    func stop() throws { try order(["do": "stop"]) }
    /// Accepts connections and never answers.
    func hang() throws { try order(["do": "hang"]) }
    /// Answers again, at the same address.
    func go() throws { try order(["do": "go"]) }

    /// A token that expires after this many seconds.
    func token(_ user: String = "u1", seconds: Int = 600) throws -> String {
        try text(order(["do": "token", "user": user, "seconds": seconds])["token"])
    }

    /// The manifest, as bundled with an app.
    func schema() throws -> String {
        let schema = try order(["do": "schema"])["schema"] as Any
        return String(decoding: try JSONSerialization.data(withJSONObject: schema), as: UTF8.self)
    }

    /// Writes to the server's database, as another program would.
    func write(_ sql: String) throws { try order(["do": "sql", "sql": sql]) }

    /// The only column of a query on the server's database.
    func column(_ sql: String) throws -> [String] {
        let rows = try order(["do": "rows", "sql": sql])["rows"] as? [[Any]] ?? []
        return rows.map { "\($0[0])" }
    }

    /// Sends a command as text and returns its answer.
    func order(line: String) throws -> String {
        let order = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
        return String(decoding: try JSONSerialization.data(withJSONObject: self.order(order)), as: UTF8.self)
    }

    @discardableResult
    private func order(_ order: [String: Any]) throws -> [String: Any] {
        lock.lock()
        defer { lock.unlock() }
        let line = try JSONSerialization.data(withJSONObject: order) + [0x0A]
        try orders.fileHandleForWriting.write(contentsOf: line)
        let answer = try answers.object()
        if let error = answer["error"] { throw StoryError("\(order): \(error)") }
        return answer
    }

    private func text(_ value: Any?) throws -> String {
        guard let text = value as? String else { throw StoryError("no text in the answer") }
        return text
    }
}

struct StoryError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Lines of JSON from a pipe.
private final class LineReader {
    private let pipe: FileHandle
    private var buffer = Data()

    init(_ pipe: FileHandle) { self.pipe = pipe }

    func object() throws -> [String: Any] {
        while !buffer.contains(0x0A) {
            let more = pipe.availableData
            guard !more.isEmpty else { throw StoryError("the server has ended") }
            buffer.append(more)
        }
        let end = buffer.firstIndex(of: 0x0A)!
        defer { buffer = Data(buffer[(end + 1)...]) }
        return try JSONSerialization.jsonObject(with: buffer[..<end]) as? [String: Any] ?? [:]
    }
}
