// The platform's own HTTP, where an app prefers it to the built-in one: implemented by the app.

import Foundation
internal import RejoinFFI

/// Carries requests to the server, in place of the built-in HTTP.
///
/// With one of these the server's events are not listened to: the client asks at its interval, and when something was written.
public protocol HTTPTransport: Sendable {
    /// Sends one request and takes in the whole answer, whatever its status. Follows no redirect and tries nothing twice.
    ///
    /// - Throws: ``RejoinError/offline(reason:)`` only where the server cannot have seen the request. Any other error means
    ///   that nobody knows: the request is made again later.
    func send(_ request: HTTPRequest) async throws -> HTTPResponse

    /// Drops every open connection: after a suspension they are dead without knowing it.
    func disconnect()
}

/// A request to the server.
public struct HTTPRequest: Sendable {
    /// `GET` or `POST`.
    public let method: String
    /// The whole address.
    public let url: URL
    /// To be sent as they are. They carry the user's token: do not log them.
    public let headers: [(name: String, value: String)]
    /// The body as it goes over the wire, if there is one.
    public let body: Data?
    /// The longest silence: until the answer begins, and between two pieces of it.
    public let timeout: Duration
}

/// The server's answer.
public struct HTTPResponse: Sendable {
    /// The HTTP status, whatever it is.
    public let status: Int
    /// Its headers.
    public let headers: [(name: String, value: String)]
    /// The whole body, decompressed.
    public let body: Data

    /// - Parameter status: the HTTP status, from 100 to 599.
    /// - Parameter headers: names in any case.
    /// - Parameter body: the whole of it.
    public init(status: Int, headers: [(name: String, value: String)], body: Data) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// What the engine calls.
final class TransportBridge: RejoinFFI.HttpTransport {
    private let transport: any HTTPTransport

    init(_ transport: any HTTPTransport) { self.transport = transport }

    func send(request: HttpRequest) async throws -> HttpResponse {
        try await foreign {
            guard let url = URL(string: request.url) else {
                throw RejoinError.offline(reason: "\(request.url) is no address")
            }
            let response = try await transport.send(
                HTTPRequest(
                    method: request.method, url: url, headers: request.headers.map { ($0.name, $0.value) },
                    body: request.body, timeout: .milliseconds(Int64(request.timeoutMs))))
            guard let status = UInt16(exactly: response.status) else {
                throw RejoinError.callback(reason: "the transport answered with status \(response.status)")
            }
            return HttpResponse(
                status: status, headers: response.headers.map { HttpHeader(name: $0.name, value: $0.value) },
                body: response.body)
        }
    }

    func disconnect() throws { transport.disconnect() }
}
