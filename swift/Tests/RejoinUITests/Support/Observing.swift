// Waits for what an observable model shows, as a view does: by Observation alone.

import Observation

/// Returns once the condition holds. Reads it again only after a change of an observed property that it has read.
@MainActor
func observed(until condition: @MainActor () -> Bool) async {
    while true {
        let changed = Signal()
        let holds = withObservationTracking(condition) { Task { await changed.set() } }
        if holds { return }
        await changed.wait()
    }
}

/// Returns once the condition holds; for what is not observable, such as a released model.
@MainActor
func polled(until condition: @MainActor () -> Bool) async throws {
    while !condition() { try await Task.sleep(for: .milliseconds(5)) }
}

/// Shows whether an object was released.
struct Weak<Object: AnyObject & Sendable>: Sendable {
    private(set) weak var object: Object?

    init(_ object: Object?) { self.object = object }
}
