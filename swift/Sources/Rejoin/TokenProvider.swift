// Who the user is to the server: implemented by the app.

import Foundation
internal import RejoinFFI

/// Gives the token that names the user.
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
    /// The token to send as `Authorization: Bearer`; `nil` when nobody is signed in.
    ///
    /// Asked at the start of each pass with `refresh` false: answer from memory. With `refresh` true the server has refused the
    /// last one: get a new one. An error means "not now", and it is asked again later; so does no answer within a minute. Local
    /// work goes on meanwhile.
    ///
    /// - Parameter refresh: whether the last token was refused.
    func token(refresh: Bool) async throws -> String?

    /// The user that a token of this provider names; `nil`, as by default, if that is not known.
    ///
    /// Asked only for a token that is no JWT with a `sub`. A plain Synchro server never says whose a token is: without an answer
    /// nothing is synced with one. A Rejoin server says it itself.
    ///
    /// - Parameter token: a token that `token(refresh:)` gave.
    func subject(token: String) async throws -> String?
}

extension TokenProvider {
    public func subject(token _: String) async throws -> String? { nil }
}

/// What the engine asks.
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
