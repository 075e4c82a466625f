// The engine's log in the unified log of Apple's systems.

#if canImport(os)
import os

/// Sends the log of the engine to the unified log, where Console and `log stream` show it.
///
/// ```swift
/// try RejoinClient.setLogger(OSLogger(subsystem: "com.example.app"), from: .info)
/// ```
///
/// Records contain no row data and no credentials, so their text is public.
public struct OSLogger: RejoinLogger {
    private let logger: Logger

    /// - Parameter subsystem: usually the bundle identifier of the app.
    /// - Parameter category: the category in the log.
    public init(subsystem: String, category: String = "Rejoin") {
        logger = Logger(subsystem: subsystem, category: category)
    }

    public func log(_ record: LogRecord) {
        let fields = record.fields.map { " \($0.name)=\($0.value)" }.joined()
        logger.log(level: record.level.type, "\(record.target, privacy: .public): \(record.text + fields, privacy: .public)")
    }
}

extension LogLevel {
    fileprivate var type: OSLogType {
        switch self {
        case .error: .error
        case .warn: .default
        case .info: .info
        case .debug, .trace: .debug
        }
    }
}
#endif
