// A real server in a process of its own (tests/story-server), told by lines what to do. It ends with whoever started it.

import Foundation

/// A server for one story.
final class StoryServer: @unchecked Sendable {
    /// Where it listens.
    let url: URL
    private let process = Process()
    private let orders = Pipe()
    private let answers: LineReader
    private let lock = NSLock()

    /// Starts one.
    ///
    /// - Parameter tokens: whether users are named by tokens instead of a header.
    init(tokens: Bool = false) throws {
        guard let program = ProcessInfo.processInfo.environment["REJOIN_STORY_SERVER"] else {
            throw StoryError("REJOIN_STORY_SERVER does not say where rejoin-story-server is: run by `cargo xtask test`")
        }
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = tokens ? ["--tokens"] : []
        process.standardInput = orders
        process.standardOutput = output
        try process.run()
        answers = LineReader(output.fileHandleForReading)
        guard let said = try answers.object()["url"] as? String, let url = URL(string: said) else {
            throw StoryError("the server did not say where it listens")
        }
        self.url = url
    }

    deinit {
        try? orders.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Lets nobody reach it.
    func stop() throws { try order(["do": "stop"]) }
    /// Takes connections and never answers.
    func hang() throws { try order(["do": "hang"]) }
    /// Answers again, at the same address.
    func go() throws { try order(["do": "go"]) }

    /// A token that ends so many seconds from now.
    func token(_ user: String = "u1", seconds: Int = 600) throws -> String {
        try text(order(["do": "token", "user": user, "seconds": seconds])["token"])
    }

    /// The manifest, as an app would bundle it.
    func schema() throws -> String {
        let schema = try order(["do": "schema"])["schema"] as Any
        return String(decoding: try JSONSerialization.data(withJSONObject: schema), as: UTF8.self)
    }

    /// Writes into its file, as another program would.
    func write(_ sql: String) throws { try order(["do": "sql", "sql": sql]) }

    /// The only column of a query on its file.
    func column(_ sql: String) throws -> [String] {
        let rows = try order(["do": "rows", "sql": sql])["rows"] as? [[Any]] ?? []
        return rows.map { "\($0[0])" }
    }

    /// Gives an order of any kind, as text, and its answer.
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
