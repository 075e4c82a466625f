// The rows of a watched query as an observable model.
//
// The task of the model holds it weakly, so releasing the model ends the watch.

import Observation
import Rejoin

/// The rows of a query now, and again after every commit that changes them.
///
/// ```swift
/// let open = LiveQuery(Todo.self, "SELECT * FROM task WHERE done = \(false)", on: client)
/// open.values // Observed by the views that read it.
/// open.statement = "SELECT * FROM task WHERE done = \(true)"
/// ```
///
/// Works offline. A slow reader skips stale results, never the latest. The watch begins with the model and ends when the
/// model is released or the database is shut down.
@available(iOS 17, macOS 14, *)
@MainActor @Observable
public final class LiveQuery<Value: Decodable & Sendable> {
    /// The latest rows; after an error or a change of the statement the previous ones, until there are others.
    public private(set) var values: [Value] = []
    /// What the last run threw; `nil` after a run that succeeded. A row that does not fit `Value` is a `DecodingError`.
    ///
    /// A failed query runs again after the next commit, for example when a sync has created its table, and on ``retry()``.
    public private(set) var error: (any Error)?
    /// Whether the statement has no result and no error yet.
    public private(set) var isLoading = true
    /// The statement. Another SQL text or other parameters start the query again; equal ones do not.
    @ObservationIgnored public var statement: Statement {
        didSet { if !statement.isEqual(to: oldValue) { start() } }
    }

    @ObservationIgnored private let database: any RejoinDatabase
    @ObservationIgnored private var task: Task<Void, Never>?

    /// - Parameter type: the type of a row, or of the only column. Not needed where the context gives it.
    /// - Parameter statement: one read-only statement.
    /// - Parameter database: a client, a ``RejoinStore``, or a fake.
    public init(_ type: Value.Type = Value.self, _ statement: Statement, on database: any RejoinDatabase) {
        self.statement = statement
        self.database = database
        start()
    }

    deinit { task?.cancel() }

    /// Runs the query again at once, for example when the app is in the foreground again.
    public func retry() { start() }

    private func start() {
        task?.cancel()
        if !isLoading { isLoading = true }
        task = Task { [weak self, database, statement] in
            await Self.follow(database, statement) { self?.show($0) }
        }
    }

    private func show(_ result: Result<[Value], any Error>) {
        isLoading = false
        switch result {
        case .success(let values):
            self.values = values
            if error != nil { error = nil }
        case .failure(let error): self.error = error
        }
    }

    /// Reports each result until the task is cancelled or the database is shut down.
    private static func follow(
        _ database: any RejoinDatabase, _ statement: Statement, _ report: (Result<[Value], any Error>) -> Void
    ) async {
        var changes: AsyncStream<Change>?
        while true {
            do {
                for try await values in database.watch(statement, as: Value.self) {
                    guard !Task.isCancelled else { return }
                    report(.success(values))
                    changes = nil
                }
                return
            } catch {
                guard !Task.isCancelled else { return }
                report(.failure(error))
            }
            guard let waiting = changes else {
                // A commit since the failure is not among these changes: the query runs once more first.
                changes = database.changes()
                continue
            }
            guard await waiting.first(where: { @Sendable _ in true }) != nil else { return }
        }
    }
}

extension Statement {
    func isEqual(to other: Statement) -> Bool {
        sql == other.sql && params.map { $0?.sqlValue } == other.params.map { $0?.sqlValue }
    }
}
