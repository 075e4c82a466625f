// The engine's log, for the app.

import Foundation
internal import RejoinFFI

/// The log level, from least to most verbose.
public enum LogLevel: Sendable, Hashable, CaseIterable {
    /// Failures that should not happen.
    case error
    /// Failures that were corrected or will be retried.
    case warn
    /// Operations, one line each.
    case info
    /// Decisions within operations.
    case debug
    /// Everything.
    case trace
}

/// A log record. Contains no row data and no credentials.
public struct LogRecord: Sendable {
    /// The log level.
    public let level: LogLevel
    /// The time of the record.
    public let date: Date
    /// The part of the engine that logs.
    public let target: String
    /// The message.
    public let text: String
    /// Additional names and values.
    public let fields: [(name: String, value: String)]
}

/// The engine's log. One handler serves all clients of the process.
public enum RejoinLog {
    /// Sends the log to `take` in place of the previous handler.
    ///
    /// ```swift
    /// let logger = Logger(subsystem: "com.example.app", category: "sync")
    /// try RejoinLog.forward(from: .info) { logger.info("\($0.target): \($0.text)") }
    /// ```
    ///
    /// `take` is called on an engine thread, one record at a time. Logging never blocks the engine: if `take` is too
    /// slow, records are dropped and counted.
    ///
    /// - Parameter level: the most verbose level to deliver.
    /// - Parameter take: the handler.
    public static func forward(from level: LogLevel, to take: @escaping @Sendable (LogRecord) -> Void) throws {
        try translated { try setLogSink(level: level.ffi, sink: LogBridge(take)) }
    }

    /// Turns logging off.
    public static func stop() throws {
        try translated { try setLogSink(level: .error, sink: nil) }
    }
}
