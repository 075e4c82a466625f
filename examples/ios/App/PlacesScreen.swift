// The places to inspect: search, add, tick, delete, and record a visit. Each row shows the sync state of its edits.
//
// The rows come from a watched query, so edits of other devices appear by themselves.

import Rejoin
import RejoinUI
import SwiftUI

struct PlacesScreen: View {
    let inspections: Inspections
    @State private var name = ""
    @State private var visited: Place?

    var body: some View {
        PlaceList(named: name, inspections: inspections, visit: { visited = $0 })
            .searchable(text: $name, prompt: "Find or add a place")
            .toolbar {
                Button("Add") {
                    inspections.act {
                        try await inspections.add(name)
                        name = ""
                    }
                }
                .disabled(name.isEmpty)
            }
            .sheet(item: $visited) { place in VisitSheet(place: place, inspections: inspections) }
    }
}

private struct PlaceList: View {
    @Watch<Place> private var places: [Place]
    private let inspections: Inspections
    private let visit: (Place) -> Void

    init(named name: String, inspections: Inspections, visit: @escaping (Place) -> Void) {
        _places = Watch(Place.self, Place.named(name))
        self.inspections = inspections
        self.visit = visit
    }

    var body: some View {
        List {
            if let error = $places.error { Text("The places cannot be read: \(String(describing: error))") }
            ForEach(places) { place in
                HStack {
                    Button {
                        inspections.act { try await inspections.setDone(place, !place.done) }
                    } label: {
                        Image(systemName: place.done ? "checkmark.circle.fill" : "circle")
                    }
                    .accessibilityLabel(place.done ? "Inspected" : "Open")
                    VStack(alignment: .leading) {
                        Text(place.name)
                        Text([place.country, place.state].filter { !$0.isEmpty }.joined(separator: " · "))
                            .font(.caption).foregroundStyle(.secondary)
                    }
                }
                .buttonStyle(.plain)
                .swipeActions {
                    Button("Delete", role: .destructive) { inspections.act { try await inspections.delete(place) } }
                    Button("Visit") { visit(place) }
                }
            }
        }
    }
}

private struct VisitSheet: View {
    let place: Place
    let inspections: Inspections
    @Environment(\.dismiss) private var dismiss
    @State private var score = ""

    var body: some View {
        Form {
            Section(place.name) {
                TextField("Score: the server rejects more than 100", text: $score)
                Button("Save") {
                    guard let score = Int(score) else { return }
                    inspections.act { try await inspections.addVisit(place, score: score) }
                    dismiss()
                }
                .disabled(Int(score) == nil)
            }
        }
    }
}
