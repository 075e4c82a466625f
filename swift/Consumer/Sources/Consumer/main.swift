// The smoke test of the package: opens a temporary client, writes a row and reads it back.

import Foundation
import Rejoin
import RejoinUI

struct Note: Decodable, Sendable {
    let id: Int
    let text: String
}

let folder = FileManager.default.temporaryDirectory.appendingPathComponent("consumer-\(UUID().uuidString)")
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: folder) }

let client = try await RejoinClient.open(RejoinConfig(path: folder.appendingPathComponent("app.db")))
try await client.schema.createTable("note", "id INTEGER PRIMARY KEY, text TEXT NOT NULL")
try await client.execute("INSERT INTO note (text) VALUES (?)", ["linked"])
let notes = try await client.query("SELECT id, text FROM note", as: Note.self)
precondition(notes.map(\.text) == ["linked"], "read \(notes)")
print("consumer: 1 row written and read")
