// Orders of events, and the places in a body where it waits for its turn.

/// Every order of `events` that keeps those of `chain` in theirs.
func orders<Event: Equatable>(_ events: [Event], chain: [Event]) -> [[Event]] {
    if events.isEmpty { return [[]] }
    return events.flatMap { first -> [[Event]] in
        let mustWait = chain.contains(first) && chain.first { events.contains($0) } != first
        if mustWait { return [] }
        return orders(events.filter { $0 != first }, chain: chain).map { [first] + $0 }
    }
}

/// A place in a body where it waits until the order of events lets it go on.
struct Gate: Sendable {
    private let reached = Signal()
    private let opened = Signal()

    /// Waits in the body; hears nothing of cancellation.
    func pass() async {
        await reached.set()
        await opened.wait()
    }

    func open() async { await opened.set() }

    /// Nobody will come any more; whoever waits for that goes on.
    func skip() async { await reached.set() }

    func isReached() async { await reached.wait() }
}

/// What happened in an order and may not.
struct Broken: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
