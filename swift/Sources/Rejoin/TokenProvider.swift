// Identifies the user to the server; implemented by the app.

import Foundation
internal import RejoinFFI

/// Provides the token that identifies the user.
///
/// ```swift
/// actor Session: TokenProvider {
///     func token(refresh: Bool) async throws -> String? {
///         if refresh { current = try await identity.renew() }
///         return current
///     }
/// }
/// ```
public protocol TokenProvider: Sendable {
    /// Returns the token to send as `Authorization: Bearer`, or `nil` if no user is signed in.
    ///
    /// Called with `refresh` false at the start of each pass: return the stored token. `refresh` is true after the
    /// server rejected the last token: get a new one. An error, or no result within a minute, means "not now": it is
    /// called again later, and local work continues.
    ///
    /// - Parameter refresh: whether the last token was rejected.
    func token(refresh: Bool) async throws -> String?

    /// Returns the user that a token of this provider identifies; `nil`, the default, if unknown.
    ///
    /// Called only for a token that is not a JWT with a `sub` claim. A plain Synchro server does not return the user:
    /// without a result nothing is synced with such a token. A Rejoin server returns it.
    ///
    /// - Parameter token: a token returned by `token(refresh:)`.
    func subject(token: String) async throws -> String?
}

extension TokenProvider {
    public func subject(token _: String) async throws -> String? { nil }
}

/// A token provider made of a closure, for an app that needs no type for it.
///
/// ```swift
/// config.tokens = TokenClosure { refresh in try await session.token(renew: refresh) }
/// ```
public struct TokenClosure: TokenProvider {
    /// Returns the token, as ``TokenProvider/token(refresh:)``.
    public typealias Body = @Sendable (_ refresh: Bool) async throws -> String?

    private let body: Body

    /// - Parameter body: returns the token; its argument says whether the last token was rejected.
    public init(_ body: @escaping Body) { self.body = body }

    public func token(refresh: Bool) async throws -> String? { try await body(refresh) }
}

/// Calls the app's token provider for the engine.
final class TokenBridge: RejoinFFI.TokenProvider {
    private let provider: any TokenProvider

    init(_ provider: any TokenProvider) { self.provider = provider }

    func token(refresh: Bool) async throws -> String? {
        try await foreign { try await provider.token(refresh: refresh) }
    }

    func subject(token: String) async throws -> String? {
        try await foreign { try await provider.subject(token: token) }
    }
}
