// swift-tools-version: 6.0
// An app's package: it depends on Rejoin by path and uses its public API only.

import PackageDescription

let package = Package(
    name: "Consumer",
    platforms: [.iOS(.v16), .macOS(.v13)],
    dependencies: [.package(name: "Rejoin", path: "../..")],
    targets: [
        .executableTarget(
            name: "Consumer",
            dependencies: [
                .product(name: "Rejoin", package: "Rejoin"),
                .product(name: "RejoinUI", package: "Rejoin"),
            ])
    ]
)
