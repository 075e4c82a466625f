// Every interleaving of a callback that waits with other events. The token provider is called, waits at a gate, and
// returns, throws, never returns or calls the client, while queries, writes, suspension and shutdown happen.

import Foundation
import Rejoin
import Testing

@Suite struct CallbackInterleavingTests {
    @Test func callbackBlocksNothingAndLosesNothingInAnyOrder() async throws {
        let folder = try Folder()
        let all = orders(Event.allCases, chain: [.called, .answers])
        let runs = sample(all, Answer.allCases).map { One(order: $0, answer: $1, path: folder.file("\(UUID()).db")) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, one) in runs.enumerated() {
                if number >= 6 { try await group.next() }
                group.addTask { try await watched(50, "\(one.order) \(one.answer)") { try await one.run() } }
            }
            try await group.waitForAll()
        }
        print("interleavings of a callback: \(runs.count)")
        #expect(runs.count == (isDeep ? 360 : 90) * 4)
    }
}

private enum Event: CaseIterable, Sendable { case called, answers, query, fires, suspend, shutdown }

private enum Answer: CaseIterable, Sendable { case returns, `throws`, never, callsBack }

/// One order, run once.
private struct One: Sendable {
    let order: [Event]
    let answer: Answer
    let path: URL

    func run() async throws {
        let provider = Provider(answer)
        // No server listens on this port: requests after the token callback are offline.
        let configuration = RejoinConfig(path: path, server: URL(string: "http://127.0.0.1:9"), tokens: provider)
        let client = try await RejoinClient.open(configuration)
        await provider.use(client)
        try await client.schema.createTable("item", "id TEXT PRIMARY KEY")
        let watch = Task { for try await _ in client.watch("SELECT id FROM item") {} }
        var (others, write) = ([watch], Task<Void, any Error> {})
        for event in order {
            switch event {
            case .called: others.append(Task { try await client.sync.run() })
            case .answers: await provider.gate.open()
            case .query: others.append(Task { _ = try await client.query("SELECT id FROM item") })
            case .fires: write = Task { try await client.execute("INSERT INTO item VALUES ('f')") }
            case .suspend: others.append(Task { try await client.sync.suspend() })
            case .shutdown: others.append(Task { try await client.shutdown() })
            }
        }
        for other in others + [write] {
            if case .failure(let error) = await other.result { try expected(error) }
        }
        for error in await provider.finish() { try expected(error) }
        let again = try await RejoinClient.open(RejoinConfig(path: path))
        let there = try await again.query("SELECT id FROM item", as: String.self)
        try await again.shutdown()
        let written = (try? await write.result.get()) != nil
        if there != (written ? ["f"] : []) { throw Broken("\(order) \(answer): \(there) are there, written: \(written)") }
        for suffix in ["", "-wal", "-shm", "-rejoin-lock"] { try? FileManager.default.removeItem(atPath: path.path + suffix) }
    }

    private func expected(_ error: any Error) throws {
        guard ["suspended", "closed", "offline", "unauthorized", "CancellationError"].contains(kind(error)) else {
            throw Broken("\(order) \(answer): unexpected \(error)")
        }
    }
}

/// Waits at its gate, then performs the given ending.
private actor Provider: TokenProvider {
    nonisolated let gate = Gate()
    private let answer: Answer
    private var client: RejoinClient?
    private var errors: [any Error] = []

    init(_ answer: Answer) { self.answer = answer }

    func use(_ client: RejoinClient) { self.client = client }

    /// Errors of its own calls. A late call may be missing; it finds a closed client.
    func finish() -> [any Error] {
        client = nil
        return errors
    }

    func token(refresh: Bool) async throws -> String? {
        await gate.pass()
        switch answer {
        case .returns: break
        case .throws: throw Own("keychain locked")
        case .never: try await Task.sleep(for: .seconds(3600))
        case .callsBack:
            guard let client else { break }
            // The client may be suspended or shut down by then, but the call must not block.
            if let error = await thrown({ _ = try await client.query("SELECT id FROM item") }) { errors.append(error) }
            if let error = await thrown({ try await client.transaction { _ = try await $0.query("SELECT 1") } }) { errors.append(error) }
        }
        return "token"
    }
}
