// The engine's log, handed to the app.

import Foundation
internal import RejoinFFI

/// How grave a record of the log is, from the gravest to the least.
public enum LogLevel: Sendable, Hashable, CaseIterable {
    /// What went wrong and should not.
    case error
    /// What went wrong and was mended or will be tried again.
    case warn
    /// What the engine does, a line per deed.
    case info
    /// What it decides on the way.
    case debug
    /// Everything.
    case trace
}

/// A line of the log. Never holds an app's rows or credentials.
public struct LogRecord: Sendable {
    /// How grave it is.
    public let level: LogLevel
    /// When.
    public let date: Date
    /// The part of the engine that speaks.
    public let target: String
    /// What it says.
    public let text: String
    /// What belongs to it.
    public let fields: [(name: String, value: String)]
}

/// The engine's log. One function takes it for all clients of the process.
public enum RejoinLog {
    /// Hands the log to `take` from now on, in place of whoever had it before.
    ///
    /// ```swift
    /// let logger = Logger(subsystem: "com.example.app", category: "sync")
    /// try RejoinLog.forward(from: .info) { logger.info("\($0.target): \($0.text)") }
    /// ```
    ///
    /// `take` is called on a thread of the engine, one record after the other. Whoever logs never waits for it: what comes while
    /// it is far behind is lost, and counted.
    ///
    /// - Parameter level: the least grave that is wanted.
    /// - Parameter take: what to do with a record.
    public static func forward(from level: LogLevel, to take: @escaping @Sendable (LogRecord) -> Void) throws {
        try translated { try setLogSink(level: level.ffi, sink: LogBridge(take)) }
    }

    /// Logs nothing any more.
    public static func stop() throws {
        try translated { try setLogSink(level: .error, sink: nil) }
    }
}
