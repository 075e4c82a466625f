// Keeps the file closed while the app is in the background: carries out the decisions of LifecycleMachine.swift on a client.

import Foundation

/// Time in the background, as an operating system grants it; on iOS a background task.
public protocol BackgroundTime: Sendable {
    /// Asks for time. `expired` is called, on any thread, shortly before it ends.
    ///
    /// - Returns: ends the time. Called once, on any thread, when the file is closed.
    func begin(expired: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

/// Follows the app between foreground and background, so that iOS never ends it for a lock on the file.
///
/// In the background, what is unsent is pushed once, for at most `lastPush`; then the file is closed. Background time is held
/// until it is. In the foreground the file is opened again, and the client syncs. A call inside ``hold(_:)`` opens the file
/// also in the background; other calls throw ``RejoinError/suspended(_:)`` there, and watches deliver afterwards what they
/// missed.
///
/// ```swift
/// let lifecycle = AppLifecycle(client, time: .application) // On iOS.
/// let following = [lifecycle.followApplication(), lifecycle.followNetwork()]
/// ```
///
/// Unsent mutations stay in the queue in every case. Do not call ``SyncHandle/suspend()`` and ``SyncHandle/resume()`` on the
/// same client.
public final class AppLifecycle: Sendable {
    let client: RejoinClient
    private let lastPush: Duration
    private let time: any BackgroundTime
    private let state = Locked(State())

    private struct State {
        var machine = LifecycleMachine()
        var push: Task<Void, Never>?
        var endTime: (@Sendable () -> Void)?
        var waiting: [CheckedContinuation<Void, any Error>] = []
        var network: (online: Bool, metered: Bool)?
        var isLowPower = false
    }

    /// - Parameter client: an open client of an app in the foreground.
    /// - Parameter time: grants time in the background.
    /// - Parameter lastPush: how long the last push may take; zero omits it. iOS grants about 30 seconds.
    public init(_ client: RejoinClient, time: any BackgroundTime, lastPush: Duration = .seconds(5)) {
        self.client = client
        self.time = time
        self.lastPush = lastPush
    }

    deinit { state.with { $0.endTime?() } }

    /// The app came to the foreground. Repeating it has no effect.
    public func foreground() { handle(.foreground) }

    /// The app went to the background. Repeating it has no effect.
    public func background() { handle(.background) }

    /// The state of the network. A metered network, and any network in low power mode, may carry what
    /// ``RejoinConfig/metered`` allows.
    public func network(online: Bool, metered: Bool) {
        state.with { state in
            state.network = (online, metered)
            report(state)
        }
    }

    /// Whether the device saves power.
    public func lowPower(_ isOn: Bool) {
        state.with { state in
            state.isLowPower = isOn
            report(state)
        }
    }

    /// Runs `body` with the file open, whatever the app's state is; in the background with background time of its own.
    ///
    /// ```swift
    /// try await lifecycle.hold { try await client.execute("UPDATE task SET done = \(true) WHERE id = \(id)") }
    /// ```
    ///
    /// - Throws: ``RejoinError/suspended(_:)`` if the background time is just ending; the errors of opening the file; those of
    ///   `body`, and ``RejoinError/suspended(_:)`` from its calls if the time ends before it does.
    @discardableResult
    public func hold<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        if state.with({ $0.machine.refusesHolds }) { throw Self.ending }
        defer { handle(.release) }
        try await opened()
        return try await body()
    }

    /// Opens the file, syncs, and closes it again, in the background. Does not throw offline: the queue is unchanged.
    ///
    /// - Parameter timeout: how long the sync may take.
    /// - Returns: whether everything was sent and received.
    /// - Throws: as ``hold(_:)``, and `CancellationError` if the task is cancelled.
    public func syncInBackground(timeout: Duration = .seconds(20)) async throws -> Bool {
        try await hold { [client] in
            do {
                return try await client.sync.run(timeout: timeout).stillPending == 0
            } catch RejoinError.offline {
                return false
            }
        }
    }

    /// Counts a call, and waits until the file is open or cannot be opened.
    private func opened() async throws {
        try await withCheckedThrowingContinuation { continuation in
            state.with { state in
                // Waits before the file is opened: its error may come at once.
                state.waiting.append(continuation)
                perform(state.machine.handle(.hold), &state)
                answer(&state, failing: Self.ending)
            }
        }
    }

    private static let ending = RejoinError.suspended("the background time is ending; repeat the call in the foreground")

    private func handle(_ event: LifecycleMachine.Event, failing error: any Error = ending) {
        state.with { state in
            perform(state.machine.handle(event), &state)
            answer(&state, failing: error)
        }
    }

    /// Lets the waiting calls go on when the file is neither being opened nor closed.
    private func answer(_ state: inout State, failing error: any Error) {
        if state.machine.isMoving { return }
        let result: Swift.Result<Void, any Error> = state.machine.isReady ? .success(()) : .failure(error)
        for continuation in state.waiting { continuation.resume(with: result) }
        state.waiting = []
    }

    /// Under the lock, so that effects happen in the order of the decisions; none of them waits.
    private func perform(_ effects: [LifecycleMachine.Effect], _ state: inout State) {
        for effect in effects {
            switch effect {
            case .beginTime: state.endTime = time.begin { [weak self] in self?.handle(.expired) }
            case .endTime:
                state.endTime?()
                state.endTime = nil
            case .push(let number): state.push = Task.detached { await self.push(number) }
            case .cancelPush: state.push?.cancel()
            case .resume: Task.detached { await self.resume() }
            case .suspend: Task.detached { await self.suspend() }
            case .sync: client.sync.foreground()
            }
        }
    }

    private func push(_ number: Int) async {
        let hasStopped = client.status.state == .idle || client.status.state == .stopped
        if lastPush > .zero, !hasStopped, let counts = try? await client.queue.counts(),
            counts.pending + counts.sent + counts.uncertain > 0
        {
            // Without a server or in too little time: the mutations stay in the queue.
            _ = try? await client.sync.run(timeout: lastPush)
        }
        handle(.pushEnded(number))
    }

    private func suspend() async {
        // It fails only if the app has shut the client down, which has closed the file too.
        try? await client.sync.suspend()
        handle(.suspended)
    }

    private func resume() async {
        do {
            try await client.sync.resume()
            handle(.resumed)
        } catch {
            handle(.resumeFailed, failing: error)
        }
    }

    private func report(_ state: State) {
        guard let network = state.network else { return }
        client.sync.setNetwork(online: network.online, metered: network.metered || state.isLowPower)
    }
}

/// Something that is followed until this is released.
public final class Following: Sendable {
    private let end: @Sendable () -> Void

    init(_ end: @escaping @Sendable () -> Void) { self.end = end }

    deinit { end() }
}
