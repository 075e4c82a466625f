// swift-tools-version: 6.0
// Type-checks the Apple-only files on Linux, against the stub modules in this folder. README.md has the command.

import PackageDescription

let stubs = ["SwiftUI", "UIKit", "BackgroundTasks", "Network", "os", "Security"]

/// A stub module, from the file of its name.
func stub(_ name: String) -> Target {
    let others = stubs.filter { $0 != name }.map { "\($0).swift" }
    return .target(name: name, path: ".", exclude: ["Checked", "README.md"] + others, sources: ["\(name).swift"])
}

/// A target of the repository, or the steps of the tutorial; `Checked` has links to the sources.
func checked(_ name: String, _ dependencies: [String], language: SwiftLanguageMode = .v6) -> Target {
    .target(
        name: name, dependencies: dependencies.map { .init(stringLiteral: $0) }, path: "Checked/\(name)",
        swiftSettings: [.swiftLanguageMode(language)])
}

let package = Package(
    name: "RejoinStubs",
    targets: stubs.map(stub) + [
        .systemLibrary(name: "CRejoinFFI", path: "Checked/CRejoinFFI"),
        checked("RejoinFFI", ["CRejoinFFI"], language: .v5),
        // `canImport` is true for a module that exists: every stub is built first.
        checked("Rejoin", ["RejoinFFI"] + stubs),
        checked("RejoinUI", ["Rejoin"] + stubs),
        checked("App", ["Rejoin", "RejoinUI"] + stubs),
        checked("Tutorial", ["Rejoin", "RejoinUI"] + stubs),
    ]
)
