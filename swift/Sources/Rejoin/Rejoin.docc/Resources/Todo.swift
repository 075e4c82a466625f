// A row of the list, with the state of its edits.

struct Todo: Decodable, Sendable, Identifiable {
    let id: String
    let title: String
    let done: Bool
    let state: String
}
