// The device of tests/interop in Swift: reads one command per line from standard input, writes one answer per line to
// standard output.

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
