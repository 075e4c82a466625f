/*
 * Every interleaving of a callback that waits with other events. The token provider is called, waits, calls the client,
 * and returns, throws or never returns, while queries, writes, suspension and shutdown happen.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.job
import kotlinx.coroutines.joinAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.File
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.minutes

class CallbackInterleavingTest {
    private enum class Event { CALLED, ANSWERS, QUERY, WATCH_FIRES, SUSPEND, SHUTDOWN }

    private enum class Answer { RETURNS, THROWS, NEVER, CALLS_BACK }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `callback blocks nothing and loses nothing in any order`() =
        story(18.minutes) {
            val all = orders(Event.entries, listOf(Event.CALLED, Event.ANSWERS)).toList()
            val fresh = local().also { it.shutdown() }.path
            val count =
                eachOf(sample(all, Answer.entries)) { (order, answer) ->
                    One(order, answer, File(fresh).copyTo(File(file())).path).run()
                }
            assertEquals(if (isDeep) 360 * 4 else 360, count)
        }

    private class One(private val order: List<Event>, private val answer: Answer, private val file: String) {
        private val gate = Gate()
        private lateinit var client: RejoinClient

        /** No server listens on this port: requests after the token callback are offline. */
        private val config = RejoinConfig(file, server = "http://127.0.0.1:9")

        suspend fun run() {
            client = RejoinClient.open(config, tokens = { token() })
            val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
            val jobs = mutableListOf<Deferred<Result<Any?>>>()
            var write: Deferred<Result<Any?>>? = null
            try {
                guarded({ "$order, $answer" }) {
                    val watch = scope.tried { client.watch("SELECT id FROM note").collect { } }
                    for (event in order) {
                        when (event) {
                            Event.CALLED -> jobs += scope.tried { client.sync.run() }
                            Event.ANSWERS -> gate.open()
                            Event.QUERY -> jobs += scope.tried { client.query("SELECT id FROM note") }
                            Event.WATCH_FIRES -> write = scope.tried { client.execute("INSERT INTO note VALUES ('w', 'x')") }
                            Event.SUSPEND -> jobs += scope.tried { client.sync.suspend() }
                            Event.SHUTDOWN -> jobs += scope.tried { client.shutdown() }
                        }
                    }
                    (jobs + watch + write!!).joinAll()
                    for (job in jobs + watch) job.result().exceptionOrNull()?.let(::expected)
                }
            } finally {
                scope.coroutineContext.job.cancel()
            }
            val again = RejoinClient.open(file)
            val rows = again.query("SELECT id FROM note") { it.string(0) }
            again.shutdown()
            val written = write!!.result()
            if (written.isSuccess != rows.isNotEmpty()) throw Broken("$order, $answer: the write gave $written, and there are $rows")
        }

        private suspend fun token(): String? {
            gate.pass()
            when (answer) {
                Answer.RETURNS -> Unit
                Answer.THROWS -> throw IllegalStateException("keychain locked")
                Answer.NEVER -> awaitCancellation()
                Answer.CALLS_BACK -> {
                    // The client may be suspended or shut down by then, but the call must not block.
                    runCatching { client.query("SELECT id FROM note") }.exceptionOrNull()?.let(::expected)
                    runCatching { client.transaction { it.query("SELECT 1") } }.exceptionOrNull()?.let(::expected)
                }
            }
            return "token"
        }

        private fun expected(thrown: Throwable) {
            val known = thrown is RejoinException.Suspended || thrown is RejoinException.Closed || thrown is RejoinException.Offline ||
                thrown is RejoinException.Unauthorized || thrown is RejoinException.Callback
            if (!known) throw Broken("$order, $answer: unexpected $thrown")
        }
    }
}
