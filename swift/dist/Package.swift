// swift-tools-version: 6.0
// Rejoin @VERSION@: Swift sources, and the engine as a framework by address and checksum.
// Written by `cargo xtask package swift`; changes belong in https://github.com/rejoin-dev/rejoin.

import PackageDescription

let package = Package(
    name: "Rejoin",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "Rejoin", targets: ["Rejoin"]),
        .library(name: "RejoinUI", targets: ["RejoinUI"]),
    ],
    targets: [
        .binaryTarget(name: "CRejoinFFI", url: "@URL@", checksum: "@CHECKSUM@"),
        .target(name: "RejoinFFI", dependencies: ["CRejoinFFI"], swiftSettings: [.swiftLanguageMode(.v5)]),
        .target(name: "Rejoin", dependencies: ["RejoinFFI"]),
        .target(name: "RejoinUI", dependencies: ["Rejoin"]),
    ]
)
