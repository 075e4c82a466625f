/*
 * The app's own tables, and indexes on any table.
 */
package dev.rejoin

/** The app's own tables and indexes. From [RejoinClient.schema]. */
public class SchemaHandle internal constructor(private val client: RejoinClient) {
    /**
     * Creates a local-only table if it does not exist.
     *
     * @param definition the text between the parentheses of `CREATE TABLE`.
     * @throws RejoinException.InvalidInput if a foreign key references a synced table; nothing was created.
     */
    public suspend fun createTable(name: String, definition: String): Unit = client.writing { it.createTable(name, definition) }

    /**
     * Adds a column to a local-only table.
     *
     * @param definition the column's name, type and constraints.
     * @throws RejoinException.InvalidInput for a synced table: only the server changes its columns.
     */
    public suspend fun alterTable(name: String, definition: String): Unit = client.writing { it.alterTable(name, definition) }

    /**
     * Creates an index on columns of a table if it does not exist, and returns its name. Indexes on synced tables
     * survive schema changes.
     */
    public suspend fun createIndex(table: String, vararg columns: String): String =
        client.writing { it.createIndex(table, columns.asList()) }

    /**
     * Creates a full-text index over columns of a synced table and returns its name, `search_<table>`. The index
     * follows local and remote writes and stays on this device. An identical index is kept; a different one is
     * rebuilt.
     *
     * ```kotlin
     * client.schema.createSearchIndex("place", "name", "note")
     * val found = client.query("SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", "cafe")
     * ```
     *
     * Works offline; scans the table once.
     *
     * @param tokenizer an FTS5 tokenizer; `trigram` matches substrings. Default: `unicode61 remove_diacritics 2`.
     * @throws RejoinException.InvalidInput for a table that is not synced, no column, an unknown column or an unknown
     *   tokenizer; nothing was created.
     */
    public suspend fun createSearchIndex(table: String, vararg columns: String, tokenizer: String? = null): String =
        client.writing { it.createSearchIndex(table, columns.asList(), tokenizer) }

    /**
     * Removes the full-text index of a synced table, if it has one.
     *
     * @throws RejoinException.InvalidInput for a table that is not synced.
     */
    public suspend fun dropSearchIndex(table: String): Unit = client.writing { it.dropSearchIndex(table) }
}
