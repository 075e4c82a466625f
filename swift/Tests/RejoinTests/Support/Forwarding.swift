// A custom transport: minimal HTTP/1.1 over a socket, sufficient for the test server.

import Foundation
@testable import Rejoin

/// Sends each request over its own connection.
final class Forwarding: HTTPTransport {
    private let count = Locked(0)

    func requests() -> Int { count.with { $0 } }

    func disconnect() {}

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        count.with { $0 += 1 }
        let connection = try dial(request.url)
        try connection.write(contentsOf: head(request) + (request.body ?? Data()))
        // The server always sends Content-Length and closes the connection.
        return try answer(try connection.readToEnd() ?? Data())
    }

    private func head(_ request: HTTPRequest) -> Data {
        let query = request.url.query.map { "?\($0)" } ?? ""
        var lines = ["\(request.method) \(request.url.path)\(query) HTTP/1.1"]
        lines += ["host: \(request.url.host ?? "")", "connection: close", "content-length: \(request.body?.count ?? 0)"]
        lines += request.headers.map { "\($0.name): \($0.value)" }
        return Data((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    private func dial(_ url: URL) throws -> FileHandle {
        #if os(Linux)
        let kind = Int32(SOCK_STREAM.rawValue)
        #else
        let kind = SOCK_STREAM
        #endif
        let descriptor = socket(AF_INET, kind, 0)
        let connection = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(url.port ?? 80).bigEndian
        inet_pton(AF_INET, url.host ?? "", &address.sin_addr)
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw RejoinError.offline("connection to \(url) refused") }
        return connection
    }

    private func answer(_ data: Data) throws -> HTTPResponse {
        guard let end = data.range(of: Data("\r\n\r\n".utf8)) else { throw Own("no head") }
        let lines = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        guard let status = lines[0].split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { throw Own("no status") }
        let headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            return (name: parts[0], value: parts.count > 1 ? parts[1] : "")
        }
        return HTTPResponse(status: status, headers: headers, body: Data(data[end.upperBound...]))
    }
}
