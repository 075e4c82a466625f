// Compares the Swift blocks of a page with the source of the test that runs them.

import Foundation
import Testing

/// Expects that the lines of each Swift block of a page are in a test's source, in the block's order. Indentation does
/// not count, and the test may have further lines between them.
///
/// - Parameter page: the page, from the root of the repository.
/// - Parameter source: the test's file.
/// - Parameter least: the number of blocks that the page has at least.
func expectExamples(of page: String, inOrderIn source: String, atLeast least: Int) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../..")
    let mine = try lines(URL(fileURLWithPath: source))
    var (blocks, at): (Int, Int?) = (0, nil)
    for line in try lines(root.appendingPathComponent(page).standardizedFileURL) {
        if line.hasPrefix("```") {
            at = line == "```swift" ? 0 : nil
            blocks += at == nil ? 0 : 1
        } else if let from = at {
            let found = mine[from...].firstIndex(of: line)
            #expect(found != nil, "not run, or in another order: \(line)")
            at = found.map { $0 + 1 } ?? from
        }
    }
    #expect(blocks >= least)
}

private func lines(_ file: URL) throws -> [String] {
    let text = try String(contentsOf: file, encoding: .utf8)
    return text.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
}
