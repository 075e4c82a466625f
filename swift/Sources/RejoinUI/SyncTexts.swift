// What the badge shows for a sync status, and its texts. SwiftUI/SyncBadge.swift draws it.

import Rejoin

/// The texts of the sync badge, in English; an app sets its own.
///
/// ```swift
/// var texts = SyncTexts()
/// texts.offline = String(localized: "No network")
/// ```
public struct SyncTexts: Sendable {
    /// Everything is pushed and pulled.
    public var upToDate = "Up to date"
    /// A sync has started.
    public var connecting = "Connecting"
    /// Rows are sent or received; the argument is the progress in percent, `nil` if it is unknown.
    public var syncing: @Sendable (_ percent: Int?) -> String = { $0.map { "Syncing \($0) %" } ?? "Syncing" }
    /// No server is reachable.
    public var offline = "Offline"
    /// The server is temporarily unavailable.
    public var waitingForServer = "Server unavailable"
    /// The network is metered, and syncing waits for another one.
    public var metered = "Waiting for Wi-Fi"
    /// Credentials are missing or rejected.
    public var needsSignIn = "Sign in to sync"
    /// The server requires a newer version of the app.
    public var upgradeRequired = "Update required"
    /// An error that a quick retry does not fix.
    public var failed = "Sync failed"
    /// Syncing is not running.
    public var stopped = "Not syncing"
    /// The number of mutations that wait for the server.
    public var waiting: @Sendable (_ count: Int) -> String = { "\($0) waiting" }
    /// The number of mutations that wait for the user's decision.
    public var parked: @Sendable (_ count: Int) -> String = { "\($0) to review" }
    /// What VoiceOver reads; the arguments are the state and the counts.
    public var description: @Sendable (_ state: String, _ counts: [String]) -> String = { state, counts in
        (["Sync: \(state)"] + counts).joined(separator: ", ")
    }

    /// The English texts.
    public init() {}
}

/// The importance of a state, which selects the colors.
enum BadgeTone: Sendable, Hashable {
    /// Nothing to do.
    case calm
    /// Work is in progress.
    case active
    /// Work waits for something that comes by itself.
    case waiting
    /// The user has to act.
    case alert
}

/// The content of the badge.
struct BadgeContent: Sendable, Hashable {
    /// The state.
    let label: String
    /// The numbers of waiting and of parked mutations, without zeros.
    let counts: [String]
    let tone: BadgeTone
    /// From 0 to 1; `nil` if it is unknown or nothing is in progress.
    let progress: Double?

    /// What a badge for this state shows.
    init(_ state: SyncState, waiting: Int, parked: Int, _ texts: SyncTexts) {
        progress = state.progress
        let (label, tone) = texts.label(state, percent: progress.map { Int($0 * 100) })
        self.label = label
        counts = (waiting > 0 ? [texts.waiting(waiting)] : []) + (parked > 0 ? [texts.parked(parked)] : [])
        self.tone = parked > 0 ? .alert : tone
    }
}

extension SyncTexts {
    fileprivate func label(_ state: SyncState, percent: Int?) -> (String, BadgeTone) {
        switch state {
        case .upToDate: (upToDate, .calm)
        case .connecting: (connecting, .active)
        case .pushing, .applying: (syncing(percent), .active)
        case .offline: (offline, .waiting)
        case .waiting: (waitingForServer, .waiting)
        case .metered: (metered, .waiting)
        case .needsAuth: (needsSignIn, .alert)
        case .upgradeRequired: (upgradeRequired, .alert)
        case .failed: (failed, .alert)
        case .idle, .suspended, .stopped: (stopped, .waiting)
        }
    }
}

extension SyncState {
    fileprivate var progress: Double? {
        guard case .applying(let done, let total?, _) = self, total > 0 else { return nil }
        return min(max(Double(done) / Double(total), 0), 1)
    }
}
