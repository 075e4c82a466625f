/*
 * Clients on temporary files, for the tests of an app. Independent of the test framework.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.withContext

/**
 * Opens a client on a temporary file, without a server. Call [RejoinClient.shutdown], which removes the file;
 * [testClient] does so itself.
 *
 * @param schema the schema that the app bundles; null for local-only tables.
 * @param change further settings.
 */
public suspend fun temporaryClient(
    schema: String? = null,
    actions: Actions? = null,
    change: RejoinConfig.() -> RejoinConfig = { this },
): RejoinClient = RejoinClient.open(RejoinConfig.temporary().copy(schema = schema).change(), actions = actions)

/**
 * Runs [body] with a client on a temporary file, without a server; then shuts it down and removes the file, also if [body]
 * throws or is cancelled.
 *
 * ```kotlin
 * @Test
 * fun `a new task is open`() = runBlocking {
 *     testClient(schema) { client ->
 *         Tasks(client).add("buy milk")
 *         assertEquals(1, client.query("SELECT id FROM task WHERE done = 0").size)
 *     }
 * }
 * ```
 *
 * Parameters as for [temporaryClient].
 */
public suspend fun <T> testClient(
    schema: String? = null,
    actions: Actions? = null,
    change: RejoinConfig.() -> RejoinConfig = { this },
    body: suspend (RejoinClient) -> T,
): T = temporaryClient(schema, actions, change).use(body)

/**
 * Runs [body] with a client of this server, not started; then shuts it down and removes the file, also if [body] throws or
 * is cancelled.
 *
 * ```kotlin
 * FakeServer(schema).testClient { client -> ... }
 * ```
 *
 * Parameters as for [FakeServer.client].
 */
public suspend fun <T> FakeServer.testClient(
    user: String = FakeServer.USER,
    actions: Actions? = null,
    change: RejoinConfig.() -> RejoinConfig = { this },
    body: suspend (RejoinClient) -> T,
): T = client(user, actions, change).use(body)

/** Like `use`, but waits for the shutdown. */
private suspend fun <T> RejoinClient.use(body: suspend (RejoinClient) -> T): T {
    val result =
        try {
            body(this)
        } catch (why: Throwable) {
            withContext(NonCancellable) { runCatching { shutdown() }.exceptionOrNull()?.let(why::addSuppressed) }
            throw why
        }
    withContext(NonCancellable) { shutdown() }
    return result
}
