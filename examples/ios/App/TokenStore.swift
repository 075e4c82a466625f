// The user's token in the keychain, on this device only.
//
// It can be read after the first unlock, as the database file, so that a sync in the background has it.

import Foundation
import Security

/// The token of the signed-in user.
struct TokenStore: Sendable {
    /// A call of the keychain failed.
    struct Failure: Error, CustomStringConvertible {
        let status: OSStatus
        var description: String { "the keychain failed with the status \(status)" }
    }

    private var item: [CFString: Any] { [kSecClass: kSecClassGenericPassword, kSecAttrService: "dev.rejoin.todo" as NSString] }

    /// Stores a token in place of the last one.
    func save(_ token: String) throws {
        try clear()
        var item = item
        item[kSecValueData] = Data(token.utf8)
        item[kSecAttrAccessible] = kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
        try check(SecItemAdd(item as CFDictionary, nil))
    }

    /// The token; `nil` if no user is signed in.
    func read() throws -> String? {
        var item = item
        item[kSecReturnData] = true
        var found: CFTypeRef?
        let status = SecItemCopyMatching(item as CFDictionary, &found)
        if status == errSecItemNotFound { return nil }
        try check(status)
        return (found as? Data).map { String(decoding: $0, as: UTF8.self) }
    }

    func clear() throws {
        let status = SecItemDelete(item as CFDictionary)
        if status != errSecItemNotFound { try check(status) }
    }

    private func check(_ status: OSStatus) throws {
        if status != errSecSuccess { throw Failure(status: status) }
    }
}
