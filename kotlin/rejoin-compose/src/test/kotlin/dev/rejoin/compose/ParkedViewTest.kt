/*
 * What the sheet shows for a mutation, and the statements of an edit: without an engine.
 */
package dev.rejoin.compose

import dev.rejoin.ConflictedRow
import dev.rejoin.MutationState
import dev.rejoin.ParkReason
import dev.rejoin.PatchKind
import dev.rejoin.PendingColumn
import dev.rejoin.PendingMutation
import dev.rejoin.PendingRow
import dev.rejoin.VerdictDetail
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Instant

class ParkedViewTest {
    private val tables = mapOf("task" to TableInfo("id", mapOf("id" to "TEXT", "title" to "TEXT", "done" to "BOOLEAN", "rank" to "INTEGER", "icon" to "BLOB")))

    private fun update(vararg columns: PendingColumn, table: String = "task", change: PatchKind = PatchKind.UPDATE) =
        PendingRow(table, "t1", change, columns.asList())

    private fun mutation(
        id: String,
        vararg rows: PendingRow,
        state: MutationState = MutationState.PARKED,
        reason: ParkReason? = ParkReason.CONFLICTED,
        detail: VerdictDetail? = null,
        becauseOf: String? = null,
        action: String? = null,
    ) = PendingMutation(1, id, state, reason, detail, becauseOf, null, action, Instant.fromEpochMilliseconds(0), 1, rows.asList())

    private fun view(mutation: PendingMutation, vararg others: PendingMutation, current: Map<String, Any?>? = null): ParkedView {
        val rows = mutation.rows.mapNotNull { row -> current?.let { row to it } }.toMap()
        return parkedView(mutation, listOf(mutation) + others, tables, rows)
    }

    @Test
    fun `conflict shows both values of each changed column`() {
        val row = update(PendingColumn("title", "old", "mine"), PendingColumn("rank", 1L, 2L))
        val view = view(mutation("m", row), current = mapOf("id" to "t1", "title" to "theirs", "rank" to 2L))
        val (title, rank) = view.rows.single().fields
        assertEquals(ParkedField("title", FieldType.TEXT, "mine", "theirs", isEditable = true), title)
        assertEquals(listOf(true, false), listOf(title.differs, rank.differs))
        assertTrue(view.isConflict && view.isEditable)
    }

    @Test
    fun `row below a queued edit comes from the detail`() {
        val row = update(PendingColumn("done", 0L, 1L), PendingColumn("icon", null, byteArrayOf(1)))
        val theirs = mapOf("done" to 0L, "icon" to byteArrayOf(0, 1))
        val conflict = ConflictedRow("task", "t1", listOf("done"), mine = emptyMap(), theirs = theirs, before = null)
        val detail = VerdictDetail("row.changed", "no", "task", "t1", "done", listOf(conflict), correction = null)
        val queued = mutation("later", update(PendingColumn("done", 0L, 1L)), state = MutationState.PENDING, reason = null)
        val (done, icon) = view(mutation("m", row, detail = detail), queued, current = mapOf("done" to 1L)).rows.single().fields
        assertEquals(listOf<Any?>(0L, FieldType.BOOLEAN), listOf(done.theirs, done.type))
        assertTrue(byteArrayOf(0, 1).contentEquals(icon.theirs as ByteArray))
        assertTrue(!icon.isEditable)
    }

    @Test
    fun `update of a deleted row and a delete are not editable`() {
        val gone = view(mutation("m", update(PendingColumn("title", "old", "mine"))))
        assertEquals(listOf(false, false), listOf(gone.rows.single().exists, gone.isEditable))
        val delete = update(PendingColumn("title", "old", null), PendingColumn("rank", 1L, null), change = PatchKind.DELETE)
        val kept = view(mutation("m", delete), current = mapOf("title" to "theirs", "rank" to 1L))
        assertEquals(listOf("title"), kept.rows.single().fields.map { it.column })
        assertTrue(!kept.isEditable)
    }

    @Test
    fun `insert shows its values without key and empty columns`() {
        val insert = update(PendingColumn("id", null, "t1"), PendingColumn("title", null, "new"), PendingColumn("rank", null, null), change = PatchKind.INSERT)
        val row = view(mutation("m", insert, reason = ParkReason.REJECTED)).rows.single()
        assertEquals(listOf("title"), row.fields.map { it.column })
        assertTrue(!row.exists)
    }

    @Test
    fun `action is not editable`() {
        val view = view(mutation("m", update(PendingColumn("rank", 1L, 2L)), action = "raise"), current = mapOf("rank" to 1L))
        assertTrue(!view.isEditable)
    }

    @Test
    fun `rows beyond the limit are counted`() {
        val rows = Array(SHOWN_ROWS + 3) { update(PendingColumn("rank", 1L, it.toLong())) }
        val view = view(mutation("m", *rows))
        assertEquals(SHOWN_ROWS to 3, view.rows.size to view.moreRows)
    }

    @Test
    fun `dependent mutation leads to its parked cause`() {
        val cause = mutation("create", reason = ParkReason.REJECTED)
        val edit = mutation("edit", reason = ParkReason.DEPENDS, becauseOf = "create")
        val child = mutation("child", reason = ParkReason.DEPENDS, becauseOf = "edit")
        assertEquals("create", parkedRoot("child", listOf(cause, edit, child))?.id)
        assertEquals("edit", parkedRoot("child", listOf(edit, child))?.id)
        assertNull(parkedRoot("create", listOf(cause.copy(state = MutationState.PENDING))))
        assertEquals(1, view(cause, edit, child).dependents)
        // A cycle cannot occur; it would not hang.
        val circle = listOf(edit.copy(becauseOf = "child"), child)
        assertEquals("edit", parkedRoot("child", circle)?.id)
    }

    @Test
    fun `edit writes only other values, by type`() {
        val row = update(PendingColumn("title", "old", "mine"), PendingColumn("rank", 1L, 2L), PendingColumn("done", 0L, 1L))
        val view = view(mutation("m", row), current = mapOf("title" to "theirs", "rank" to 1L, "done" to 0L))
        val fields = editedFields(view)
        assertEquals(emptyList<String>(), editStatements(view, fields).map { it.sql })
        val edited = fields + (FieldKey(0, "rank") to "7") + (FieldKey(0, "title") to null)
        val statement = editStatements(view, edited).single()
        assertEquals("UPDATE \"task\" SET \"title\" = ?, \"rank\" = ? WHERE \"id\" = ?", statement.sql)
        assertEquals(listOf<Any?>(null, 7L, "t1"), statement.params.asList())
        assertEquals(mapOf(FieldKey(0, "rank") to FieldType.INTEGER), fieldErrors(view, edited + (FieldKey(0, "rank") to "many")))
    }
}
