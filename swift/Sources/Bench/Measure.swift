// Clock, median, and output of the benchmarks.

import Foundation

/// One figure, in the output format of all languages.
struct Figure: Encodable {
    let what: String
    let ours_ms: Double
    var peer: String?
    var peer_ms: Double?
    var ratio: Double?
}

/// Thrown if the work was not done, which invalidates its time.
struct NotDone: Error {}

func say(_ figure: Figure) {
    guard let line = try? JSONEncoder().encode(figure) else { return }
    FileHandle.standardOutput.write(line + [0x0A])
}

/// The median of several runs in milliseconds, after one warm-up run; each returns whether it did its work.
func median(of rounds: Int, _ work: () async throws -> Bool) async throws -> Double {
    _ = try await timed(work)
    var all: [Double] = []
    for _ in 0..<rounds { all.append(try await timed(work)) }
    return all.sorted()[rounds / 2]
}

/// Alternates both sides; returns the median of the ratios.
func against(
    _ what: String, rounds: Int = 15, _ ours: () async throws -> Bool, peer: () async throws -> Bool
) async throws -> Figure {
    _ = try await (timed(ours), timed(peer))
    var (mine, theirs): ([Double], [Double]) = ([], [])
    for round in 0..<rounds {
        if round % 2 == 0 { mine.append(try await timed(ours)) }
        theirs.append(try await timed(peer))
        if round % 2 == 1 { mine.append(try await timed(ours)) }
    }
    let ratios = zip(mine, theirs).map { $0 / $1 }
    return Figure(
        what: what, ours_ms: mine.sorted()[rounds / 2], peer: "SQLite's C API", peer_ms: theirs.sorted()[rounds / 2],
        ratio: ratios.sorted()[rounds / 2])
}

func timed(_ work: () async throws -> Bool) async throws -> Double {
    let begin = ContinuousClock.now
    guard try await work() else { throw NotDone() }
    return milliseconds(since: begin)
}

func milliseconds(since begin: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = begin.duration(to: .now).components
    return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
}
