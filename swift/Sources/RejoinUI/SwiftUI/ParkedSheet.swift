// A parked mutation with the user's decision. ConflictRows.swift draws its rows; ParkedWrites.swift decides.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

/// A sheet in which the user decides about a parked mutation: keep their values, take the server's, or edit.
///
/// ```swift
/// .sheet(item: $reviewed) { ParkedSheet($0.id) }
/// ```
///
/// It shows why the mutation is parked and both values of each column, which follow later changes. A mutation that
/// depends on another parked one shows that one, because they are decided together. The sheet closes after the
/// decision, and when the mutation was decided elsewhere. A call that fails is shown and changes nothing.
///
/// An action can be sent again or discarded here; to correct its arguments call `queue.performAgain`.
@available(iOS 17, macOS 14, *)
public struct ParkedSheet: View {
    @Environment(\.rejoin) private var database
    @Environment(\.dismiss) private var dismiss
    @State private var parked: ParkedWrites?
    @State private var fields: [ParkedField: String]?
    @State private var failure: String?
    @State private var isBusy = false
    private let id: PendingMutation.ID
    private let texts: ParkedTexts

    /// - Parameter id: the id of the mutation, from `queue.all()` or a verdict.
    /// - Parameter texts: the texts; English by default.
    public init(_ id: PendingMutation.ID, texts: ParkedTexts = ParkedTexts()) {
        self.id = id
        self.texts = texts
    }

    public var body: some View {
        NavigationStack {
            Form {
                if let write {
                    heading(write)
                    ConflictRows(write: write, fields: $fields, texts: texts)
                    notes(write)
                } else if parked?.isLoading != false {
                    ProgressView()
                }
                if let message = failure ?? parked?.error.map(texts.error) {
                    Section { Text(message).foregroundStyle(.red) }
                }
                if let write { buttons(write) }
            }
            .disabled(isBusy)
            .navigationTitle(write.map { texts.title($0.reason) } ?? "")
            .toolbar {
                ToolbarItem(placement: .cancellationAction) {
                    Button(texts.cancel) { if fields == nil { dismiss() } else { fields = nil } }
                }
            }
        }
        .task(id: ObjectIdentifier(database)) { parked = ParkedWrites(database) }
        .onChange(of: isDecided) { _, isDecided in if isDecided { dismiss() } }
    }

    private var write: ParkedWrite? { parked?.write(id) }

    private var isDecided: Bool {
        guard let parked else { return false }
        return !parked.isLoading && parked.error == nil && write == nil
    }

    private func heading(_ write: ParkedWrite) -> some View {
        Section {
            Text(texts.explanation(write.reason))
            // Both values of a conflict say more than its message.
            if !write.isConflict, let message = write.message.flatMap(texts.message) {
                Text(message).foregroundStyle(.secondary)
            }
        }
    }

    @ViewBuilder private func notes(_ write: ParkedWrite) -> some View {
        if write.moreRows > 0 { Text(texts.moreRows(write.moreRows)).font(.footnote) }
        if !write.dependents.isEmpty { Text(texts.dependents(write.dependents.count)).font(.footnote) }
    }

    @ViewBuilder private func buttons(_ write: ParkedWrite) -> some View {
        if let fields {
            Section {
                Button(texts.save) { decide { try await $0.edit(write.id, write.statements(fields)) } }
                    .disabled(!write.invalidFields(fields).isEmpty)
            }
        } else {
            Section {
                Button(write.isConflict ? texts.keepMine : texts.tryAgain) { decide { try await $0.keepMine(write.id) } }
                Button(write.isConflict ? texts.takeTheirs : texts.discard, role: .destructive) {
                    decide { try await $0.takeTheirs(write.id) }
                }
                if write.isEditable { Button(texts.edit) { fields = write.fields } }
            }
        }
    }

    /// Carries out one decision at a time. It completes even if the sheet closes.
    private func decide(_ decision: @escaping @MainActor (ParkedWrites) async throws -> Void) {
        guard let parked, !isBusy else { return }
        (isBusy, failure) = (true, nil)
        Task {
            do { try await decision(parked) } catch { failure = texts.error(error) }
            isBusy = false
        }
    }
}
#endif
