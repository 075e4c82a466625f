// Benchmarks of the Swift package (bench/README.md, "Beside the other languages"): prints one line of JSON per figure.
//
// Wall-clock times; both sides of a ratio alternate, and the median of the rounds is reported.

import Foundation
import Rejoin

let folder = FileManager.default.temporaryDirectory.appendingPathComponent("rejoin-bench-\(UUID().uuidString)")
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: folder) }

/// All workloads, outside of the main actor: there, each call would begin and end with a change of threads.
func measure(in folder: URL) async throws {
    let client = try await Ours.open(folder.appendingPathComponent("ours.db"))
    let peer = try SQLite(folder.appendingPathComponent("peer.db"))
    try peer.fill()

    let bytes = try await median(of: 15) { try await client.query(Item.all, []).bytes.count > 0 }
    say(Figure(what: "10,000 x 8 rows to bytes", ours_ms: bytes))
    say(
        try await against("10,000 x 8 rows into objects") {
            try await client.query(Item.all, []).map(Item.init).count == Item.count
        } peer: {
            try peer.items().count == Item.count
        })
    say(
        try await against("10,000 x 8 rows into Decodable objects") {
            try await client.query(Item.all, [], as: Item.self).count == Item.count
        } peer: {
            try peer.items().count == Item.count
        })
    say(
        try await against("1,000 writes") {
            for number in 0..<1000 { try await client.execute(Item.update, ["written \(number)", number, Item.key(number)]) }
            return true
        } peer: {
            for number in 0..<1000 { try peer.update("written \(number)", number, Item.key(number)) }
            return true
        })
    let fromMain = try await median(of: 15) { @MainActor in
        for number in 0..<1000 { try await client.execute(Item.update, ["main \(number)", number, Item.key(number)]) }
        return true
    }
    say(Figure(what: "1,000 writes from the main actor", ours_ms: fromMain))
    let delays = try await Ours.delays(client).sorted()
    say(Figure(what: "commit to emission, p50", ours_ms: delays[delays.count / 2]))
    say(Figure(what: "commit to emission, p99", ours_ms: delays[delays.count * 99 / 100]))
    try await client.shutdown()
}

try await measure(in: folder)
