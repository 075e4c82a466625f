/*
 * The kind of a statement, by its first tokens.
 */
package dev.rejoin.sqldelight

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class SqlTextTest {
    @Test
    fun `name and definition of CREATE TABLE`() {
        val statements =
            mapOf(
                "CREATE TABLE task (id)" to ("task" to " (id)"),
                "\n -- a comment\n/* (x */ create\ttable IF not EXISTS task(id TEXT)" to ("task" to "(id TEXT)"),
                "CREATE TABLE \"a \"\"b\" (id)" to ("a \"b" to " (id)"),
                "CREATE TABLE [a b](id)" to ("a b" to "(id)"),
                "CREATE TABLE \"" to ("" to ""),
                "CREATE TABLE `if` AS SELECT 1" to ("if" to " AS SELECT 1"),
            )
        for ((sql, expected) in statements) assertEquals(expected, createTable(sql)?.let { it.table to it.definition }, sql)
    }

    @Test
    fun `other statements create no table`() {
        val statements =
            listOf("", "--", "/* open", "CREATE", "CREATE TABLE", "CREATE TEMP TABLE a (id)", "CREATE TABLE main.a (id)", "CREATE INDEX a ON b (c)", "DROP TABLE a")
        for (sql in statements) assertEquals(null, createTable(sql)?.table, sql)
    }

    @Test
    fun `writing statements are recognised`() {
        val writing =
            listOf(
                "INSERT INTO a VALUES (1) RETURNING id",
                "/* SELECT */ update a SET b = 1 RETURNING b",
                "DELETE FROM a RETURNING *",
                "REPLACE INTO a VALUES (1) RETURNING id",
                "WITH b AS (SELECT 1), c(\"x)\") AS (VALUES (')')) INSERT INTO a SELECT * FROM b RETURNING id",
            )
        val reading =
            listOf("SELECT 1", "", "VALUES (1)", "WITH b AS (SELECT 'INSERT') SELECT replace(x, 'a', 'b') FROM b", "PRAGMA table_info(a)", "WITH 'open", "WITH (")
        assertEquals(writing.map { true } + reading.map { false }, (writing + reading).map(::writesRows))
    }
}
