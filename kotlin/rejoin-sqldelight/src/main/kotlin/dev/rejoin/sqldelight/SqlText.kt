/*
 * The kind of a statement, by its text: whether it writes rows, and which table it creates.
 *
 * Reads only the first tokens; SQLite parses the statement. A wrong result here leads to an error of the engine, not to a
 * lost write.
 */
package dev.rejoin.sqldelight

/**
 * A `CREATE TABLE` statement.
 *
 * @property table the name, without quotes.
 * @property definition the text after the name.
 */
internal class CreateTable(val sql: String, val table: String, val definition: String)

/** [sql] as a `CREATE TABLE` statement; null for others, and for temporary tables. */
internal fun createTable(sql: String): CreateTable? {
    val tokens = Tokens(sql)
    if (!tokens.nextIs("CREATE") || !tokens.nextIs("TABLE")) return null
    var name = tokens.next()
    if (name.equals("IF", ignoreCase = true) && tokens.nextIs("NOT") && tokens.nextIs("EXISTS")) name = tokens.next()
    val table = name?.let(::unquoted) ?: return null
    val definition = sql.substring(tokens.at)
    // SQLDelight generates no qualified names; SQLite rejects an existing one.
    return if (tokens.next() == ".") null else CreateTable(sql, table, definition)
}

private val WRITES = setOf("INSERT", "UPDATE", "DELETE", "REPLACE")

/** Whether a statement that returns rows also writes: `INSERT ... RETURNING`, also after `WITH`. */
internal fun writesRows(sql: String): Boolean {
    val tokens = Tokens(sql)
    val first = tokens.next()?.uppercase() ?: return false
    if (first != "WITH") return first in WRITES
    var depth = 0
    while (true) {
        val token = tokens.next()?.uppercase() ?: return false
        if (token == "(") depth++
        if (token == ")") depth--
        if (depth == 0 && (token == "SELECT" || token == "VALUES")) return false
        if (depth == 0 && token in WRITES) return true
    }
}

private fun unquoted(name: String): String =
    when (val quote = name.first()) {
        '"', '`', '\'' -> name.drop(1).dropLast(1).replace("$quote$quote", "$quote")
        '[' -> name.drop(1).dropLast(1)
        else -> name
    }

/** The tokens of SQL text, without white space and comments. */
private class Tokens(private val sql: String) {
    /** The offset after the last token. */
    var at = 0
        private set

    fun nextIs(word: String): Boolean = next().equals(word, ignoreCase = true)

    fun next(): String? {
        skip()
        if (at >= sql.length) return null
        val start = at
        when (val first = sql[at++]) {
            '"', '\'', '`' -> quoted(first)
            '[' -> through("]")
            else -> if (first.isWord()) while (at < sql.length && sql[at].isWord()) at++
        }
        return sql.substring(start, at)
    }

    private fun Char.isWord() = isLetterOrDigit() || this == '_' || this == '$'

    /** Skips white space and comments. */
    private fun skip() {
        while (at < sql.length) {
            when {
                sql[at].isWhitespace() -> at++
                sql.startsWith("--", at) -> through("\n")
                sql.startsWith("/*", at) -> { at += 2; through("*/") }
                else -> return
            }
        }
    }

    /** Skips to the end of a quoted text; a doubled quote does not end it. */
    private fun quoted(quote: Char) {
        do through("$quote") while (at < sql.length && sql[at] == quote && ++at > 0)
    }

    private fun through(end: String) {
        val found = sql.indexOf(end, at)
        at = if (found < 0) sql.length else found + end.length
    }
}
