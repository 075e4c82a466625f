// Stub of os: the declarations that swift/Sources uses.

public struct Logger: Sendable {
    public init(subsystem: String, category: String) {}
    public func log(level: OSLogType = .default, _ message: OSLogMessage) {}
}

public struct OSLogType: Hashable, Sendable {
    public static let `default` = OSLogType()
    public static let debug = OSLogType()
    public static let info = OSLogType()
    public static let error = OSLogType()
    public static let fault = OSLogType()
}

public enum OSLogPrivacy: Sendable { case `public`, `private` }

public struct OSLogMessage: ExpressibleByStringInterpolation {
    public init(stringLiteral value: String) {}
    public init(stringInterpolation: OSLogInterpolation) {}
}

public struct OSLogInterpolation: StringInterpolationProtocol {
    public init(literalCapacity: Int, interpolationCount: Int) {}
    public mutating func appendLiteral(_ literal: String) {}
    public mutating func appendInterpolation(
        _ value: @autoclosure () -> some CustomStringConvertible, privacy: OSLogPrivacy = .private
    ) {}
}
