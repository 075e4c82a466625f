// The device of tests/interop in Swift: one command a line on standard input, one answer a line on standard output.

import Commands
import Foundation

@main
struct Program {
    static func main() async throws {
        let device = Device()
        while let line = readLine() {
            let command = try JSON(line)
            FileHandle.standardOutput.write(Data(await device.answer(command).line.utf8) + [0x0A])
            if command["do"].text == "quit" { break }
        }
    }
}
