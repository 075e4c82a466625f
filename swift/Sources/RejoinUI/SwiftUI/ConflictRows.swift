// The rows of a parked mutation: both values of each column, or a field for each value.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

@available(iOS 17, macOS 14, *)
struct ConflictRows: View {
    let write: ParkedWrite
    /// The texts of the fields while the user edits.
    @Binding var fields: [ParkedField: String]?
    let texts: ParkedTexts

    var body: some View {
        ForEach(write.rows) { row in
            Section {
                ForEach(row.columns) { column in
                    let field = ParkedField(row: row.id, column: column.name)
                    if fields?[field] != nil {
                        editor(row, column, field)
                    } else {
                        values(row, column)
                    }
                }
            } header: {
                Text("\(texts.rowTitle(row.table, row.key)) · \(texts.change(row.operation))")
            }
        }
    }

    private var otherHeading: String { write.isConflict ? texts.theirs : texts.current }

    private func values(_ row: ParkedRow, _ column: ParkedColumn) -> some View {
        VStack(alignment: .leading, spacing: 4) {
            Text(texts.columnTitle(row.table, column.name)).font(.caption).foregroundStyle(.secondary)
            value(texts.mine, column.mine, column.kind, isBold: column.differs)
            // A new row has no other version, unless the same key was created elsewhere.
            if row.exists || row.operation != .insert { value(otherHeading, column.theirs, column.kind, isBold: false) }
        }
        .accessibilityElement(children: .combine)
    }

    private func value(_ heading: String, _ value: SQLValue?, _ kind: FieldKind, isBold: Bool) -> some View {
        LabeledContent(heading) { Text(texts.shown(value, kind)).fontWeight(isBold ? .semibold : .regular) }
    }

    @ViewBuilder private func editor(_ row: ParkedRow, _ column: ParkedColumn, _ field: ParkedField) -> some View {
        let title = texts.columnTitle(row.table, column.name)
        if column.kind == .boolean {
            Toggle(title, isOn: $fields[isOn: field])
        } else {
            VStack(alignment: .leading, spacing: 4) {
                Text(title).font(.caption).foregroundStyle(.secondary)
                TextField(title, text: $fields[text: field])
                if column.kind.parse(fields[text: field]) == nil {
                    Text(texts.invalid(column.kind)).font(.caption).foregroundStyle(.red)
                } else if row.exists {
                    Text("\(otherHeading): \(texts.shown(column.theirs, column.kind))").font(.caption)
                        .foregroundStyle(.secondary)
                }
            }
        }
    }
}

// Key paths of a binding, which need no closure.
extension [ParkedField: String]? {
    fileprivate subscript(text field: ParkedField) -> String {
        get { self?[field] ?? "" }
        set { self?[field] = newValue }
    }

    fileprivate subscript(isOn field: ParkedField) -> Bool {
        get { self[text: field] == "1" }
        set { self[text: field] = newValue ? "1" : "0" }
    }
}
#endif
