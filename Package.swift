// swift-tools-version: 6.0
// Rejoin for Swift: the hand-written package over the generated bindings, its tests, and the programs that use it.

import PackageDescription

let package = Package(
    name: "Rejoin",
    platforms: [.macOS(.v13), .iOS(.v16)],
    products: [.library(name: "Rejoin", targets: ["Rejoin"])],
    targets: [
        .target(name: "Rejoin", path: "swift/Sources/Rejoin"),
        .testTarget(name: "RejoinTests", dependencies: ["Rejoin"], path: "swift/Tests/RejoinTests"),
    ]
)
