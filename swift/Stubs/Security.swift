// Stub of Security: the declarations of the keychain that examples/ios uses.

import Foundation

public typealias CFString = NSString
public typealias CFTypeRef = AnyObject
public typealias CFDictionary = NSDictionary
public typealias OSStatus = Int32

public let errSecSuccess: OSStatus = 0
public let errSecItemNotFound: OSStatus = -25300

nonisolated(unsafe) public let kSecClass = NSString()
nonisolated(unsafe) public let kSecClassGenericPassword = NSString()
nonisolated(unsafe) public let kSecAttrService = NSString()
nonisolated(unsafe) public let kSecAttrAccessible = NSString()
nonisolated(unsafe) public let kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly = NSString()
nonisolated(unsafe) public let kSecValueData = NSString()
nonisolated(unsafe) public let kSecReturnData = NSString()

public func SecItemAdd(_ attributes: CFDictionary, _ result: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { fatalError() }
public func SecItemCopyMatching(_ query: CFDictionary, _ result: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { fatalError() }
public func SecItemDelete(_ query: CFDictionary) -> OSStatus { fatalError() }
