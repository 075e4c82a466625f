// The device in Swift: the orders of tests/interop/README.md on the client as an app in Swift holds it.

import Foundation
import Rejoin

@main
struct Program {
    static func main() async throws {
        let device = Device()
        while let line = readLine() {
            let answer = try await device.answer(line)
            FileHandle.standardOutput.write(answer.line + [0x0A])
            if answer.isLast { break }
        }
    }
}
