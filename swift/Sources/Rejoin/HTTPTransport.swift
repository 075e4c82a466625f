// Lets the app replace the built-in HTTP client with the platform's.

import Foundation
internal import RejoinFFI

/// Sends requests to the server in place of the built-in HTTP client.
///
/// With a custom transport the client does not use the server's event stream: it syncs at its interval and after
/// writes.
public protocol HTTPTransport: Sendable {
    /// Sends one request and returns the whole response, whatever its status. Must not follow redirects or retry.
    ///
    /// - Throws: ``RejoinError/offline(_:)`` only if the request cannot have reached the server. After any other
    ///   error the outcome is unknown and the request is sent again later.
    func send(_ request: HTTPRequest) async throws -> HTTPResponse

    /// Closes all open connections; connections are dead after a suspension.
    func disconnect()
}

/// A request to the server.
public struct HTTPRequest: Sendable {
    /// `GET` or `POST`.
    public let method: String
    /// The full URL.
    public let url: URL
    /// The headers to send unchanged. They contain the user's token: do not log them.
    public let headers: [(name: String, value: String)]
    /// The body as sent over the wire, if any.
    public let body: Data?
    /// The longest silence, before the response starts and between two parts of it.
    public let timeout: Duration
}

/// The server's response.
public struct HTTPResponse: Sendable {
    /// The HTTP status.
    public let status: Int
    /// The headers.
    public let headers: [(name: String, value: String)]
    /// The whole body, decompressed.
    public let body: Data

    /// - Parameter status: the HTTP status, from 100 to 599.
    /// - Parameter headers: the headers, names in any case.
    /// - Parameter body: the whole body.
    public init(status: Int, headers: [(name: String, value: String)], body: Data) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// Calls the app's transport for the engine.
final class TransportBridge: RejoinFFI.HttpTransport {
    private let transport: any HTTPTransport

    init(_ transport: any HTTPTransport) { self.transport = transport }

    func send(request: HttpRequest) async throws -> HttpResponse {
        try await foreign {
            guard let url = URL(string: request.url) else {
                throw RejoinError.offline("\(request.url) is no address")
            }
            let response = try await transport.send(
                HTTPRequest(
                    method: request.method, url: url, headers: request.headers.map { ($0.name, $0.value) },
                    body: request.body.map { Data($0) }, timeout: .milliseconds(Int64(request.timeoutMs))))
            guard let status = UInt16(exactly: response.status) else {
                throw RejoinError.callback("the transport answered with status \(response.status)")
            }
            return HttpResponse(
                status: status, headers: response.headers.map { HttpHeader(name: $0.name, value: $0.value) },
                body: [UInt8](response.body))
        }
    }

    func disconnect() throws { transport.disconnect() }
}
