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
    public let at: Date
    /// The part of the engine that logs.
    public let target: String
    /// The message.
    public let text: String
    /// Additional names and values.
    public let fields: [(name: String, value: String)]
}

/// Takes the log of the engine; implemented by the app.
public protocol RejoinLogger: Sendable {
    /// Takes one record.
    ///
    /// Called on an engine thread, one record at a time. Logging never blocks the engine: if this is too slow, records
    /// are dropped and counted.
    func log(_ record: LogRecord)
}

extension RejoinClient {
    /// Sets the logger of the process, which serves all clients, in place of the previous one. Without a call nothing
    /// is logged.
    ///
    /// - Parameter logger: the logger; `nil` turns logging off.
    /// - Parameter level: the most verbose level to deliver.
    public static func setLogger(_ logger: (any RejoinLogger)?, from level: LogLevel = .info) throws {
        try translated { try setLogSink(level: level.ffi, sink: logger.map(LogBridge.init)) }
    }

    /// Sets the logger of the process, as a closure.
    ///
    /// ```swift
    /// let logger = Logger(subsystem: "com.example.app", category: "sync")
    /// try RejoinClient.setLogger(from: .info) { logger.info("\($0.target): \($0.text)") }
    /// ```
    ///
    /// - Parameter level: the most verbose level to deliver.
    /// - Parameter log: takes one record, as ``RejoinLogger/log(_:)``.
    public static func setLogger(from level: LogLevel = .info, _ log: @escaping @Sendable (LogRecord) -> Void) throws {
        try setLogger(LogClosure(body: log), from: level)
    }
}

private struct LogClosure: RejoinLogger {
    let body: @Sendable (LogRecord) -> Void
    func log(_ record: LogRecord) { body(record) }
}
