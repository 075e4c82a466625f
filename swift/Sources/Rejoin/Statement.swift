// A statement with its parameters, and statements as literals whose values are parameters.

import Foundation

/// A statement with its parameters.
///
/// As a literal, each interpolated value becomes a parameter and never a part of the SQL:
///
/// ```swift
/// try await client.execute("UPDATE task SET title = \(title) WHERE id = \(id)")
/// let some = try await client.query("SELECT * FROM task WHERE id IN \(values: ids)")
/// let sorted = try await client.query("SELECT * FROM task ORDER BY \(sql: "title DESC")")
/// ```
///
/// The calls with one argument take a statement, and those with SQL and parameters take a `String`. So text that was
/// built from values cannot be run by mistake: `client.query(text)` does not compile.
public struct Statement: Sendable {
    /// The SQL, with a question mark for each parameter.
    public let sql: String
    /// The parameters, in order.
    public let params: SQLParameters

    /// - Parameter sql: one statement.
    /// - Parameter params: a value for each question mark.
    public init(_ sql: String, _ params: SQLParameters = []) {
        self.sql = sql
        self.params = params
    }
}

extension Statement: ExpressibleByStringInterpolation {
    public init(stringLiteral sql: String) { self.init(sql) }

    public init(stringInterpolation: StringInterpolation) {
        self.init(stringInterpolation.sql, stringInterpolation.params)
    }

    /// Collects the SQL and the parameters of a literal.
    public struct StringInterpolation: StringInterpolationProtocol {
        var sql = ""
        var params: SQLParameters = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            sql.reserveCapacity(literalCapacity + interpolationCount)
            params.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) { sql += literal }

        /// A parameter; `nil` is NULL.
        public mutating func appendInterpolation(_ value: (any SQLConvertible)?) {
            sql += "?"
            params.append(value)
        }

        /// A list of parameters in parentheses, for `IN`. An empty list is `()`, which contains nothing.
        public mutating func appendInterpolation<Values: Sequence>(values: Values) where Values.Element: SQLConvertible {
            let values = Array(values)
            sql += "(" + values.map { _ in "?" }.joined(separator: ", ") + ")"
            params += values.map { $0 }
        }

        /// SQL as it stands, such as the name of a column from the app's own code. Never pass a user's text.
        public mutating func appendInterpolation(sql text: String) { sql += text }

        /// The SQL of another statement, with its parameters.
        public mutating func appendInterpolation(_ part: Statement) {
            sql += part.sql
            params += part.params
        }
    }
}
