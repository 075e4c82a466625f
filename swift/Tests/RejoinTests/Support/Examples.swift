// Compares the Swift blocks of a page with the source of the test that runs them.

import Foundation
import Testing

/// Expects that the lines of each Swift block of a page are in one of the sources, in the block's order. Indentation does
/// not count, and the source may have further lines between them.
///
/// - Parameter page: the page, from the root of the repository.
/// - Parameter source: the test's file.
/// - Parameter others: files of examples, from the root of the repository.
/// - Parameter least: the number of blocks that the page has at least.
func expectExamples(of page: String, inOrderIn source: String, or others: [String] = [], atLeast least: Int) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../..")
    let sources =
        try [lines(URL(fileURLWithPath: source))]
        + others.map { try lines(root.appendingPathComponent($0).standardizedFileURL) }
    var blocks: [[String]] = []
    var isInside = false
    for line in try lines(root.appendingPathComponent(page).standardizedFileURL) {
        if line.hasPrefix("```") {
            isInside = line == "```swift"
            if isInside { blocks.append([]) }
        } else if isInside {
            blocks[blocks.count - 1].append(line)
        }
    }
    for block in blocks {
        let missing = sources.map { firstMissing(of: block, in: $0) }
        #expect(missing.contains(nil), "not run, or in another order: \(missing.compactMap { $0 })")
    }
    #expect(blocks.count >= least)
}

/// The first line of a block that does not follow the earlier ones in a source.
private func firstMissing(of block: [String], in source: [String]) -> String? {
    var rest = source[...]
    return block.first { line in
        guard let found = rest.firstIndex(of: line) else { return true }
        rest = rest[(found + 1)...]
        return false
    }
}

private func lines(_ file: URL) throws -> [String] {
    let text = try String(contentsOf: file, encoding: .utf8)
    return text.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
}
