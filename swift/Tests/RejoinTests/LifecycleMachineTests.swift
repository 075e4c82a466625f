// The decisions on the file in the background, for every order of up to six events of an app and its system.

import Testing

@testable import Rejoin

@Suite struct LifecycleMachineTests {
    @Test(arguments: App.Pace.allCases)
    func everyOrderOfSixEventsKeepsTheFileClosedWithoutTimeAndEveryEdit(_ pace: App.Pace) {
        var orders = 0
        var problems: [String] = []
        func follow(_ app: App, _ order: [App.Event]) {
            for event in App.Event.allCases where problems.count < 5 {
                var next = app
                next.happen(event)
                orders += 1
                var end = next
                end.quiesce()
                if let problem = next.problem ?? end.problem { problems.append("\(order + [event]): \(problem)") }
                if order.count < 5 { follow(next, order + [event]) }
            }
        }
        follow(App(pace: pace), [])
        #expect(problems == [])
        // 7 + 7² + … + 7⁶.
        #expect(orders == 137_256)
    }

    @Test func timeEndsOnlyAfterTheFileIsClosed() {
        var machine = LifecycleMachine()
        #expect(machine.handle(.background) == [.beginTime, .push(1)])
        #expect(machine.handle(.pushEnded(1)) == [.suspend])
        #expect(machine.handle(.suspended) == [.endTime])
        #expect(machine.handle(.foreground) == [.resume])
        #expect(machine.handle(.resumed) == [.sync])
    }

    @Test func expiryClosesTheFileDuringThePushAndDuringAHold() {
        var machine = LifecycleMachine()
        #expect(machine.handle(.hold) == [])
        #expect(machine.handle(.background) == [.beginTime, .push(1)])
        #expect(machine.handle(.expired) == [.cancelPush, .suspend])
        #expect(machine.refusesHolds)
        #expect(machine.handle(.suspended) == [.endTime])
        #expect(machine.handle(.release) == [])
        #expect(machine.handle(.hold) == [.beginTime, .resume])
    }

    @Test func endOfAnEarlierPushDoesNotEndALaterOne() {
        var machine = LifecycleMachine()
        #expect(machine.handle(.background) == [.beginTime, .push(1)])
        #expect(machine.handle(.foreground) == [.cancelPush, .endTime, .sync])
        #expect(machine.handle(.background) == [.beginTime, .push(2)])
        #expect(machine.handle(.pushEnded(1)) == [])
        #expect(machine.handle(.pushEnded(2)) == [.suspend])
    }

    @Test func lateExpiryAndRepeatedEventsHaveNoEffect() {
        var machine = LifecycleMachine()
        #expect(machine.handle(.foreground) == [])
        #expect(machine.handle(.expired) == [])
        #expect(machine.handle(.background) == [.beginTime, .push(1)])
        #expect(machine.handle(.background) == [])
    }
}

/// An app with its file, its background time and its server, as the machine's decisions change them.
struct App {
    enum Event: CaseIterable {
        case write, pushEnds, background, expire, foreground, networkLost, networkBack
    }

    /// How fast the file is opened and closed: at once, when the next event arrives, or with every fourth. With
    /// `slowWrites`, a call holds the file until the next event. `broken` is slow, and every second attempt to open fails.
    enum Pace: CaseIterable {
        case fast, slow, slowWrites, slowest, broken
    }

    private enum File { case open, opening, closing, closed }

    let pace: Pace
    private(set) var problem: String?
    private var machine = LifecycleMachine()
    private var file = File.open
    private var isForeground = true
    private var hasTime = false
    private var isOnline = true
    private var push: Int?
    private var late: [LifecycleMachine.Event] = []
    private var waiting = 0
    private var opened = 0
    private var events = 0
    /// Edits: asked for, refused with an error, on disk, and at the server.
    private var asked = 0
    private var refused = 0
    private var stored = 0
    private var sent = 0

    init(pace: Pace) { self.pace = pace }

    mutating func happen(_ event: Event) {
        events += 1
        if pace == .fast || pace == .slowWrites || pace == .slow || events % 4 == 1 { complete() }
        switch event {
        case .write: write()
        case .pushEnds: endPush()
        case .background:
            isForeground = false
            decide(.background)
        case .expire: decide(.expired)
        case .foreground:
            isForeground = true
            decide(.foreground)
        case .networkLost:
            isOnline = false
            endPush()
        case .networkBack:
            isOnline = true
            if isForeground, file == .open { sent = stored }
        }
    }

    /// Lets everything under way end, then returns to the foreground with a network.
    mutating func quiesce() {
        for _ in 0..<6 { complete() }
        endPush()
        for _ in 0..<6 { complete() }
        if !isForeground, file != .closed { fail("the file stays open in the background") }
        if !isForeground, hasTime { fail("background time is never given back") }
        if waiting > 0 { fail("a write is never answered") }
        if asked != stored + refused { fail("an edit is lost") }
        isOnline = true
        for event in [Event.background, .foreground, .background, .foreground] { happen(event) }
        for _ in 0..<6 { complete() }
        if pace != .broken, file != .open { fail("the file stays closed in the foreground") }
        if file == .open, sent != stored { fail("the edits are not sent") }
    }

    private mutating func check() {
        if !isForeground, !hasTime, file != .closed { fail("the app may be suspended now, and its file is \(file)") }
        if isForeground, hasTime { fail("background time is held in the foreground") }
        if sent > stored || asked < stored { fail("edits from nowhere") }
    }

    private mutating func fail(_ what: String) { if problem == nil { problem = what } }

    private mutating func write() {
        asked += 1
        if machine.refusesHolds { return refused += 1 }
        waiting += 1
        decide(.hold)
    }

    private mutating func endPush() {
        guard let number = push else { return }
        push = nil
        if isOnline { sent = stored }
        decide(.pushEnded(number))
    }

    /// What was under way ends.
    private mutating func complete() {
        let ended = late
        late = []
        for event in ended { decide(event) }
        move()
    }

    /// The opening or closing under way ends.
    private mutating func move() {
        switch file {
        case .opening where pace == .broken && opened % 2 == 1:
            file = .closed
            decide(.resumeFailed)
        case .opening:
            file = .open
            decide(.resumed)
        case .closing:
            file = .closed
            decide(.suspended)
        case .open, .closed: break
        }
    }

    private mutating func decide(_ event: LifecycleMachine.Event) {
        for effect in machine.handle(event) { perform(effect) }
        check()
        if !machine.isMoving, waiting > 0 { answer() }
        if pace == .fast { move() }
    }

    /// As the client does: the waiting calls write, or get an error.
    private mutating func answer() {
        let count = waiting
        waiting = 0
        if machine.isReady {
            if file != .open { fail("a call runs with the file \(file)") }
            stored += count
            if isForeground, isOnline { sent = stored }
        } else {
            refused += count
        }
        for _ in 0..<count {
            if pace == .slowWrites { late.append(.release) } else { decide(.release) }
        }
    }

    private mutating func perform(_ effect: LifecycleMachine.Effect) {
        switch effect {
        case .beginTime:
            if hasTime { fail("time is taken twice") }
            hasTime = true
        case .endTime:
            if !hasTime { fail("time is given back twice") }
            hasTime = false
        case .push(let number):
            if file != .open { fail("a push with the file \(file)") }
            push = number
        case .cancelPush:
            // The push notices it later.
            if let number = push { late.append(.pushEnded(number)) }
            push = nil
        case .resume:
            if file != .closed { fail("opening with the file \(file)") }
            opened += 1
            file = .opening
        case .suspend:
            if file != .open { fail("closing with the file \(file)") }
            file = .closing
        case .sync:
            if !isForeground || file != .open { fail("a sync that cannot run") }
            if isOnline { sent = stored }
        }
    }
}
