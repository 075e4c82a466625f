/*
 * Errors across the FFI boundary and back: every type, with its fields.
 */
package dev.rejoin

import dev.rejoin.ffi.ColumnValue
import dev.rejoin.ffi.SqlValue
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.seconds
import dev.rejoin.ffi.ActionFault as FfiActionFault
import dev.rejoin.ffi.ChangedRow as FfiChangedRow
import dev.rejoin.ffi.RefusalCode as FfiRefusalCode
import dev.rejoin.ffi.RejoinException as FfiException

class ErrorKindTest {
    private val rows =
        listOf(
            FfiChangedRow("task", SqlValue.Text("a"), listOf("title"), listOf(ColumnValue("id", SqlValue.Text("a")), ColumnValue("title", SqlValue.Null)), null),
            FfiChangedRow("task", SqlValue.Integer(7), emptyList(), null, listOf(ColumnValue("rank", SqlValue.Real(0.5)))),
        )
    private val actions = FfiActionFault.entries.map { FfiException.Action("r", "take", it, "w") }
    private val refusals = FfiRefusalCode.entries.map { FfiException.SubscriptionRefused("r", "project", it, "m") }
    private val all =
        actions + refusals +
            listOf(
                FfiException.InvalidInput("r"),
                FfiException.Constraint("r", "t", "c", "UNIQUE"),
                FfiException.ActionTooSlow("r", "take", 2000u),
                FfiException.ActionTooLarge("r", "take", UInt.MAX_VALUE),
                FfiException.ParentParked("r", "i"),
                FfiException.Unsent("r", UInt.MAX_VALUE),
                FfiException.Changed("r", rows),
                FfiException.Storage("r"),
                FfiException.WrongUser("r"),
                FfiException.Configuration("r"),
                FfiException.Suspended("r"),
                FfiException.Closed("r"),
                FfiException.TransactionTimeout("r"),
                FfiException.Offline("r"),
                FfiException.Unauthorized("r"),
                FfiException.UpgradeRequired("r"),
                FfiException.Server("r", 503u, "busy", true),
                FfiException.Protocol("r"),
                FfiException.Callback("r"),
                FfiException.Internal("r"),
            )

    @Test
    fun `every error type round-trips across the FFI boundary`() {
        val own = all.map { it.toPublic() }
        // The message of a generated exception contains all its fields.
        assertEquals(all.map { it::class to it.message }, own.map { it.toFfi() }.map { it::class to it.message })
        assertEquals(listOf("r"), own.map { it.reason }.distinct())
        // The same types by name, none missing.
        assertEquals(all.map { it::class.simpleName }, own.map { it::class.simpleName })
        assertEquals(FfiException::class.java.declaredClasses.filter { FfiException::class.java.isAssignableFrom(it) }.map { it.simpleName }.toSet(), own.map { it::class.simpleName }.toSet())
    }

    @Test
    fun `every error type has its own stable code`() {
        val codes = all.map { it.toPublic() }.associate { it::class.simpleName to it.code }
        assertEquals(codes.mapValues { (name, _) -> name }, codes)
        assertEquals(listOf("Constraint", "InvalidInput"), listOf("Constraint", "InvalidInput").map { codes[it] })
        // The same codes as in TypeScript.
        val typescript = File(System.getProperty("rejoin.module")).resolve("../../react-native/src/errors.ts").readText()
        val union = typescript.substringAfter("type RejoinErrorCode =").substringBefore(";")
        assertEquals(Regex("'(\\w+)'").findAll(union).map { it.groupValues[1] }.toSet(), codes.values.toSet())
    }

    @Test
    fun `error carries its fields`() {
        val changed = FfiException.Changed("r", rows).toPublic() as RejoinException.Changed
        assertEquals(
            listOf(
                ChangedRow("task", "a", listOf("title"), mapOf("id" to "a", "title" to null), null),
                ChangedRow("task", 7L, emptyList(), null, mapOf("rank" to 0.5)),
            ),
            changed.rows,
        )
        assertEquals(4_294_967_295, (FfiException.Unsent("r", UInt.MAX_VALUE).toPublic() as RejoinException.Unsent).waiting)
        assertEquals(ActionFault.entries, actions.map { (it.toPublic() as RejoinException.Action).fault })
        assertEquals(2.seconds, (FfiException.ActionTooSlow("r", "take", 2000u).toPublic() as RejoinException.ActionTooSlow).limit)
        assertEquals(1024L, (FfiException.ActionTooLarge("r", "take", 1024u).toPublic() as RejoinException.ActionTooLarge).limitBytes)
        val server = FfiException.Server("r", 503u, "busy", true).toPublic() as RejoinException.Server
        assertEquals(listOf(503, "busy", true), listOf(server.status, server.serverCode, server.retryable))
        assertEquals(RefusalCode.entries, refusals.map { (it.toPublic() as RejoinException.SubscriptionRefused).refusal })
    }
}
