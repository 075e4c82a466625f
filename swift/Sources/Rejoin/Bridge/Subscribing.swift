// Subscriptions to streams at the FFI boundary. There is no `default`: a new case does not compile until it is handled here.

internal import RejoinFFI
import Foundation

extension SubscribedStream {
    init(_ subscribed: RejoinFFI.SubscribedStream) {
        self.init(
            stream: subscribed.stream, parameters: subscribed.parameters, priority: Int(subscribed.priority),
            ttl: .milliseconds(subscribed.ttlMs), ends: subscribed.endsMs.map(Date.init(millis:)),
            status: StreamStatus(subscribed.status))
    }
}

extension StreamStatus {
    init(_ status: RejoinFFI.StreamStatus) {
        self =
            switch status {
            case .waiting: .waiting
            case .loading: .loading
            case .current: .current
            case .refused(let code, let message): .refused(code: RefusalCode(code), message: message)
            }
    }
}

extension RefusalCode {
    init(_ code: RejoinFFI.RefusalCode) {
        self =
            switch code {
            case .unknownStream: .unknownStream
            case .invalidParameter: .invalidParameter
            case .forbidden: .forbidden
            case .queryFailed: .queryFailed
            case .unknown: .unknown
            }
    }

    var ffi: RejoinFFI.RefusalCode {
        switch self {
        case .unknownStream: .unknownStream
        case .invalidParameter: .invalidParameter
        case .forbidden: .forbidden
        case .queryFailed: .queryFailed
        case .unknown: .unknown
        }
    }
}
