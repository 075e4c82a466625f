// The configuration at the FFI boundary. Only values that cannot be passed are refused here.

internal import RejoinFFI
import Foundation

extension RejoinConfig {
    /// Converts for the engine; reports all numbers that are out of range together.
    func ffi() throws -> ClientConfig {
        var problems: [String] = []
        func fitting(_ field: String, _ value: Int?) -> UInt32? {
            guard let value else { return nil }
            guard let number = UInt32(exactly: value) else {
                problems.append("\(field): \(value) is out of its limits")
                return nil
            }
            return number
        }
        if !path.isFileURL { problems.append("path: \(path) names no file") }
        let config = ClientConfig(
            path: path == Self.temporaryPath ? ":temporary:" : path.path,
            server: server?.absoluteString,
            allowHttp: allowHTTP,
            userId: userID,
            deviceName: deviceName,
            platform: platform,
            appVersion: appVersion,
            schema: schema,
            policies: policies.mapValues(\.ffi),
            syncIntervalMs: fitting("syncInterval", syncInterval?.milliseconds),
            pushDebounceMs: fitting("pushDebounce", pushDebounce?.milliseconds),
            ackDeadlineMs: fitting("ackDeadline", ackDeadline?.milliseconds),
            maxRetries: fitting("maxRetries", maxRetries),
            serverFaultAttempts: fitting("serverFaultAttempts", serverFaultAttempts),
            serverFaultAgeMs: fitting("serverFaultAge", serverFaultAge?.milliseconds),
            pageSize: fitting("pageSize", pageSize),
            batchSize: fitting("batchSize", batchSize),
            metered: metered?.ffi,
            durability: durability?.ffi,
            readers: fitting("readers", readers),
            walLimit: fitting("walLimit", walLimit),
            transactionIdleMs: fitting("transactionIdle", transactionIdle?.milliseconds),
            actionBudget: RejoinFFI.ActionBudget(
                runMs: fitting("actionBudget.run", actionBudget.run?.milliseconds),
                rebaseMs: fitting("actionBudget.rebase", actionBudget.rebase?.milliseconds),
                bytes: fitting("actionBudget.bytes", actionBudget.bytes)))
        guard problems.isEmpty else {
            throw RejoinError.configuration("configuration: \(problems.joined(separator: "; "))")
        }
        return config
    }
}

extension Duration {
    /// Whole milliseconds, rounded away from zero, so that a small value does not become zero and a negative one stays
    /// negative; `Int.max` or `Int.min` beyond the range.
    var milliseconds: Int {
        let (seconds, attoseconds) = components
        let (whole, overflow) = Int(seconds).multipliedReportingOverflow(by: 1000)
        if overflow { return seconds < 0 ? Int.min : Int.max }
        let (part, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, tooLong) = whole.addingReportingOverflow(Int(part + rest.signum()))
        if tooLong { return seconds < 0 ? Int.min : Int.max }
        return sum
    }
}
