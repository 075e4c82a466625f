/*
 * Actions that are code, over the generated border: a coroutine runs the handler while the engine's writer waits for it. What the
 * package makes of actions is tested with the package.
 */
package dev.rejoin

import dev.rejoin.ffi.ActionContext
import dev.rejoin.ffi.ActionDefinition
import dev.rejoin.ffi.ActionFault
import dev.rejoin.ffi.ActionHandler
import dev.rejoin.ffi.ActionRegistry
import dev.rejoin.ffi.ClientConfig
import dev.rejoin.ffi.Keep
import dev.rejoin.ffi.SqlValue
import dev.rejoin.ffi.Undone
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.nio.file.Path
import kotlin.time.Duration.Companion.minutes
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.RejoinException as FfiException

class BorderActionTest {
    @TempDir
    lateinit var folder: Path

    private val schema =
        """{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task", "push_policy": "owner_only",
            "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"], "columns": [
            {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
            {"name": "n", "db_type": "integer", "logical_type": "int64"}]}]}"""

    /** A client with one action, `act`, of this code. */
    private fun acting(
        code: suspend (ActionContext) -> String,
        story: suspend (FfiClient) -> Unit,
    ) = runBlocking {
        withTimeout(1.minutes) {
            val actions = ActionRegistry()
            val handler =
                object : ActionHandler {
                    override suspend fun run(
                        context: ActionContext,
                        argumentsJson: String,
                    ): String = context.use { code(it) }
                }
            actions.handler(ActionDefinition("act"), handler)
            val config = ClientConfig(folder.resolve("app.db").toString(), schemaJson = schema, transactionIdleMs = 500u)
            val client = FfiClient.open(config, actions = actions)
            client.execute("INSERT INTO task (id, n) VALUES ('a', 0)")
            story(client)
            client.shutdown()
        }
    }

    private suspend fun ActionContext.add(): Long = execute("UPDATE task SET n = n + 1")

    private suspend fun thrownBy(client: FfiClient): Throwable? = runCatching { client.perform("act", "") }.exceptionOrNull()

    @Test
    fun `hundreds at once end, and other calls between them too`() =
        acting({ it.add(); it.query("SELECT n FROM task").size.toString() }) { client ->
            coroutineScope {
                (1..200).map {
                    async(Dispatchers.Default) {
                        client.perform("act", "")
                        client.query("SELECT n FROM task")
                    }
                }.awaitAll()
            }
            val written = client.pending().last().rows.single().columns.single()
            assertEquals(SqlValue.Integer(200), written.newValue)
        }

    @Test
    fun `a handler that never ends is given up and its coroutine cancelled`() {
        val cancelled = CompletableDeferred<Unit>()
        val hang: suspend (ActionContext) -> String = {
            it.add()
            try {
                awaitCancellation()
            } finally {
                cancelled.complete(Unit)
            }
        }
        acting(hang) { client ->
            val thrown = thrownBy(client)
            assertTrue(thrown is FfiException.Action && thrown.fault == ActionFault.TIMED_OUT, "$thrown")
            cancelled.await()
            assertEquals(1, client.execute("UPDATE task SET n = 1 WHERE n = 0"))
        }
    }

    @Test
    fun `suspending does not wait for a handler`() {
        val begun = CompletableDeferred<Unit>()
        acting({ it.add(); begun.complete(Unit); awaitCancellation() }) { client ->
            coroutineScope {
                val performed = async(Dispatchers.Default) { thrownBy(client) }
                begun.await()
                client.suspend()
                val thrown = performed.await()
                assertTrue(thrown is FfiException.Suspended, "$thrown")
                client.resume()
                assertEquals(1, client.execute("UPDATE task SET n = 1 WHERE n = 0"))
            }
        }
    }

    @Test
    fun `what a handler throws arrives as it was thrown`() {
        val throws =
            ArrayDeque<suspend (ActionContext) -> Unit>(
                listOf(
                    { it.execute("INSERT INTO task (id) VALUES ('a')") },
                    { throw FfiException.Action("", "", ActionFault.REFUSED, "too late") },
                    { error("the app's own") },
                ),
            )
        acting({ it.add(); throws.removeFirst()(it); "" }) { client ->
            val rule = thrownBy(client)
            assertTrue(rule is FfiException.Constraint && rule.rule == "UNIQUE", "$rule")
            val refused = thrownBy(client)
            assertTrue(refused is FfiException.Action && refused.words == "too late" && refused.action == "act", "$refused")
            val own = thrownBy(client)
            assertTrue(own is FfiException.Callback && "the app's own" in own.reason, "$own")
            assertEquals(1, client.execute("UPDATE task SET n = 1 WHERE n = 0"))
        }
    }

    @Test
    fun `an edit that is held, an undo and a reset`() =
        acting({ "" }) { client ->
            val old = client.pending().single().id
            val tx = client.beginEdit(old)
            tx.execute("UPDATE task SET n = 5")
            tx.commit()
            val edited = tx.edited()!!
            assertEquals(listOf(edited), client.pending().map { it.id })
            val unsent = runCatching { client.reset(Keep.NOTHING, emptyList()) }.exceptionOrNull()
            assertTrue(unsent is FfiException.Unsent && unsent.waiting == 1u, "$unsent")
            assertEquals(Undone.GivenUp, client.undo(edited))
            assertEquals(0, client.reset(Keep.NOTHING, emptyList()).rows)
        }
}
