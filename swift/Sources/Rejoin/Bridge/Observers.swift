// Observers that the engine calls. They only translate and pass on; nothing here waits.
//
// The engine releases its observers when the client ends and when their subscription is cancelled. A stream ends when
// its observer is released.

internal import RejoinFFI
import Foundation

final class StatusBridge: StatusObserver {
    private let take: @Sendable (SyncStatus) -> Void
    private let end: @Sendable () -> Void

    init(_ take: @escaping @Sendable (SyncStatus) -> Void, end: @escaping @Sendable () -> Void) {
        self.take = take
        self.end = end
    }

    deinit { end() }

    func onStatus(status: RejoinFFI.SyncStatus) throws { take(SyncStatus(status)) }
}

final class SubscriptionsBridge: SubscriptionsObserver {
    private let take: @Sendable ([SubscribedStream]) -> Void
    private let end: @Sendable () -> Void

    init(_ take: @escaping @Sendable ([SubscribedStream]) -> Void, end: @escaping @Sendable () -> Void) {
        self.take = take
        self.end = end
    }

    deinit { end() }

    func onSubscriptions(subscriptions: [RejoinFFI.SubscribedStream]) throws { take(subscriptions.map(SubscribedStream.init)) }
}

final class ChangeBridge: ChangeObserver {
    private let take: @Sendable (Change) -> Void
    private let end: @Sendable () -> Void

    init(_ take: @escaping @Sendable (Change) -> Void, end: @escaping @Sendable () -> Void) {
        self.take = take
        self.end = end
    }

    deinit { end() }

    func onChange(change: RejoinFFI.Change) throws { take(Change(change)) }
}

final class VerdictBridge: VerdictObserver {
    private let take: @Sendable (Verdicts) -> Void
    private let end: @Sendable () -> Void

    init(_ take: @escaping @Sendable (Verdicts) -> Void, end: @escaping @Sendable () -> Void) {
        self.take = take
        self.end = end
    }

    deinit { end() }

    func onVerdicts(verdicts: RejoinFFI.Verdicts) throws { take(Verdicts(verdicts)) }
}

final class LogBridge: LogSink {
    private let logger: any RejoinLogger
    init(_ logger: any RejoinLogger) { self.logger = logger }
    func onLog(record: RejoinFFI.LogRecord) throws { logger.log(LogRecord(record)) }
}
