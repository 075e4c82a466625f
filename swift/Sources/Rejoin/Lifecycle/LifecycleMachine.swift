// Decides, from the events of an app, when the file is open and when background time is held. Pure: it starts nothing and
// has no clock; AppLifecycle.swift carries its decisions out.
//
// iOS kills an app that is suspended while it holds a lock of a file (0xDEAD10CC). So in the background the file is open only
// while background time is held, and background time ends only after the file was closed.

/// The state of an app and of its client, which starts open and in the foreground.
struct LifecycleMachine {
    enum Event: Hashable {
        case foreground, background
        /// The system is about to end the background time.
        case expired
        /// A call needs the file, and no longer needs it.
        case hold, release
        /// The last push with this number has ended, with or without success.
        case pushEnded(Int)
        /// What was started has ended.
        case resumed, suspended
        /// The file could not be opened.
        case resumeFailed
    }

    enum Effect: Hashable {
        case beginTime, endTime
        /// Push what is unsent once, and report `pushEnded` with the number.
        case push(Int)
        case cancelPush
        /// Open or close the file; only one of them is under way at any time.
        case resume, suspend
        /// The app is in the foreground with an open file: sync now.
        case sync
    }

    private var isForeground = true
    private var isOpen = true
    /// Whether the file is being opened or closed.
    private(set) var isMoving = false
    private var holds = 0
    private var pushes = 0
    private var isPushing = false
    private var hasTime = false
    private var isExpired = false

    /// Whether a call can use the file now.
    var isReady: Bool { isOpen && !isMoving && isWanted }

    /// Whether a new hold cannot be served: the background time is ending, and new time is granted only after that.
    var refusesHolds: Bool { isExpired && hasTime && !isForeground }

    private var isWanted: Bool { isForeground || (!isExpired && (holds > 0 || isPushing)) }

    mutating func handle(_ event: Event) -> [Effect] {
        switch event {
        case .foreground: return enterForeground()
        case .background: return enterBackground()
        case .expired:
            // It may arrive late, when the app is back in the foreground.
            guard !isForeground, hasTime else { return [] }
            isExpired = true
            return stopPushing() + settle()
        case .hold:
            holds += 1
            return isForeground ? settle() : takeTime() + settle()
        case .release: holds -= 1
        case .pushEnded(let number):
            // An earlier push may end after a later one has begun.
            if number == pushes { isPushing = false }
        case .resumed:
            (isMoving, isOpen) = (false, true)
            return (isForeground ? [.sync] : []) + settle()
        case .suspended: (isMoving, isOpen) = (false, false)
        case .resumeFailed:
            // The next foreground or hold tries again.
            isMoving = false
            guard !isForeground else { return [] }
            isExpired = true
            return stopPushing() + dropTime()
        }
        return settle()
    }

    private mutating func enterForeground() -> [Effect] {
        guard !isForeground else { return isOpen ? [] : settle() }
        isForeground = true
        isExpired = false
        return stopPushing() + dropTime() + (isOpen && !isMoving ? [.sync] : settle())
    }

    private mutating func enterBackground() -> [Effect] {
        guard isForeground else { return [] }
        isForeground = false
        let time = takeTime()
        // Otherwise the file is closed, or is being opened or closed: the queue waits for the next foreground.
        guard isOpen, !isMoving else { return time + settle() }
        isPushing = true
        pushes += 1
        return time + [.push(pushes)] + settle()
    }

    /// Opens or closes the file if it is not as it should be, and gives the time back when nothing needs it.
    private mutating func settle() -> [Effect] {
        guard !isMoving else { return [] }
        if isWanted == isOpen { return isOpen ? [] : dropTime() }
        isMoving = true
        return [isWanted ? .resume : .suspend]
    }

    private mutating func takeTime() -> [Effect] {
        guard !hasTime else { return [] }
        (hasTime, isExpired) = (true, false)
        return [.beginTime]
    }

    private mutating func dropTime() -> [Effect] {
        guard hasTime else { return [] }
        hasTime = false
        return [.endTime]
    }

    private mutating func stopPushing() -> [Effect] {
        guard isPushing else { return [] }
        isPushing = false
        return [.cancelPush]
    }
}
