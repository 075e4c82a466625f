// Generates all orders of events, and gates at which a body waits.

import Foundation

/// All orders of `events` that keep the order of `chain`.
func orders<Event: Equatable>(_ events: [Event], chain: [Event]) -> [[Event]] {
    if events.isEmpty { return [[]] }
    return events.flatMap { first -> [[Event]] in
        let mustWait = chain.contains(first) && chain.first { events.contains($0) } != first
        if mustWait { return [] }
        return orders(events.filter { $0 != first }, chain: chain).map { [first] + $0 }
    }
}

/// Whether all orders run: each run of the gate takes a fourth of them.
let isDeep = (Int(ProcessInfo.processInfo.environment["REJOIN_CASES"] ?? "") ?? 1) > 1

/// Each ending with a fourth of the orders, which is another fourth for the next ending.
func sample<Order, End>(_ orders: [Order], _ endings: [End]) -> [(Order, End)] {
    endings.enumerated().flatMap { shift, ending in
        orders.enumerated().filter { number, _ in isDeep || number % 4 == shift % 4 }.map { ($0.element, ending) }
    }
}

/// A point in a body at which it waits until the test opens the gate.
struct Gate: Sendable {
    private let reached = Signal()
    private let opened = Signal()

    /// Waits in the body; ignores cancellation.
    func pass() async {
        await reached.set()
        await opened.wait()
    }

    func open() async { await opened.set() }

    /// Marks the gate as reached, for a body that will not arrive.
    func skip() async { await reached.set() }

    func isReached() async { await reached.wait() }
}

/// A violation found in one order.
struct Broken: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
