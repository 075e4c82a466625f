/*
 * What the contract tests of the fake server share. The same scenarios with the same assertions run on it and on the real
 * server, so that they do not differ in what an app sees.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.RejoinClient
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals

/** A server and its clients, closed at the end of each test. */
abstract class Contract(protected val server: TestServer) {
    private val opened = mutableListOf<RejoinClient>()

    protected suspend fun device(user: String = "ana", actions: Actions? = null) = server.device(user, actions).also(opened::add)

    protected fun tasks() = server.rows("task", "id", "user_id", "title", "done", "rank")

    protected suspend fun RejoinClient.reasons() = queue.all().map { it.reason }

    /** Two devices of one user that both have the task t1. */
    protected suspend fun pair(): Pair<RejoinClient, RejoinClient> {
        val (phone, tablet) = device() to device()
        phone.adds("t1", "first")
        phone.syncs()
        assertEquals(1, tablet.syncs().pulled)
        return phone to tablet
    }

    @AfterEach
    fun end(): Unit =
        test {
            for (client in opened) client.shutdown()
            server.close()
        }
}
