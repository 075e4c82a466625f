// A row of a result, and what reads its cells one after the other.
//
// Border: where a cell lies is found here; what it means in Swift stands in RowValue.swift.

/// A row of a ``RowBuffer``; its cells are decoded when they are asked for.
///
/// ```swift
/// let title = try row.get("title", as: String.self)
/// let note: String? = try row.get("note")
/// ```
public struct Row: Sendable {
    @usableFromInline let storage: Storage
    @usableFromInline let places: Places
    /// Its place in the result, from 0.
    public let number: Int

    init(storage: Storage, number: Int) {
        self.storage = storage
        self.number = number
        places = storage.places(ofRow: number)
    }

    /// The names of the columns, in order.
    public var columns: [String] { storage.columns }

    /// The value of a column by its name; of several columns of one name, the first.
    ///
    /// - Parameter column: the name, letter for letter as the query gives it.
    /// - Parameter type: what to read it as; an `Optional` where it may be NULL.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if there is no such column or it holds something else,
    ///   ``RejoinError/internal(reason:)`` if the bytes are damaged.
    @inlinable
    public func get<Value: RowValue>(_ column: String, as type: Value.Type = Value.self) throws -> Value {
        guard let index = storage.column(column) else { throw storage.noColumn(column) }
        return try read(index)
    }

    /// The value of a column by its place, from 0; otherwise as by name.
    @inlinable
    public func get<Value: RowValue>(_ column: Int, as type: Value.Type = Value.self) throws -> Value {
        guard column >= 0, column < storage.width else { throw storage.noColumn(String(column)) }
        return try read(column)
    }

    /// The row as a value of a `Decodable` type: its properties are columns by name.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let done: Bool; let note: String? }
    /// let task = try row.decode(Todo.self)
    /// ```
    ///
    /// An optional property may be NULL or missing. `Bool` takes 1 and 0; integers are checked against their range;
    /// `Data` and `[UInt8]` take bytes; enums with raw values take those. A row is flat: a property that is itself a
    /// struct with properties is an error that says so. A type of a single value reads the only column. Dates are an error too, as
    /// SQL has none: read the text or number and convert it.
    ///
    /// - Throws: `DecodingError` if the row does not fit, ``RejoinError/internal(reason:)`` if it is damaged.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        let cursor = RowCursor(storage)
        cursor.move(toRow: number)
        return try RowDecoder(cursor).decode(type, isSingle: RowDecoder.isSingle(type))
    }

    /// What depends on the type is compiled where the type is known; the rest is called.
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

/// Where the first cells of a row begin, so that reading one need not skip those before it. A hint and no more: what is read there
/// is checked as it is anywhere.
@usableFromInline
struct Places: Sendable {
    static let count = 8
    private var offsets = SIMD8<UInt32>(repeating: .max)

    /// From the start of the rows; `nil` where there is no such cell, or it lies behind damage.
    subscript(column: Int) -> Int? {
        get { offsets[column] == .max ? nil : Int(offsets[column]) }
        set { offsets[column] = newValue.flatMap(UInt32.init(exactly:)) ?? .max }
    }
}

/// A place in a result that moves forward cheaply: what decodes many rows keeps one.
final class RowCursor {
    let storage: Storage
    private(set) var row = 0
    /// The next cell and where it begins; `nil` until the row's beginning has been looked up.
    private var next: (column: Int, at: Int)?

    init(_ storage: Storage) { self.storage = storage }

    func move(toRow row: Int) {
        self.row = row
        next = nil
    }

    /// The number of a column, which is probably the one after the last that was read.
    func column(_ name: String) -> Int? { storage.column(name, hint: next?.column ?? 0) }

    /// The cell of an existing column, to be read.
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
            // NULL is looked at before it is decoded, so the same cell is often asked for twice.
            if case .null = cell { next = (column, start) } else { next = (column + 1, at) }
            return cell
        }
    }
}
