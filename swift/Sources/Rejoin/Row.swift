// A row of a result, and a cursor that reads its cells in sequence. RowValue.swift converts cells to Swift values.

/// A row of a ``RowBuffer``; cells are decoded on access.
///
/// ```swift
/// let title = try row.get("title", as: String.self)
/// let note: String? = try row.get("note")
/// ```
public struct Row: Sendable {
    @usableFromInline let storage: Storage
    @usableFromInline let places: Places
    /// Its index in the result, from 0.
    public let number: Int

    init(storage: Storage, number: Int) {
        self.storage = storage
        self.number = number
        places = storage.places(ofRow: number)
    }

    /// The names of the columns, in order.
    public var columns: [String] { storage.columns }

    /// The value of a column by name; if the name repeats, the first column.
    ///
    /// - Parameter column: the name, exactly as the query returns it.
    /// - Parameter type: the type to read; an `Optional` if the cell may be NULL.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if there is no such column or it has another type,
    ///   ``RejoinError/internal(_:)`` if the bytes are damaged.
    @inlinable
    public func get<Value: RowValue>(_ column: String, as type: Value.Type = Value.self) throws -> Value {
        guard let index = storage.column(column) else { throw storage.noColumn(column) }
        return try read(index)
    }

    /// The value of a column by index, from 0; otherwise as by name.
    @inlinable
    public func get<Value: RowValue>(_ column: Int, as type: Value.Type = Value.self) throws -> Value {
        guard column >= 0, column < storage.width else { throw storage.noColumn(String(column)) }
        return try read(column)
    }

    /// Decodes the row to a `Decodable` type, with properties matched to columns by name.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let done: Bool; let note: String? }
    /// let task = try row.decode(Todo.self)
    /// ```
    ///
    /// An optional property may be NULL or missing. `Bool` reads 1 and 0; integers are range-checked; `Data` and
    /// `[UInt8]` read bytes; enums read their raw values. A nested struct is an error that says so. A type of a single
    /// value reads the only column. Dates are an error because SQL has none: read the text or number and convert it.
    ///
    /// - Throws: `DecodingError` if the row does not fit, ``RejoinError/internal(_:)`` if it is damaged.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        let cursor = RowCursor(storage)
        cursor.move(toRow: number)
        return try RowDecoder(cursor).decode(type, isSingle: RowDecoder.isSingle(type))
    }

    /// Only type-specific code is inlined; the rest is a call.
    @inlinable
    func read<Value: RowValue>(_ column: Int) throws -> Value {
        let cell = CellReader(storage: storage, cell: try storage.cell(row: number, column: column, places), column: column)
        do {
            return try Value.read(cell)
        } catch let mismatch as CellMismatch {
            throw mismatch.asInvalidInput
        }
    }
}

/// Offsets of the first cells of a row, so that access by column need not skip earlier cells. Only a hint: reads are
/// checked as usual.
@usableFromInline
struct Places: Sendable {
    static let count = 8
    private var offsets = SIMD8<UInt32>(repeating: .max)

    /// The offset from the start of the rows; `nil` if there is no such cell, or it follows damaged bytes.
    subscript(column: Int) -> Int? {
        get { offsets[column] == .max ? nil : Int(offsets[column]) }
        set { offsets[column] = newValue.flatMap(UInt32.init(exactly:)) ?? .max }
    }
}

/// A position in a result that moves forward cheaply, kept while decoding many rows.
final class RowCursor {
    let storage: Storage
    private(set) var row = 0
    /// The next cell and its offset; `nil` until the row's start is found.
    private var next: (column: Int, at: Int)?

    init(_ storage: Storage) { self.storage = storage }

    func move(toRow row: Int) {
        self.row = row
        next = nil
    }

    /// The index of a column, tried first at the one after the last read.
    func column(_ name: String) -> Int? { storage.column(name, hint: next?.column ?? 0) }

    /// The cell of an existing column.
    @inline(__always)
    func reader(_ column: Int) throws -> CellReader {
        CellReader(storage: storage, cell: try cell(column), column: column)
    }

    private func cell(_ column: Int) throws -> Cell {
        try storage.bytes.withUnsafeBytes { memory in
            let bytes = Bytes(memory)
            let end = storage.body.upperBound
            var (present, at) = (0, 0)
            if let next, next.column <= column {
                (present, at) = next
            } else {
                at = try storage.start(ofRow: row, bytes)
            }
            while present < column {
                try Cell.skip(bytes, &at, end: end)
                present += 1
            }
            let start = at
            let cell = try Cell.read(bytes, &at, end: end)
            // A nullable property reads the same cell twice: first to check for NULL, then to decode.
            if case .null = cell { next = (column, start) } else { next = (column + 1, at) }
            return cell
        }
    }
}
